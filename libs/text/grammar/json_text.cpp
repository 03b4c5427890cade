#include "text/grammar/json_text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "text/grammar/code_points.h"
#include "text/grammar/expression.h"

namespace bellwether::text::grammar {

namespace json = boost::json;

namespace {

constexpr size_t kIndentMax = 32;
constexpr size_t kNumberDigitsMax = 15;
constexpr size_t kExponentDigitsMax = 2;

State append_byte_of(Nfa& nfa, State from, std::string_view bytes) {
  const State to = nfa.add_state();
  for (const char byte : bytes) nfa.add_bytes(from, static_cast<uint8_t>(byte), static_cast<uint8_t>(byte), to);
  return to;
}

State append_hex(Nfa& nfa, State from, std::string_view digits) {
  const State to = nfa.add_state();
  for (const char digit : digits) {
    nfa.add_bytes(from, static_cast<uint8_t>(digit), static_cast<uint8_t>(digit), to);
    if (digit >= 'a') {
      const auto upper = static_cast<uint8_t>(digit - 'a' + 'A');
      nfa.add_bytes(from, upper, upper, to);
    }
  }
  return to;
}

// XXXX of \uXXXX, half of no pair; or both halves of one.
void add_unicode_escape(Nfa& nfa, State from, State to) {
  constexpr std::string_view kAll = "0123456789abcdef";
  const auto append_all = [&](State at, int count) {
    for (int i = 0; i < count; ++i) at = append_hex(nfa, at, kAll);
    return at;
  };
  nfa.add_empty(append_all(append_hex(nfa, from, "0123456789abcef"), 3), to);
  const State after_d = append_hex(nfa, from, "d");
  nfa.add_empty(append_all(append_hex(nfa, after_d, "01234567"), 2), to);
  State low = nfa.append_bytes(append_all(append_hex(nfa, after_d, "89ab"), 2), "\\u");
  low = append_hex(nfa, append_hex(nfa, low, "d"), "cdef");
  nfa.add_empty(append_all(low, 2), to);
}

State append_letters(Nfa& nfa, State from, const CodePoints& raw, Writing writing, bool all_escapes) {
  const State inside = nfa.append_bytes(from, "\"");
  add_character(nfa, inside, raw, writing, inside);
  if (all_escapes) {
    const State escape = nfa.append_bytes(inside, "\\");
    nfa.add_empty(append_byte_of(nfa, escape, "\"\\/bfnrt"), inside);
    add_unicode_escape(nfa, nfa.append_bytes(escape, "u"), inside);
  }
  return nfa.append_bytes(inside, "\"");
}

std::string number_text(double number) {
  if (std::floor(number) == number && std::abs(number) < 1e15) return fmt::format("{:.1f}", number);
  return fmt::format("{}", number);
}

template <typename Values, typename AppendEach>
State append_literal_list(Nfa& nfa, State from, std::string_view ends, const Values& values,
                          const AppendEach& append_each) {
  State at = nfa.append_bytes(from, ends.substr(0, 1));
  bool is_first = true;
  for (const auto& value : values) {
    if (!is_first) at = nfa.append_bytes(at, ",");
    is_first = false;
    at = append_each(append_blank(nfa, at), value);
  }
  if (!is_first) at = append_blank(nfa, at);
  return nfa.append_bytes(at, ends.substr(1));
}

}  // namespace

State append_decimal_digits(Nfa& nfa, State from, size_t min, size_t max) {
  return append_repeated(nfa, from, static_cast<uint32_t>(min), static_cast<uint32_t>(max), [&](State at) {
    const State to = nfa.add_state();
    nfa.add_bytes(at, '0', '9', to);
    return to;
  });
}

State append_blank(Nfa& nfa, State from) {
  const State after = nfa.add_state();
  nfa.add_empty(from, after);
  nfa.add_bytes(from, ' ', ' ', after);
  State indented = nfa.append_bytes(from, "\n");
  nfa.add_empty(indented, after);
  for (size_t i = 0; i < kIndentMax; ++i) {
    indented = nfa.append_bytes(indented, " ");
    nfa.add_empty(indented, after);
  }
  return after;
}

State append_colon(Nfa& nfa, State from) {
  const State colon = nfa.append_bytes(from, ":");
  const State after = nfa.add_state();
  nfa.add_empty(colon, after);
  nfa.add_bytes(colon, ' ', ' ', after);
  return after;
}

State append_string(Nfa& nfa, State from) {
  return append_letters(nfa, from, json_escaped().complement(), Writing::kPlain, true);
}

State append_plain_string(Nfa& nfa, State from) {
  return append_letters(nfa, from, CodePoints::all(), Writing::kJsonString, false);
}

State append_number(Nfa& nfa, State from) {
  const State sign = nfa.add_state();
  nfa.add_empty(from, sign);
  nfa.add_bytes(from, '-', '-', sign);
  const State whole = nfa.append_bytes(sign, "0");
  const State first = nfa.add_state();
  nfa.add_bytes(sign, '1', '9', first);
  nfa.add_empty(append_decimal_digits(nfa, first, 0, kNumberDigitsMax - 1), whole);
  const State fraction = append_decimal_digits(nfa, nfa.append_bytes(whole, "."), 1, kNumberDigitsMax);
  nfa.add_empty(whole, fraction);
  const State exponent = append_byte_of(nfa, fraction, "eE");
  const State exponent_sign = append_byte_of(nfa, exponent, "+-");
  nfa.add_empty(exponent, exponent_sign);
  const State after = append_decimal_digits(nfa, exponent_sign, 1, kExponentDigitsMax);
  nfa.add_empty(fraction, after);
  return after;
}

std::string json_string(std::string_view utf8) {
  std::string text = "\"";
  for (const char c : utf8) {
    switch (c) {
      case '"':
        text += "\\\"";
        break;
      case '\\':
        text += "\\\\";
        break;
      case '\b':
        text += "\\b";
        break;
      case '\f':
        text += "\\f";
        break;
      case '\n':
        text += "\\n";
        break;
      case '\r':
        text += "\\r";
        break;
      case '\t':
        text += "\\t";
        break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) {
          text += fmt::format("\\u{:04x}", static_cast<uint8_t>(c));
        } else {
          text += c;
        }
    }
  }
  return text += '"';
}

State append_literal(Nfa& nfa, State from, const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return nfa.append_bytes(from, "null");
    case json::kind::bool_:
      return nfa.append_bytes(from, value.get_bool() ? "true" : "false");
    case json::kind::int64:
      return nfa.append_bytes(from, std::to_string(value.get_int64()));
    case json::kind::uint64:
      return nfa.append_bytes(from, std::to_string(value.get_uint64()));
    case json::kind::double_:
      return nfa.append_bytes(from, number_text(value.get_double()));
    case json::kind::string:
      return nfa.append_bytes(from, json_string(value.get_string()));
    case json::kind::array:
      return append_literal_list(nfa, from, "[]", value.get_array(), [&](State at, const json::value& element) {
        return append_literal(nfa, at, element);
      });
    case json::kind::object:
      return append_literal_list(nfa, from, "{}", value.get_object(), [&](State at, const auto& member) {
        const State key = nfa.append_bytes(at, json_string(member.key()));
        return append_literal(nfa, append_colon(nfa, key), member.value());
      });
  }
  return from;
}

State AnyJson::append_value(State from) {
  return nfa_.append_call(from, value_rule());
}

State AnyJson::append_object(State from) {
  return append_list(from, '{', '}', true);
}

State AnyJson::append_array(State from) {
  return append_list(from, '[', ']', false);
}

State AnyJson::append_list(State from, char open, char close, bool has_keys) {
  const State begin = nfa_.append_bytes(from, {&open, 1});
  const State item = append_blank(nfa_, begin);
  State value = item;
  if (has_keys) value = append_colon(nfa_, append_string(nfa_, value));
  value = append_value(value);
  nfa_.add_empty(append_blank(nfa_, nfa_.append_bytes(value, ",")), item);
  const State end = append_blank(nfa_, value);
  nfa_.add_empty(begin, end);
  return nfa_.append_bytes(end, {&close, 1});
}

Rule AnyJson::value_rule() {
  if (value_) return *value_;
  value_ = nfa_.add_rule();
  const State first = nfa_.first_of(*value_);
  for (const std::string_view word : {"true", "false", "null"}) {
    nfa_.end_rule(*value_, nfa_.append_bytes(first, word));
  }
  nfa_.end_rule(*value_, append_string(nfa_, first));
  nfa_.end_rule(*value_, append_number(nfa_, first));
  nfa_.end_rule(*value_, append_object(first));
  nfa_.end_rule(*value_, append_array(first));
  return *value_;
}

}  // namespace bellwether::text::grammar
