#include "worker/follower.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "mesh/log.h"
#include "worker/group_options.h"
#include "worker/host_name.h"
#include "worker/model_loading.h"
#include "worker/rank_group.h"
#include "worker/ucx_rank_endpoint.h"

namespace bellwether::worker {
namespace asio = boost::asio;
namespace log = mesh::log;
namespace {

constexpr std::chrono::milliseconds kJoinWaitMin{100};  // doubles up to ...
constexpr std::chrono::milliseconds kJoinWaitMax{2000};
constexpr std::chrono::milliseconds kStopWaitMax{2000};  // for the head to end the group in order

v1::Hello hello_of(const WorkerSettings& settings) {
  v1::Hello hello;
  hello.set_rank(static_cast<uint32_t>(settings.rank));
  hello.set_ranks(static_cast<uint32_t>(settings.ranks));
  hello.set_host(host_name());
  hello.set_device(settings.device);
  hello.set_pid(static_cast<uint32_t>(::getpid()));
  hello.set_version(BELLWETHER_VERSION);
  hello.set_config_digest(config_digest(settings.model));
  hello.set_synthetic_weights(settings.load_format == "synthetic");
  return hello;
}

prometheus::Counter& make_counter(prometheus::Registry& registry, const std::string& name, const std::string& help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

}  // namespace

Follower::Follower(mesh::Service& service, const WorkerSettings& settings)
    : service_(service),
      settings_(resolve(settings)),
      hello_(hello_of(settings_)),
      steps_total_(make_counter(service.registry(), "bellwether_rank_steps_total", "Steps computed with the head")),
      groups_total_(make_counter(service.registry(), "bellwether_rank_groups_total", "Groups that it was part of")),
      join_wait_(kJoinWaitMin),
      join_timer_(service.io()),
      beat_timer_(service.io()),
      thread_(service.io().get_executor(), &open_ucx_endpoint,
              {.on_progress = [this](double done) { loading_progress_ = done; },
               .on_reachable = [this](std::string address) { on_reachable(std::move(address)); },
               .on_running = [this](uint64_t epoch) { on_running(epoch); },
               .on_left = [this](uint64_t epoch, const std::string& reason) { on_left(epoch, reason); },
               .on_failed = [this](const std::string& reason) { on_failed(reason); }}) {
  log::info("joining the head", {{"head", settings_.head}, {"rank", settings_.rank}, {"ranks", settings_.ranks}});
  join();
  beat();
}

Follower::~Follower() = default;

void Follower::join() {
  head_heard_ = mesh::steady_now();
  link_.emplace(service_.io().get_executor(), settings_.head, hello_,
                HeadLinkHandlers{.on_message = [this](const v1::HeadMessage& message) { on_message(message); },
                                 .on_end = [this](const LinkEnd& end) { on_link_end(end); }});
}

void Follower::join_later() {
  join_timer_.expires_after(join_wait_);
  join_wait_ = std::min(2 * join_wait_, kJoinWaitMax);
  join_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired() && !stopped_) join();
  });
}

void Follower::report() {
  if (!link_ || loaded_with_.empty()) return;
  const uint64_t steps = epoch_ == 0 ? 0 : thread_.steps();
  steps_total_.Increment(static_cast<double>(steps - std::min(steps, steps_counted_)));
  steps_counted_ = steps;
  v1::RankReport report;
  report.set_phase(running_           ? v1::RANK_PHASE_RUNNING
                   : address_.empty() ? v1::RANK_PHASE_LOADING
                                      : v1::RANK_PHASE_LOADED);
  report.set_loading_progress(static_cast<float>(loading_progress_));
  report.set_steps(steps);
  report.set_transport_address(running_ ? group_address_ : address_);
  link_->report(std::move(report));
}

void Follower::beat() {
  const mesh::TimePoint due = mesh::steady_now() + kReportEvery;
  beat_timer_.expires_at(due);
  beat_timer_.async_wait([this, due, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired() || stopped_) return;
    const mesh::TimePoint now = mesh::steady_now();
    // A process that stood still itself has not heard what waits to be read.
    if (now > due + kReportEvery) head_heard_ = now;
    if (link_ && now - head_heard_ > kSilenceMax) {
      lose(fmt::format("the head is silent for {} ms", kSilenceMax.count()));
    } else {
      report();
    }
    beat();
  });
}

void Follower::on_message(const v1::HeadMessage& message) {
  head_heard_ = mesh::steady_now();
  switch (message.message_case()) {
    case v1::HeadMessage::kWelcome:
      return on_welcome(message.welcome());
    case v1::HeadMessage::kStart:
      return on_start(message.start());
    case v1::HeadMessage::kStop:
      return on_stop();
    default:
      return;
  }
}

void Follower::on_welcome(const v1::GroupOptions& options) {
  log::info("joined the head", {{"head", settings_.head}, {"rank", settings_.rank}});
  waits_for_.clear();
  join_wait_ = kJoinWaitMin;
  const std::string with = options.SerializeAsString();
  if (loaded_with_ != with) {
    loaded_with_ = with;
    loading_progress_ = 0;
    address_.clear();
    thread_.load([settings = settings_, options](const auto& progress) {
      return load_follower(settings, engine_options(options, settings), progress);
    });
  }
  report();
}

void Follower::on_start(const v1::Start& start) {
  if (address_.empty() || running_ || start.transport_addresses_size() != settings_.ranks) {
    return lose("the head starts a group that this rank cannot be part of");
  }
  epoch_ = start.epoch();
  steps_counted_ = 0;
  group_address_ = std::exchange(address_, {});
  thread_.follow({.epoch = epoch_,
                  .rank = static_cast<int>(settings_.rank),
                  .addresses = {start.transport_addresses().begin(), start.transport_addresses().end()},
                  .stall_limit = std::chrono::milliseconds(start.stall_limit_ms())});
}

void Follower::on_stop() {
  log::info("the head stops, and so does this rank");
  told_to_stop_ = true;
  if (epoch_ == 0) return service_.shut_down(0);
  // The head ends the group in order first; on_left() goes on.
  join_timer_.expires_after(kStopWaitMax);
  join_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) service_.shut_down(0);
  });
}

void Follower::on_link_end(const LinkEnd& end) {
  if (end.why == LinkEnd::Why::kNeverFits) {
    log::error("the head does not take this rank", {{"head", settings_.head}, {"reason", end.message}});
    return service_.shut_down(1);
  }
  lose(end.message);
}

void Follower::lose(const std::string& reason) {
  link_.reset();
  running_ = false;
  service_.set_ready(false, reason);
  if (stopped_ || told_to_stop_) return;
  // One line for each thing it waits for, not for each attempt.
  if (waits_for_ != reason) log::warning("not in a group", {{"head", settings_.head}, {"reason", reason}});
  waits_for_ = reason;
  if (epoch_ != 0) return thread_.leave(epoch_);  // on_left() goes on
  join_later();
}

void Follower::on_reachable(std::string address) {
  address_ = std::move(address);
  loading_progress_ = 1;
  report();
}

void Follower::on_running(uint64_t epoch) {
  if (epoch != epoch_ || !link_) return;
  running_ = true;
  groups_total_.Increment();
  service_.set_ready(true);
  log::info("in the group", {{"epoch", epoch}, {"rank", settings_.rank}});
  report();
}

void Follower::on_left(uint64_t epoch, const std::string& reason) {
  report();
  epoch_ = 0;
  service_.set_ready(false, "not in a group");
  log::info("left the group", {{"epoch", epoch}, {"reason", reason.empty() ? "the head ended it" : reason}});
  if (told_to_stop_) return service_.shut_down(0);
  if (stopped_) return;
  if (!link_) return join_later();
  // Ended in order, its head says next whether this rank is to stop.
  if (!reason.empty()) lose(reason);
}

void Follower::on_failed(const std::string& reason) {
  log::error("the engine failed", {{"reason", reason}});
  service_.shut_down(1);
}

asio::awaitable<void> Follower::stop() {
  stopped_ = true;
  join_timer_.cancel();
  beat_timer_.cancel();
  link_.reset();
  co_await thread_.stop();
}

}  // namespace bellwether::worker
