#include "worker/group_leader.h"

#include <algorithm>
#include <utility>

#include "mesh/log.h"

namespace bellwether::worker {
namespace log = mesh::log;
namespace {

StreamEnd end_of(JoinRefusal::Code code) {
  switch (code) {
    case JoinRefusal::Code::kOtherVersion:
      return StreamEnd::kOtherVersion;
    case JoinRefusal::Code::kTaken:
      return StreamEnd::kTaken;
    default:
      return StreamEnd::kNeverFits;
  }
}

}  // namespace

GroupLeader::GroupLeader(boost::asio::io_context& io, RankGroupOptions options, v1::GroupOptions to_followers,
                         uint64_t epoch, GroupHandlers handlers)
    : group_(options, &mesh::steady_now),
      to_followers_(std::move(to_followers)),
      stall_limit_(options.stall_limit),
      handlers_(std::move(handlers)),
      epoch_(epoch),
      check_timer_(io),
      beat_timer_(io),
      service_(
          io.get_executor(),
          {.on_message = [this](FollowerId from, const v1::FollowerMessage& message) { on_message(from, message); },
           .on_closed = [this](FollowerId from) { on_closed(from); }}) {
  beat();
}

GroupLeader::~GroupLeader() = default;

void GroupLeader::on_message(FollowerId follower, const v1::FollowerMessage& message) {
  if (message.has_hello()) return on_hello(follower, message.hello());
  if (!message.has_report() || !group_.is_member(follower)) {
    return service_.end(follower, StreamEnd::kNeverFits, "the first message must be a hello");
  }
  if (const std::string wrong = group_.report(follower, message.report()); !wrong.empty()) {
    service_.end(follower, StreamEnd::kBroken, "report: " + wrong);
    group_.leave(follower, "it reports nonsense: " + wrong);
  }
  start_if_loaded();
  run_if_running();
  handlers_.on_changed();
  check();
}

void GroupLeader::on_hello(FollowerId follower, const v1::Hello& hello) {
  const JoinRefusal refusal = group_.is_member(follower) ? JoinRefusal{JoinRefusal::Code::kNeverFits, "a second hello"}
                                                         : group_.join(follower, hello);
  if (refusal.code != JoinRefusal::Code::kNone) {
    log::warning("follower turned away", {{"rank", hello.rank()}, {"reason", refusal.message}});
    return service_.end(follower, end_of(refusal.code), refusal.message);
  }
  log::info("follower joined", {{"follower", group_.describe(follower)}});
  v1::HeadMessage message;
  *message.mutable_welcome() = to_followers_;
  service_.send(follower, std::move(message));
  handlers_.on_changed();
  arm();
}

void GroupLeader::on_closed(FollowerId follower) {
  if (!group_.is_member(follower)) return;
  log::warning("follower left", {{"follower", group_.describe(follower)}});
  group_.leave(follower, "its connection ended");
  handlers_.on_changed();
  check();
}

void GroupLeader::head_reachable(std::string address) {
  head_address_ = std::move(address);
  start_if_loaded();
}

void GroupLeader::head_running(uint64_t epoch) {
  if (epoch != epoch_ || group_.phase() != RankGroup::Phase::kStarting) return;
  head_running_ = true;
  run_if_running();
}

void GroupLeader::head_left(uint64_t epoch, const std::string& reason) {
  if (epoch != epoch_ || group_.phase() == RankGroup::Phase::kGathering) return;
  break_up(reason);
}

void GroupLeader::set_has_work(bool has_work) {
  if (std::exchange(has_work_, has_work) != has_work) arm();
}

void GroupLeader::start_if_loaded() {
  if (stopped_ || head_address_.empty() || group_.phase() != RankGroup::Phase::kGathering || !group_.all_loaded())
    return;
  epoch_ = std::max(epoch_ + 1, mesh::unix_ms_now());
  std::vector<std::string> addresses = group_.transport_addresses();
  addresses.insert(addresses.begin(), std::exchange(head_address_, {}));
  v1::HeadMessage message;
  v1::Start& start = *message.mutable_start();
  start.set_epoch(epoch_);
  start.set_stall_limit_ms(static_cast<uint32_t>(stall_limit_.count()));
  for (const std::string& address : addresses) start.add_transport_addresses(address);
  group_.start();
  log::info("the group starts", {{"epoch", epoch_}, {"ranks", addresses.size()}});
  for (const FollowerId follower : group_.followers()) service_.send(follower, message);
  handlers_.on_start(epoch_, std::move(addresses));
  arm();
}

void GroupLeader::run_if_running() {
  if (group_.phase() != RankGroup::Phase::kStarting || !head_running_ || !group_.all_running()) return;
  group_.run();
  log::info("the group runs", {{"epoch", epoch_}});
  handlers_.on_running();
}

void GroupLeader::check() {
  const std::string fault = group_.fault(has_work_);
  if (fault.empty()) return arm();
  break_up(fault);
}

void GroupLeader::break_up(const std::string& reason) {
  log::error("the group is broken", {{"epoch", epoch_}, {"reason", reason}});
  if (group_.phase() != RankGroup::Phase::kGathering) handlers_.on_broken(reason);
  for (const FollowerId follower : group_.followers()) service_.end(follower, StreamEnd::kBroken, reason);
  group_.disband();
  head_running_ = false;
  handlers_.on_changed();
  arm();
}

void GroupLeader::arm() {
  const mesh::TimePoint due = group_.fault_due(has_work_);
  check_timer_.expires_at(due);
  if (due == mesh::TimePoint::max()) return;
  check_timer_.async_wait([this, due, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired()) return;
    // A process that stood still itself has not heard what waits to be read.
    if (mesh::steady_now() > due + kReportEvery) group_.excuse_silence();
    check();
  });
}

void GroupLeader::beat() {
  v1::HeadMessage message;
  message.mutable_alive();
  for (const FollowerId follower : group_.followers()) service_.send(follower, message);
  beat_timer_.expires_after(kReportEvery);
  beat_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired() && !stopped_) beat();
  });
}

void GroupLeader::stop() {
  if (std::exchange(stopped_, true)) return;
  v1::HeadMessage message;
  message.mutable_stop();
  for (const FollowerId follower : group_.followers()) service_.send(follower, message);
  service_.stop(StreamEnd::kDone, {});
  group_.disband();
  check_timer_.cancel();
  beat_timer_.cancel();
}

}  // namespace bellwether::worker
