// The streams of a head's followers, as gRPC serves them: messages come out on an executor, one at a time for each
// stream; what goes in is sent in order. Knows nothing of what they mean. Hides gRPC's headers, which are slow to
// compile.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>

#include "bellwether/v1/replica.pb.h"
#include "worker/rank_group.h"

namespace grpc {
class Service;
}

namespace bellwether::worker {

// How a head ends a stream; see Replica.Join in replica.proto.
enum class StreamEnd { kDone, kNeverFits, kOtherVersion, kTaken, kBroken };

// All called on the executor, in the order in which things happened to a stream.
struct FollowerStreamHandlers {
  std::function<void(FollowerId, const v1::FollowerMessage&)> on_message;
  std::function<void(FollowerId)> on_closed;  // the last call for this follower; not after end() or stop()
};

// All methods belong to the executor's thread.
class ReplicaService {
 public:
  // At most so many streams at once; more are turned away. It bounds what strangers can take.
  static constexpr int kStreamsMax = 256;

  ReplicaService(boost::asio::any_io_executor executor, FollowerStreamHandlers handlers);
  ~ReplicaService();  // ends every stream as kBroken; no handler is called any more
  ReplicaService(const ReplicaService&) = delete;
  ReplicaService& operator=(const ReplicaService&) = delete;

  // For the server. It may outlive this object.
  [[nodiscard]] std::shared_ptr<grpc::Service> grpc_service() const;

  // Both ignore followers whose stream has ended. A follower that does not read what is sent loses its stream.
  void send(FollowerId follower, v1::HeadMessage message);
  void end(FollowerId follower, StreamEnd how, const std::string& message);

  // Ends every stream, and from now on each new one at once.
  void stop(StreamEnd how, const std::string& message);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace bellwether::worker
