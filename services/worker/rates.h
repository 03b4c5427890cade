// How fast a replica has been over the last seconds.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"

namespace bellwether::worker {

// Tokens per second of time passed, idle time included. Times given never go back.
class Rates {
 public:
  static constexpr std::chrono::milliseconds kWindow{5000};
  static constexpr std::chrono::milliseconds kSlot{250};  // steps within one are summed: bounded, whatever their rate

  void add(mesh::TimePoint now, int64_t prefill_tokens, int64_t decode_tokens);

  // 0 and 0 before the first step. Over less than the window while that is all there is, but never less than a slot.
  [[nodiscard]] v1::Rates now(mesh::TimePoint now) const;

 private:
  struct Slot {
    mesh::TimePoint begin;
    int64_t prefill_tokens = 0;
    int64_t decode_tokens = 0;
  };

  std::deque<Slot> slots_;
  std::optional<mesh::TimePoint> first_;
};

}  // namespace bellwether::worker
