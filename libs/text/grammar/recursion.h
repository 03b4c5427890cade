// Which rules of a grammar call each other in circles.
#pragma once

#include <cstdint>
#include <vector>

#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

// A number for each rule, the same for two rules when each can come to call the other.
[[nodiscard]] std::vector<uint32_t> groups_of_rules(const Nfa& nfa);

// The same for any graph: `calls[i]` are those that i calls. Each group has a smaller number than those that call it.
// (Tarjan's strongly connected components, without recursion.)
[[nodiscard]] std::vector<uint32_t> strong_groups(const std::vector<std::vector<uint32_t>>& calls);

}  // namespace bellwether::text::grammar
