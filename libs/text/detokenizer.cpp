#include "text/detokenizer.h"

#include <algorithm>

#include "text/utf8.h"

namespace bellwether::text {

std::string Detokenizer::push(TokenId id) {
  const bool kept = keeps_all_special_ ||
                    std::find(kept_special_ids_.begin(), kept_special_ids_.end(), id) != kept_special_ids_.end();
  if (tokenizer_.is_special(id) && !kept) return {};
  held_.append(tokenizer_.bytes(id));
  std::string out;
  held_.erase(0, held_.size() - append_repaired_utf8(held_, out));
  return out;
}

std::string Detokenizer::finish() {
  const bool incomplete = !held_.empty();
  held_.clear();
  return incomplete ? std::string(kReplacementCharacter) : std::string();
}

}  // namespace bellwether::text
