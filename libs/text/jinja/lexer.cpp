#include "text/jinja/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "text/jinja/budget.h"
#include "text/jinja/text_operations.h"
#include "text/utf8.h"

namespace bellwether::text::jinja {
namespace {

// Longer ones first.
constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                           "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ","};

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_number_part(char c) {
  return c >= '0' && c <= '9';
}

// Line ends as "\n", without the last one.
std::string normalized(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text.push_back(source[i]);
      continue;
    }
    text.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}
  std::vector<Token> run();

 private:
  [[noreturn]] void fail(std::string_view message) const {
    throw LoadError(fmt::format("line {}: {}", line_, message));
  }
  [[nodiscard]] std::string_view rest() const { return std::string_view(source_).substr(at_); }
  void skip(size_t bytes);
  void skip_space();
  void add(TokenKind kind, std::string text = {}) {
    tokens_.push_back({.kind = kind, .line = line_, .text = std::move(text)});
  }

  void read_data();
  void read_tag();
  void read_comment();
  void read_raw(size_t begin_bytes);
  void read_inside(std::string_view end, TokenKind end_kind);
  [[nodiscard]] bool read_end(std::string_view end, TokenKind end_kind);
  void end_tag(std::string_view sign);
  void read_token();
  void read_number();
  void read_string();
  void read_escape(std::string& text);
  [[nodiscard]] uint32_t read_digits(size_t digits, int base);
  void read_operator();
  [[nodiscard]] std::optional<size_t> raw_tag_bytes() const;
  [[nodiscard]] std::string_view before_tag(std::string_view data, std::string_view tag) const;

  const std::string_view source_;
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool line_starts_ = true;  // where the data begins that is read next
  std::string brackets_;     // open ones
  std::vector<Token> tokens_;
};

void Lexer::skip(size_t bytes) {
  line_ += static_cast<uint32_t>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                            source_.begin() + static_cast<std::ptrdiff_t>(at_ + bytes), '\n'));
  at_ += bytes;
}

void Lexer::skip_space() {
  skip(rest().size() - strip(rest(), std::nullopt, Sides::kLeft).size());
}

// What is left of the data before a tag. `tag` begins with its opening.
std::string_view Lexer::before_tag(std::string_view data, std::string_view tag) const {
  const char sign = tag.size() > 2 ? tag[2] : '\0';
  if (sign == '-') return strip(data, std::nullopt, Sides::kRight);
  if (sign == '+' || tag.starts_with("{{")) return data;
  const size_t line_begin = data.rfind('\n') + 1;
  if (line_begin == 0 && !line_starts_) return data;
  return strip(data.substr(line_begin), std::nullopt, Sides::kLeft).empty() ? data.substr(0, line_begin) : data;
}

void Lexer::read_data() {
  size_t end = at_;
  do {
    end = source_.find('{', end == at_ ? at_ : end);
    if (end == std::string_view::npos) break;
    const char second = end + 1 < source_.size() ? source_[end + 1] : '\0';
    if (second == '{' || second == '%' || second == '#') break;
    ++end;
  } while (true);
  const bool ends_here = end == std::string_view::npos;
  const std::string_view data = source_.substr(at_, ends_here ? std::string_view::npos : end - at_);
  const std::string_view kept = ends_here ? data : before_tag(data, source_.substr(end));
  if (!kept.empty()) add(TokenKind::kData, std::string(kept));
  skip(data.size());
}

// Of a tag {% raw %} that stands here.
std::optional<size_t> Lexer::raw_tag_bytes() const {
  std::string_view text = rest();
  if (!text.starts_with("{%")) return std::nullopt;
  text.remove_prefix(2);
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  text = strip(text, std::nullopt, Sides::kLeft);
  if (!text.starts_with("raw")) return std::nullopt;
  text = strip(text.substr(3), std::nullopt, Sides::kLeft);
  if (text.starts_with("-%}")) return rest().size() - strip(text.substr(3), std::nullopt, Sides::kLeft).size();
  if (text.starts_with("%}")) return rest().size() - text.size() + 2;
  return std::nullopt;
}

void Lexer::read_raw(size_t begin_bytes) {
  const uint32_t begin_line = line_;
  skip(begin_bytes);
  line_starts_ = source_[at_ - 1] == '\n';
  for (size_t tag = source_.find("{%", at_); tag != std::string_view::npos; tag = source_.find("{%", tag + 2)) {
    std::string_view text = source_.substr(tag + 2);
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    text = strip(text, std::nullopt, Sides::kLeft);
    if (!text.starts_with("endraw")) continue;
    text = strip(text.substr(6), std::nullopt, Sides::kLeft);
    const std::string_view sign = text.substr(0, text.starts_with('-') || text.starts_with('+') ? 1 : 0);
    if (!text.substr(sign.size()).starts_with("%}")) continue;
    const std::string_view data = source_.substr(at_, tag - at_);
    const std::string_view kept = before_tag(data, source_.substr(tag));
    if (!kept.empty()) add(TokenKind::kData, std::string(kept));
    skip(rest().size() - text.size() + sign.size() + 2);
    return end_tag(sign);
  }
  line_ = begin_line;
  fail("{% raw %} has no {% endraw %}");
}

// Behind the end of a {% %} or {# #}.
void Lexer::end_tag(std::string_view sign) {
  if (sign == "-") {
    skip_space();
  } else if (sign.empty() && rest().starts_with('\n')) {
    skip(1);
  }
}

void Lexer::read_comment() {
  const size_t end = source_.find("#}", at_ + 2);
  if (end == std::string_view::npos) fail("the comment has no end");
  const std::string_view sign = source_.substr(end - 1, 1);
  const bool signed_end = end - 1 >= at_ + 2 && (sign == "-" || sign == "+");
  skip(end + 2 - at_);
  end_tag(signed_end ? sign : "");
}

bool Lexer::read_end(std::string_view end, TokenKind end_kind) {
  std::string_view sign;
  if (rest().starts_with('-') || (rest().starts_with('+') && end_kind == TokenKind::kTagEnd))
    sign = rest().substr(0, 1);
  if (!brackets_.empty() || !rest().substr(sign.size()).starts_with(end)) return false;
  add(end_kind);
  skip(sign.size() + end.size());
  if (end_kind == TokenKind::kTagEnd) {
    end_tag(sign);
  } else if (sign == "-") {
    skip_space();
  }
  return true;
}

void Lexer::read_inside(std::string_view end, TokenKind end_kind) {
  const uint32_t begin_line = line_;
  skip(2);
  if (rest().starts_with('-') || rest().starts_with('+')) skip(1);
  while (true) {
    skip_space();
    if (at_ == source_.size()) {
      line_ = begin_line;
      fail(fmt::format("the tag has no {}", end));
    }
    if (read_end(end, end_kind)) return;
    read_token();
  }
}

void Lexer::read_tag() {
  if (const auto raw = raw_tag_bytes()) {
    read_raw(*raw);
  } else if (rest().starts_with("{#")) {
    read_comment();
  } else if (rest().starts_with("{{")) {
    add(TokenKind::kPrintBegin);
    read_inside("}}", TokenKind::kPrintEnd);
  } else {
    add(TokenKind::kTagBegin);
    read_inside("%}", TokenKind::kTagEnd);
  }
  line_starts_ = source_[at_ - 1] == '\n';
}

void Lexer::read_token() {
  const char c = source_[at_];
  if (is_name_start(c)) {
    size_t end = at_;
    while (end < source_.size() && (is_name_start(source_[end]) || is_number_part(source_[end]))) ++end;
    add(TokenKind::kName, std::string(source_.substr(at_, end - at_)));
    at_ = end;
  } else if (is_number_part(c)) {
    read_number();
  } else if (c == '\'' || c == '"') {
    read_string();
  } else {
    read_operator();
  }
}

// Digits and low lines between them; then a fraction, an exponent. After a dot only an index: x.0.1.
void Lexer::read_number() {
  const auto digits_end = [&](size_t from) {
    size_t end = from;
    while (end < source_.size() && (is_number_part(source_[end]) || (source_[end] == '_' && end > from))) ++end;
    return end;
  };
  const auto is_digit_at = [&](size_t i) { return i < source_.size() && is_number_part(source_[i]); };
  const bool is_index = !tokens_.empty() && tokens_.back().text == "." && at_ > 0 && source_[at_ - 1] == '.';
  size_t end = digits_end(at_);
  bool is_float = false;
  if (!is_index && end < source_.size() && source_[end] == '.' && is_digit_at(end + 1)) {
    is_float = true;
    end = digits_end(end + 1);
  }
  if (!is_index && end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
    const size_t sign = end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-') ? 1 : 0;
    if (is_digit_at(end + 1 + sign)) {
      is_float = true;
      end = digits_end(end + 1 + sign);
    }
  }
  if (end < source_.size() && is_name_start(source_[end])) fail("a number is followed by a letter");
  std::string digits(source_.substr(at_, end - at_));
  if (digits.back() == '_') fail("a number ends with a low line");
  std::erase(digits, '_');
  Token token{.kind = is_float ? TokenKind::kFloat : TokenKind::kInteger, .line = line_};
  const char* const last = digits.data() + digits.size();
  const auto read = is_float ? std::from_chars(digits.data(), last, token.number)
                             : std::from_chars(digits.data(), last, token.integer);
  if (read.ec != std::errc() || read.ptr != last) fail("a number is too large");
  if (!is_float && digits.size() > 1 && digits[0] == '0' && token.integer != 0) fail("a number begins with 0");
  tokens_.push_back(std::move(token));
  at_ = end;
}

void Lexer::read_string() {
  const uint32_t begin_line = line_;
  const char quote = source_[at_];
  Token token{.kind = TokenKind::kString, .line = line_};
  skip(1);
  while (at_ < source_.size() && source_[at_] != quote) {
    if (source_[at_] == '\\') {
      skip(1);
      read_escape(token.text);
    } else {
      token.text.push_back(source_[at_]);
      skip(1);
    }
  }
  if (at_ >= source_.size()) {
    line_ = begin_line;
    fail("the string has no end");
  }
  skip(1);
  tokens_.push_back(std::move(token));
}

uint32_t Lexer::read_digits(size_t digits, int base) {
  const std::string_view text = rest().substr(0, digits);
  uint32_t value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.size() != digits || read.ptr != text.data() + digits) fail("an escape in a string has too few digits");
  skip(digits);
  return value;
}

// Behind the backslash, as Python reads it.
void Lexer::read_escape(std::string& text) {
  constexpr std::string_view kNames = "\n\\'\"abfnrtv";
  constexpr std::array<std::string_view, 11> kMeanings = {"",   "\\", "'",  "\"", "\a", "\b",
                                                          "\f", "\n", "\r", "\t", "\v"};
  if (at_ >= source_.size()) fail("the string has no end");
  const char c = source_[at_];
  uint32_t code_point = 0;
  if (const size_t known = kNames.find(c); known != std::string_view::npos) {
    skip(1);
    text.append(kMeanings[known]);
    return;
  }
  if (c >= '0' && c <= '7') {
    size_t digits = 1;
    while (digits < 3 && at_ + digits < source_.size() && source_[at_ + digits] >= '0' &&
           source_[at_ + digits] <= '7') {
      ++digits;
    }
    code_point = read_digits(digits, 8);
  } else if (c == 'x' || c == 'u' || c == 'U') {
    skip(1);
    code_point = read_digits(c == 'x' ? 2 : c == 'u' ? 4 : 8, 16);
  } else if (c == 'N') {
    fail("\\N in a string is not supported");
  } else {
    text.push_back('\\');  // and what follows stands for itself
    return;
  }
  if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF)) {
    fail("an escape in a string is no character");
  }
  append_utf8(code_point, text);
}

void Lexer::read_operator() {
  const auto* const found = std::find_if(std::begin(kOperators), std::end(kOperators),
                                         [&](std::string_view each) { return rest().starts_with(each); });
  if (found == std::end(kOperators)) {
    fail(fmt::format("unexpected character {}", rest().substr(0, next_utf8(rest()).length)));
  }
  const char c = (*found)[0];
  if (c == '(' || c == '[' || c == '{') brackets_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
  if (c == ')' || c == ']' || c == '}') {
    if (brackets_.empty() || brackets_.back() != c) fail(fmt::format("unexpected '{}'", c));
    brackets_.pop_back();
  }
  add(TokenKind::kOperator, std::string(*found));
  at_ += found->size();
}

std::vector<Token> Lexer::run() {
  while (at_ < source_.size()) {
    read_data();
    if (at_ < source_.size()) read_tag();
  }
  add(TokenKind::kEnd);
  return std::move(tokens_);
}

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  if (!is_valid_utf8(source)) throw LoadError("line 1: the template is not UTF-8");
  const std::string text = normalized(source);
  return Lexer(text).run();
}

}  // namespace bellwether::text::jinja
