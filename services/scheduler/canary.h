// A request of one token that a scheduler sends to a head to see whether it works.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "bellwether/v1/generate.pb.h"
#include "mesh/bus.h"

namespace bellwether::scheduler {

// Lives on the io_context's one thread.
class Canary {
 public:
  // `id` is the scheduler's: tokens come to it as if it were a gateway. The bus outlives it.
  Canary(boost::asio::io_context& io, mesh::Bus& bus, std::string id);

  // True when the head took the request and its token came within `timeout`. Otherwise it is cancelled there.
  boost::asio::awaitable<bool> send(std::string replica_id, std::string model, std::chrono::milliseconds timeout);

  // Those under way end without a token.
  void stop();

 private:
  struct Bird {
    boost::asio::steady_timer ended;  // cancelled when its token has come
    bool came = false;
  };

  void on_tokens(const v1::TokenBatch& batch);
  boost::asio::awaitable<bool> offer(const std::string& replica_id, const v1::GenerateRequest& request,
                                     std::chrono::milliseconds timeout);
  void cancel(const std::string& replica_id, const v1::GenerateRequest& request);

  boost::asio::io_context& io_;
  mesh::Bus& bus_;
  std::string id_;
  bool stopped_ = false;
  std::map<std::string, Bird*> under_way_;  // by request id
  mesh::Subscription tokens_;
};

}  // namespace bellwether::scheduler
