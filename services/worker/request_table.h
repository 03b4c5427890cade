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
#include "mesh/trace.h"

namespace bellwether::worker {

// One of the answers a request wants: a sequence of the engine.
struct LiveChoice {
  uint32_t index = 0;
  engine::SequenceId sequence = 0;
  int64_t output_tokens_given = 0;    // by earlier attempts
  int64_t output_tokens = 0;          // those and what this attempt generated
  int64_t cached_prompt_tokens = 0;   // once the prompt has been read
  int64_t draft_tokens = 0;           // guesses that were verified ...
  int64_t draft_tokens_accepted = 0;  // ... and how many were right
  int64_t prompt_logprobs_given = 0;  // prompt tokens whose log-probabilities have come
  mesh::TimePoint token_last = {};    // when the last token came; unset before the first
  bool token_seen = false;            // this attempt has generated one
  bool in_engine = false;             // the engine has admitted it
  bool prefill_done = false;
  bool cancelled = false;  // nobody wants to hear of it; it leaves the engine shortly
};

struct LiveRequest {
  std::string request_id = {};
  uint32_t attempt = 0;
  std::string gateway_id = {};
  std::string tenant = {};
  int64_t prompt_tokens = 0;
  mesh::TimePoint arrived = {};
  mesh::Span span = {};                  // from its arrival until its last choice has left the engine
  bool cancelled = false;                // all of its choices are
  bool failed = false;                   // a choice has ended in an error
  int64_t completion_tokens = 0;         // that this attempt generated, of the choices that have left the engine
  size_t choices_taken = 0;              // those that have left among them
  std::vector<LiveChoice> choices = {};  // those that have not left the engine
};

// A sequence and the request that it belongs to; both nullptr when there is none.
struct LiveSequence {
  LiveRequest* request = nullptr;
  LiveChoice* choice = nullptr;

  explicit operator bool() const { return choice != nullptr; }
};

enum class Acquaintance {
  kUnknown,   // never heard of
  kSame,      // this attempt runs, or ran a moment ago
  kNewer,     // an older attempt runs
  kOutdated,  // a newer attempt runs, or ran a moment ago
};

// Not thread-safe. References to a request stay valid until its last choice is removed, those to a choice until one of
// the same request is.
class RequestTable {
 public:
  static constexpr size_t kEndedMax = 4096;  // ended requests remembered, so that a late copy does not run again

  [[nodiscard]] Acquaintance compare(const std::string& request_id, uint32_t attempt) const;

  // Its choices get the sequence ids from `first_sequence` on, in their order.
  // REQUIRES: compare() is kUnknown, or the older attempt is marked cancelled; it has a choice at least.
  LiveRequest& add(const v1::GenerateRequest& request, engine::SequenceId first_sequence, mesh::TimePoint now);

  [[nodiscard]] LiveSequence find(engine::SequenceId sequence);
  [[nodiscard]] LiveRequest* find(const std::string& request_id);  // nullptr when it is marked cancelled, too

  // The request is no longer found by its id; its sequences count until they are removed.
  void mark_cancelled(LiveRequest& request);

  // With the last of a request's sequences the request is gone, too.
  void remove(engine::SequenceId sequence);

  [[nodiscard]] std::vector<engine::SequenceId> sequences() const;  // in the order of arrival
  [[nodiscard]] size_t sequence_count() const { return by_sequence_.size(); }
  [[nodiscard]] size_t request_count() const { return live_.size(); }
  [[nodiscard]] bool empty() const { return live_.empty(); }

 private:
  using Key = engine::SequenceId;  // a request's first sequence

  void remember(const std::string& request_id, uint32_t attempt);

  std::unordered_map<Key, LiveRequest> live_;
  std::unordered_map<engine::SequenceId, Key> by_sequence_;
  std::unordered_map<std::string, Key> by_request_id_;
  std::unordered_map<std::string, uint32_t> ended_;  // the newest attempt that ended
  std::deque<std::string> ended_order_;
};

}  // namespace bellwether::worker
