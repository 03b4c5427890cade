#include "worker/engine_thread.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <utility>
#include <variant>

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "worker/group_membership.h"

namespace bellwether::worker {
namespace asio = boost::asio;
namespace {

// Reports posted and not yet handled. The engine waits at the limit, so that a slow executor slows it down instead of
// filling memory.
constexpr int kReportsUnhandledMax = 16;

struct Admit {
  engine::SequenceRequest request;
};
struct Cancel {
  engine::SequenceId sequence;
};
struct DumpKv {};
struct Leave {
  uint64_t epoch;
};
using EngineCommand = std::variant<Admit, Cancel, DumpKv, GroupPlace, Leave>;

struct LoadingGivenUp {};

}  // namespace

// What both sides touch. Posted handlers own a reference, so they may outlive the EngineThread; `closed` then keeps
// them from calling anybody.
class EngineThread::Shared : public std::enable_shared_from_this<Shared> {
 public:
  Shared(asio::any_io_executor executor_of_handlers, EngineHandlers called, OpenEndpoint open)
      : executor(std::move(executor_of_handlers)),
        open_endpoint(std::move(open)),
        handlers(std::move(called)),
        ended_timer(executor) {
    ended_timer.expires_at(asio::steady_timer::time_point::max());
  }

  // From the engine's thread.
  template <class Call>
  void post(Call call) {
    asio::post(executor, [self = shared_from_this(), call = std::move(call)]() mutable {
      if (!self->closed) call(*self);
    });
  }

  void post_report(EngineReport report) {
    {
      const std::lock_guard lock(mutex);
      ++reports_unhandled;
    }
    post([report = std::move(report)](Shared& self) mutable {
      {
        const std::lock_guard lock(self.mutex);
        --self.reports_unhandled;
      }
      self.wake.notify_one();
      self.handlers.on_report(std::move(report));
    });
  }

  // Waits until there are commands, or the engine may go on, or it is to stop. Nothing when it is to stop.
  std::optional<std::vector<EngineCommand>> wait_for_work(bool engine_has_work) {
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] {
      return stopping.load() || !commands.empty() || (engine_has_work && reports_unhandled < kReportsUnhandledMax);
    });
    if (stopping.load()) return std::nullopt;
    return std::exchange(commands, {});
  }

  [[nodiscard]] bool may_step() {
    const std::lock_guard lock(mutex);
    return reports_unhandled < kReportsUnhandledMax;
  }

  void put(EngineCommand command) {
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
  }

  asio::any_io_executor executor;
  const OpenEndpoint open_endpoint;
  GroupMembership membership;

  // The executor's own.
  EngineHandlers handlers;
  asio::steady_timer ended_timer;  // cancelled when the thread has ended
  bool ended = false;
  bool closed = false;

  std::atomic<bool> stopping = false;

 private:
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<EngineCommand> commands;
  int reports_unhandled = 0;
};

// What the thread does once the model is loaded.
class EngineThread::Work {
 public:
  Work(Shared& shared, engine::Engine& engine) : shared_(shared), engine_(engine) {}
  ~Work() { shared_.membership.left(); }

  void run() {
    if (shared_.open_endpoint) open_endpoint();
    while (auto commands = shared_.wait_for_work(computes())) {
      EngineReport report;
      const bool commanded = !commands->empty();
      for (EngineCommand& command : *commands) {
        std::visit([&](auto& each) { apply(each, report); }, command);
      }
      if (computes() && shared_.may_step()) step(report);
      if (!report.stepped && !commanded) continue;
      if (report.kv_dump && in_group()) report.kv_dump = engine_.kv_dump();
      if (in_group()) report.load = engine_.load_now();
      report.ended = mesh::steady_now();
      shared_.post_report(std::move(report));
    }
  }

 private:
  // What an engine outside of any group holds is lost.
  [[nodiscard]] bool in_group() const { return !shared_.open_endpoint || epoch_ != 0; }
  [[nodiscard]] bool computes() const { return in_group() && engine_.has_work(); }

  void apply(Admit& command, EngineReport& report) {
    if (!in_group()) return;
    const engine::SequenceId id = command.request.id;
    std::string reason;
    if (engine_.admit(std::move(command.request), &reason) == engine::Admission::kAdmitted) {
      report.admitted.push_back(id);
    } else {
      report.rejected.push_back({.sequence = id, .reason = std::move(reason)});
    }
  }

  void apply(const Cancel& command, EngineReport& report) {
    if (!in_group()) return;
    engine_.cancel(command.sequence);
    report.cancelled.push_back(command.sequence);
  }

  void apply(const DumpKv&, EngineReport& report) { report.kv_dump.emplace(); }  // filled after the step

  void apply(const GroupPlace& place, EngineReport&) {
    if (!endpoint_) return;
    epoch_ = place.epoch;
    try {
      std::unique_ptr<engine::Collective> group = std::exchange(endpoint_, nullptr)->connect(place);
      shared_.membership.joined(place.epoch, *group);
      engine_.join(std::move(group));
      shared_.post([epoch = epoch_, facts = facts_of(engine_)](Shared& self) mutable {
        self.handlers.on_joined(epoch, std::move(facts));
      });
    } catch (const engine::GroupBroken& broken) {
      left(broken.what());
    }
  }

  void apply(const Leave& command, EngineReport&) {
    if (epoch_ != 0 && epoch_ == command.epoch) left("it was told to leave");
  }

  void step(EngineReport& report) {
    const mesh::TimePoint begun = mesh::steady_now();
    try {
      report.step = engine_.step();
      report.step_took = mesh::steady_now() - begun;
      report.stepped = true;
    } catch (const engine::GroupBroken& broken) {
      left(broken.what());
    }
  }

  void left(const std::string& reason) {
    shared_.membership.left();
    shared_.post([epoch = epoch_, reason](Shared& self) { self.handlers.on_left(epoch, reason); });
    epoch_ = 0;
    open_endpoint();
  }

  void open_endpoint() {
    endpoint_ = shared_.open_endpoint();
    shared_.post([address = endpoint_->address()](Shared& self) { self.handlers.on_reachable(address); });
  }

  Shared& shared_;
  engine::Engine& engine_;
  std::unique_ptr<RankEndpoint> endpoint_;
  uint64_t epoch_ = 0;  // of the group it is in; 0 = none
};

EngineThread::EngineThread(asio::any_io_executor executor, Loader loader, EngineHandlers handlers,
                           OpenEndpoint open_endpoint)
    : shared_(std::make_shared<Shared>(std::move(executor), std::move(handlers), std::move(open_endpoint))),
      thread_([shared = shared_, loader = std::move(loader)] { run(shared, loader); }) {}

EngineThread::~EngineThread() {
  shared_->closed = true;
  shared_->stop();
  if (thread_.joinable()) thread_.join();
}

void EngineThread::admit(engine::SequenceRequest request) {
  shared_->put(Admit{std::move(request)});
}

void EngineThread::cancel(engine::SequenceId sequence) {
  shared_->put(Cancel{sequence});
}

void EngineThread::dump_kv() {
  shared_->put(DumpKv{});
}

void EngineThread::join(GroupPlace place) {
  shared_->put(std::move(place));
}

void EngineThread::leave(uint64_t epoch) {
  shared_->membership.abandon(epoch);
  shared_->put(Leave{epoch});
}

asio::awaitable<void> EngineThread::stop() {
  shared_->stop();
  boost::system::error_code ignored;
  if (!shared_->ended) co_await shared_->ended_timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  if (thread_.joinable()) thread_.join();
}

void EngineThread::run(const std::shared_ptr<Shared>& shared, const Loader& loader) {
  try {
    int percent_posted = 0;
    const auto progress = [&](double done) {
      if (shared->stopping.load()) throw LoadingGivenUp{};
      const int percent = static_cast<int>(std::clamp(done, 0.0, 1.0) * 100);
      if (std::exchange(percent_posted, percent) == percent) return;
      shared->post([done](Shared& self) { self.handlers.on_progress(done); });
    };
    LoadedModel loaded = loader(progress);
    shared->post([facts = facts_of(*loaded.engine), card = std::move(loaded.card),
                  vocabulary = std::move(loaded.vocabulary)](Shared& self) mutable {
      self.handlers.on_loaded(std::move(facts), std::move(card), std::move(vocabulary));
    });
    Work(*shared, *loaded.engine).run();
  } catch (const LoadingGivenUp&) {
    // stop() knows.
  } catch (const std::exception& error) {
    shared->post([reason = std::string(error.what())](Shared& self) { self.handlers.on_failed(reason); });
  }
  shared->post([](Shared& self) {
    self.ended = true;
    self.ended_timer.cancel();
  });
}

}  // namespace bellwether::worker
