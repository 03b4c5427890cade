#include "worker/step_costs.h"

#include <algorithm>

namespace bellwether::worker {
namespace {

constexpr double kDecodeKept = 0.99;   // of the weight of older steps, with each new one
constexpr double kPrefillKept = 0.95;  // the same, of steps that read
// While steps of one size only were seen, a full batch is taken to need twice the time of one sequence. This counts as
// much as this spread of sizes (their variance, in tokens squared).
constexpr double kGuessedSpread = 1;
// A step that reads spends at least so much of its time with that.
constexpr double kReadingPartMin = 0.5;

}  // namespace

void StepCosts::add(double seconds, int64_t prefill_tokens, int64_t decode_tokens) {
  if (!(seconds > 0)) return;
  const auto decode = static_cast<double>(decode_tokens);
  if (prefill_tokens > 0) {
    add_prefill(seconds, static_cast<double>(prefill_tokens), decode);
  } else if (decode_tokens > 0) {
    add_decode(seconds, decode);
  }
}

void StepCosts::add_decode(double seconds, double tokens) {
  for (double* sum : {&steps_, &tokens_, &seconds_, &tokens_tokens_, &tokens_seconds_}) *sum *= kDecodeKept;
  steps_ += 1;
  tokens_ += tokens;
  seconds_ += seconds;
  tokens_tokens_ += tokens * tokens;
  tokens_seconds_ += tokens * seconds;
}

void StepCosts::add_prefill(double seconds, double tokens, double decode_tokens) {
  const double reading =
      std::max(kReadingPartMin * seconds, decode_tokens > 0 ? seconds - decode_step_seconds(decode_tokens) : seconds);
  read_tokens_ = read_tokens_ * kPrefillKept + tokens * tokens;
  read_seconds_ = read_seconds_ * kPrefillKept + tokens * reading;
}

double StepCosts::decode_step_seconds(double tokens) const {
  if (steps_ <= 0) return 0;
  const double mean_tokens = tokens_ / steps_;
  const double mean_seconds = seconds_ / steps_;
  const double spread = std::max(0.0, tokens_tokens_ / steps_ - mean_tokens * mean_tokens);
  const double together = tokens_seconds_ / steps_ - mean_tokens * mean_seconds;
  const double slope =
      std::max(0.0, (together + kGuessedSpread * mean_seconds / batch_max_) / (spread + kGuessedSpread));
  return std::max(0.0, mean_seconds + slope * (tokens - mean_tokens));
}

double StepCosts::decode_tokens_per_s() const {
  return steps_ <= 0 ? 0 : batch_max_ / decode_step_seconds(std::max(batch_max_, tokens_ / steps_));
}

double StepCosts::prefill_tokens_per_s() const {
  return read_seconds_ <= 0 ? 0 : read_tokens_ / read_seconds_;
}

}  // namespace bellwether::worker
