#include "api-gateway/access/limits_link.h"

#include <exception>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "mesh/error.h"
#include "mesh/log.h"
#include "mesh/subjects.h"

namespace bellwether::gateway {

namespace asio = boost::asio;

namespace {

constexpr std::chrono::milliseconds kLevelsTimeMax{500};

}  // namespace

LimitsLink::LimitsLink(asio::any_io_executor executor, mesh::Bus& bus, KeyLimits& limits)
    : bus_(bus), limits_(limits), tell_timer_(executor), heartbeat_timer_(executor) {
  uses_ = bus_.subscribe<v1::KeyUses>(
      mesh::subjects::kKeyUses,
      [this](const v1::KeyUses& uses, const mesh::BusMessage&) { limits_.apply(uses, mesh::steady_now()); });
  arm_heartbeat();
  asio::co_spawn(executor, ask_levels(*this, alive_), asio::detached);
}

// What was used before this gateway started; what is used meanwhile is heard already, and some of it counts twice.
asio::awaitable<void> LimitsLink::ask_levels(LimitsLink& link, std::weak_ptr<int> alive) {
  v1::KeyLevels levels;
  try {
    levels = co_await link.bus_.request<v1::KeyLevels>(std::string(mesh::subjects::kKeyLevels), v1::KeyLevelsRequest(),
                                                       kLevelsTimeMax);
  } catch (const mesh::Error&) {
    // This is the first gateway.
  }
  if (alive.expired() || link.stopped_) co_return;
  link.limits_.apply(levels, mesh::steady_now());
  link.answer_levels();
}

void LimitsLink::answer_levels() {
  levels_ = bus_.subscribe<v1::KeyLevelsRequest>(
      mesh::subjects::kKeyLevels,
      [this](const v1::KeyLevelsRequest&, const mesh::BusMessage& message) {
        bus_.respond(message, limits_.levels(mesh::steady_now()));
      },
      mesh::subjects::kKeyLevelsQueue);
}

void LimitsLink::changed() {
  if (telling_ || stopped_) return;
  telling_ = true;
  tell_timer_.expires_after(kTellDelay);
  tell_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired()) return;
    telling_ = false;
    tell(false);
  });
}

void LimitsLink::tell(bool heartbeat) {
  const std::optional<v1::KeyUses> uses = limits_.take_update(heartbeat);
  if (!uses) return;
  try {
    bus_.publish(mesh::subjects::kKeyUses, *uses);
  } catch (const mesh::Error& error) {
    // The next message about these keys makes it good.
    mesh::log::warning("key uses not told", {{"error", error.what()}});
  }
}

void LimitsLink::arm_heartbeat() {
  if (stopped_) return;
  heartbeat_timer_.expires_after(KeyLimits::kHeartbeat);
  heartbeat_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired()) return;
    tell(true);
    limits_.sweep(mesh::steady_now());
    arm_heartbeat();
  });
}

void LimitsLink::stop() {
  if (stopped_) return;
  tell(false);
  stopped_ = true;
  tell_timer_.cancel();
  heartbeat_timer_.cancel();
  uses_.reset();
  levels_.reset();
}

}  // namespace bellwether::gateway
