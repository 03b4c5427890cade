#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

Rule Nfa::add_rule() {
  budget_.spend_rule();
  const State first = add_state();
  const State last = add_state();
  rules_.push_back({first, last});
  return static_cast<Rule>(rules_.size() - 1);
}

State Nfa::add_state() {
  budget_.spend_state();
  edges_.emplace_back();
  return static_cast<State>(edges_.size() - 1);
}

State Nfa::append_bytes(State from, std::string_view bytes) {
  for (const char byte : bytes) {
    const State to = add_state();
    add_bytes(from, static_cast<uint8_t>(byte), static_cast<uint8_t>(byte), to);
    from = to;
  }
  return from;
}

State Nfa::append_call(State from, Rule rule) {
  const State to = add_state();
  add_call(from, rule, to);
  return to;
}

}  // namespace bellwether::text::grammar
