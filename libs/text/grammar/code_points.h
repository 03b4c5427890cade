// Sets of Unicode characters, and how a text that holds them is written.
#pragma once

#include <cstdint>
#include <vector>

#include "text/grammar/nfa.h"

namespace bellwether::text::grammar {

// Of code points without surrogates (U+D800 to U+DFFF), which no UTF-8 has.
class CodePoints {
 public:
  static constexpr uint32_t kLast = 0x10FFFF;
  struct Range {
    uint32_t first;
    uint32_t last;
    friend bool operator==(const Range&, const Range&) = default;
  };

  CodePoints() = default;
  [[nodiscard]] static CodePoints all();
  [[nodiscard]] static CodePoints of(uint32_t code_point);

  void add(uint32_t first, uint32_t last);  // REQUIRES: first <= last <= kLast
  void add(const CodePoints& others);
  [[nodiscard]] CodePoints complement() const;
  [[nodiscard]] CodePoints without(const CodePoints& others) const;
  [[nodiscard]] CodePoints within(const CodePoints& others) const;
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] const std::vector<Range>& ranges() const { return ranges_; }  // sorted, apart from each other

 private:
  std::vector<Range> ranges_;
};

// How characters become bytes of the generated text.
enum class Writing {
  kPlain,       // UTF-8
  kJsonString,  // as the inside of a JSON string, with escapes where they must be, and one for each character only
};

// Adds one character of the set, between states that are there. Nothing, if the set is empty.
void add_character(Nfa& nfa, State from, const CodePoints& set, Writing writing, State to);

// What JSON strings cannot hold unescaped: controls, the quotation mark, the backslash.
[[nodiscard]] const CodePoints& json_escaped();

}  // namespace bellwether::text::grammar
