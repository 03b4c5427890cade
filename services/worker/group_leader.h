// Leads the group of a replica's ranks, from its head: serves the followers, starts the group when all are loaded, and
// breaks it up when one is lost. What to do when is rank_group.h's to say; this is its clockwork.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "worker/rank_group.h"
#include "worker/replica_service.h"

namespace bellwether::worker {

struct GroupHandlers {
  // Every rank is loaded: the head connects to these addresses, of all ranks in order, as of this epoch.
  std::function<void(uint64_t epoch, std::vector<std::string> addresses)> on_start;
  std::function<void()> on_running;                   // every rank runs
  std::function<void(const std::string&)> on_broken;  // after on_start: what has begun is lost. The next is on_start
  std::function<void()> on_changed;                   // somebody joined or left, or loading went on
};

// Everything belongs to the thread of `io`, where handlers are called.
class GroupLeader {
 public:
  // Every epoch is greater than `epoch`. `to_followers` is what they are to load with.
  GroupLeader(boost::asio::io_context& io, RankGroupOptions options, v1::GroupOptions to_followers, uint64_t epoch,
              GroupHandlers handlers);
  ~GroupLeader();

  [[nodiscard]] std::shared_ptr<grpc::Service> grpc_service() const { return service_.grpc_service(); }

  // The head is loaded and can be reached there, by one group.
  void head_reachable(std::string address);
  // The head has connected, or has lost its group, of this epoch.
  void head_running(uint64_t epoch);
  void head_left(uint64_t epoch, const std::string& reason);

  // Whether the head waits for steps: then a silent rank is a stuck one.
  void set_has_work(bool has_work);

  [[nodiscard]] const RankGroup& group() const { return group_; }

  // Tells the followers to stop, and takes no more.
  void stop();

 private:
  void on_message(FollowerId follower, const v1::FollowerMessage& message);
  void on_hello(FollowerId follower, const v1::Hello& hello);
  void on_closed(FollowerId follower);
  void start_if_loaded();
  void run_if_running();
  void check();
  void break_up(const std::string& reason);
  void arm();
  void beat();

  RankGroup group_;
  const v1::GroupOptions to_followers_;
  const std::chrono::milliseconds stall_limit_;
  GroupHandlers handlers_;
  uint64_t epoch_;
  std::string head_address_;  // empty = the head is not to be reached, or no longer
  bool head_running_ = false;
  bool has_work_ = false;
  bool stopped_ = false;
  boost::asio::steady_timer check_timer_;
  boost::asio::steady_timer beat_timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // gone with this object: a timer's late handler looks
  ReplicaService service_;
};

}  // namespace bellwether::worker
