// Token events of one choice into order: each index once, without gaps, whatever the bus doubled, lost or overtook, and
// over all attempts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bellwether/v1/generate.pb.h"
#include "text/tokenizer.h"

namespace bellwether::gateway {

// The next tokens of one choice, in order.
struct TokenPiece {
  uint32_t choice = 0;
  std::vector<text::TokenId> ids;
  std::vector<v1::TokenLogprob> logprobs;      // one for each id, or none
  std::vector<v1::TokenLogprob> top_logprobs;  // the same number for each id, concatenated
  // Of the prompt's next tokens, from its second on; the same number of alternatives for each.
  std::vector<v1::TokenLogprob> prompt_logprobs;
  std::vector<v1::TokenLogprob> prompt_top_logprobs;
  v1::FinishReason finish_reason = v1::FINISH_REASON_UNSPECIFIED;
  v1::Usage usage;    // with finish_reason
  std::string error;  // with FINISH_REASON_ERROR

  [[nodiscard]] bool finished() const { return finish_reason != v1::FINISH_REASON_UNSPECIFIED; }
  [[nodiscard]] bool empty() const { return ids.empty() && !finished(); }
};

class TokenOrder {
 public:
  explicit TokenOrder(bool logprobs) : logprobs_(logprobs) {}

  // Takes an event of the attempt that is read, but none with FINISH_REASON_LOST. One that contradicts itself (logprobs
  // missing, say) is dropped, and so is one that would make more than kHeldMax wait: both then count as lost.
  // Log-probabilities of the prompt do not wait: those that overtake others are lost.
  void push(const v1::TokenEvent& event);

  [[nodiscard]] const TokenPiece& ready() const { return ready_; }
  [[nodiscard]] TokenPiece take();                               // what is ready
  [[nodiscard]] bool has_gap() const { return !held_.empty(); }  // tokens came that earlier ones are missing for
  [[nodiscard]] uint32_t next_index() const { return static_cast<uint32_t>(ids_.size()); }
  // Of the first token of the prompt whose log-probability has not come.
  [[nodiscard]] uint32_t next_prompt_index() const { return next_prompt_index_; }
  [[nodiscard]] const std::vector<uint32_t>& ids() const { return ids_; }  // all that came in order, taken or not
  [[nodiscard]] bool finished() const { return finished_; }

  // Nothing more is wanted; what comes is dropped.
  void close() {
    closed_ = !finished_;
    finished_ = true;
  }
  [[nodiscard]] bool closed() const { return closed_; }  // before the head had finished
  // A new attempt goes on after ids().
  void start_attempt() { held_.clear(); }

  static constexpr size_t kHeldMax = 1024;  // events

 private:
  void append(const v1::TokenEvent& event);
  void append_prompt(const v1::TokenEvent& event);

  bool logprobs_;
  std::vector<uint32_t> ids_;
  uint32_t next_prompt_index_ = 1;
  bool finished_ = false;
  bool closed_ = false;
  TokenPiece ready_;
  std::map<uint32_t, v1::TokenEvent> held_;  // by first index, larger than next_index()
};

}  // namespace bellwether::gateway
