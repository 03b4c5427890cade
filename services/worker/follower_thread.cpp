#include "worker/follower_thread.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "worker/group_membership.h"

namespace bellwether::worker {
namespace asio = boost::asio;
namespace {

using FollowerCommand = std::variant<FollowerThread::Loader, GroupPlace>;

struct LoadingGivenUp {};

}  // namespace

// What both sides touch. Posted handlers own a reference, so they may outlive the FollowerThread; `closed` then keeps
// them from calling anybody.
class FollowerThread::Shared : public std::enable_shared_from_this<Shared> {
 public:
  Shared(asio::any_io_executor executor_of_handlers, OpenEndpoint open, FollowerThreadHandlers called)
      : executor(std::move(executor_of_handlers)),
        open_endpoint(std::move(open)),
        handlers(std::move(called)),
        ended_timer(executor, asio::steady_timer::time_point::max()) {}

  // From the computing thread.
  template <class Call>
  void post(Call call) {
    asio::post(executor, [self = shared_from_this(), call = std::move(call)]() mutable {
      if (!self->closed) call(*self);
    });
  }

  // Nothing when it is to stop.
  std::optional<FollowerCommand> wait_for_command() {
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return stopping.load() || !commands.empty(); });
    if (stopping.load()) return std::nullopt;
    FollowerCommand command = std::move(commands.front());
    commands.erase(commands.begin());
    return command;
  }

  void put(FollowerCommand command) {
    {
      const std::lock_guard lock(mutex);
      commands.push_back(std::move(command));
    }
    wake.notify_one();
  }

  void stop() {
    {
      const std::lock_guard lock(mutex);
      stopping.store(true);
    }
    wake.notify_one();
    membership.abandon(std::numeric_limits<uint64_t>::max());
  }

  const asio::any_io_executor executor;
  const OpenEndpoint open_endpoint;
  GroupMembership membership;
  std::atomic<bool> stopping = false;

  std::mutex follower_mutex;
  std::shared_ptr<engine::Follower> follower;  // for steps()
  uint64_t steps_before = 0;                   // of its steps, those in earlier groups

  // The executor's own.
  FollowerThreadHandlers handlers;
  asio::steady_timer ended_timer;  // cancelled when the thread has ended
  bool ended = false;
  bool closed = false;

 private:
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<FollowerCommand> commands;
};

// What the thread does.
class FollowerThread::Work {
 public:
  explicit Work(Shared& shared) : shared_(shared) {}

  void run() {
    while (auto command = shared_.wait_for_command()) {
      if (auto* loader = std::get_if<Loader>(&*command)) {
        load(*loader);
      } else if (endpoint_) {
        follow(std::get<GroupPlace>(*command));
      }
    }
    show(nullptr);
  }

 private:
  void load(const Loader& loader) {
    endpoint_.reset();
    show(nullptr);
    follower_.reset();
    int percent_posted = -1;
    follower_ = loader([&](double done) {
      if (shared_.stopping.load()) throw LoadingGivenUp{};
      const int percent = static_cast<int>(std::clamp(done, 0.0, 1.0) * 100);
      if (std::exchange(percent_posted, percent) == percent) return;
      shared_.post([done](Shared& shared) { shared.handlers.on_progress(done); });
    });
    show(follower_);
    open_endpoint();
  }

  void follow(const GroupPlace& place) {
    std::string reason;
    try {
      const auto group = endpoint_->connect(place);
      show(follower_);
      shared_.membership.joined(place.epoch, *group);
      shared_.post([epoch = place.epoch](Shared& shared) { shared.handlers.on_running(epoch); });
      try {
        follower_->follow(*group);
      } catch (const engine::GroupBroken& broken) {
        reason = broken.what();
      }
      shared_.membership.left();
    } catch (const engine::GroupBroken& broken) {
      reason = broken.what();
    }
    shared_.post([epoch = place.epoch, reason](Shared& shared) { shared.handlers.on_left(epoch, reason); });
    open_endpoint();
  }

  void open_endpoint() {
    endpoint_ = shared_.open_endpoint();
    shared_.post([address = endpoint_->address()](Shared& shared) { shared.handlers.on_reachable(address); });
  }

  void show(std::shared_ptr<engine::Follower> follower) {
    const std::lock_guard lock(shared_.follower_mutex);
    shared_.steps_before = follower ? follower->steps() : 0;
    shared_.follower = std::move(follower);
  }

  Shared& shared_;
  std::shared_ptr<engine::Follower> follower_;
  std::unique_ptr<RankEndpoint> endpoint_;
};

FollowerThread::FollowerThread(asio::any_io_executor executor, OpenEndpoint open_endpoint,
                               FollowerThreadHandlers handlers)
    : shared_(std::make_shared<Shared>(std::move(executor), std::move(open_endpoint), std::move(handlers))),
      thread_([shared = shared_] {
        try {
          Work(*shared).run();
        } catch (const LoadingGivenUp&) {
          // stop() knows.
        } catch (const std::exception& error) {
          shared->post([reason = std::string(error.what())](Shared& self) { self.handlers.on_failed(reason); });
        }
        shared->post([](Shared& self) {
          self.ended = true;
          self.ended_timer.cancel();
        });
      }) {}

FollowerThread::~FollowerThread() {
  shared_->closed = true;
  shared_->stop();
  if (thread_.joinable()) thread_.join();
}

void FollowerThread::load(Loader loader) {
  shared_->put(std::move(loader));
}

void FollowerThread::follow(GroupPlace place) {
  shared_->put(std::move(place));
}

void FollowerThread::leave(uint64_t epoch) {
  shared_->membership.abandon(epoch);
}

uint64_t FollowerThread::steps() const {
  const std::lock_guard lock(shared_->follower_mutex);
  return shared_->follower ? shared_->follower->steps() - shared_->steps_before : 0;
}

asio::awaitable<void> FollowerThread::stop() {
  shared_->stop();
  boost::system::error_code ignored;
  if (!shared_->ended) co_await shared_->ended_timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  if (thread_.joinable()) thread_.join();
}

}  // namespace bellwether::worker
