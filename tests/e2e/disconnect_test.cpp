// A client that goes away in the middle of its answer.
#include <gtest/gtest.h>

#include <future>
#include <string>

#include "e2e/http_client.h"
#include "e2e/reference.h"
#include "e2e/shared_mesh.h"

namespace bellwether::e2e {
namespace {

using std::chrono::seconds;

constexpr int kControlTokens = 2500;

// Another stream, whose life tells what a departure does to others.
class ControlStream {
 public:
  explicit ControlStream(const std::string& url) {
    auto begun = std::make_shared<std::promise<void>>();
    std::future<void> has_begun = begun->get_future();
    reply_ = std::async(std::launch::async, [url, begun] {
      return http_stream(url, endless_request(kControlTokens), [begun](const StreamedReply& so_far) {
        if (so_far.text_events == 1) begun->set_value();
        return true;
      });
    });
    if (has_begun.wait_for(kPatience) != std::future_status::ready)
      throw std::runtime_error("the stream does not begin");
  }

  [[nodiscard]] bool running() const { return reply_.wait_for(seconds(0)) != std::future_status::ready; }
  StreamedReply finish() { return reply_.get(); }

 private:
  std::future<StreamedReply> reply_;
};

TEST(Disconnect, FreesItsBlocksAndLeavesOthersAlone) {
  const std::string url = shared_mesh().url() + "/v1/chat/completions";
  const std::string metrics = shared_mesh().worker_metrics_url();
  ASSERT_TRUE(eventually([&] { return metric_value(metrics, "vllm:kv_cache_usage_perc") == 0; }, seconds(5)));

  ControlStream control(url);
  double used_by_both = 0;
  const StreamedReply left = http_stream(url, endless_request(5000), [&](const StreamedReply& so_far) {
    if (so_far.text_events < 20) return true;
    used_by_both = metric_value(metrics, "vllm:kv_cache_usage_perc");
    EXPECT_EQ(metric_value(metrics, "vllm:num_requests_running"), 2);
    return false;
  });
  EXPECT_FALSE(left.done);
  EXPECT_TRUE(eventually([&] { return metric_value(metrics, "vllm:num_requests_running") == 1; }, seconds(1)));
  EXPECT_LT(metric_value(metrics, "vllm:kv_cache_usage_perc"), used_by_both);
  EXPECT_TRUE(control.running()) << "the comparison is worth nothing when it has ended";

  const StreamedReply undisturbed = control.finish();
  EXPECT_EQ(undisturbed.error, "");
  EXPECT_TRUE(undisturbed.done);
  EXPECT_EQ(undisturbed.usage->at("completion_tokens"), kControlTokens);
  EXPECT_TRUE(eventually([&] { return metric_value(metrics, "vllm:kv_cache_usage_perc") == 0; }, seconds(1)));
  EXPECT_EQ(metric_value(metrics, "vllm:num_requests_running"), 0);
}

}  // namespace
}  // namespace bellwether::e2e
