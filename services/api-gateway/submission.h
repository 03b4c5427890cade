// Has a head take a request: asks schedulers until one has placed it, and waits with it in a scheduler's queue
// (generate.proto tells how).
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "api-gateway/generation_context.h"
#include "api-gateway/token_inbox.h"
#include "bellwether/v1/generate.pb.h"
#include "mesh/clock.h"

namespace bellwether::gateway {

struct SubmissionLimits {
  mesh::TimePoint deadline;
  // In schedulers' queues. While it waits there the deadline does not count.
  std::chrono::milliseconds queue_time_max{0};
  // Goes on asking while there is no replica with room and no queue. Otherwise only while no scheduler answers.
  bool waits_for_room = false;
};

// Places `request` as a new attempt, or several when schedulers do not answer. At the end the inbox knows its head, or
// has the failure to tell the client; when it was left meanwhile, no head works for it. `context` must outlive it.
// Throws nothing.
boost::asio::awaitable<void> submit(GenerationContext& context, std::shared_ptr<TokenInbox> inbox,
                                    v1::GenerateRequest request, SubmissionLimits limits);

// Tells a head to stop the work on an attempt and older ones: on one of its choices, or on all. Throws nothing.
void publish_cancel(mesh::Bus& bus, const std::string& replica_id, const std::string& request_id, uint32_t attempt,
                    std::optional<uint32_t> choice = {});

// What the requests of a head that is gone are told.
[[nodiscard]] Failure replica_gone(const std::string& why);

}  // namespace bellwether::gateway
