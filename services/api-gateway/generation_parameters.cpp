#include "api-gateway/generation_parameters.h"

#include <fmt/format.h>

#include <charconv>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr size_t kStopStringsMax = 16;
constexpr size_t kStopStringBytesMax = 1024;
constexpr size_t kStopTokenIdsMax = 256;
constexpr size_t kModelNameBytesMax = 256;
constexpr size_t kCacheSaltBytesMax = 256;
constexpr size_t kLogitBiasesMax = 1024;

// The value with which a parameter asks for nothing.
enum class Neutral { kNothing, kEmpty, kFalse, kTrue, kOne };

struct Unsupported {
  std::string_view name;
  Neutral neutral;
};

constexpr Unsupported kUnsupported[] = {
    {"best_of", Neutral::kOne},
    {"length_penalty", Neutral::kOne},
    {"use_beam_search", Neutral::kFalse},
    {"bad_words", Neutral::kEmpty},
    {"allowed_token_ids", Neutral::kEmpty},
    {"logits_processors", Neutral::kEmpty},
    {"logprob_token_ids", Neutral::kEmpty},
    {"thinking_token_budget", Neutral::kNothing},
    {"repetition_detection", Neutral::kNothing},
    {"suffix", Neutral::kEmpty},
    {"prompt_embeds", Neutral::kNothing},
    {"kv_transfer_params", Neutral::kEmpty},
    {"ec_transfer_params", Neutral::kEmpty},
    {"vllm_xargs", Neutral::kEmpty},
};

bool is_number(const json::value& value, double expected) {
  return value.is_number() && value.to_number<double>() == expected;
}

bool is_empty(const json::value& value) {
  return (value.is_object() && value.get_object().empty()) || (value.is_array() && value.get_array().empty()) ||
         (value.is_string() && value.get_string().empty());
}

bool asks_for_nothing(const json::value& value, Neutral neutral) {
  switch (neutral) {
    case Neutral::kNothing:
      return false;
    case Neutral::kEmpty:
      return is_empty(value);
    case Neutral::kFalse:
      return value.is_bool() && !value.get_bool();
    case Neutral::kTrue:
      return value.is_bool() && value.get_bool();
    case Neutral::kOne:
      return is_number(value, 1);
  }
  return false;
}

std::string_view complaint(Neutral neutral) {
  switch (neutral) {
    case Neutral::kFalse:
      return "other than false is not supported";
    case Neutral::kTrue:
      return "other than true is not supported";
    case Neutral::kOne:
      return "other than 1 is not supported";
    case Neutral::kNothing:
    case Neutral::kEmpty:
      break;
  }
  return "is not supported";
}

void refuse_unsupported(const JsonFields& body) {
  for (const Unsupported& parameter : kUnsupported) {
    const json::value* value = body.find(parameter.name);
    if (value != nullptr && !asks_for_nothing(*value, parameter.neutral)) {
      refuse_field(std::string(parameter.name), std::string(complaint(parameter.neutral)));
    }
  }
}

void add_stop_string(std::vector<std::string>& stop, const json::value& value, const std::string& path) {
  if (!value.is_string()) refuse_field(path, "must be a string");
  const json::string& text = value.get_string();
  if (text.empty()) refuse_field(path, "must not be empty");
  if (text.size() > kStopStringBytesMax) {
    refuse_field(path, fmt::format("has {} bytes; at most {} are allowed", text.size(), kStopStringBytesMax));
  }
  stop.emplace_back(text);
}

std::vector<uint32_t> parse_stop_token_ids(const JsonFields& body) {
  std::vector<uint32_t> ids;
  const json::array* values = body.array("stop_token_ids", kStopTokenIdsMax);
  if (values == nullptr) return ids;
  for (size_t i = 0; i < values->size(); ++i) {
    const json::value& value = (*values)[i];
    if (!value.is_int64() || value.get_int64() < 0 || value.get_int64() > std::numeric_limits<int32_t>::max()) {
      refuse_field(element_path("stop_token_ids", i), "must be a token id");
    }
    ids.push_back(static_cast<uint32_t>(value.get_int64()));
  }
  return ids;
}

// {"token id": bias}
std::vector<std::pair<uint32_t, double>> parse_logit_bias(const JsonFields& body) {
  constexpr double kBiasMax = 100;
  std::vector<std::pair<uint32_t, double>> biases;
  const json::value* value = body.find("logit_bias");
  if (value == nullptr) return biases;
  if (!value->is_object()) refuse_field("logit_bias", "must be an object");
  if (value->get_object().size() > kLogitBiasesMax) {
    refuse_field("logit_bias",
                 fmt::format("has {} members; at most {} are allowed", value->get_object().size(), kLogitBiasesMax));
  }
  const JsonFields fields = JsonFields::of(*value, "logit_bias");
  for (const auto& member : value->get_object()) {
    const std::string_view key = member.key();
    uint32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id > std::numeric_limits<int32_t>::max()) {
      refuse_field("logit_bias", "must have token ids as its keys");
    }
    if (const auto bias = fields.number(key, -kBiasMax, kBiasMax)) biases.emplace_back(id, *bias);
  }
  return biases;
}

void parse_sampling(const JsonFields& body, GenerationParameters& parameters) {
  parameters.temperature = body.number("temperature", 0, 2);
  parameters.top_p = body.number("top_p", 0, 1);
  if (parameters.top_p == 0) refuse_field("top_p", "must be larger than 0 and at most 1");
  if (const auto top_k = body.integer("top_k", -1, std::numeric_limits<int32_t>::max())) {
    parameters.top_k = *top_k == -1 ? 0 : static_cast<uint32_t>(*top_k);  // vLLM takes both -1 and 0 for all
  }
  parameters.min_p = body.number("min_p", 0, 1).value_or(0);
  parameters.repetition_penalty = body.number("repetition_penalty", 0, 2).value_or(1);
  if (parameters.repetition_penalty == 0) refuse_field("repetition_penalty", "must be larger than 0 and at most 2");
  parameters.presence_penalty = body.number("presence_penalty", -2, 2).value_or(0);
  parameters.frequency_penalty = body.number("frequency_penalty", -2, 2).value_or(0);
  parameters.logit_bias = parse_logit_bias(body);
  if (const auto seed =
          body.integer("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max())) {
    parameters.seed = static_cast<uint64_t>(*seed);
  }
}

std::optional<Truncation> parse_truncation(const JsonFields& body) {
  const auto tokens = body.integer("truncate_prompt_tokens", -1, kMaxTokensMax);
  const std::string_view side = body.text("truncation_side").value_or("left");
  if (side != "left" && side != "right") refuse_field("truncation_side", "must be \"left\" or \"right\"");
  if (!tokens) return std::nullopt;
  if (*tokens == 0) refuse_field("truncate_prompt_tokens", "must be -1 or at least 1");
  Truncation truncation{.keeps_end = side == "left"};
  if (*tokens > 0) truncation.tokens = static_cast<uint32_t>(*tokens);
  return truncation;
}

std::string parse_session_id(const JsonFields& body) {
  if (body.find("session_id") == nullptr) return {};
  const std::string_view id = body.required_text("session_id");
  if (id.size() > kSessionIdBytesMax) {
    refuse_field("session_id", fmt::format("has {} bytes; at most {} are allowed", id.size(), kSessionIdBytesMax));
  }
  return std::string(id);
}

std::string parse_cache_salt(const JsonFields& body) {
  if (body.find("cache_salt") == nullptr) return {};
  const std::string_view salt = body.required_text("cache_salt");
  if (salt.size() > kCacheSaltBytesMax) {
    refuse_field("cache_salt", fmt::format("has {} bytes; at most {} are allowed", salt.size(), kCacheSaltBytesMax));
  }
  return std::string(salt);
}

void parse_stream(const JsonFields& body, GenerationParameters& parameters) {
  parameters.stream = body.boolean("stream").value_or(false);
  const auto options = body.object("stream_options");
  if (!options) return;
  if (!parameters.stream) refuse_field("stream_options", "is only allowed when `stream` is true");
  parameters.include_usage = options->boolean("include_usage").value_or(false);
  parameters.continuous_usage = options->boolean("continuous_usage_stats").value_or(false);
}

}  // namespace

std::string parse_model(const JsonFields& body) {
  const std::string_view model = body.required_text("model");
  if (model.size() > kModelNameBytesMax) {
    refuse_field("model", fmt::format("has {} bytes; at most {} are allowed", model.size(), kModelNameBytesMax));
  }
  return std::string(model);
}

std::vector<std::string> parse_stop_strings(const JsonFields& body, std::string_view name) {
  std::vector<std::string> stop;
  const json::value* value = body.find(name);
  if (value == nullptr) return stop;
  const std::string path = body.path(name);
  if (!value->is_string() && !value->is_array()) refuse_field(path, "must be a string or an array of strings");
  if (value->is_string()) {
    add_stop_string(stop, *value, path);
    return stop;
  }
  const json::array& texts = *body.array(name, kStopStringsMax);
  for (size_t i = 0; i < texts.size(); ++i) add_stop_string(stop, texts[i], element_path(path, i));
  return stop;
}

GenerationParameters parse_generation_parameters(const JsonFields& body, const RequestLimits& limits) {
  GenerationParameters parameters;
  parameters.model = parse_model(body);
  refuse_unsupported(body);
  parse_sampling(body, parameters);
  parameters.choices = static_cast<uint32_t>(body.integer("n", 1, limits.choices_max).value_or(1));
  parameters.min_tokens = static_cast<uint32_t>(body.integer("min_tokens", 0, kMaxTokensMax).value_or(0));
  parameters.text_constraint = parse_text_constraint(body);
  parameters.cache_salt = parse_cache_salt(body);
  parameters.stop = parse_stop_strings(body, "stop");
  parameters.stop_token_ids = parse_stop_token_ids(body);
  parameters.keeps_stop = body.boolean("include_stop_str_in_output").value_or(false);
  parameters.ignore_eos = body.boolean("ignore_eos").value_or(false);
  if (const auto priority =
          body.integer("priority", std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max())) {
    parameters.priority = static_cast<int32_t>(*priority);
  }
  parameters.session_id = parse_session_id(body);
  parameters.truncation = parse_truncation(body);
  parameters.keeps_special_tokens = !body.boolean("skip_special_tokens").value_or(true);
  parameters.returns_token_ids = body.boolean("return_token_ids").value_or(false);
  parameters.tokens_as_ids = body.boolean("return_tokens_as_token_ids").value_or(false);
  parse_stream(body, parameters);
  if (const auto logprobs = body.integer("prompt_logprobs", 0, kTopLogprobsMax)) {
    if (parameters.stream) refuse_field("prompt_logprobs", "is only allowed when `stream` is false");
    parameters.prompt_logprobs = static_cast<uint32_t>(*logprobs);
  }
  return parameters;
}

}  // namespace bellwether::gateway
