// One request's reply while it is generated: tokens in, parts of the reply out, the measuring done on the way.
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
  // REQUIRES: `generation` and `metrics` outlive this. `arrived`: when the client's request came.
  ReplyStream(Generation& generation, ModelMetrics& metrics, std::shared_ptr<const ServedModel> model,
              const OutputOptions& options, mesh::TimePoint arrived);

  // What came next of one of the choices; nothing at `wake_at`, or when the tokens that came make no text yet. Throws
  // what Generation::next() throws. A stop string cancels the choice. REQUIRES: !finished().
  boost::asio::awaitable<ReplyPart> next(mesh::TimePoint wake_at);

  [[nodiscard]] bool finished() const { return unfinished_ == 0; }
  [[nodiscard]] size_t choices() const { return choices_.size(); }
  [[nodiscard]] uint32_t tokens() const { return tokens_; }  // of all choices
  [[nodiscard]] ReplyUsage usage() const;

 private:
  struct Choice {
    OutputText output;
    size_t prompt_logprobs = 0;  // tokens of the prompt that they came for
    std::optional<mesh::TimePoint> last_tokens = {};
  };

  [[nodiscard]] static ReplyEnd end_of(const Choice& choice, v1::FinishReason reason);
  void measure(Choice& choice, size_t tokens);
  void check_prompt_logprobs(uint32_t choice) const;

  Generation& generation_;
  ModelMetrics& metrics_;
  std::shared_ptr<const ServedModel> model_;
  std::deque<Choice> choices_;
  size_t unfinished_;
  uint32_t tokens_ = 0;
  mesh::TimePoint arrived_;
  std::optional<uint32_t> cached_prompt_tokens_;
};

}  // namespace bellwether::gateway
