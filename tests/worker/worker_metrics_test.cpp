#include "worker/worker_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bellwether::worker {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class WorkerMetricsText : public ::testing::Test {
 protected:
  [[nodiscard]] std::string text() const { return mesh::render_metrics(registry_); }

  // The value of one line, by its name and labels.
  [[nodiscard]] std::string value(const std::string& series) const {
    const std::string whole = "\n" + text();
    const size_t at = whole.find("\n" + series + " ");
    if (at == std::string::npos) return "absent";
    const size_t begin = at + series.size() + 2;
    return whole.substr(begin, whole.find('\n', begin) - begin);
  }

  prometheus::Registry registry_;
  WorkerMetrics metrics_{registry_, "nano", 8192};
};

TEST_F(WorkerMetricsText, HasVllmsNamesTypesAndLabelsFromTheStart) {
  for (const char* gauge : {"vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc",
                            "vllm:gpu_cache_usage_perc"}) {
    EXPECT_THAT(text(), HasSubstr("# TYPE " + std::string(gauge) + " gauge\n"));
    EXPECT_EQ(value(std::string(gauge) + R"({engine="0",model_name="nano"})"), "0") << gauge;
  }
  for (const char* counter :
       {"vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:num_preemptions_total",
        "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total", "vllm:spec_decode_num_draft_tokens_total",
        "vllm:spec_decode_num_accepted_tokens_total"}) {
    EXPECT_THAT(text(), HasSubstr("# TYPE " + std::string(counter) + " counter\n"));
    EXPECT_EQ(value(std::string(counter) + R"({engine="0",model_name="nano"})"), "0") << counter;
  }
  for (const char* histogram :
       {"vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds",
        "vllm:e2e_request_latency_seconds", "vllm:request_prompt_tokens", "vllm:request_generation_tokens",
        "vllm:iteration_tokens_total"}) {
    EXPECT_THAT(text(), HasSubstr("# TYPE " + std::string(histogram) + " histogram\n"));
    EXPECT_EQ(value(std::string(histogram) + R"(_count{engine="0",model_name="nano"})"), "0") << histogram;
  }
  for (const char* reason : {"stop", "length", "abort", "error"}) {
    EXPECT_EQ(value(R"(vllm:request_success_total{engine="0",finished_reason=")" + std::string(reason) +
                    R"(",model_name="nano"})"),
              "0");
  }
}

TEST_F(WorkerMetricsText, BucketsAreVllms) {
  for (const char* bound : {"0.001", "0.04", "0.75", "7.5", "2560", "+Inf"}) {
    EXPECT_EQ(value("vllm:time_to_first_token_seconds_bucket{engine=\"0\",model_name=\"nano\",le=\"" +
                    std::string(bound) + "\"}"),
              "0")
        << bound;
  }
  EXPECT_THAT(text(), HasSubstr(R"(vllm:request_prompt_tokens_bucket{engine="0",model_name="nano",le="5000"})"));
  EXPECT_THAT(text(), Not(HasSubstr(R"(vllm:request_prompt_tokens_bucket{engine="0",model_name="nano",le="10000"})")));
  EXPECT_THAT(text(), HasSubstr(R"(vllm:iteration_tokens_total_bucket{engine="0",model_name="nano",le="16384"})"));
}

TEST_F(WorkerMetricsText, ShowsTheLoadUnderBothNamesOfTheCache) {
  metrics_.set_load(3, 4, 0.25);
  EXPECT_EQ(value(R"(vllm:num_requests_running{engine="0",model_name="nano"})"), "3");
  EXPECT_EQ(value(R"(vllm:num_requests_waiting{engine="0",model_name="nano"})"), "4");
  EXPECT_EQ(value(R"(vllm:kv_cache_usage_perc{engine="0",model_name="nano"})"), "0.25");
  EXPECT_EQ(value(R"(vllm:gpu_cache_usage_perc{engine="0",model_name="nano"})"), "0.25");
}

TEST_F(WorkerMetricsText, CountsWhatAStepDid) {
  engine::StepReport step;
  step.prefill_tokens = 20;
  step.decode_tokens = 3;
  step.preemptions = 1;
  step.cache_query_tokens = 90;
  step.cache_hit_tokens = 64;
  step.draft_tokens = 4;
  step.draft_tokens_accepted = 2;
  metrics_.count_step(step);
  metrics_.count_step(step);
  const auto of_nano = [&](const std::string& name) { return value(name + R"({engine="0",model_name="nano"})"); };
  EXPECT_EQ(of_nano("vllm:iteration_tokens_total_sum"), "46");
  EXPECT_EQ(of_nano("vllm:num_preemptions_total"), "2");
  EXPECT_EQ(of_nano("vllm:prefix_cache_queries_total"), "180");
  EXPECT_EQ(of_nano("vllm:prefix_cache_hits_total"), "128");
  EXPECT_EQ(of_nano("vllm:spec_decode_num_draft_tokens_total"), "8");
  EXPECT_EQ(of_nano("vllm:spec_decode_num_accepted_tokens_total"), "4");
}

TEST_F(WorkerMetricsText, CountsEachWayToEndApart) {
  metrics_.count_finished(FinishedReason::kStop);
  metrics_.count_finished(FinishedReason::kLength);
  metrics_.count_finished(FinishedReason::kLength);
  metrics_.count_finished(FinishedReason::kAbort);
  EXPECT_EQ(value(R"(vllm:request_success_total{engine="0",finished_reason="stop",model_name="nano"})"), "1");
  EXPECT_EQ(value(R"(vllm:request_success_total{engine="0",finished_reason="length",model_name="nano"})"), "2");
  EXPECT_EQ(value(R"(vllm:request_success_total{engine="0",finished_reason="abort",model_name="nano"})"), "1");
  EXPECT_EQ(value(R"(vllm:request_success_total{engine="0",finished_reason="error",model_name="nano"})"), "0");
}

TEST_F(WorkerMetricsText, SharesTheGapAmongTokensThatCameTogether) {
  metrics_.observe_tokens_after(0.04, 2);
  EXPECT_EQ(value(R"(vllm:inter_token_latency_seconds_count{engine="0",model_name="nano"})"), "2");
  EXPECT_EQ(value(R"(vllm:inter_token_latency_seconds_sum{engine="0",model_name="nano"})"), "0.04");
  EXPECT_EQ(value(R"(vllm:time_per_output_token_seconds_bucket{engine="0",model_name="nano",le="0.025"})"), "2");
}

}  // namespace
}  // namespace bellwether::worker
