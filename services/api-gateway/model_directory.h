// Which models the mesh has and which heads serve them, from the heads' own heartbeats.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"

namespace bellwether::gateway {

// A head in one epoch: tokens of another epoch are another replica's.
struct Head {
  std::string replica_id;
  uint64_t epoch = 0;

  friend bool operator==(const Head&, const Head&) = default;
  friend auto operator<=>(const Head&, const Head&) = default;
};

struct GoneHead {
  Head head;
  std::string why;
};

// A model that at least one ready head serves.
struct ModelStatus {
  std::string name;
  std::string card_digest;          // the one that most ready heads announce
  uint32_t context_tokens_max = 0;  // of the head that takes least; 0 = not announced
  uint64_t since_unix_ms = 0;       // when the oldest of its heads started
  size_t heads_ready = 0;
};

class ModelDirectory {
 public:
  static constexpr std::chrono::milliseconds kSilenceMax{1000};  // a head not heard for longer is gone

  explicit ModelDirectory(mesh::Clock clock) : clock_(std::move(clock)) {}

  // Takes a heartbeat. Returns the heads that it ends: the replica's older epoch, or this one when it has failed or
  // stopped. States older than what is known are dropped.
  std::vector<GoneHead> observe(const v1::ReplicaState& state);

  // Forgets the heads that have been silent for too long and returns them. Call it several times a second.
  std::vector<GoneHead> sweep();

  // Counts all heads as heard just now: while the bus was away, silence said nothing about them.
  void excuse_silence();

  // True when the head may be alive. One that was never heard of (a scheduler may hear of it first) counts as heard
  // just now, so that it is gone after kSilenceMax unless it speaks.
  bool expect(const Head& head);

  [[nodiscard]] std::optional<ModelStatus> find(std::string_view model) const;
  // What the last ready head of the model said, however long ago; nothing when there was none.
  [[nodiscard]] std::optional<ModelStatus> last_known(std::string_view model) const;
  [[nodiscard]] std::vector<ModelStatus> list() const;                     // by name
  [[nodiscard]] bool serves_any() const;                                   // list() is not empty
  [[nodiscard]] std::vector<Head> heads_of(std::string_view model) const;  // that may hold work, ready or not
  [[nodiscard]] bool knows(std::string_view model) const;                  // announced at any time, by any head
  [[nodiscard]] bool empty() const { return names_.empty(); }              // no model was ever announced

 private:
  struct Entry {
    v1::ReplicaState state;  // without a model while the head is only expected
    mesh::TimePoint heard;
  };

  [[nodiscard]] bool serves(const Entry& entry) const;
  [[nodiscard]] bool fresh(const Entry& entry) const { return clock_() - entry.heard <= kSilenceMax; }

  mesh::Clock clock_;
  std::map<std::string, Entry, std::less<>> heads_;  // by replica id
  std::set<std::string, std::less<>> names_;
  std::map<std::string, ModelStatus, std::less<>> last_known_;  // of names_ that had a ready head
};

}  // namespace bellwether::gateway
