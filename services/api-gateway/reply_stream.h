// One request's reply while it is generated: tokens in, parts of the reply out, the measuring done on the way.
#pragma once

#include <memory>

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
              OutputOptions options, mesh::TimePoint arrived);

  // What came next; nothing at `wake_at`, or when the tokens that came make no text yet. Throws what Generation::next()
  // throws. A stop string cancels the generation. REQUIRES: !finished().
  boost::asio::awaitable<ReplyPart> next(mesh::TimePoint wake_at);

  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] uint32_t tokens() const { return output_.tokens(); }
  [[nodiscard]] ReplyEnd end() const;  // REQUIRES: finished()
  [[nodiscard]] ReplyUsage usage() const;

 private:
  void measure(size_t tokens);

  Generation& generation_;
  ModelMetrics& metrics_;
  OutputText output_;
  mesh::TimePoint arrived_;
  mesh::TimePoint last_tokens_;
  bool finished_ = false;
  v1::FinishReason finish_reason_ = v1::FINISH_REASON_UNSPECIFIED;
  std::optional<uint32_t> cached_prompt_tokens_;
};

}  // namespace bellwether::gateway
