#include "worker/rank_group.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace bellwether::worker {
namespace {

using Code = JoinRefusal::Code;

bool sound(const v1::Hello& hello) {
  const auto fits = [](const std::string& text) { return text.size() <= kHelloTextBytesMax; };
  return fits(hello.host()) && fits(hello.device()) && fits(hello.version()) && fits(hello.config_digest());
}

bool loaded(const v1::RankReport& report) {
  return report.phase() == v1::RANK_PHASE_LOADED || report.phase() == v1::RANK_PHASE_RUNNING;
}

std::string fault_in(const v1::RankReport& report) {
  if (!v1::RankPhase_IsValid(report.phase()) || report.phase() == v1::RANK_PHASE_UNSPECIFIED) {
    return fmt::format("phase {} is unknown", static_cast<int>(report.phase()));
  }
  if (!(report.loading_progress() >= 0 && report.loading_progress() <= 1)) return "loading_progress is not 0 to 1";
  const size_t bytes = report.transport_address().size();
  if (bytes > kTransportAddressBytesMax) return fmt::format("transport_address has {} bytes", bytes);
  if (loaded(report) && bytes == 0) return "transport_address is missing";
  return {};
}

}  // namespace

RankGroup::RankGroup(RankGroupOptions options, mesh::Clock clock)
    : options_(std::move(options)), clock_(std::move(clock)), ranks_(static_cast<size_t>(options_.ranks - 1)) {}

JoinRefusal RankGroup::join(FollowerId follower, const v1::Hello& hello) {
  if (!sound(hello)) return {Code::kNeverFits, fmt::format("a text has more than {} bytes", kHelloTextBytesMax)};
  if (hello.ranks() != static_cast<uint32_t>(options_.ranks)) {
    return {Code::kNeverFits, fmt::format("this replica has {} ranks, not {}: start all of them with --ranks {}",
                                          options_.ranks, hello.ranks(), options_.ranks)};
  }
  if (hello.rank() == 0 || hello.rank() >= hello.ranks()) {
    return {Code::kNeverFits, fmt::format("rank {} is none of a follower's: start it with --rank 1 to {}", hello.rank(),
                                          options_.ranks - 1)};
  }
  if (hello.version() != options_.version) {
    return {Code::kOtherVersion, fmt::format("the head's version is {}, this one's {}: run the same on all ranks",
                                             options_.version, hello.version())};
  }
  if (hello.config_digest() != options_.config_digest || hello.synthetic_weights() != options_.synthetic_weights) {
    return {Code::kNeverFits, "the head serves another model: give all ranks the same --model and --load-format"};
  }
  Rank& rank = ranks_[hello.rank() - 1];
  if (rank.follower != 0) return {Code::kTaken, fmt::format("{} has this place", describe(rank))};
  // Who comes while the others are already at work would not be one of them.
  if (phase_ != Phase::kGathering) return {Code::kTaken, "the group has not yet taken notice of its loss"};
  rank = {.follower = follower, .hello = hello, .heard = clock_()};
  return {};
}

std::string RankGroup::report(FollowerId follower, const v1::RankReport& report) {
  Rank& rank = ranks_.at(index_of(follower));
  std::string fault = fault_in(report);
  const bool was_running = rank.last.phase() == v1::RANK_PHASE_RUNNING;
  if (fault.empty() && report.phase() == v1::RANK_PHASE_RUNNING && phase_ == Phase::kGathering) {
    fault = "it runs before the start";
  }
  if (fault.empty() && was_running && report.phase() != v1::RANK_PHASE_RUNNING) fault = "it runs no longer";
  if (!fault.empty()) return fault;
  rank.last = report;
  rank.heard = clock_();
  return {};
}

void RankGroup::leave(FollowerId follower, const std::string& reason) {
  const size_t index = index_of(follower);
  if (index == ranks_.size()) return;
  Rank& rank = ranks_[index];
  if (phase_ != Phase::kGathering && loss_.empty()) loss_ = fmt::format("{} was lost: {}", describe(rank), reason);
  rank.follower = 0;
}

bool RankGroup::all_joined() const {
  return std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return rank.follower != 0; });
}

bool RankGroup::all_loaded() const {
  return all_joined() && std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return loaded(rank.last); });
}

bool RankGroup::all_running() const {
  return all_joined() && std::all_of(ranks_.begin(), ranks_.end(),
                                     [](const Rank& rank) { return rank.last.phase() == v1::RANK_PHASE_RUNNING; });
}

double RankGroup::loading_progress() const {
  double least = 1;
  for (const Rank& rank : ranks_) {
    const double progress = rank.follower == 0 ? 0 : loaded(rank.last) ? 1 : rank.last.loading_progress();
    least = std::min(least, progress);
  }
  return least;
}

std::vector<std::string> RankGroup::transport_addresses() const {
  std::vector<std::string> addresses;
  for (const Rank& rank : ranks_) addresses.push_back(rank.last.transport_address());
  return addresses;
}

void RankGroup::start() {
  phase_ = Phase::kStarting;
  started_ = clock_();
}

void RankGroup::run() {
  phase_ = Phase::kRunning;
}

void RankGroup::disband() {
  phase_ = Phase::kGathering;
  loss_.clear();
  for (Rank& rank : ranks_) {
    rank.follower = 0;
    rank.last.Clear();
  }
}

std::chrono::milliseconds RankGroup::silence_limit(bool has_work) const {
  return has_work ? options_.stall_limit : kSilenceMax;
}

std::string RankGroup::fault(bool has_work) const {
  if (!loss_.empty()) return loss_;
  const mesh::TimePoint now = clock_();
  for (const Rank& rank : ranks_) {
    if (rank.follower == 0 || now - rank.heard < silence_limit(has_work)) continue;
    return fmt::format("{} is silent for {} ms", describe(rank), silence_limit(has_work).count());
  }
  if (phase_ != Phase::kStarting || now - started_ < kStartTimeMax) return {};
  for (const Rank& rank : ranks_) {
    if (rank.last.phase() != v1::RANK_PHASE_RUNNING) return fmt::format("{} does not start to run", describe(rank));
  }
  return "the head does not start to run";
}

mesh::TimePoint RankGroup::fault_due(bool has_work) const {
  mesh::TimePoint due = phase_ == Phase::kStarting ? started_ + kStartTimeMax : mesh::TimePoint::max();
  for (const Rank& rank : ranks_) {
    if (rank.follower != 0) due = std::min(due, rank.heard + silence_limit(has_work));
  }
  return due;
}

void RankGroup::excuse_silence() {
  for (Rank& rank : ranks_) rank.heard = clock_();
}

std::vector<FollowerId> RankGroup::followers() const {
  std::vector<FollowerId> ids;
  for (const Rank& rank : ranks_) {
    if (rank.follower != 0) ids.push_back(rank.follower);
  }
  return ids;
}

bool RankGroup::is_member(FollowerId follower) const {
  return index_of(follower) < ranks_.size();
}

std::vector<v1::RankHealth> RankGroup::health() const {
  const mesh::TimePoint now = clock_();
  std::vector<v1::RankHealth> all;
  for (size_t i = 0; i < ranks_.size(); ++i) {
    const Rank& rank = ranks_[i];
    v1::RankHealth health;
    health.set_rank(static_cast<uint32_t>(i + 1));
    health.set_host(rank.hello.host());
    health.set_device(rank.hello.device());
    health.set_healthy(rank.follower != 0 && now - rank.heard < options_.stall_limit);
    health.set_steps(rank.last.steps());
    all.push_back(std::move(health));
  }
  return all;
}

std::string RankGroup::describe(FollowerId follower) const {
  return describe(ranks_.at(index_of(follower)));
}

std::string RankGroup::describe(const Rank& rank) const {
  return fmt::format("rank {} ({}, pid {})", rank.hello.rank(), rank.hello.host(), rank.hello.pid());
}

size_t RankGroup::index_of(FollowerId follower) const {
  const auto found = std::find_if(ranks_.begin(), ranks_.end(),
                                  [&](const Rank& rank) { return rank.follower != 0 && rank.follower == follower; });
  return static_cast<size_t>(found - ranks_.begin());
}

}  // namespace bellwether::worker
