// "Did you mean": the choice that is nearest to a mistyped word.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace bellwether::mesh {

// The choice with the smallest edit distance (insert, delete, replace, swap of neighbours), if it is small enough for
// a typing mistake: a third of the word's length, at least one. The first of equals.
[[nodiscard]] std::optional<std::string_view> closest_choice(std::string_view word,
                                                             const std::vector<std::string_view>& choices);

}  // namespace bellwether::mesh
