// One text that is being generated under a grammar.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "text/grammar/recognizer.h"
#include "text/grammar/token_masks.h"

namespace bellwether::text::grammar {

// Belongs to one thread at a time.
class Matcher {
 public:
  // `end_ids`: tokens that may come when the text may end, and only then; nothing but one of them comes afterwards.
  Matcher(std::shared_ptr<TokenMasks> masks, std::vector<TokenId> end_ids);

  // Sets the bits of the tokens that may come. REQUIRES: `allowed` has mask_words() words or more, all 0. There is
  // always one, if there are end ids: from every text read so far there is a way to the end.
  void fill_allowed(std::span<uint64_t> allowed);

  // States whose masks are not kept, so that fill_allowed() would have to compute them, which takes milliseconds:
  // another thread may do it before (TokenMasks::of()).
  [[nodiscard]] std::vector<State> missing_masks() const;

  // Reads the next token. A token that may not come, or of a text that can be read in too many ways, ends the text:
  // it is broken, and only an end id may come.
  void accept(TokenId id);

  [[nodiscard]] bool may_end() const { return is_ended_ || is_broken_ || recognizer_.may_end(); }
  [[nodiscard]] bool is_broken() const { return is_broken_; }

 private:
  void fill_by_items(std::span<uint64_t> allowed);
  void fill_after(const Item& item, const TokenMasks::StateMask& mask, std::span<uint64_t> allowed);
  void walk_after(const TokenMasks::Part& part, std::span<uint64_t> allowed);

  std::shared_ptr<TokenMasks> masks_;
  const std::vector<TokenId> end_ids_;
  Recognizer recognizer_;
  uint64_t work_end_ = 0;  // of the mask that is being made
  size_t sets_after_compaction_ = 0;
  std::vector<Item> last_items_;  // for which last_words_ was made; often the next set has the same, in a string
  std::vector<uint64_t> last_words_;
  bool is_ended_ = false;  // an end id came
  bool is_broken_ = false;
};

}  // namespace bellwether::text::grammar
