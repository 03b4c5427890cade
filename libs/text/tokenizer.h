// Byte-level BPE, as Hugging Face's tokenizer.json describes it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::text {

using TokenId = int32_t;

// A tokenizer file or a text that cannot be used; the message says what and where.
class TextError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Immutable after construction: encode() and the rest may be called from several threads at once.
//
// Supported: model BPE without byte fallback, unknown token, dropout, prefixes or suffixes; no normalizer;
// pre-tokenizer ByteLevel (use_regex false, or true for GPT-2's own pattern), or a Sequence of Split (Regex or String;
// Isolated; not inverted) and ByteLevel; ignore_merges; added tokens. Anything else is a TextError that names it: a
// tokenizer that is only nearly right is wrong.
class Tokenizer {
 public:
  static Tokenizer from_json(std::string_view tokenizer_json);  // throws TextError
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Ids of a text. Added tokens in it (special ones too, as Hugging Face does) become their one id. No
  // begin-of-sentence token is added. Throws TextError when the text is not UTF-8.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text) const;

  // The bytes that a token stands for, which may be a part of a UTF-8 character; "" for an id that stands for nothing.
  // Valid as long as the tokenizer.
  [[nodiscard]] std::string_view bytes(TokenId id) const;

  // The text of ids, special tokens included unless skipped. Invalid UTF-8 becomes U+FFFD.
  [[nodiscard]] std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const;

  [[nodiscard]] bool is_special(TokenId id) const;
  [[nodiscard]] std::optional<TokenId> id_of_added_token(std::string_view content) const;
  [[nodiscard]] TokenId id_limit() const;  // one more than the largest id

 private:
  struct Data;
  explicit Tokenizer(std::unique_ptr<const Data> data);
  std::unique_ptr<const Data> data_;
};

// True when the bytes are well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF).
[[nodiscard]] bool is_valid_utf8(std::string_view bytes);

// The first `bytes_max` bytes at most, no character cut. REQUIRES: valid UTF-8.
[[nodiscard]] std::string_view utf8_prefix(std::string_view text, size_t bytes_max);

}  // namespace bellwether::text
