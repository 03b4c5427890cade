// Python's str, over UTF-8: a character is a code point, space is what str.isspace() says. Texts are well-formed UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::text::jinja {

// The characters of a text, one after the other: for (std::string_view character : Characters(text)).
class Characters {
 public:
  class Iterator {
   public:
    using difference_type = std::ptrdiff_t;
    using value_type = std::string_view;
    explicit Iterator(std::string_view rest) : rest_(rest) {}
    std::string_view operator*() const { return rest_.substr(0, length()); }
    Iterator& operator++() {
      rest_.remove_prefix(length());
      return *this;
    }
    bool operator!=(const Iterator& other) const { return rest_.size() != other.rest_.size(); }

   private:
    [[nodiscard]] size_t length() const;
    std::string_view rest_;
  };

  explicit Characters(std::string_view text) : text_(text) {}
  [[nodiscard]] Iterator begin() const { return Iterator(text_); }
  [[nodiscard]] Iterator end() const { return Iterator(text_.substr(text_.size())); }

 private:
  std::string_view text_;
};

[[nodiscard]] size_t count_characters(std::string_view text);
[[nodiscard]] bool is_space(std::string_view character);
void append_utf8(uint32_t code_point, std::string& text);

enum class Sides { kLeft, kRight, kBoth };
// Without the characters of `characters`, or without space, at its ends.
[[nodiscard]] std::string_view strip(std::string_view text, const std::optional<std::string_view>& characters,
                                     Sides sides);

// At every `separator`, or at runs of space, then without empty parts; at most `splits_max` times, from the right for
// kRight. REQUIRES: a separator is not empty.
[[nodiscard]] std::vector<std::string_view> split(std::string_view text,
                                                  const std::optional<std::string_view>& separator,
                                                  std::optional<size_t> splits_max, Sides from);
[[nodiscard]] std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);
// An empty `old_text` stands between all characters.
[[nodiscard]] std::string replace(std::string_view text, std::string_view old_text, std::string_view new_text,
                                  std::optional<size_t> times_max);
[[nodiscard]] size_t count(std::string_view text, std::string_view part);  // apart from each other

// By Unicode's simple mappings: "ß" stays, where Python makes "SS" of it.
[[nodiscard]] std::string to_upper(std::string_view text);
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string capitalize(std::string_view text);  // the first character upper, the rest lower
[[nodiscard]] std::string title(std::string_view text);       // every run of letters so, as str.title()
// As the filter title: parts that begin after space, a hyphen, or an opening bracket.
[[nodiscard]] std::string title_parts(std::string_view text);
[[nodiscard]] bool is_upper(std::string_view text);
[[nodiscard]] bool is_lower(std::string_view text);
[[nodiscard]] bool is_letter(std::string_view character);
[[nodiscard]] bool is_digit(std::string_view character);

// What repr() writes, quotes included. Of the characters beyond ASCII that are not printable the usual ones are
// escaped: controls, spaces, marks of direction, private ones.
void append_python_literal(std::string_view text, std::string& out);

}  // namespace bellwether::text::jinja
