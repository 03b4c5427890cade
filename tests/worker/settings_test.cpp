#include "worker/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bellwether::worker {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

WorkerSettings settings_from(const std::vector<std::string>& arguments) {
  WorkerSettings settings;
  mesh::Settings declared("bellwether-worker", "worker", "Computes.");
  declare(declared, settings);
  std::string out;
  (void)declared.parse(arguments, {}, out);
  return settings;
}

std::string refusal(const std::vector<std::string>& arguments) {
  try {
    (void)resolve(settings_from(arguments));
  } catch (const mesh::Error& error) {
    EXPECT_EQ(error.code(), mesh::ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr(error.field()));
    return error.field() + " | " + error.what();
  }
  return "";
}

TEST(WorkerSettings, NamesComeFromTheFolder) {
  for (const std::string folder : {BELLWETHER_DEMO_MODEL, BELLWETHER_DEMO_MODEL "/", BELLWETHER_DEMO_MODEL "/."}) {
    const WorkerSettings settings = resolve(settings_from({"--model", folder}));
    EXPECT_EQ(settings.served_model_name, "bellwether-nano") << folder;
    EXPECT_THAT(settings.replica_id, StartsWith("bellwether-nano-"));
  }
}

TEST(WorkerSettings, TwoReplicasOfAModelHaveDifferentIds) {
  const WorkerSettings settings = settings_from({"--model", BELLWETHER_DEMO_MODEL});
  EXPECT_NE(resolve(settings).replica_id, resolve(settings).replica_id);
}

TEST(WorkerSettings, GivenNamesStay) {
  const WorkerSettings settings = resolve(settings_from(
      {"--model", BELLWETHER_DEMO_MODEL, "--served-model-name", "deepseek-ai/DeepSeek-R1", "--replica-id", "r7"}));
  EXPECT_EQ(settings.served_model_name, "deepseek-ai/DeepSeek-R1");
  EXPECT_EQ(settings.replica_id, "r7");
  EXPECT_THAT(resolve(settings_from({"--model", BELLWETHER_DEMO_MODEL, "--served-model-name", "a/b"})).replica_id,
              StartsWith("b-"));
}

TEST(WorkerSettings, AModelIsAskedForWithAnExample) {
  EXPECT_THAT(refusal({}), HasSubstr("--model models/bellwether-nano"));
  EXPECT_THAT(refusal({"--model", "/no/such/folder"}), HasSubstr("'/no/such/folder' is not a folder"));
}

TEST(WorkerSettings, ReachTheEngine) {
  const engine::EngineOptions options =
      engine_options(settings_from({"--threads", "3", "--max-num-seqs", "4", "--max-num-waiting", "5", "--kv-blocks",
                                    "6", "--max-num-batched-tokens", "7", "--max-model-len", "8", "--draft-tokens", "2",
                                    "--no-deterministic", "--gpu-memory-utilization", "0.5"}));
  EXPECT_EQ(options.threads, 3);
  EXPECT_EQ(options.sequences_max, 4);
  EXPECT_EQ(options.waiting_max, 5);
  EXPECT_EQ(options.kv_blocks, 6);
  EXPECT_EQ(options.batch_tokens_max, 7);
  EXPECT_EQ(options.context_tokens_max, 8);
  EXPECT_EQ(options.draft_tokens, 2);
  EXPECT_FALSE(options.deterministic);
  EXPECT_EQ(options.gpu_memory_utilization, 0.5);
  EXPECT_TRUE(engine_options(settings_from({})).deterministic);
}

TEST(WorkerSettings, ADeviceIsTheCpuOrAGpu) {
  EXPECT_EQ(engine_options(settings_from({})).gpu, std::nullopt);
  EXPECT_EQ(engine_options(settings_from({"--device", "cuda:3"})).gpu, 3);
  for (const char* wrong : {"abacus", "cuda", "cuda:", "cuda:-1", "cuda:1x", ""}) {
    EXPECT_THAT(refusal({"--model", BELLWETHER_DEMO_MODEL, "--device", wrong}),
                StartsWith("--device | --device: device is "))
        << wrong;
  }
}

TEST(WorkerSettings, UnknownChoicesAreErrors) {
  EXPECT_THROW(settings_from({"--load-format", "pickle"}), mesh::Error);
  EXPECT_THROW(settings_from({"--chat-format", "smalltalk"}), mesh::Error);
}

TEST(WorkerSettings, AnEchoHasOneRank) {
  const std::string model = BELLWETHER_DEMO_MODEL;
  EXPECT_FALSE(is_echo(resolve(settings_from({"--model", model}))));
  EXPECT_TRUE(is_echo(resolve(settings_from({"--model", model, "--engine", "echo"}))));
  EXPECT_THAT(refusal({"--model", model, "--engine", "echo", "--ranks", "2"}), StartsWith("--engine "));
  EXPECT_THROW(settings_from({"--engine", "oracle"}), mesh::Error);
}

TEST(WorkerSettings, RanksMakeSense) {
  const std::string model = BELLWETHER_DEMO_MODEL;
  EXPECT_THAT(refusal({"--model", model, "--rank", "1"}), StartsWith("--rank "));
  EXPECT_THAT(refusal({"--model", model, "--ranks", "2", "--rank", "2"}), StartsWith("--rank "));
  EXPECT_THAT(refusal({"--model", model, "--ranks", "2", "--rank", "1"}), StartsWith("--head "));
  EXPECT_THAT(refusal({"--model", model, "--ranks", "2", "--rank", "1", "--head", "here"}), StartsWith("--head "));
  EXPECT_THAT(refusal({"--model", model, "--ranks", "2", "--head", "here:1"}), StartsWith("--head "));
  const WorkerSettings settings =
      resolve(settings_from({"--model", model, "--ranks", "4", "--rank", "3", "--head", "here:1"}));
  EXPECT_EQ(engine_options(settings).ranks, 4);
  EXPECT_EQ(engine_options(settings).rank, 3);
}

}  // namespace
}  // namespace bellwether::worker
