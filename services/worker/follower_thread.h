// A follower's engine on a thread of its own: it loads, then follows one group after another.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "engine/follower.h"
#include "worker/rank_endpoint.h"

namespace bellwether::worker {

// Called on the executor.
struct FollowerThreadHandlers {
  std::function<void(double)> on_progress;                // 0 to 1, in steps of a hundredth
  std::function<void(std::string address)> on_reachable;  // loaded, and reached there by one group
  std::function<void(uint64_t epoch)> on_running;         // follows the group
  // Follows it no longer; `reason` is empty when its head has ended it in order. on_reachable comes next.
  std::function<void(uint64_t epoch, std::string reason)> on_left;
  std::function<void(std::string)> on_failed;  // the last call if it comes; the reason
};

class FollowerThread {
 public:
  using Loader = std::function<std::unique_ptr<engine::Follower>(const std::function<void(double)>& progress)>;

  // All methods belong to the executor's thread, but for steps().
  FollowerThread(boost::asio::any_io_executor executor, OpenEndpoint open_endpoint, FollowerThreadHandlers handlers);
  ~FollowerThread();  // waits for the step in progress
  FollowerThread(const FollowerThread&) = delete;
  FollowerThread& operator=(const FollowerThread&) = delete;

  // Loads, instead of what was loaded before. REQUIRES: follows no group.
  void load(Loader loader);

  // Each address that on_reachable told serves for one group.
  void follow(GroupPlace place);

  // Gives up the group of this epoch; on_left comes when that is done.
  void leave(uint64_t epoch);

  [[nodiscard]] uint64_t steps() const;  // computed in the group, or in the last

  // Ends the thread. May be called twice.
  boost::asio::awaitable<void> stop();

 private:
  class Shared;
  class Work;

  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace bellwether::worker
