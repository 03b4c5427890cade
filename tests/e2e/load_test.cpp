// Many requests at once, with shared prefixes and a cache too small for them: each gets the answer it would get alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"

namespace bellwether::e2e {
namespace {

namespace json = boost::json;

constexpr size_t kRequests = 200;
constexpr size_t kAtOnce = 64;
constexpr size_t kPrefixes = 4;
constexpr size_t kBlockTokens = 64;
constexpr size_t kPrefixTokens = 5 * kBlockTokens;
// The prefixes take 20 blocks. Each running sequence needs 1 to 3 more, so that some 10 of them fit.
constexpr const char* kKvBlocks = "BELLWETHER_WORKER_KV_BLOCKS=48";

struct Load {
  std::vector<std::string> bodies;
  size_t prompt_tokens = 0;  // of all together
};

// A prefix, a rest of its own of up to 80 tokens, and 8 to 71 tokens of output; every second one sampled, and every
// third one goes before the others.
Load make_load() {
  std::mt19937 random(2026);
  const auto ids = [&](size_t count) {
    json::array made;
    for (size_t i = 0; i < count; ++i) made.emplace_back(5 + random() % 2000);
    return made;
  };
  std::vector<json::array> prefixes;
  for (size_t i = 0; i < kPrefixes; ++i) prefixes.push_back(ids(kPrefixTokens));
  Load load;
  for (size_t i = 0; i < kRequests; ++i) {
    json::array prompt = prefixes[i % kPrefixes];
    for (const json::value& id : ids(1 + random() % 80)) prompt.push_back(id);
    load.prompt_tokens += prompt.size();
    load.bodies.push_back(json::serialize(json::object{{"model", kModel},
                                                       {"prompt", std::move(prompt)},
                                                       {"max_tokens", 8 + random() % 64},
                                                       {"ignore_eos", true},
                                                       {"temperature", i % 2 == 0 ? 0.0 : 1.0},
                                                       {"seed", i},
                                                       {"priority", i % 3 == 0 ? -1 : 0},
                                                       {"logprobs", 1}}));
  }
  return load;
}

// What must not depend on other requests: text, log-probabilities, reason to end, tokens.
std::string answer_of(const json::value& reply) {
  return json::serialize(reply.at("choices")) + json::serialize(reply.at("usage").at("completion_tokens"));
}

size_t cached_tokens(const json::value& reply) {
  return reply.at("usage").at("prompt_tokens_details").at("cached_tokens").to_number<size_t>();
}

TEST(Load, EveryAnswerIsTheOneComputedAlone) {
  MeshProcess mesh({}, {kKvBlocks});
  const std::string url = mesh.url() + "/v1/completions";
  const std::string metrics = mesh.worker_metrics_url();
  const Load load = make_load();

  std::vector<std::string> expected;
  for (const std::string& body : load.bodies) {
    const Reply reply = http_post(url, body);
    ASSERT_EQ(reply.status, 200) << reply.body;
    expected.push_back(answer_of(reply.json()));
  }

  const double queries = metric_value(metrics, "vllm:prefix_cache_queries_total");
  const double hits = metric_value(metrics, "vllm:prefix_cache_hits_total");
  const double preemptions = metric_value(metrics, "vllm:num_preemptions_total");
  std::vector<std::string> answers(kRequests);
  std::vector<size_t> cached(kRequests);
  std::atomic<size_t> next = 0;
  {
    std::vector<std::jthread> clients;
    for (size_t i = 0; i < kAtOnce; ++i) {
      clients.emplace_back([&] {
        for (size_t mine = next++; mine < kRequests; mine = next++) {
          try {
            const json::value reply = http_post(url, load.bodies[mine]).json();
            answers[mine] = answer_of(reply);
            cached[mine] = cached_tokens(reply);
          } catch (const std::exception& error) {
            answers[mine] = error.what();
          }
        }
      });
    }
  }
  for (size_t i = 0; i < kRequests; ++i) EXPECT_EQ(answers[i], expected[i]) << i;

  size_t shared_found = 0;
  for (const size_t tokens : cached) shared_found += std::min(tokens, kPrefixTokens);
  const double shared = kRequests * kPrefixTokens;
  EXPECT_GT(static_cast<double>(shared_found) / shared, 0.8) << "what the clients were told";
  const double hit_rate = (metric_value(metrics, "vllm:prefix_cache_hits_total") - hits) /
                          (metric_value(metrics, "vllm:prefix_cache_queries_total") - queries);
  EXPECT_GT(hit_rate / (shared / static_cast<double>(load.prompt_tokens)), 0.8) << "what the head counted";
  EXPECT_GT(metric_value(metrics, "vllm:num_preemptions_total"), preemptions) << "the cache was not too small";
  EXPECT_TRUE(eventually([&] { return metric_value(metrics, "vllm:kv_cache_usage_perc") == 0; }, kPatience));
  EXPECT_EQ(mesh.stop(), 0) << mesh.up().output();
}

}  // namespace
}  // namespace bellwether::e2e
