// What a head has lately sent, to be sent once more where the bus lost it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "bellwether/v1/generate.pb.h"

namespace bellwether::worker {

// Bounded: the oldest events go first, whosever they are. Not thread-safe.
class TokenHistory {
 public:
  // `bytes_max`: of all events together, as they travel.
  explicit TokenHistory(size_t bytes_max) : bytes_max_(bytes_max) {}

  // REQUIRES: events of one choice come in the order of their indices.
  void add(const v1::TokenEvent& event);

  struct Found {
    bool complete = false;  // `events` reach back to the index asked for
    // Those that hold tokens from there on, or the end; for index 0, those with log-probabilities of the prompt, too.
    std::vector<v1::TokenEvent> events;
  };
  [[nodiscard]] Found since(const std::string& request_id, uint32_t attempt, uint32_t choice, uint32_t index) const;

  [[nodiscard]] size_t bytes() const { return bytes_; }

 private:
  struct Kept {
    v1::TokenEvent event;
    size_t bytes;
  };
  using Attempt = std::deque<Kept>;  // of all its choices, oldest first; never empty
  using Attempts = std::unordered_map<std::string, Attempt>;

  void evict_oldest();

  size_t bytes_max_;
  size_t bytes_ = 0;
  Attempts attempts_;
  std::deque<Attempts::value_type*> order_;  // whose events are kept, oldest first: one entry for each event
};

}  // namespace bellwether::worker
