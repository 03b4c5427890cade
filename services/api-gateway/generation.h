// The life of one request in the mesh: placed on a head, read token by token, carried on elsewhere when its head is
// lost, cancelled when nobody wants it any more.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "api-gateway/generation_context.h"
#include "api-gateway/token_inbox.h"
#include "bellwether/v1/generate.pb.h"

namespace bellwether::gateway {

// Lives on one single-threaded executor; one coroutine uses it.
class Generation {
 public:
  // Tokens are taken from here on; `wakeup` is notified of them. REQUIRES: `request` is complete, but for its attempt.
  Generation(GenerationContext& context, v1::GenerateRequest request, std::shared_ptr<Wakeup> wakeup);
  ~Generation();  // cancels what has not finished
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // Asks schedulers for a head, in the background. Throws RequestFailed when the request is too long for the bus.
  void submit();
  // Whether a head has it; `wakeup` is notified. Throws RequestFailed when none will, and ClientGone.
  [[nodiscard]] bool placed() const;
  // While it waits in a scheduler's queue.
  [[nodiscard]] const std::optional<QueuePlace>& queue_place() const { return inbox_->queued(); }

  // The next tokens of one of the choices in order, as many as have come, or nothing: then poll again once the wakeup
  // says so, at deadline() at the latest. A head that is lost makes a pause, no more: the request goes on elsewhere
  // after the tokens that came. Throws RequestFailed when it cannot go on, and ClientGone. REQUIRES:
  // submitted, !finished().
  [[nodiscard]] std::optional<TokenPiece> poll();
  [[nodiscard]] mesh::TimePoint deadline() const;  // when time alone changes something
  [[nodiscard]] bool finished() const { return unfinished_ == 0; }

  // Nobody wants more of this choice: stops the head's work on it, if it has not finished.
  void finish(uint32_t choice);

  // For the callback that hears of the client's leaving; it may outlive the generation.
  [[nodiscard]] std::weak_ptr<TokenInbox> inbox() const { return inbox_; }
  [[nodiscard]] const v1::GenerateRequest& request() const { return request_; }  // of the first attempt

 private:
  void carry_on();
  [[nodiscard]] v1::GenerateRequest remainder() const;
  void heal(mesh::TimePoint now);
  void ask_again(mesh::TimePoint now);
  [[nodiscard]] mesh::TimePoint advanced() const;
  [[nodiscard]] mesh::TimePoint token_deadline() const;
  [[noreturn]] void fail_overdue() const;
  void cancel();  // all choices that have not finished
  void cancel_on_head(std::optional<uint32_t> choice = {});
  [[nodiscard]] std::optional<uint32_t> choice_with_tokens() const;
  [[nodiscard]] const TokenOrder* order_with_gap() const;
  TokenPiece take(uint32_t choice);

  GenerationContext& context_;
  const v1::GenerateRequest request_;
  const mesh::TimePoint begun_ = mesh::steady_now();
  std::shared_ptr<TokenInbox> inbox_;
  std::vector<bool> finished_;  // by choice
  size_t unfinished_;           // choices
  uint32_t choice_last_ = 0;    // tokens were taken of it last
  bool has_tokens_ = false;
  bool has_prompt_logprobs_ = false;  // they came, or none are wanted
  int64_t recoveries_ = 0;
  std::vector<std::string> lost_replicas_;   // the last ones, each once
  mesh::TimePoint tokens_last_{};            // when the last ones came
  std::optional<mesh::TimePoint> gap_seen_;  // tokens are missing since
  mesh::TimePoint asked_again_{};            // the head, for what was lost
};

}  // namespace bellwether::gateway
