#include "api-gateway/token_order.h"

#include <limits>
#include <utility>

namespace bellwether::gateway {

namespace {

bool is_consistent(const v1::TokenEvent& event, bool logprobs) {
  const uint64_t ids = static_cast<uint64_t>(event.ids_size());
  if (event.first_index() + ids > std::numeric_limits<uint32_t>::max()) return false;
  const int prompt = event.prompt_logprobs_size();
  if (prompt == 0 ? event.prompt_top_logprobs_size() > 0 : event.prompt_top_logprobs_size() % prompt != 0) return false;
  if (!logprobs) return true;
  if (event.logprobs_size() != event.ids_size()) return false;
  return ids == 0 ? event.top_logprobs_size() == 0 : event.top_logprobs_size() % event.ids_size() == 0;
}

}  // namespace

void TokenOrder::push(const v1::TokenEvent& event) {
  if (finished_ || !is_consistent(event, logprobs_)) return;
  append_prompt(event);
  if (event.first_index() > next_index()) {
    if (held_.size() >= kHeldMax) return;
    const auto [held, is_new] = held_.try_emplace(event.first_index(), event);
    const bool says_more =
        event.ids_size() > held->second.ids_size() || event.finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
    if (!is_new && says_more) held->second = event;
    return;
  }
  append(event);
  while (!held_.empty() && !finished_ && held_.begin()->first <= next_index()) {
    append(held_.extract(held_.begin()).mapped());
  }
  if (finished_) held_.clear();
}

void TokenOrder::append(const v1::TokenEvent& event) {
  const uint32_t known = next_index() - event.first_index();  // ids that came before
  const auto ids = static_cast<uint32_t>(event.ids_size());
  const bool finishes = event.finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
  if (known < ids) {
    ready_.ids.insert(ready_.ids.end(), event.ids().begin() + known, event.ids().end());
    ids_.insert(ids_.end(), event.ids().begin() + known, event.ids().end());
    if (logprobs_) {
      const uint32_t alternatives = static_cast<uint32_t>(event.top_logprobs_size()) / ids;
      ready_.logprobs.insert(ready_.logprobs.end(), event.logprobs().begin() + known, event.logprobs().end());
      ready_.top_logprobs.insert(ready_.top_logprobs.end(), event.top_logprobs().begin() + known * alternatives,
                                 event.top_logprobs().end());
    }
  }
  if (!finishes) return;
  finished_ = true;
  ready_.finish_reason = event.finish_reason();
  ready_.usage = event.usage();
  ready_.error = event.error();
}

void TokenOrder::append_prompt(const v1::TokenEvent& event) {
  if (event.prompt_first_index() > next_prompt_index_) return;
  const auto tokens = static_cast<uint32_t>(event.prompt_logprobs_size());
  const uint32_t known = next_prompt_index_ - event.prompt_first_index();
  if (known >= tokens) return;
  const uint32_t alternatives = static_cast<uint32_t>(event.prompt_top_logprobs_size()) / tokens;
  next_prompt_index_ += tokens - known;
  ready_.prompt_logprobs.insert(ready_.prompt_logprobs.end(), event.prompt_logprobs().begin() + known,
                                event.prompt_logprobs().end());
  ready_.prompt_top_logprobs.insert(ready_.prompt_top_logprobs.end(),
                                    event.prompt_top_logprobs().begin() + known * alternatives,
                                    event.prompt_top_logprobs().end());
}

TokenPiece TokenOrder::take() {
  return std::exchange(ready_, {});
}

}  // namespace bellwether::gateway
