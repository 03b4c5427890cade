// JSON as it is generated.
//
// Whitespace: none, or one space, or a line feed and up to 32 spaces, stands after each `{`, `[` and `,` and before
// each
// `}` and `]` that ends something not empty; none or one space after a colon; none elsewhere. So both compact and
// indented JSON can be written, and no model can write whitespace for ever.
//
// Numbers have at most 15 digits before the point and 15 after it, and an exponent of at most two, so that every reader
// takes them without overflow; integers have at most 18 digits, and fit 64 bits.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

// Each adds something from `from` on and returns the state after it.
[[nodiscard]] State append_blank(Nfa& nfa, State from);         // whitespace inside of an object or array
[[nodiscard]] State append_colon(Nfa& nfa, State from);         // with the whitespace after it
[[nodiscard]] State append_string(Nfa& nfa, State from);        // any, escapes of every kind
[[nodiscard]] State append_plain_string(Nfa& nfa, State from);  // any, each in one way: escapes where they must be
[[nodiscard]] State append_number(Nfa& nfa, State from);        // any
[[nodiscard]] State append_literal(Nfa& nfa, State from, const boost::json::value& value);  // this one
[[nodiscard]] State append_decimal_digits(Nfa& nfa, State from, size_t min, size_t max);

// A text as append_plain_string() reads it, with its quotation marks.
[[nodiscard]] std::string json_string(std::string_view utf8);

// Any value; any object; any array. One object for one Nfa, to which it adds the rules that they need once.
class AnyJson {
 public:
  explicit AnyJson(Nfa& nfa) : nfa_(nfa) {}
  [[nodiscard]] State append_value(State from);
  [[nodiscard]] State append_object(State from);
  [[nodiscard]] State append_array(State from);

 private:
  [[nodiscard]] Rule value_rule();
  [[nodiscard]] State append_list(State from, char open, char close, bool has_keys);

  Nfa& nfa_;
  std::optional<Rule> value_;
};

}  // namespace bellwether::text::grammar
