// tokenizer.json, read and checked.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"

namespace bellwether::text {

struct AddedToken {
  std::string content;
  TokenId id;
  bool special;
  bool normalized;  // searched for after those that are not, in the text between them
};

struct TokenizerFile {
  Bpe::Vocabulary vocabulary;                           // tokens of bytes: what merging can make
  std::vector<std::pair<std::string, TokenId>> opaque;  // vocabulary entries that are not of bytes, as text
  std::vector<BpeMerge> merges;
  bool ignore_merges = false;
  std::vector<AddedToken> added_tokens;  // none empty, contents distinct
  PreTokenizer pretokenizer;
  TokenId id_limit = 0;  // one more than the largest id; no two tokens have the same id
};

// Throws TextError for a file that is malformed, contradicts itself, or needs what Tokenizer does not support.
[[nodiscard]] TokenizerFile read_tokenizer_file(std::string_view tokenizer_json);

}  // namespace bellwether::text
