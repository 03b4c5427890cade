#include "worker/worker_metrics.h"

namespace bellwether::worker {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;
using Labels = prometheus::Labels;

// vLLM's (vllm/v1/metrics/loggers.py), so that quantiles of both can be compared.
const Buckets kFirstTokenSeconds = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                    1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
const Buckets kInterTokenSeconds = {.01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5, 5, 7.5, 10, 20, 40, 80};
const Buckets kRequestSeconds = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
const Buckets kIterationTokens = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

// 1, 2, 5, 10, 20, 50, ... up to `max`.
Buckets buckets_1_2_5(int64_t max) {
  Buckets buckets;
  for (int64_t decade = 1; decade <= max; decade *= 10) {
    for (const int64_t digit : {1, 2, 5}) {
      if (digit * decade <= max) buckets.push_back(static_cast<double>(digit * decade));
    }
  }
  return buckets;
}

}  // namespace

std::string_view name_of(FinishedReason reason) {
  switch (reason) {
    case FinishedReason::kStop:
      return "stop";
    case FinishedReason::kLength:
      return "length";
    case FinishedReason::kAbort:
      return "abort";
    case FinishedReason::kError:
      break;
  }
  return "error";
}

// Adds families to a registry, each with the labels that all have in common.
class WorkerMetrics::Adder {
 public:
  Adder(prometheus::Registry& registry, Labels labels)
      : registry_(registry),
        labels_(std::move(labels)),
        finished_(prometheus::BuildCounter()
                      .Name("vllm:request_success_total")
                      .Help("Requests that left, by how they ended")
                      .Register(registry)) {}

  prometheus::Gauge& gauge(const std::string& name, const std::string& help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels_);
  }
  prometheus::Counter& counter(const std::string& name, const std::string& help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(labels_);
  }
  prometheus::Counter& finished(FinishedReason reason) {
    Labels labels = labels_;
    labels["finished_reason"] = name_of(reason);
    return finished_.Add(labels);
  }
  prometheus::Histogram& histogram(const std::string& name, const std::string& help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(labels_, buckets);
  }

 private:
  prometheus::Registry& registry_;
  Labels labels_;
  prometheus::Family<prometheus::Counter>& finished_;
};

// vLLM numbers the engines behind one address; a head is one.
WorkerMetrics::WorkerMetrics(prometheus::Registry& registry, const std::string& model_name, int64_t context_tokens_max)
    : WorkerMetrics(Adder(registry, {{"model_name", model_name}, {"engine", "0"}}), context_tokens_max) {}

WorkerMetrics::WorkerMetrics(Adder add, int64_t context_tokens_max)
    : requests_running_(add.gauge("vllm:num_requests_running", "Requests in the batch")),
      requests_waiting_(add.gauge("vllm:num_requests_waiting", "Requests taken and not yet in the batch")),
      kv_cache_usage_(add.gauge("vllm:kv_cache_usage_perc", "Part of the KV cache in use, 0 to 1")),
      gpu_cache_usage_(add.gauge("vllm:gpu_cache_usage_perc", "The same as vllm:kv_cache_usage_perc")),
      prompt_tokens_(add.counter("vllm:prompt_tokens_total", "Prompt tokens read")),
      generation_tokens_(add.counter("vllm:generation_tokens_total", "Tokens generated")),
      finished_stop_(add.finished(FinishedReason::kStop)),
      finished_length_(add.finished(FinishedReason::kLength)),
      finished_abort_(add.finished(FinishedReason::kAbort)),
      finished_error_(add.finished(FinishedReason::kError)),
      preemptions_(add.counter("vllm:num_preemptions_total",
                               "Times a sequence lost its blocks to others and was computed again")),
      cache_queries_(add.counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the KV cache")),
      cache_hits_(add.counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the KV cache")),
      draft_tokens_(add.counter("vllm:spec_decode_num_draft_tokens_total", "Draft tokens verified")),
      draft_tokens_accepted_(add.counter("vllm:spec_decode_num_accepted_tokens_total", "Draft tokens that were right")),
      publish_failures_(add.counter("bellwether_worker_publish_failures_total",
                                    "Messages that the bus did not take; what they said is lost")),
      first_token_(add.histogram("vllm:time_to_first_token_seconds", "From a request's arrival to its first token",
                                 kFirstTokenSeconds)),
      inter_token_(add.histogram("vllm:inter_token_latency_seconds", "From a token to the next", kInterTokenSeconds)),
      time_per_output_token_(add.histogram("vllm:time_per_output_token_seconds",
                                           "The same as vllm:inter_token_latency_seconds", kInterTokenSeconds)),
      request_latency_(add.histogram("vllm:e2e_request_latency_seconds", "From a request's arrival to its last token",
                                     kRequestSeconds)),
      request_prompt_tokens_(add.histogram("vllm:request_prompt_tokens", "Prompt tokens of a finished request",
                                           buckets_1_2_5(context_tokens_max))),
      request_generation_tokens_(add.histogram("vllm:request_generation_tokens", "Tokens a finished request generated",
                                               buckets_1_2_5(context_tokens_max))),
      iteration_tokens_(add.histogram("vllm:iteration_tokens_total", "Tokens computed in one step", kIterationTokens)) {
}

void WorkerMetrics::set_load(int64_t requests_running, int64_t requests_waiting, double kv_cache_usage) {
  requests_running_.Set(static_cast<double>(requests_running));
  requests_waiting_.Set(static_cast<double>(requests_waiting));
  kv_cache_usage_.Set(kv_cache_usage);
  gpu_cache_usage_.Set(kv_cache_usage);
}

void WorkerMetrics::count_step(const engine::StepReport& step) {
  const auto count = [](prometheus::Counter& counter, int64_t by) { counter.Increment(static_cast<double>(by)); };
  iteration_tokens_.Observe(static_cast<double>(step.prefill_tokens + step.decode_tokens));
  count(preemptions_, step.preemptions);
  count(cache_queries_, step.cache_query_tokens);
  count(cache_hits_, step.cache_hit_tokens);
  count(draft_tokens_, step.draft_tokens);
  count(draft_tokens_accepted_, step.draft_tokens_accepted);
}

void WorkerMetrics::count_prompt(int64_t prompt_tokens) {
  prompt_tokens_.Increment(static_cast<double>(prompt_tokens));
}

void WorkerMetrics::count_generated(int64_t tokens) {
  generation_tokens_.Increment(static_cast<double>(tokens));
}

void WorkerMetrics::observe_first_token(double seconds_since_arrival) {
  first_token_.Observe(seconds_since_arrival);
}

void WorkerMetrics::observe_tokens_after(double seconds_since_last, int64_t tokens) {
  for (int64_t i = 0; i < tokens; ++i) {
    inter_token_.Observe(seconds_since_last / static_cast<double>(tokens));
    time_per_output_token_.Observe(seconds_since_last / static_cast<double>(tokens));
  }
}

void WorkerMetrics::count_finished(FinishedReason reason) {
  switch (reason) {
    case FinishedReason::kStop:
      finished_stop_.Increment();
      break;
    case FinishedReason::kLength:
      finished_length_.Increment();
      break;
    case FinishedReason::kAbort:
      finished_abort_.Increment();
      break;
    case FinishedReason::kError:
      finished_error_.Increment();
      break;
  }
}

void WorkerMetrics::observe_finished(double seconds_since_arrival, int64_t prompt_tokens, int64_t generated_tokens) {
  request_latency_.Observe(seconds_since_arrival);
  request_prompt_tokens_.Observe(static_cast<double>(prompt_tokens));
  request_generation_tokens_.Observe(static_cast<double>(generated_tokens));
}

void WorkerMetrics::count_publish_failure() {
  publish_failures_.Increment();
}

}  // namespace bellwether::worker
