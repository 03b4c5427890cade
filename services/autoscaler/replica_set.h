// What makes a decision true: something that can start and stop replicas of one model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>

namespace bellwether::autoscaler {

class ReplicaSet {
 public:
  virtual ~ReplicaSet() = default;

  struct Member {
    std::string replica_id;
    bool heard;  // its state has been heard; until then it is pending
  };

  // A state of this replica has been heard. Ids of other replicas are ignored.
  virtual void heard(std::string_view replica_id) = 0;
  // This replica has been silent for so long that it must be hung: it is removed. Ids of others are ignored.
  virtual void hung(std::string_view replica_id) = 0;
  // Looks at what has happened by itself and returns the ids of the replicas that have ended since the last call.
  virtual std::vector<std::string> collect_ended() = 0;
  // The replicas it has started, without those that it is stopping.
  [[nodiscard]] virtual std::vector<Member> members() const = 0;
  // Starts or stops replicas so that members() are `count`, the youngest first to go. It may start fewer for now when
  // they keep dying. Stopping is orderly and takes its time.
  virtual void scale_to(size_t count) = 0;
  // Stops all of them. May be called twice.
  virtual boost::asio::awaitable<void> stop() = 0;
};

}  // namespace bellwether::autoscaler
