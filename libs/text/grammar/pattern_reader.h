// What the readers of regular expressions and of EBNF share: characters with their position, escapes, classes, counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/grammar/budget.h"
#include "text/grammar/code_points.h"

namespace bellwether::text::grammar {

struct Count {
  uint32_t min = 0;
  uint32_t max = 0;  // Expression::kUnbounded
};

// Positions count characters, from 0; complaints count from 1. All of it throws GrammarError.
class PatternReader {
 public:
  // REQUIRES: `text` is UTF-8.
  PatternReader(std::string_view text, const GrammarLimits& limits);

  [[nodiscard]] bool at_end() const { return position_ == characters_.size(); }
  [[nodiscard]] size_t position() const { return position_; }
  [[nodiscard]] bool next_is(char c, size_t ahead = 0) const;
  [[nodiscard]] bool next_is(std::string_view ascii) const;
  [[nodiscard]] uint32_t peek(size_t ahead = 0) const;  // 0 beyond the end
  uint32_t take();                                      // REQUIRES: !at_end()
  bool take_if(char c);
  bool take_if(std::string_view ascii);
  [[noreturn]] void fail(size_t position, const std::string& complaint) const;

  // After a backslash: one of the characters that it stands for.
  [[nodiscard]] CodePoints take_escape(bool in_class);
  // After the opening bracket, up to the closing one.
  [[nodiscard]] CodePoints take_class();
  // A quantifier's `*`, `+`, `?` or braces; nothing, and nothing taken, when there is none. Braces that are no count
  // are none.
  [[nodiscard]] std::optional<Count> take_count();

 private:
  [[nodiscard]] std::optional<CodePoints> take_class_escape(uint32_t letter);
  [[nodiscard]] uint32_t take_character_escape(uint32_t letter, bool in_class, size_t begin);
  [[nodiscard]] uint32_t take_hex(size_t digits);
  [[nodiscard]] uint32_t take_unicode_escape(size_t begin);
  [[nodiscard]] std::optional<uint32_t> peek_number(size_t& ahead) const;
  [[nodiscard]] std::optional<Count> take_braces();

  const GrammarLimits& limits_;
  std::vector<uint32_t> characters_;
  size_t position_ = 0;
};

[[nodiscard]] std::string shown(uint32_t character);  // for a complaint

}  // namespace bellwether::text::grammar
