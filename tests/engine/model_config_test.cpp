#include "engine/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include <boost/json.hpp>

namespace bellwether::engine {
namespace {

namespace json = boost::json;
using testing::ElementsAre;
using testing::HasSubstr;

std::string read(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string nano_text() {
  return read(BELLWETHER_DEMO_MODEL "/config.json");
}

// The demo model's config with one key set to `value`, or removed when that is "".
std::string with(const std::string& key, const std::string& value) {
  json::object config = json::parse(nano_text()).get_object();
  config.erase(key);
  if (!value.empty()) config[key] = json::parse(value);
  return json::serialize(config);
}

std::string error_of(const std::string& text) {
  try {
    (void)parse_model_config(text);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ModelConfig, TheDemoModel) {
  const ModelConfig config = parse_model_config(nano_text());
  EXPECT_EQ(config.vocab_size, 2048);
  EXPECT_EQ(config.hidden_size, 256);
  EXPECT_EQ(config.num_hidden_layers, 6);
  EXPECT_EQ(config.num_nextn_predict_layers, 1);
  EXPECT_EQ(config.q_lora_rank, 256);
  EXPECT_EQ(config.latent_dim(), 576);
  EXPECT_EQ(config.qk_head_dim(), 192);
  EXPECT_EQ(config.n_routed_experts, 16);
  EXPECT_EQ(config.max_position_embeddings, 8192);
  EXPECT_FALSE(config.is_moe_layer(0));
  EXPECT_TRUE(config.is_moe_layer(1));
  EXPECT_TRUE(config.fp8_weights);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1));
  ASSERT_TRUE(config.yarn);
  EXPECT_EQ(config.yarn->factor, 4);
  EXPECT_EQ(config.yarn->original_context, 2048);
}

TEST(ModelConfig, TheShapeOfMoonlight) {
  const ModelConfig config = parse_model_config(read(BELLWETHER_TEST_DATA "/synthetic/flat/config.json"));
  EXPECT_EQ(config.q_lora_rank, 0);
  EXPECT_FALSE(config.yarn);
  EXPECT_EQ(config.rope_theta, 50000);
  EXPECT_THAT(config.eos_token_ids, ElementsAre(1, 7));
  EXPECT_FALSE(config.fp8_weights);
}

TEST(ModelConfig, DeepSeekR1) {
  const ModelConfig config = parse_model_config(read(BELLWETHER_TEST_DATA "/synthetic/r1-slice/config.json"));
  EXPECT_EQ(config.num_attention_heads, 128);
  EXPECT_EQ(config.n_group, 8);
}

TEST(ModelConfig, KimiK2IsTheSameArchitecture) {
  EXPECT_EQ(error_of(with("model_type", R"("kimi_k2")")), "no error");
}

TEST(ModelConfig, ADenseModelNeedsNoExperts) {
  const ModelConfig config = parse_model_config(with("n_routed_experts", "0"));
  EXPECT_FALSE(config.is_moe_layer(3));
}

TEST(ModelConfig, ErrorsNameTheKey) {
  EXPECT_THAT(error_of("{"), HasSubstr("no JSON"));
  EXPECT_THAT(error_of("[]"), HasSubstr("no JSON object"));
  EXPECT_THAT(error_of(std::string(2 << 20, ' ')), HasSubstr("larger"));
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
           {"model_type", ""},
           {"model_type", R"("llama")"},
           {"model_type", "3"},
           {"vocab_size", ""},
           {"vocab_size", "0"},
           {"vocab_size", "2147483648"},
           {"hidden_size", "256.5"},
           {"hidden_size", R"("256")"},
           {"hidden_size", "-1"},
           {"hidden_size", "1048577"},
           {"num_hidden_layers", "1025"},
           {"num_key_value_heads", "2"},
           {"qk_rope_head_dim", "63"},
           {"max_position_embeddings", "null"},
           {"rms_norm_eps", "0"},
           {"rope_theta", "1"},
           {"attention_bias", "true"},
           {"attention_bias", "1"},
           {"hidden_act", R"("gelu")"},
           {"scoring_func", R"("softmax")"},
           {"topk_method", R"("greedy")"},
           {"n_group", "3"},
           {"n_group", "16"},
           {"topk_group", "5"},
           {"num_experts_per_tok", "17"},
           {"num_experts_per_tok", "9"},
           {"routed_scaling_factor", "-2.5"},
           {"rope_scaling", "[]"},
           {"eos_token_id", "2048"},
           {"eos_token_id", "[1, -1]"},
           {"quantization_config", R"({"quant_method":"awq"})"},
           {"tie_word_embeddings", "0"},
       }) {
    EXPECT_THAT(error_of(with(key, value)), HasSubstr(key == "quantization_config" ? "quant_method" : key)) << value;
  }
}

TEST(ModelConfig, ErrorsInsideObjectsNameBothKeys) {
  EXPECT_THAT(error_of(with("rope_scaling", R"({"type":"linear","factor":2})")), HasSubstr("rope_scaling.type"));
  EXPECT_THAT(error_of(with("rope_scaling", R"({"type":"yarn"})")), HasSubstr("rope_scaling.factor"));
  EXPECT_THAT(
      error_of(with("quantization_config", R"({"quant_method":"fp8","fmt":"e4m3","weight_block_size":[64,128]})")),
      HasSubstr("quantization_config.weight_block_size"));
}

}  // namespace
}  // namespace bellwether::engine
