// Ids to text while they arrive.
#pragma once

#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace bellwether::text {

// One stream's state. push() returns the text that is certain: whole UTF-8 characters only. A character whose bytes
// come in several tokens appears with the last of them; bytes that cannot become a character become U+FFFD, by the
// rule of one replacement for each maximal ill-formed part (Unicode 15, section 3.9, as WHATWG's decoder does).
class Detokenizer {
 public:
  // Special tokens are left out, but for those in `kept_special_ids` (the tool-call markers, say, for a parser to see),
  // unless all are kept. REQUIRES: `tokenizer` outlives this.
  explicit Detokenizer(const Tokenizer& tokenizer, std::vector<TokenId> kept_special_ids = {},
                       bool keeps_all_special = false)
      : tokenizer_(tokenizer), kept_special_ids_(std::move(kept_special_ids)), keeps_all_special_(keeps_all_special) {}

  [[nodiscard]] std::string push(TokenId id);
  [[nodiscard]] std::string finish();  // what was held back, U+FFFD if a character is incomplete

 private:
  const Tokenizer& tokenizer_;
  std::vector<TokenId> kept_special_ids_;
  bool keeps_all_special_;
  std::string held_;  // bytes of an incomplete character, at most 3
};

}  // namespace bellwether::text
