// Where requests go, and where they wait, in a mesh of real processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"

namespace bellwether::e2e {
namespace {

namespace json = boost::json;
using ::testing::Each;
using ::testing::HasSubstr;

// Replicas that repeat the prompt, two requests at a time, a token every 10 ms: few can be served at once, on a machine
// that has little to do.
const std::vector<std::string> kPacedEcho = {"BELLWETHER_WORKER_ENGINE=echo", "BELLWETHER_WORKER_ECHO_TOKENS_PER_S=100",
                                             "BELLWETHER_WORKER_MAX_NUM_SEQS=2",
                                             "BELLWETHER_SCHEDULER_HEAD_WAITING_MAX=0"};

std::string completion(json::array prompt, int max_tokens) {
  return json::serialize(
      json::object{{"model", kModel}, {"prompt", std::move(prompt)}, {"max_tokens", max_tokens}, {"ignore_eos", true}});
}

std::string url_of(const MeshProcess& mesh) {
  return mesh.url() + "/v1/completions";
}

TEST(Routing, RequestsBeyondWhatReplicasTakeWaitTheirTurn) {
  constexpr size_t kRequests = 12;
  MeshProcess mesh({"--ranks", "1"}, kPacedEcho);
  std::vector<Reply> replies(kRequests);
  {
    std::vector<std::jthread> clients;
    for (Reply& reply : replies) {
      clients.emplace_back([&] { reply = http_post(url_of(mesh), completion({5, 6, 7}, 20)); });
    }
  }
  for (const Reply& reply : replies) EXPECT_EQ(reply.status, 200) << reply.body;

  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::jthread> others;
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] { EXPECT_EQ(http_post(url_of(mesh), completion({5, 6, 7}, 200)).status, 200); });
  }
  ASSERT_TRUE(eventually([&] { return mesh.replicas().at(0).at("running") == 2; }, kPatience));
  const Reply hasty = http_post(url_of(mesh), completion({5, 6, 7}, 20), {"x-queue-timeout-ms: 300"});
  EXPECT_EQ(hasty.status, 503);
  EXPECT_THAT(hasty.body, HasSubstr("had room for"));
  EXPECT_TRUE(hasty.headers.contains("retry-after"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2)) << "the others are still served";
}

TEST(Routing, ARequestWaitsWhileItsOnlyReplicaIsAway) {
  MeshProcess mesh({"--ranks", "1"}, {"BELLWETHER_WORKER_ENGINE=echo"});
  ASSERT_EQ(http_post(url_of(mesh), completion({5, 6, 7}, 4)).status, 200);
  const pid_t worker = mesh.pid_of("worker-1");
  ASSERT_EQ(kill(worker, SIGSTOP), 0);
  const auto is_away = [&] { return http_get(mesh.url() + "/v1/models").json().at("data").as_array().empty(); };
  EXPECT_TRUE(eventually(is_away, kPatience));
  auto reply = std::async(std::launch::async, [&] { return http_post(url_of(mesh), completion({5, 6, 7}, 4)); });
  EXPECT_EQ(reply.wait_for(std::chrono::seconds(1)), std::future_status::timeout);
  ASSERT_EQ(kill(worker, SIGCONT), 0);
  const Reply served = reply.get();
  EXPECT_EQ(served.status, 200) << served.body;
}

TEST(Routing, WithTwoSchedulersOneCanBeKilledUnderLoad) {
  constexpr size_t kClients = 24;
  MeshProcess mesh({"--ranks", "1", "--replicas", "3", "--schedulers", "2"}, kPacedEcho);
  std::atomic<bool> over = false;
  std::atomic<size_t> served = 0;
  std::mutex mutex;
  std::vector<std::string> failures;
  {
    std::vector<std::jthread> clients;
    for (size_t i = 0; i < kClients; ++i) {
      clients.emplace_back([&, i] {
        for (size_t round = 0; !over; ++round) {
          std::string failure;
          try {
            const Reply reply =
                http_post(url_of(mesh), completion({5 + i, 17 + round, 23, 99}, 10 + static_cast<int>(i)));
            if (reply.status != 200) failure = reply.body;
          } catch (const std::exception& error) {
            failure = error.what();
          }
          ++served;
          if (failure.empty()) continue;
          const std::lock_guard lock(mutex);
          failures.push_back(failure);
        }
      });
    }
    const auto goes_on = [&](size_t more) {
      const size_t before = served;
      return eventually([&] { return served >= before + more; }, kPatience);
    };
    EXPECT_TRUE(goes_on(kClients));
    EXPECT_EQ(kill(mesh.pid_of("scheduler-1"), SIGKILL), 0);
    EXPECT_TRUE(goes_on(2 * kClients));
    over = true;
  }
  EXPECT_THAT(failures, Each(std::string())) << "of " << served << " requests";
  EXPECT_TRUE(mesh.up().wait_for_line("scheduler-1 was started again", kPatience)) << mesh.up().output();
  EXPECT_TRUE(eventually(
      [&] {
        const json::value replicas = mesh.replicas();
        return std::all_of(replicas.as_array().begin(), replicas.as_array().end(),
                           [](const json::value& replica) { return replica.at("running") == 0; });
      },
      kPatience));
  EXPECT_EQ(mesh.stop(), 0) << mesh.up().output();
}

TEST(Routing, AnIdleReplicaIsTriedWithARequestOfOneToken) {
  MeshProcess mesh({"--ranks", "1"}, {"BELLWETHER_SCHEDULER_CANARY_AFTER_IDLE_MS=100"});
  const std::string metrics = mesh.worker_metrics_url();
  EXPECT_TRUE(eventually([&] { return metric_value(metrics, "vllm:generation_tokens_total") >= 3; }, kPatience));
  EXPECT_EQ(http_post(url_of(mesh), completion({5, 6, 7}, 4)).status, 200);
}

// A burst of requests with one long prefix: the prefix is computed by one replica and found there by the others. Each
// scheduler may place its first before it hears of the other's.
TEST(Routing, SiblingsOfOnePrefixLandTogether) {
  constexpr size_t kSiblings = 6;
  constexpr size_t kSchedulers = 2;
  MeshProcess mesh({"--ranks", "1", "--replicas", "3", "--schedulers", "2"});
  json::array prefix;
  for (int i = 0; i < 640; ++i) prefix.emplace_back(5 + (i * 37) % 2000);
  std::vector<Reply> replies(kSiblings);
  {
    std::vector<std::jthread> clients;
    for (size_t i = 0; i < kSiblings; ++i) {
      json::array prompt = prefix;
      prompt.emplace_back(100 + i);
      clients.emplace_back(
          [&, i, prompt = std::move(prompt)] { replies[i] = http_post(url_of(mesh), completion(prompt, 4)); });
    }
  }
  std::vector<int64_t> cached;
  for (const Reply& reply : replies) {
    ASSERT_EQ(reply.status, 200) << reply.body;
    cached.push_back(reply.json().at("usage").at("prompt_tokens_details").at("cached_tokens").to_number<int64_t>());
  }
  EXPECT_GE(std::count(cached.begin(), cached.end(), 640), kSiblings - kSchedulers) << ::testing::PrintToString(cached);
}

}  // namespace
}  // namespace bellwether::e2e
