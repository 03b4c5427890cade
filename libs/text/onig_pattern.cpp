#include "text/onig_pattern.h"

#include <fmt/format.h>

#include <array>

#include "text/tokenizer.h"

namespace bellwether::text {
namespace {

// Unicode's White_Space, and everything else, as members of a set.
constexpr std::string_view kSpace =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027})"
    R"(\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF})";

constexpr std::array<std::string_view, 7> kGroups = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string translate() {
    while (at_ < pattern_.size()) step();
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    throw TextError(fmt::format("the pattern {:?} has {} at byte {}, which is not supported", pattern_, what, at_));
  }

  [[nodiscard]] std::string_view rest() const { return pattern_.substr(at_); }

  void copy(size_t bytes) {
    out_.append(pattern_.substr(at_, bytes));
    at_ += bytes;
  }

  void step() {
    const char c = pattern_[at_];
    if (c == '\\') return escape();
    if (in_set_) return set_member(c);
    if (c == '[') return open_set();
    if (c == '(') return open_group();
    if (c == '^' || c == '$' || c == '.') refuse("an anchor or a dot");
    // Oniguruma repeats the repetition, PCRE2 makes it possessive.
    if (rest().starts_with("}+")) refuse("}+");
    copy(1);
  }

  void escape() {
    const char c = at_ + 1 < pattern_.size() ? pattern_[at_ + 1] : '\0';
    if (c == 's' || c == 'S') return space(c == 's');
    const bool is_alphanumeric = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_alphanumeric && std::string_view("pPdDrntfx").find(c) == std::string_view::npos) refuse("an escape");
    if (c == '\0') refuse("an escape of nothing");
    // The braces of \p{...} are not those of a repetition.
    const size_t close = rest().substr(2).starts_with('{') ? rest().find('}') : 1;
    if (close == std::string_view::npos) refuse("an open brace");
    copy(close + 1);
  }

  void space(bool positive) {
    at_ += 2;
    if (in_set_) {
      out_.append(positive ? kSpace : kNotSpace);
    } else {
      out_.append(positive ? "[" : "[^").append(kSpace).append("]");
    }
  }

  void open_set() {
    in_set_ = true;
    copy(rest().starts_with("[^") ? 2 : 1);
    // Whether this closes the set or stands for itself depends on the syntax.
    if (rest().starts_with(']')) refuse("an empty set");
  }

  void set_member(char c) {
    if (c == '[') refuse("a set within a set");
    if (rest().starts_with("&&")) refuse("an intersection of sets");
    in_set_ = c != ']';
    copy(1);
  }

  void open_group() {
    size_t length = 1;
    if (rest().starts_with("(?") || rest().starts_with("(*")) {
      length = 0;
      for (const std::string_view group : kGroups) {
        if (rest().starts_with(group)) length = group.size();
      }
      if (length == 0) refuse("a group of a special kind");
    }
    copy(length);
  }

  std::string_view pattern_;
  size_t at_ = 0;
  bool in_set_ = false;
  std::string out_;
};

}  // namespace

std::string pcre_from_onig(std::string_view pattern) {
  return Translator(pattern).translate();
}

}  // namespace bellwether::text
