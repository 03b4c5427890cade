#include "text/grammar/pattern_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/grammar/expression.h"
#include "text/grammar/grammar_error.h"
#include "text/grammar/utf8_reader.h"

namespace bellwether::text::grammar {
namespace {

bool is_digit(uint32_t c) {
  return c >= '0' && c <= '9';
}
bool is_letter(uint32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::optional<uint32_t> hex_value(uint32_t c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

CodePoints set_of(std::initializer_list<CodePoints::Range> ranges) {
  CodePoints set;
  for (const auto& range : ranges) set.add(range.first, range.last);
  return set;
}

CodePoints digits() {
  return set_of({{'0', '9'}});
}
CodePoints word() {
  return set_of({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
}
CodePoints space() {  // WhiteSpace and LineTerminator of ECMA-262
  return set_of({{0x09, 0x0D},
                 {0x20, 0x20},
                 {0xA0, 0xA0},
                 {0x1680, 0x1680},
                 {0x2000, 0x200A},
                 {0x2028, 0x2029},
                 {0x202F, 0x202F},
                 {0x205F, 0x205F},
                 {0x3000, 0x3000},
                 {0xFEFF, 0xFEFF}});
}

}  // namespace

std::string shown(uint32_t character) {
  if (character >= 0x20 && character < 0x7F) return fmt::format("'{}'", static_cast<char>(character));
  return fmt::format("U+{:04X}", character);
}

PatternReader::PatternReader(std::string_view text, const GrammarLimits& limits) : limits_(limits) {
  while (!text.empty()) characters_.push_back(take_code_point(text));
}

bool PatternReader::next_is(char c, size_t ahead) const {
  return position_ + ahead < characters_.size() && characters_[position_ + ahead] == static_cast<uint8_t>(c);
}

bool PatternReader::next_is(std::string_view ascii) const {
  for (size_t i = 0; i < ascii.size(); ++i) {
    if (!next_is(ascii[i], i)) return false;
  }
  return true;
}

uint32_t PatternReader::peek(size_t ahead) const {
  return position_ + ahead < characters_.size() ? characters_[position_ + ahead] : 0;
}

uint32_t PatternReader::take() {
  return characters_[position_++];
}

bool PatternReader::take_if(char c) {
  if (!next_is(c)) return false;
  ++position_;
  return true;
}

bool PatternReader::take_if(std::string_view ascii) {
  if (!next_is(ascii)) return false;
  position_ += ascii.size();
  return true;
}

void PatternReader::fail(size_t position, const std::string& complaint) const {
  throw GrammarError(fmt::format("character {}", position + 1), complaint);
}

std::optional<CodePoints> PatternReader::take_class_escape(uint32_t letter) {
  switch (letter) {
    case 'd':
      return digits();
    case 'D':
      return digits().complement();
    case 'w':
      return word();
    case 'W':
      return word().complement();
    case 's':
      return space();
    case 'S':
      return space().complement();
    default:
      return std::nullopt;
  }
}

CodePoints PatternReader::take_escape(bool in_class) {
  const size_t begin = position_ - 1;
  if (at_end()) fail(begin, "a backslash stands at the end");
  const uint32_t letter = take();
  if (auto set = take_class_escape(letter)) return *std::move(set);
  return CodePoints::of(take_character_escape(letter, in_class, begin));
}

uint32_t PatternReader::take_character_escape(uint32_t letter, bool in_class, size_t begin) {
  switch (letter) {
    case 't':
      return '\t';
    case 'n':
      return '\n';
    case 'v':
      return '\v';
    case 'f':
      return '\f';
    case 'r':
      return '\r';
    case 'x':
      return take_hex(2);
    case 'u':
      return take_unicode_escape(begin);
    case 'U':
      return take_hex(8);
    case 'c':
      if (!is_letter(peek())) fail(begin, "\\c needs a letter");
      return take() % 32;
    case 'b':
      if (in_class) return '\b';
      break;
    case '0':
      if (!is_digit(peek())) return 0;
      break;
    default:
      break;
  }
  if (is_digit(letter)) fail(begin, "backreferences and octal escapes are not supported");
  if (is_letter(letter)) fail(begin, fmt::format("\\{} is not supported", static_cast<char>(letter)));
  return letter;
}

uint32_t PatternReader::take_hex(size_t digits) {
  uint32_t value = 0;
  for (size_t i = 0; i < digits; ++i) {
    const auto digit = hex_value(peek());
    if (!digit) fail(position_, fmt::format("{} hexadecimal digits must stand here", digits));
    value = value * 16 + *digit;
    ++position_;
  }
  if (value > CodePoints::kLast) fail(position_ - digits, "is beyond U+10FFFF");
  return value;
}

uint32_t PatternReader::take_unicode_escape(size_t begin) {
  uint32_t value = 0;
  if (take_if('{')) {
    size_t count = 0;
    for (auto digit = hex_value(peek()); digit && count < 8; digit = hex_value(peek()), ++count) {
      value = std::min(value * 16 + *digit, CodePoints::kLast + 1);
      ++position_;
    }
    if (count == 0 || !take_if('}')) fail(begin, "\\u{ needs hexadecimal digits and a closing brace");
  } else {
    value = take_hex(4);
    const bool is_high = value >= 0xD800 && value <= 0xDBFF;
    if (is_high && take_if("\\u")) {
      const uint32_t low = take_hex(4);
      if (low < 0xDC00 || low > 0xDFFF) fail(begin, "is half of a surrogate pair");
      value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
    }
  }
  if (value > CodePoints::kLast) fail(begin, "is beyond U+10FFFF");
  if (value >= 0xD800 && value <= 0xDFFF) fail(begin, "is half of a surrogate pair");
  return value;
}

CodePoints PatternReader::take_class() {
  const size_t begin = position_ - 1;
  const bool is_negated = take_if('^');
  CodePoints set;
  while (!take_if(']')) {
    if (at_end()) fail(begin, "the bracket is not closed");
    const size_t first_at = position_;
    uint32_t c = take();
    CodePoints part = c == '\\' ? take_escape(true) : CodePoints::of(c);
    const bool is_range = next_is('-') && !next_is(']', 1) && position_ + 1 < characters_.size();
    if (is_range) {
      ++position_;
      c = take();
      const CodePoints last = c == '\\' ? take_escape(true) : CodePoints::of(c);
      const auto is_single = [](const CodePoints& one) {
        return one.ranges().size() == 1 && one.ranges()[0].first == one.ranges()[0].last;
      };
      if (!is_single(part) || !is_single(last)) fail(first_at, "a range must be between two characters");
      const uint32_t from = part.ranges()[0].first;
      const uint32_t to = last.ranges()[0].first;
      if (from > to) fail(first_at, "the range ends before it begins");
      part = CodePoints();
      part.add(from, to);
    }
    set.add(part);
  }
  if (is_negated) set = set.complement();
  if (set.empty()) fail(begin, "the class has no characters");
  return set;
}

std::optional<uint32_t> PatternReader::peek_number(size_t& ahead) const {
  if (!is_digit(peek(ahead))) return std::nullopt;
  uint32_t value = 0;
  for (; is_digit(peek(ahead)); ++ahead) value = std::min<uint32_t>(value * 10 + (peek(ahead) - '0'), 100'000'000);
  return value;
}

std::optional<Count> PatternReader::take_braces() {
  size_t ahead = 1;
  const auto min = peek_number(ahead);
  if (!min) return std::nullopt;
  Count count{.min = *min, .max = *min};
  if (next_is(',', ahead)) {
    ++ahead;
    count.max = peek_number(ahead).value_or(Expression::kUnbounded);
  }
  if (!next_is('}', ahead)) return std::nullopt;
  if (count.max < count.min) fail(position_, "the count's maximum is less than its minimum");
  const uint32_t largest = count.max == Expression::kUnbounded ? count.min : count.max;
  if (largest > limits_.repeats_max) fail(position_, fmt::format("counts more than {}", limits_.repeats_max));
  position_ += ahead + 1;
  return count;
}

std::optional<Count> PatternReader::take_count() {
  if (take_if('*')) return Count{.min = 0, .max = Expression::kUnbounded};
  if (take_if('+')) return Count{.min = 1, .max = Expression::kUnbounded};
  if (take_if('?')) return Count{.min = 0, .max = 1};
  return next_is('{') ? take_braces() : std::nullopt;
}

}  // namespace bellwether::text::grammar
