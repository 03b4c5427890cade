#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "engine/tiny_model.h"
#include "weights/tensor_source.h"

namespace bellwether::engine {
namespace {

using testing::HasSubstr;

TEST(Engine, LoadsTheDemoModelAndSpeaks) {
  std::vector<double> progress;
  const auto engine = Engine::load(BELLWETHER_DEMO_MODEL, {.threads = 2}, [&](double p) { progress.push_back(p); });
  EXPECT_TRUE(std::ranges::is_sorted(progress));
  EXPECT_EQ(progress.front(), 0);
  EXPECT_EQ(progress.back(), 1);
  EXPECT_EQ(engine->config().num_hidden_layers, 6);
  EXPECT_EQ(engine->options().threads, 2);
  EXPECT_EQ(engine->options().context_tokens_max, 8192);
  EXPECT_EQ(engine->kv_block_tokens(), 64);

  SequenceRequest request{.id = 9, .prompt_ids = {0, 5, 6}, .sampling = {.temperature = 0}, .max_tokens = 3};
  std::string reason;
  ASSERT_EQ(engine->admit(request, &reason), Admission::kAdmitted) << reason;
  std::vector<int32_t> ids;
  while (engine->has_work()) {
    for (const SequenceOutput& output : engine->step().outputs)
      ids.insert(ids.end(), output.ids.begin(), output.ids.end());
  }
  EXPECT_EQ(ids.size(), 3U);
  EXPECT_EQ(engine->load_now().kv_blocks_used, 0);
  EXPECT_FALSE(engine->cancel(9));
}

TEST(Engine, SyntheticWeightsNeedNoFiles) {
  const auto engine = Engine::synthetic(tiny_config(), {.threads = 1});
  EXPECT_EQ(engine->config().vocab_size, 61);
}

class EngineFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "engine-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    for (const auto& entry : std::filesystem::directory_iterator(BELLWETHER_DEMO_MODEL)) {
      std::filesystem::copy(entry.path(), folder_ / entry.path().filename());
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
};

TEST_F(EngineFolder, AMissingOrBrokenConfigIsAConfigError) {
  std::ofstream(folder_ / "config.json") << "{}";
  EXPECT_THROW((void)Engine::load(folder_, {}), ConfigError);
  std::filesystem::remove(folder_ / "config.json");
  EXPECT_THROW((void)Engine::load(folder_, {}), ConfigError);
}

TEST_F(EngineFolder, ATruncatedShardIsAWeightsError) {
  const auto shard = folder_ / "model-00002-of-00002.safetensors";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) - 1);
  try {
    (void)Engine::load(folder_, {});
    FAIL();
  } catch (const weights::WeightsError& error) {
    EXPECT_THAT(error.what(), HasSubstr("model-00002-of-00002.safetensors"));
  }
}

TEST_F(EngineFolder, BadOptionsAreAConfigError) {
  EXPECT_THROW((void)Engine::load(folder_, {.context_tokens_max = 8193}), ConfigError);
}

}  // namespace
}  // namespace bellwether::engine
