#include "api-gateway/completion_request.h"

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr uint32_t kMaxTokensDefault = 16;  // OpenAI's
constexpr int64_t kLogprobsMax = 5;         // OpenAI's

// A text or an array of ids.
Prompt parse_prompt(const json::value& value, const std::string& path, const RequestLimits& limits) {
  if (value.is_string()) {
    if (value.get_string().empty()) refuse_field(path, "must not be empty");
    return std::string(value.get_string());
  }
  if (!value.is_array()) refuse_field(path, "must be a string or an array of token ids");
  if (value.get_array().empty()) refuse_field(path, "must not be empty");
  if (value.get_array().size() > limits.prompt_tokens_max) {
    refuse_field(path, "has more tokens than this server takes");
  }
  return parse_token_ids(value.get_array(), path);
}

// One of those, or an array of them.
std::vector<Prompt> parse_prompts(const JsonFields& body, const RequestLimits& limits) {
  const json::value* value = body.find("prompt");
  if (value == nullptr) refuse_field("prompt", "is required");
  std::vector<Prompt> prompts;
  const bool is_list = value->is_array() && !value->get_array().empty() && !value->get_array()[0].is_number();
  if (!is_list) {
    prompts.push_back(parse_prompt(*value, "prompt", limits));
    return prompts;
  }
  const json::array& values = *body.array("prompt", limits.prompts_max);
  for (size_t i = 0; i < values.size(); ++i) {
    prompts.push_back(parse_prompt(values[i], element_path("prompt", i), limits));
  }
  return prompts;
}

void parse_logprobs(const JsonFields& body, CompletionRequest& request) {
  const auto logprobs = body.integer("logprobs", 0, kLogprobsMax);
  if (!logprobs) return;
  request.parameters.logprobs = true;
  request.parameters.top_logprobs = static_cast<uint32_t>(*logprobs);
}

}  // namespace

std::vector<text::TokenId> parse_token_ids(const json::array& values, const std::string& path) {
  std::vector<text::TokenId> ids;
  ids.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const json::value& value = values[i];
    if (!value.is_int64() || value.get_int64() < 0 || value.get_int64() > std::numeric_limits<text::TokenId>::max()) {
      refuse_field(element_path(path, i), "must be a token id");
    }
    ids.push_back(static_cast<text::TokenId>(value.get_int64()));
  }
  return ids;
}

CompletionRequest parse_completion_request(std::string_view text, const RequestLimits& limits) {
  const json::value value = parse_body(text);
  const JsonFields body(value.get_object(), "");
  CompletionRequest request;
  request.parameters = parse_generation_parameters(body, limits);
  request.echo = body.boolean("echo").value_or(false);
  request.adds_special_tokens = body.boolean("add_special_tokens").value_or(true);
  const int64_t max_tokens_min = request.echo ? 0 : 1;
  request.parameters.max_tokens =
      static_cast<uint32_t>(body.integer("max_tokens", max_tokens_min, kMaxTokensMax).value_or(kMaxTokensDefault));
  parse_logprobs(body, request);
  request.prompts = parse_prompts(body, limits);
  return request;
}

}  // namespace bellwether::gateway
