#include "worker/head_link.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/client_callback.h>

#include <mutex>
#include <optional>
#include <utility>

#include <boost/asio/post.hpp>

#include "bellwether/v1/replica.grpc.pb.h"

namespace bellwether::worker {
namespace asio = boost::asio;
namespace {

constexpr int kMessageBytesMax = 4 * 1024 * 1024;  // Start has the address of every rank

// One connection for each link: gRPC would share it, and with it the time it waits after a failed attempt.
std::shared_ptr<grpc::Channel> connect(const std::string& head) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  return grpc::CreateCustomChannel(head, grpc::InsecureChannelCredentials(), arguments);
}

LinkEnd end_of(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return {LinkEnd::Why::kBroken, "the head has ended the stream"};
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::UNIMPLEMENTED:
      return {LinkEnd::Why::kNeverFits, status.error_message()};
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return {LinkEnd::Why::kTurnedAway, status.error_message()};
    default:
      return {LinkEnd::Why::kBroken, status.error_message()};
  }
}

}  // namespace

// gRPC calls it from its own threads; it keeps itself until OnDone().
class HeadLink::Stream final : public grpc::ClientBidiReactor<v1::FollowerMessage, v1::HeadMessage> {
 public:
  Stream(asio::any_io_executor executor, HeadLinkHandlers handlers)
      : executor_(std::move(executor)), handlers_(std::move(handlers)) {}

  void start(const std::shared_ptr<Stream>& self, const std::string& head, v1::Hello hello) {
    self_ = self;
    stub_ = v1::Replica::NewStub(connect(head));
    *outgoing_.mutable_hello() = std::move(hello);
    writing_ = true;
    stub_->async()->Join(&context_, this);
    AddHold();  // reads and writes begin outside gRPC's calls, too
    StartRead(&incoming_);
    StartWrite(&outgoing_);
    StartCall();
  }

  // On the executor: no handler is called any more.
  void abandon() {
    handlers_.reset();
    context_.TryCancel();
  }

  void report(v1::RankReport report) {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    next_ = std::move(report);
    if (!writing_) write_next();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return close();
    asio::post(executor_, [self = self_, message = std::exchange(incoming_, {})] {
      if (self->handlers_) self->handlers_->on_message(message);
      self->StartRead(&self->incoming_);
    });
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (ok && !closed_ && next_) write_next();
  }

  void OnDone(const grpc::Status& status) override {
    asio::post(executor_, [self = std::move(self_), end = end_of(status)] {
      if (const auto handlers = std::exchange(self->handlers_, std::nullopt)) handlers->on_end(end);
    });
  }

 private:
  // REQUIRES: mutex_ is held, nothing is being written.
  void write_next() {
    *outgoing_.mutable_report() = *std::exchange(next_, std::nullopt);
    writing_ = true;
    StartWrite(&outgoing_);
  }

  // Nothing more comes: the status is all that is left.
  void close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    RemoveHold();
  }

  const asio::any_io_executor executor_;
  std::optional<HeadLinkHandlers> handlers_;  // the executor's
  std::shared_ptr<Stream> self_;
  std::unique_ptr<v1::Replica::Stub> stub_;
  grpc::ClientContext context_;
  v1::HeadMessage incoming_;
  std::mutex mutex_;
  v1::FollowerMessage outgoing_;
  std::optional<v1::RankReport> next_;
  bool writing_ = false;
  bool closed_ = false;  // nothing is read or written any more
};

HeadLink::HeadLink(const asio::any_io_executor& executor, const std::string& head, v1::Hello hello,
                   HeadLinkHandlers handlers)
    : stream_(std::make_shared<Stream>(executor, std::move(handlers))) {
  stream_->start(stream_, head, std::move(hello));
}

HeadLink::~HeadLink() {
  stream_->abandon();
}

void HeadLink::report(v1::RankReport report) {
  stream_->report(std::move(report));
}

}  // namespace bellwether::worker
