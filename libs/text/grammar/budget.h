// How much compiling and following an untrusted constraint may cost.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bellwether::text::grammar {

struct GrammarLimits {
  size_t source_bytes_max = size_t{256} << 10;  // of a schema, an expression, a grammar, all choices together
  size_t depth_max = 64;                        // of nested schemas, values, groups
  size_t schemas_max = 20'000;                  // schemas visited, those of merged ones counted each time
  size_t rules_max = 10'000;
  size_t repeats_max = 10'000;                // {min,max}, minLength, maxItems, ...
  size_t states_max = 200'000;                // of the automaton as written, before it is made deterministic
  size_t table_bytes_max = size_t{32} << 20;  // of the automaton's transitions
  uint64_t work_max = 30'000'000;             // edges looked at while it is made deterministic
  size_t items_max = 2'000;                   // ways in which a text can be read so far
  size_t mask_bytes_max = size_t{32} << 20;   // of token masks kept for one automaton
  uint64_t mask_work_max = 400'000;           // items looked at for one mask, beyond what is kept
  uint64_t state_mask_work_max = 10'000'000;  // the same for the mask of one state, which is kept
};

// What compiling one constraint has left, all of its parts together.
class Budget {
 public:
  explicit Budget(const GrammarLimits& limits) : limits_(limits) {}
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  [[nodiscard]] const GrammarLimits& limits() const { return limits_; }
  // They throw GrammarError when it is more than the limits allow.
  void spend_state();
  void spend_rule();
  void spend_schema();
  void spend_work(uint64_t edges);

 private:
  const GrammarLimits limits_;
  size_t states_ = 0;
  size_t rules_ = 0;
  size_t schemas_ = 0;
  uint64_t work_ = 0;
};

}  // namespace bellwether::text::grammar
