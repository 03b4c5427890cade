// What a replica's steps cost, learned from how long they took: what it can do, whatever it has to do now.
#pragma once

#include <cstdint>

namespace bellwether::worker {

// Two rates, in tokens per second of computing:
// - of writing, with a full batch. A step of one sequence takes hardly less than one of many, so the tokens written in
// a
//   second say more of the load than of the replica. Steps that only write are taken as base + slope * tokens, a
//   straight line fitted to them, and asked for the full batch;
// - of reading prompts, in the steps that read the most. What such a step wrote beside is taken off by the same line.
// Old steps fade, so the rates follow the replica within some hundred steps.
class StepCosts {
 public:
  // `batch_max`: tokens written in a step with a full batch, at least 1.
  explicit StepCosts(int64_t batch_max) : batch_max_(static_cast<double>(batch_max)) {}

  void add(double seconds, int64_t prefill_tokens, int64_t decode_tokens);

  // 0 = not measured yet.
  [[nodiscard]] double prefill_tokens_per_s() const;
  [[nodiscard]] double decode_tokens_per_s() const;

 private:
  void add_decode(double seconds, double tokens);
  void add_prefill(double seconds, double tokens, double decode_tokens);
  [[nodiscard]] double decode_step_seconds(double tokens) const;  // 0 = not measured yet

  double batch_max_;
  // Of steps that only write, faded: their weight, and the sums of tokens, seconds and the products.
  double steps_ = 0;
  double tokens_ = 0;
  double seconds_ = 0;
  double tokens_tokens_ = 0;
  double tokens_seconds_ = 0;
  // Of steps that read, faded, each weighted by the tokens it read.
  double read_tokens_ = 0;
  double read_seconds_ = 0;
};

}  // namespace bellwether::worker
