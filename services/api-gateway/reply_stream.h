// One client's reply while it is generated: tokens in, parts of the reply out, the measuring done on the way.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>

#include <boost/asio/awaitable.hpp>

#include "api-gateway/gateway_metrics.h"
#include "api-gateway/generation.h"
#include "api-gateway/output_text.h"
#include "api-gateway/reply_format.h"

namespace bellwether::gateway {

class ReplyStream {
 public:
  // One generation for each prompt, all with the same number of choices. REQUIRES: the generations are submitted,
  // notify `wakeup` and outlive this, as does `metrics`. `arrived`: when the client's request came.
  ReplyStream(std::deque<Generation>& generations, std::shared_ptr<Wakeup> wakeup, ModelMetrics& metrics,
              std::shared_ptr<const ServedModel> model, const OutputOptions& options, mesh::TimePoint arrived);

  // What came next of one of the choices; nothing at `wake_at`. Throws what Generation::poll() throws. A choice that
  // ends early is cancelled. REQUIRES: !finished().
  boost::asio::awaitable<std::optional<ReplyPart>> next(mesh::TimePoint wake_at);

  // Of the first prompt that waits in a scheduler's queue.
  [[nodiscard]] std::optional<QueuePlace> queue_place() const;
  [[nodiscard]] bool finished() const { return unfinished_ == 0; }
  [[nodiscard]] size_t choices() const { return choices_.size(); }
  [[nodiscard]] const ReplyUsage& usage() const { return usage_; }

 private:
  struct Choice {
    OutputText output;
    size_t prompt_logprobs = 0;  // tokens of the prompt that they came for
    std::optional<mesh::TimePoint> last_tokens = {};
  };

  [[nodiscard]] std::optional<ReplyPart> poll();
  [[nodiscard]] mesh::TimePoint deadline() const;
  ReplyPart read(size_t prompt, TokenPiece piece);
  void end(size_t prompt, const TokenPiece& piece, Choice& choice, ReplyPart& part);
  void count(const v1::Usage& usage);
  void measure(Choice& choice, size_t tokens);

  std::deque<Generation>& generations_;
  std::shared_ptr<Wakeup> wakeup_;
  ModelMetrics& metrics_;
  std::shared_ptr<const ServedModel> model_;
  std::deque<Choice> choices_;
  size_t choices_per_prompt_;
  size_t unfinished_;
  size_t prompt_last_ = 0;  // a part of it came last
  ReplyUsage usage_;
  std::vector<std::optional<uint32_t>> cached_;  // by prompt
  mesh::TimePoint arrived_;
};

}  // namespace bellwether::gateway
