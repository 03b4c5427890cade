// Key limits on the bus: tells other gateways what the keys used here, and hears what they used there.
#pragma once

#include <memory>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include "api-gateway/access/key_limits.h"
#include "mesh/bus.h"

namespace bellwether::gateway {

// Lives on one single-threaded executor.
class LimitsLink {
 public:
  // REQUIRES: `bus` and `limits` outlive this.
  LimitsLink(boost::asio::any_io_executor executor, mesh::Bus& bus, KeyLimits& limits);

  // The limits have changed here: the others hear of it within kTellDelay.
  void changed();

  void stop();

 private:
  static constexpr std::chrono::milliseconds kTellDelay{2};

  static boost::asio::awaitable<void> ask_levels(LimitsLink& link, std::weak_ptr<int> alive);
  void answer_levels();
  void tell(bool heartbeat);
  void arm_heartbeat();

  mesh::Bus& bus_;
  KeyLimits& limits_;
  boost::asio::steady_timer tell_timer_;
  boost::asio::steady_timer heartbeat_timer_;
  bool telling_ = false;
  bool stopped_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // gone with this object
  mesh::Subscription uses_;
  mesh::Subscription levels_;
};

}  // namespace bellwether::gateway
