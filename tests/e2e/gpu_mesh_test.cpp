// The whole mesh with workers on a GPU. Needs one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"

namespace bellwether::e2e {
namespace {

namespace json = boost::json;
using ::testing::HasSubstr;

constexpr const char* kGpu = "cuda:0";

// All cases at once, each as a stream. Only where two tokens are equally likely but for what FP8 and bf16 lose may an
// answer differ from the reference, which is float32's: gpu.forward looks at those places. Returns how many are equal.
size_t answers_as_reference(const std::string& url) {
  std::vector<std::future<StreamedReply>> replies;
  for (const ReferenceCase& one : reference_cases()) {
    replies.push_back(std::async(
        std::launch::async, [&url, &one] { return http_stream(url + "/v1/chat/completions", one.request(true)); }));
  }
  size_t equal = 0;
  for (size_t i = 0; i < replies.size(); ++i) {
    const StreamedReply reply = replies[i].get();
    const ReferenceCase& expected = reference_cases()[i];
    EXPECT_EQ(reply.error, "") << "case " << i;
    EXPECT_TRUE(reply.done) << "case " << i;
    if (reply.reasoning == expected.reasoning && reply.content == expected.content)
      ++equal;
    else
      std::printf("case %zu differs: %s\n", i, reply.content.c_str());
  }
  std::printf("%zu of %zu answers are the reference's\n", equal, replies.size());
  return equal;
}

void expect_article_answer(const std::string& url) {
  const Reply reply = http_post(url + "/v1/chat/completions", reference_cases()[0].request(false));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json::value answer = reply.json();
  const json::value& message = answer.at("choices").at(0).at("message");
  EXPECT_EQ(message.at("content"), json::string(reference_cases()[0].content));
  EXPECT_EQ(message.at("reasoning_content"), json::string(reference_cases()[0].reasoning));
  EXPECT_THAT(reply.body, HasSubstr("Los Angeles Dodgers"));
}

std::vector<std::string> devices_of(MeshProcess& mesh) {
  std::vector<std::string> devices;
  const json::value replicas = mesh.replicas();
  for (const json::value& replica : replicas.as_array()) {
    for (const json::value& rank : replica.at("ranks").as_array()) {
      devices.emplace_back(rank.at("device").as_string().c_str());
    }
  }
  return devices;
}

TEST(GpuMesh, AnswersAsTransformersDoes) {
  MeshProcess mesh({"--device", kGpu});
  EXPECT_THAT(devices_of(mesh), testing::ElementsAre(kGpu));
  expect_article_answer(mesh.url());
  EXPECT_GE(answers_as_reference(mesh.url()), reference_cases().size() - 1);
}

// Their sums go through the host.
TEST(GpuMesh, TwoRanksShareAGpu) {
  MeshProcess mesh({"--device", kGpu, "--ranks", "2"}, {"BELLWETHER_WORKER_GPU_MEMORY_UTILIZATION=0.3"});
  EXPECT_THAT(devices_of(mesh), testing::ElementsAre(kGpu, kGpu));
  expect_article_answer(mesh.url());
  EXPECT_GE(answers_as_reference(mesh.url()), reference_cases().size() - 1);
}

TEST(GpuMesh, ACacheThatDoesNotFitIsRefusedWithTheArithmetic) {
  try {
    MeshProcess mesh({"--device", kGpu, "--restarts-max", "0"}, {"BELLWETHER_WORKER_KV_BLOCKS=20000000"});
    ADD_FAILURE() << "a cache of 20,000,000 blocks fits";
  } catch (const std::runtime_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("out of memory: weights"));
    EXPECT_THAT(error.what(), HasSubstr("kv_blocks can be"));
  }
}

}  // namespace
}  // namespace bellwether::e2e
