#include "worker/replica_service.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include <boost/asio/post.hpp>

#include "bellwether/v1/replica.grpc.pb.h"

namespace bellwether::worker {
namespace asio = boost::asio;
namespace {

constexpr size_t kUnsentMax = 16;  // messages; a head sends four a second

grpc::Status status_of(StreamEnd how, const std::string& message) {
  switch (how) {
    case StreamEnd::kDone:
      return grpc::Status::OK;
    case StreamEnd::kNeverFits:
      return {grpc::StatusCode::INVALID_ARGUMENT, message};
    case StreamEnd::kOtherVersion:
      return {grpc::StatusCode::FAILED_PRECONDITION, message};
    case StreamEnd::kTaken:
      return {grpc::StatusCode::ALREADY_EXISTS, message};
    case StreamEnd::kBroken:
      break;
  }
  return {grpc::StatusCode::ABORTED, message};
}

}  // namespace

// Reactors live on gRPC's threads and delete themselves; they reach this object through a weak pointer, and only on the
// executor.
class ReplicaService::Impl : public std::enable_shared_from_this<Impl> {
 public:
  class Stream;
  class Service;

  Impl(asio::any_io_executor executor_of_handlers, FollowerStreamHandlers called)
      : executor(std::move(executor_of_handlers)), handlers(std::move(called)) {}

  // On the executor.
  void opened(const std::shared_ptr<Stream>& stream);
  void received(FollowerId follower, const v1::FollowerMessage& message);
  void closed(FollowerId follower);
  void end_all(StreamEnd how, const std::string& message);

  const asio::any_io_executor executor;
  FollowerStreamHandlers handlers;
  std::map<FollowerId, std::shared_ptr<Stream>> streams;
  FollowerId last = 0;
  std::optional<grpc::Status> stopped;
  std::shared_ptr<grpc::Service> service;
};

// gRPC calls it from its own threads, one call at a time but for OnCancel(). `self_` keeps it until OnDone().
class ReplicaService::Impl::Stream final : public grpc::ServerBidiReactor<v1::FollowerMessage, v1::HeadMessage> {
 public:
  static Stream* open(std::weak_ptr<Impl> service, const asio::any_io_executor& executor) {
    const auto stream = std::make_shared<Stream>(std::move(service), executor);
    stream->self_ = stream;
    stream->post([stream](Impl& impl) { impl.opened(stream); });
    return stream.get();
  }

  Stream(std::weak_ptr<Impl> service, asio::any_io_executor executor)
      : service_(std::move(service)), executor_(std::move(executor)) {}

  // From any thread. The next message is read only when the one before it has been handled.
  void read() {
    const std::lock_guard lock(mutex_);
    if (!finished_) StartRead(&incoming_);
  }

  // False when too much waits to be sent.
  bool send(v1::HeadMessage message) {
    const std::lock_guard lock(mutex_);
    if (finished_) return true;
    if (unsent_.size() >= kUnsentMax) return false;
    unsent_.push_back(std::move(message));
    if (unsent_.size() == 1) StartWrite(&unsent_.front());
    return true;
  }

  // What was sent before still goes out. The first call counts.
  void finish(grpc::Status status) {
    const std::lock_guard lock(mutex_);
    if (finished_) return;
    finished_ = std::move(status);
    if (unsent_.empty()) Finish(*finished_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return finish(grpc::Status::OK);
    post([stream = self_, message = std::exchange(incoming_, {})](Impl& impl) {
      impl.received(stream->follower, message);
      stream->read();
    });
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    unsent_.pop_front();
    if (!ok) unsent_.clear();
    if (!unsent_.empty()) {
      StartWrite(&unsent_.front());
    } else if (finished_) {
      Finish(*finished_);
    }
  }

  // The server shuts down, or the client is gone: perhaps nothing is outstanding that could fail.
  void OnCancel() override { finish(grpc::Status::OK); }

  void OnDone() override {
    post([stream = self_](Impl& impl) { impl.closed(stream->follower); });
    self_.reset();
  }

  FollowerId follower = 0;  // the executor's

 private:
  template <class Call>
  void post(Call call) {
    asio::post(executor_, [service = service_, call = std::move(call)] {
      if (const auto impl = service.lock()) call(*impl);
    });
  }

  const std::weak_ptr<Impl> service_;
  const asio::any_io_executor executor_;
  std::shared_ptr<Stream> self_;
  v1::FollowerMessage incoming_;
  std::mutex mutex_;
  std::deque<v1::HeadMessage> unsent_;    // the first is being sent
  std::optional<grpc::Status> finished_;  // nothing is read or sent any more
};

class ReplicaService::Impl::Service final : public v1::Replica::CallbackService {
 public:
  Service(std::weak_ptr<Impl> impl, asio::any_io_executor executor)
      : impl_(std::move(impl)), executor_(std::move(executor)) {}

  grpc::ServerBidiReactor<v1::FollowerMessage, v1::HeadMessage>* Join(grpc::CallbackServerContext*) override {
    return Stream::open(impl_, executor_);
  }

 private:
  const std::weak_ptr<Impl> impl_;
  const asio::any_io_executor executor_;
};

void ReplicaService::Impl::opened(const std::shared_ptr<Stream>& stream) {
  if (stopped) {
    stream->finish(*stopped);
  } else if (streams.size() >= kStreamsMax) {
    stream->finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many streams"});
  } else {
    stream->follower = ++last;
    streams.emplace(stream->follower, stream);
    stream->read();
  }
}

void ReplicaService::Impl::received(FollowerId follower, const v1::FollowerMessage& message) {
  if (streams.contains(follower)) handlers.on_message(follower, message);
}

void ReplicaService::Impl::closed(FollowerId follower) {
  if (streams.erase(follower) != 0) handlers.on_closed(follower);
}

void ReplicaService::Impl::end_all(StreamEnd how, const std::string& message) {
  stopped = status_of(how, message);
  for (const auto& [follower, stream] : std::exchange(streams, {})) stream->finish(*stopped);
}

ReplicaService::ReplicaService(asio::any_io_executor executor, FollowerStreamHandlers handlers)
    : impl_(std::make_shared<Impl>(executor, std::move(handlers))) {
  impl_->service = std::make_shared<Impl::Service>(impl_, executor);
}

ReplicaService::~ReplicaService() {
  impl_->end_all(StreamEnd::kBroken, "the head is gone");
}

std::shared_ptr<grpc::Service> ReplicaService::grpc_service() const {
  return impl_->service;
}

void ReplicaService::send(FollowerId follower, v1::HeadMessage message) {
  const auto found = impl_->streams.find(follower);
  if (found == impl_->streams.end() || found->second->send(std::move(message))) return;
  const auto stream = found->second;
  stream->finish({grpc::StatusCode::ABORTED, "this follower does not read what it is sent"});
  impl_->closed(follower);
}

void ReplicaService::end(FollowerId follower, StreamEnd how, const std::string& message) {
  const auto found = impl_->streams.find(follower);
  if (found == impl_->streams.end()) return;
  found->second->finish(status_of(how, message));
  impl_->streams.erase(found);
}

void ReplicaService::stop(StreamEnd how, const std::string& message) {
  impl_->end_all(how, message);
}

}  // namespace bellwether::worker
