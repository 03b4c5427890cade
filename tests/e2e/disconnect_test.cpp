// A client that goes away in the middle of its answer.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>

#include "e2e/http_client.h"
#include "e2e/reference.h"
#include "e2e/shared_mesh.h"

namespace bellwether::e2e {
namespace {

using std::chrono::seconds;

// As long as a context holds: nobody waits for its end.
constexpr int kTokensMax = 6000;

// A stream that goes on until it is told to leave, and counts what it gets.
class EndlessStream {
 public:
  EndlessStream(const std::string& url, const ReferenceCase& about)
      : reply_(std::async(std::launch::async, [this, url, &about] {
          return http_stream(url, endless_request(about, kTokensMax), [this](const StreamedReply& so_far) {
            events_ = so_far.text_events;
            return !leaving_;
          });
        })) {}
  ~EndlessStream() { leaving_ = true; }
  EndlessStream(const EndlessStream&) = delete;
  EndlessStream& operator=(const EndlessStream&) = delete;

  // Whether it gets this many more events from now on.
  [[nodiscard]] bool advances(int events) const {
    const int from = events_;
    return eventually([&] { return events_ >= from + events; }, kPatience);
  }

  StreamedReply leave() {
    leaving_ = true;
    return reply_.get();
  }

 private:
  std::atomic<int> events_ = 0;
  std::atomic<bool> leaving_ = false;
  std::future<StreamedReply> reply_;
};

TEST(Disconnect, FreesItsBlocksAndLeavesOthersAlone) {
  const std::string url = shared_mesh().url() + "/v1/chat/completions";
  const std::string metrics = shared_mesh().worker_metrics_url();
  const auto running = [&] { return metric_value(metrics, "vllm:num_requests_running"); };
  const auto kv_use = [&] { return metric_value(metrics, "vllm:kv_cache_usage_perc"); };
  ASSERT_TRUE(eventually([&] { return kv_use() == 0; }, seconds(5)));

  EndlessStream control(url, reference_cases()[0]);
  EndlessStream leaver(url, longest_prompt());  // its blocks are many
  ASSERT_TRUE(control.advances(5));
  ASSERT_TRUE(leaver.advances(5));
  EXPECT_EQ(running(), 2);
  const double used_by_both = kv_use();
  const StreamedReply left = leaver.leave();
  EXPECT_FALSE(left.done);
  EXPECT_TRUE(eventually([&] { return running() == 1; }, seconds(1)));
  EXPECT_LT(kv_use(), used_by_both);
  EXPECT_GT(kv_use(), 0);

  EXPECT_TRUE(control.advances(20)) << "the other stream goes on";
  const StreamedReply undisturbed = control.leave();
  EXPECT_EQ(undisturbed.error, "");
  EXPECT_TRUE(eventually([&] { return running() == 0 && kv_use() == 0; }, seconds(1)));
}

}  // namespace
}  // namespace bellwether::e2e
