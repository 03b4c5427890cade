// A head that lives and computes but cannot be reached: its streams go on elsewhere, and what it says afterwards is
// heard by nobody.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_to.hpp>

#include "e2e/bus_proxy.h"
#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"
#include "mesh/process.h"

namespace bellwether::e2e {
namespace {

namespace json = boost::json;

constexpr size_t kStreams = 6;
constexpr int kTokens = 200;

std::string stream_body(size_t which) {
  json::object body = json::parse(endless_request(reference_cases()[which], kTokens)).as_object();
  body["temperature"] = which % 2 == 0 ? 0.0 : 0.9;
  body["seed"] = which;
  return json::serialize(body);
}

std::string text_of(const StreamedReply& reply) {
  return reply.reasoning + "|" + reply.content + "|" + (reply.done ? "done" : "cut off") + reply.error;
}

class Partition : public ::testing::Test {
 protected:
  Partition()
      : mesh_({"--ranks", "1", "--threads", "1"},
              {"BELLWETHER_SCHEDULER_STRATEGY=least-request", "BELLWETHER_SCHEDULER_SLOW_START_MS=0"}),
        proxy_(mesh_.nats_url()),
        folder_(make_test_folder()),
        head_({mesh::program_folder() + "/bellwether-worker", std::string("--model=") + BELLWETHER_DEMO_MODEL,
               "--replica-id=far", "--nats-url=" + proxy_.url(), "--threads=1", "--http=127.0.0.1:0",
               "--grpc=127.0.0.1:0"},
              {}, folder_) {
    if (!eventually([&] { return ready().size() == 2; }, kPatience)) throw std::runtime_error(head_.output());
    for (size_t i = 0; i < kStreams; ++i) {
      expected_.push_back(text_of(http_stream(mesh_.url() + "/v1/chat/completions", stream_body(i))));
    }
  }
  ~Partition() override {
    proxy_.heal();
    head_.signal(SIGTERM);
    static_cast<void>(head_.wait_for_exit(kPatience));
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }

  std::vector<std::string> ready() {
    std::vector<std::string> ids;
    const json::value replicas = mesh_.replicas();
    for (const json::value& replica : replicas.as_array()) {
      if (replica.at("phase") == "ready") ids.push_back(json::value_to<std::string>(replica.at("replica_id")));
    }
    return ids;
  }

  bool all_idle() {
    const json::value replicas = mesh_.replicas();
    for (const json::value& replica : replicas.as_array()) {
      if (replica.at("running") != 0 || replica.at("kv_blocks_used") != 0) return false;
    }
    return replicas.as_array().size() == 2;
  }

  // Starts all streams and returns when each has had some text, or has ended.
  std::vector<std::future<StreamedReply>> begin_streams() {
    auto begun = std::make_shared<std::atomic<size_t>>(0);
    std::vector<std::future<StreamedReply>> streams;
    for (size_t i = 0; i < kStreams; ++i) {
      streams.push_back(std::async(std::launch::async, [this, i, begun] {
        return http_stream(mesh_.url() + "/v1/chat/completions", stream_body(i), [&](const StreamedReply& so_far) {
          if (so_far.text_events == 5) ++*begun;
          return true;
        });
      }));
    }
    EXPECT_TRUE(eventually([&] { return *begun == kStreams; }, kPatience));
    return streams;
  }

  void expect_undisturbed(std::vector<std::future<StreamedReply>>& streams) {
    for (size_t i = 0; i < kStreams; ++i) EXPECT_EQ(text_of(streams[i].get()), expected_[i]) << "stream " << i;
  }

  // Streams that were carried on from a head that was not heard.
  size_t recoveries() {
    const std::string page = http_get(mesh_.url() + "/metrics").body;
    const std::string sample = R"(bellwether_gateway_recoveries_total{reason="replica_gone"} )";
    const size_t found = page.find(sample);
    return found == std::string::npos ? 0 : std::stoul(page.substr(found + sample.size()));
  }

  MeshProcess mesh_;
  BusProxy proxy_;
  std::filesystem::path folder_;
  Program head_;
  std::vector<std::string> expected_;
};

TEST_F(Partition, StreamsGoOnElsewhereAndWhatTheHeadSaysAfterwardsIsHeardByNobody) {
  auto streams = begin_streams();
  proxy_.cut();
  expect_undisturbed(streams);
  EXPECT_EQ(recoveries(), kStreams / 2) << "the streams of the head that cannot be reached";
  EXPECT_EQ(ready().size(), 1U);
  proxy_.heal();
  EXPECT_TRUE(eventually([&] { return all_idle(); }, kPatience)) << json::serialize(mesh_.replicas());
  EXPECT_EQ(ready().size(), 2U);

  streams = begin_streams();
  proxy_.cut();
  EXPECT_TRUE(eventually([&] { return recoveries() == kStreams; }, kPatience));
  proxy_.heal();  // in the middle of them
  expect_undisturbed(streams);
  EXPECT_TRUE(eventually([&] { return all_idle(); }, kPatience)) << json::serialize(mesh_.replicas());
}

}  // namespace
}  // namespace bellwether::e2e
