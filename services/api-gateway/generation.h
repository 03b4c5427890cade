// The life of one request in the mesh: placed on a head, read token by token, cancelled when nobody wants it any more.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "api-gateway/model_directory.h"
#include "api-gateway/stream_table.h"
#include "api-gateway/token_inbox.h"
#include "bellwether/v1/generate.pb.h"
#include "mesh/bus.h"

namespace bellwether::gateway {

struct GenerationLimits {
  std::chrono::milliseconds placement_time_max;
  std::chrono::milliseconds first_token_time_max;  // since the request was placed
  std::chrono::milliseconds token_gap_time_max;
  std::chrono::milliseconds lost_tokens_time_max;
};

// What generations stand on. REQUIRES: all of it outlives them.
struct GenerationContext {
  boost::asio::any_io_executor executor;
  mesh::Bus& bus;
  StreamTable& streams;
  ModelDirectory& directory;
  GenerationLimits limits;
};

// What the requests of a head that is gone are told.
[[nodiscard]] Failure replica_gone(const std::string& why);

// Lives on one single-threaded executor; one coroutine uses it.
class Generation {
 public:
  // Tokens are taken from here on; `wakeup` is notified of them. REQUIRES: `request` is complete.
  Generation(GenerationContext& context, v1::GenerateRequest request, std::shared_ptr<Wakeup> wakeup);
  ~Generation();  // cancels what has not finished
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // Asks a scheduler for a head. Throws RequestFailed, or ClientGone when the client left meanwhile.
  boost::asio::awaitable<void> place();

  // The next tokens of one of the choices in order, as many as have come, or nothing: then poll again once the wakeup
  // says so, at deadline() at the latest. Throws RequestFailed when the request cannot go on, and ClientGone.
  // REQUIRES: placed, !finished().
  [[nodiscard]] std::optional<TokenPiece> poll();
  [[nodiscard]] mesh::TimePoint deadline() const;
  [[nodiscard]] bool finished() const { return unfinished_ == 0; }

  // Nobody wants more of this choice: stops the head's work on it, if it has not finished.
  void finish(uint32_t choice);

  // For the callback that hears of the client's leaving; it may outlive the generation.
  [[nodiscard]] std::weak_ptr<TokenInbox> inbox() const { return inbox_; }
  [[nodiscard]] const v1::GenerateRequest& request() const { return request_; }

 private:
  void accept(const v1::Placed& placed);
  [[noreturn]] void refuse(const v1::Refused& refused) const;
  [[noreturn]] void fail_overdue(mesh::TimePoint now);
  void cancel();  // all choices that have not finished
  void publish_cancel(const std::string& replica_id, std::optional<uint32_t> choice = {}) noexcept;
  void cancel_everywhere();
  [[nodiscard]] std::optional<uint32_t> choice_with_tokens() const;
  [[nodiscard]] bool has_gap() const;
  TokenPiece take(uint32_t choice);

  GenerationContext& context_;
  v1::GenerateRequest request_;
  std::shared_ptr<TokenInbox> inbox_;
  std::vector<bool> finished_;  // by choice
  size_t unfinished_;           // choices
  uint32_t choice_last_ = 0;    // tokens were taken of it last
  bool has_tokens_ = false;
  bool has_prompt_logprobs_ = false;         // they came, or none are wanted
  mesh::TimePoint advanced_;                 // placed, or the last tokens came
  std::optional<mesh::TimePoint> gap_seen_;  // tokens are missing since
};

}  // namespace bellwether::gateway
