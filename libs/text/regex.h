// Regular expressions as Hugging Face's pre-tokenizers mean them, matched by PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;
struct pcre2_real_jit_stack_8;

namespace bellwether::text {

struct PcreDeleter {
  void operator()(pcre2_real_code_8* code) const;
  void operator()(pcre2_real_match_context_8* context) const;
  void operator()(pcre2_real_match_data_8* data) const;
  void operator()(pcre2_real_jit_stack_8* stack) const;
};

// A compiled pattern. Immutable: usable from several threads, each with its own Matcher.
class Regex {
 public:
  // Of a pattern in Oniguruma's syntax. Throws TextError for one that PCRE2 refuses, that may match nothing, or that
  // has a construct which the two understand differently.
  static Regex from_pattern(std::string_view pattern);
  // Of a text to be found as it is. REQUIRES: not empty.
  static Regex from_literal(std::string_view literal);

 private:
  friend class RegexMatcher;
  Regex(std::string_view pcre_pattern, bool literal);

  std::unique_ptr<pcre2_real_code_8, PcreDeleter> code_;
  bool jit_ = false;  // machine code could be made
};

// Where a pattern matches.
struct RegexMatch {
  size_t begin;  // byte offsets
  size_t end;
};

// What one thread needs to match. REQUIRES: `regex` outlives this.
class RegexMatcher {
 public:
  explicit RegexMatcher(const Regex& regex);
  // The first match at `from` or later. REQUIRES: `text` is UTF-8 and `from` is where a character begins. Throws
  // TextError when the match needs more time or memory than a tokenizer's patterns should.
  [[nodiscard]] std::optional<RegexMatch> find(std::string_view text, size_t from);

 private:
  [[nodiscard]] int match(std::string_view text, size_t from);

  const Regex& regex_;
  std::unique_ptr<pcre2_real_match_context_8, PcreDeleter> context_;
  std::unique_ptr<pcre2_real_match_data_8, PcreDeleter> data_;
  std::unique_ptr<pcre2_real_jit_stack_8, PcreDeleter> stack_;  // made when the default one has been too small
};

}  // namespace bellwether::text
