// A worker's metrics, under the names that vLLM gives them, so that dashboards made for vLLM and AIBrix work.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "mesh/metrics.h"

namespace bellwether::worker {

// How a request ended, in vLLM's words.
enum class FinishedReason { kStop, kLength, kAbort, kError };

[[nodiscard]] std::string_view name_of(FinishedReason reason);

// All on the executor's thread.
class WorkerMetrics {
 public:
  // `context_tokens_max` bounds the buckets of lengths. REQUIRES: one for a registry, which outlives this.
  WorkerMetrics(prometheus::Registry& registry, const std::string& model_name, int64_t context_tokens_max);

  void set_load(int64_t requests_running, int64_t requests_waiting, double kv_cache_usage);  // usage: 0 to 1
  void count_step(const engine::StepReport& step);
  void count_prompt(int64_t prompt_tokens);  // when it has been read
  void count_generated(int64_t tokens);
  void observe_first_token(double seconds_since_arrival);
  void observe_tokens_after(double seconds_since_last, int64_t tokens);  // tokens that came together
  void count_finished(FinishedReason reason);
  void observe_finished(double seconds_since_arrival, int64_t prompt_tokens, int64_t generated_tokens);
  void count_publish_failure();

 private:
  class Adder;
  WorkerMetrics(Adder add, int64_t context_tokens_max);

  prometheus::Gauge& requests_running_;
  prometheus::Gauge& requests_waiting_;
  prometheus::Gauge& kv_cache_usage_;
  prometheus::Gauge& gpu_cache_usage_;  // vLLM's older name for the same
  prometheus::Counter& prompt_tokens_;
  prometheus::Counter& generation_tokens_;
  prometheus::Counter& finished_stop_;
  prometheus::Counter& finished_length_;
  prometheus::Counter& finished_abort_;
  prometheus::Counter& finished_error_;
  prometheus::Counter& preemptions_;
  prometheus::Counter& cache_queries_;
  prometheus::Counter& cache_hits_;
  prometheus::Counter& draft_tokens_;
  prometheus::Counter& draft_tokens_accepted_;
  prometheus::Counter& publish_failures_;
  prometheus::Histogram& first_token_;
  prometheus::Histogram& inter_token_;
  prometheus::Histogram& time_per_output_token_;  // vLLM's older name for the same
  prometheus::Histogram& request_latency_;
  prometheus::Histogram& request_prompt_tokens_;
  prometheus::Histogram& request_generation_tokens_;
  prometheus::Histogram& iteration_tokens_;
};

}  // namespace bellwether::worker
