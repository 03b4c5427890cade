// What a head knows of its ranks: who has joined, how each is, whether the group may start, and what broke it.
//
// Plain values and an injected clock; group_leader.h acts on what it says. Everything that followers send is checked
// here before it counts.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "bellwether/v1/replica.pb.h"
#include "mesh/clock.h"

namespace bellwether::worker {

using FollowerId = uint64_t;  // one stream of a follower; never 0, never used twice

inline constexpr size_t kHelloTextBytesMax = 256;  // of each text in it
inline constexpr size_t kTransportAddressBytesMax = 32 * 1024;
inline constexpr std::chrono::milliseconds kReportEvery{250};  // how often both sides of a stream say that they live
// Without work a silent rank harms nobody, and a machine that was busy elsewhere for a while is no reason to fail.
inline constexpr std::chrono::milliseconds kSilenceMax{10000};
inline constexpr std::chrono::milliseconds kStartTimeMax{20000};  // from Start until every rank runs

struct RankGroupOptions {
  int ranks = 1;  // the head counted
  std::string version = {};
  std::string config_digest = {};
  bool synthetic_weights = false;
  std::chrono::milliseconds stall_limit{1000};  // silence of a rank while there is work
};

struct JoinRefusal {
  enum class Code { kNone, kNeverFits, kOtherVersion, kTaken };
  Code code = Code::kNone;
  std::string message = {};  // what to do about it
};

class RankGroup {
 public:
  enum class Phase { kGathering, kStarting, kRunning };

  RankGroup(RankGroupOptions options, mesh::Clock clock);

  // Code kNone: it has the place now.
  [[nodiscard]] JoinRefusal join(FollowerId follower, const v1::Hello& hello);

  // What is wrong with the report, or "". A wrong one changes nothing. REQUIRES: the follower has joined.
  [[nodiscard]] std::string report(FollowerId follower, const v1::RankReport& report);

  // Its stream has ended. Unknown ids are ignored.
  void leave(FollowerId follower, const std::string& reason);

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] bool all_joined() const;
  [[nodiscard]] bool all_loaded() const;  // and say where they are reached
  [[nodiscard]] bool all_running() const;
  [[nodiscard]] double loading_progress() const;  // 0 to 1, of the followers' slowest; 0 while one is missing

  // The followers' addresses, rank 1 first. REQUIRES: all_loaded().
  [[nodiscard]] std::vector<std::string> transport_addresses() const;

  void start();    // kGathering -> kStarting. REQUIRES: all_loaded().
  void run();      // kStarting -> kRunning. REQUIRES: all_running().
  void disband();  // -> kGathering; nobody is a member

  // Why the group cannot go on, or "". `has_work`: the head waits for steps.
  [[nodiscard]] std::string fault(bool has_work) const;
  // When time alone may make a fault. TimePoint::max() without followers.
  [[nodiscard]] mesh::TimePoint fault_due(bool has_work) const;
  // Every rank counts as just heard.
  void excuse_silence();

  [[nodiscard]] std::vector<FollowerId> followers() const;
  [[nodiscard]] bool is_member(FollowerId follower) const;
  // Of ranks 1 and up, in order.
  [[nodiscard]] std::vector<v1::RankHealth> health() const;
  // "rank 3 (host, pid 42)"
  [[nodiscard]] std::string describe(FollowerId follower) const;

 private:
  struct Rank {
    FollowerId follower = 0;  // 0 = nobody
    v1::Hello hello = {};     // of the last that had the place
    v1::RankReport last = {};
    mesh::TimePoint heard = {};
  };

  [[nodiscard]] size_t index_of(FollowerId follower) const;  // ranks_.size() when unknown
  [[nodiscard]] std::string describe(const Rank& rank) const;
  [[nodiscard]] std::chrono::milliseconds silence_limit(bool has_work) const;

  RankGroupOptions options_;
  mesh::Clock clock_;
  Phase phase_ = Phase::kGathering;
  std::vector<Rank> ranks_;  // of ranks 1 and up
  std::string loss_;         // of a rank since the start
  mesh::TimePoint started_ = {};
};

}  // namespace bellwether::worker
