#include "engine/model_config.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include <boost/json.hpp>

namespace bellwether::engine {
namespace {

namespace json = boost::json;

constexpr size_t kConfigBytesMax = 1 << 20;
// Far above any published model, and low enough that products of three sizes fit 63 bits.
constexpr int64_t kSizeMax = 1 << 20;
constexpr int64_t kContextMax = 1 << 27;
constexpr int64_t kLayersMax = 1024;
constexpr int64_t kExpertsMax = 4096;

// The values of one JSON object, by key; `where` is put before keys in messages.
class Reader {
 public:
  Reader(const json::object& object, std::string where) : object_(object), where_(std::move(where)) {}

  // nullptr when the key is absent or null.
  [[nodiscard]] const json::value* find(std::string_view key) const {
    const json::value* value = object_.if_contains(key);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  [[nodiscard]] int64_t integer(std::string_view key, int64_t min, int64_t max,
                                std::optional<int64_t> otherwise = std::nullopt) const {
    const json::value* value = find(key);
    if (value == nullptr && otherwise) return *otherwise;
    return checked_integer(key, value, min, max);
  }

  [[nodiscard]] int64_t checked_integer(std::string_view key, const json::value* value, int64_t min,
                                        int64_t max) const {
    if (value == nullptr) fail(key, "is missing");
    if (!value->is_int64()) fail(key, "is no whole number");
    const int64_t number = value->get_int64();
    if (number < min || number > max) fail(key, fmt::format("is {}, outside {} to {}", number, min, max));
    return number;
  }

  [[nodiscard]] double positive(std::string_view key, std::optional<double> otherwise = std::nullopt) const {
    const double number = real(key, otherwise);
    if (number <= 0) fail(key, "is not above 0");
    return number;
  }

  [[nodiscard]] double real(std::string_view key, std::optional<double> otherwise = std::nullopt) const {
    const json::value* value = find(key);
    if (value == nullptr && otherwise) return *otherwise;
    if (value == nullptr) fail(key, "is missing");
    if (!value->is_number()) fail(key, "is no number");
    const auto number = value->to_number<double>();
    if (!std::isfinite(number) || std::fabs(number) > 1e12) fail(key, "is out of range");
    return number;
  }

  [[nodiscard]] bool boolean(std::string_view key, bool otherwise) const {
    const json::value* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_bool()) fail(key, "is neither true nor false");
    return value->get_bool();
  }

  [[nodiscard]] std::string text(std::string_view key, std::string otherwise) const {
    const json::value* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_string()) fail(key, "is no string");
    return std::string(value->get_string());
  }

  // For what the engine computes in one way only.
  void expect(std::string_view key, std::string_view only) const {
    const std::string value = text(key, std::string(only));
    if (value != only) fail(key, fmt::format("is \"{}\", but only \"{}\" is supported", value.substr(0, 64), only));
  }

  [[nodiscard]] Reader object(std::string_view key) const {
    const json::value* value = find(key);
    if (value == nullptr || !value->is_object()) fail(key, "is no object");
    return {value->get_object(), fmt::format("{}{}.", where_, key)};
  }

  [[noreturn]] void fail(std::string_view key, const std::string& what) const {
    throw ConfigError(fmt::format("config.json: {}{} {}", where_, key, what));
  }

 private:
  const json::object& object_;
  std::string where_;
};

void read_sizes(const Reader& reader, ModelConfig& config) {
  const auto size = [&](const char* key) { return reader.integer(key, 1, kSizeMax); };
  config.vocab_size = reader.integer("vocab_size", 1, std::numeric_limits<int32_t>::max());
  config.hidden_size = size("hidden_size");
  config.intermediate_size = size("intermediate_size");
  config.num_hidden_layers = reader.integer("num_hidden_layers", 1, kLayersMax);
  config.num_nextn_predict_layers = reader.integer("num_nextn_predict_layers", 0, kLayersMax, 0);
  config.num_attention_heads = reader.integer("num_attention_heads", 1, 1 << 14);
  config.q_lora_rank = reader.integer("q_lora_rank", 0, kSizeMax, 0);
  config.kv_lora_rank = size("kv_lora_rank");
  config.qk_nope_head_dim = size("qk_nope_head_dim");
  config.qk_rope_head_dim = size("qk_rope_head_dim");
  config.v_head_dim = size("v_head_dim");
  config.max_position_embeddings = reader.integer("max_position_embeddings", 1, kContextMax);
  config.rms_norm_eps = reader.positive("rms_norm_eps", 1e-6);
  config.rope_theta = reader.positive("rope_theta", 10000.0);
  if (config.rope_theta <= 1) reader.fail("rope_theta", "is not above 1");
  if (config.qk_rope_head_dim % 2 != 0) reader.fail("qk_rope_head_dim", "is odd");
  const int64_t key_value_heads = reader.integer("num_key_value_heads", 1, 1 << 14, config.num_attention_heads);
  if (key_value_heads != config.num_attention_heads) {
    reader.fail("num_key_value_heads", "differs from num_attention_heads");
  }
}

void read_experts(const Reader& reader, ModelConfig& config) {
  config.n_routed_experts = reader.integer("n_routed_experts", 0, kExpertsMax, 0);
  if (config.n_routed_experts == 0) return;
  reader.expect("scoring_func", "sigmoid");
  reader.expect("topk_method", "noaux_tc");
  config.moe_intermediate_size = reader.integer("moe_intermediate_size", 1, kSizeMax);
  config.n_shared_experts = reader.integer("n_shared_experts", 0, 64, 0);
  config.num_experts_per_tok = reader.integer("num_experts_per_tok", 1, config.n_routed_experts);
  config.n_group = reader.integer("n_group", 1, config.n_routed_experts, 1);
  config.topk_group = reader.integer("topk_group", 1, config.n_group, 1);
  config.moe_layer_freq = reader.integer("moe_layer_freq", 1, kLayersMax, 1);
  config.first_k_dense_replace = reader.integer("first_k_dense_replace", 0, kLayersMax, 0);
  config.routed_scaling_factor = reader.positive("routed_scaling_factor", 1.0);
  config.norm_topk_prob = reader.boolean("norm_topk_prob", true);
  const int64_t group_experts = config.n_routed_experts / config.n_group;
  if (group_experts * config.n_group != config.n_routed_experts || (config.n_group > 1 && group_experts < 2)) {
    reader.fail("n_group", "does not divide n_routed_experts into equal groups of two or more");
  }
  if (config.num_experts_per_tok > config.topk_group * group_experts) {
    reader.fail("num_experts_per_tok", "is more than topk_group groups have");
  }
}

std::optional<YarnConfig> read_yarn(const Reader& reader) {
  if (reader.find("rope_scaling") == nullptr) return std::nullopt;
  const Reader scaling = reader.object("rope_scaling");
  const std::string type = scaling.text("rope_type", scaling.text("type", "default"));
  if (type == "default") return std::nullopt;
  if (type != "yarn") scaling.fail("type", "is not \"yarn\", the only one supported");
  YarnConfig yarn;
  yarn.factor = scaling.positive("factor");
  yarn.original_context = scaling.integer("original_max_position_embeddings", 1, kContextMax);
  yarn.beta_fast = scaling.positive("beta_fast", yarn.beta_fast);
  yarn.beta_slow = scaling.positive("beta_slow", yarn.beta_slow);
  yarn.mscale = scaling.real("mscale", yarn.mscale);
  yarn.mscale_all_dim = scaling.real("mscale_all_dim", yarn.mscale_all_dim);
  return yarn;
}

bool read_fp8(const Reader& reader) {
  if (reader.find("quantization_config") == nullptr) return false;
  const Reader quantization = reader.object("quantization_config");
  quantization.expect("quant_method", "fp8");
  quantization.expect("fmt", "e4m3");
  const json::value* block = quantization.find("weight_block_size");
  if (block == nullptr || *block != json::value({128, 128})) {
    quantization.fail("weight_block_size", "is not [128, 128], the only one supported");
  }
  return true;
}

std::vector<int32_t> read_eos(const Reader& reader, int64_t vocab_size) {
  constexpr std::string_view kKey = "eos_token_id";
  const json::value* value = reader.find(kKey);
  if (value == nullptr) return {};
  if (!value->is_array()) return {static_cast<int32_t>(reader.checked_integer(kKey, value, 0, vocab_size - 1))};
  if (value->get_array().size() > 64) reader.fail(kKey, "has more than 64 items");
  std::vector<int32_t> ids;
  for (const json::value& item : value->get_array()) {
    ids.push_back(static_cast<int32_t>(reader.checked_integer(kKey, &item, 0, vocab_size - 1)));
  }
  return ids;
}

void check_architecture(const Reader& reader) {
  const std::string type = reader.text("model_type", "");
  // Kimi K2 is the same network under another name.
  if (type != "deepseek_v3" && type != "kimi_k2") {
    reader.fail("model_type", fmt::format("is \"{}\", but only \"deepseek_v3\" is supported", type.substr(0, 64)));
  }
  reader.expect("hidden_act", "silu");
  if (reader.boolean("attention_bias", false)) reader.fail("attention_bias", "is true, which is not supported");
}

}  // namespace

ModelConfig parse_model_config(std::string_view config_json) {
  if (config_json.size() > kConfigBytesMax) throw ConfigError("config.json: is larger than 1 MiB");
  json::error_code problem;
  const json::value value = json::parse(config_json, problem);
  if (problem) throw ConfigError("config.json: is no JSON: " + problem.message());
  if (!value.is_object()) throw ConfigError("config.json: is no JSON object");
  const Reader reader(value.get_object(), "");
  check_architecture(reader);
  ModelConfig config;
  read_sizes(reader, config);
  read_experts(reader, config);
  config.yarn = read_yarn(reader);
  config.tie_word_embeddings = reader.boolean("tie_word_embeddings", false);
  config.eos_token_ids = read_eos(reader, config.vocab_size);
  config.fp8_weights = read_fp8(reader);
  return config;
}

}  // namespace bellwether::engine
