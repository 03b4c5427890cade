// The requests a head has taken and not yet got out of its engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "bellwether/v1/generate.pb.h"
#include "engine/engine.h"
#include "mesh/clock.h"

namespace bellwether::worker {

struct LiveRequest {
  std::string request_id = {};
  uint32_t attempt = 0;
  std::string gateway_id = {};
  engine::SequenceId sequence = 0;
  int64_t prompt_tokens = 0;
  int64_t output_tokens_given = 0;  // by earlier attempts
  int64_t output_tokens = 0;        // those and what this attempt generated
  mesh::TimePoint arrived = {};
  mesh::TimePoint token_last = {};  // when the last token came; unset before the first
  bool token_seen = false;          // this attempt has generated one
  bool in_engine = false;           // the engine has admitted it
  bool cancelled = false;           // nobody wants to hear of it; it leaves the engine shortly
};

enum class Acquaintance {
  kUnknown,   // never heard of
  kSame,      // this attempt runs, or ran a moment ago
  kNewer,     // an older attempt runs
  kOutdated,  // a newer attempt runs, or ran a moment ago
};

// Not thread-safe. References stay valid until their request is removed.
class RequestTable {
 public:
  static constexpr size_t kEndedMax = 4096;  // ended requests remembered, so that a late copy does not run again

  [[nodiscard]] Acquaintance compare(const std::string& request_id, uint32_t attempt) const;

  // REQUIRES: compare() is kUnknown, or the older attempt is marked cancelled.
  LiveRequest& add(const v1::GenerateRequest& request, engine::SequenceId sequence, mesh::TimePoint now);

  [[nodiscard]] LiveRequest* find(engine::SequenceId sequence);
  [[nodiscard]] LiveRequest* find(const std::string& request_id);  // nullptr when it is marked cancelled, too

  // The request is no longer found by its id; it counts until it is removed.
  void mark_cancelled(LiveRequest& request);
  void remove(engine::SequenceId sequence);

  [[nodiscard]] std::vector<engine::SequenceId> sequences() const;  // in the order of arrival
  [[nodiscard]] size_t size() const { return live_.size(); }
  [[nodiscard]] bool empty() const { return live_.empty(); }

 private:
  void remember(const std::string& request_id, uint32_t attempt);

  std::unordered_map<engine::SequenceId, LiveRequest> live_;
  std::unordered_map<std::string, engine::SequenceId> by_request_id_;
  std::unordered_map<std::string, uint32_t> ended_;  // the newest attempt that ended
  std::deque<std::string> ended_order_;
};

}  // namespace bellwether::worker
