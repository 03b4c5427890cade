#include "api-gateway/completion_request.h"

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr uint32_t kMaxTokensDefault = 16;  // OpenAI's
constexpr int64_t kLogprobsMax = 5;         // OpenAI's

std::vector<text::TokenId> parse_ids(const json::array& values, const std::string& path) {
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

std::variant<std::string, std::vector<text::TokenId>> parse_prompt(const JsonFields& body, size_t prompt_tokens_max) {
  const json::value* prompt = body.find("prompt");
  if (prompt == nullptr) refuse_field("prompt", "is required");
  std::string path = "prompt";
  if (prompt->is_array() && !prompt->get_array().empty() && !prompt->get_array()[0].is_number()) {
    if (prompt->get_array().size() != 1) refuse_field("prompt", "with more than one element is not supported");
    prompt = &prompt->get_array()[0];
    path = "prompt[0]";
  }
  if (prompt->is_string()) {
    if (prompt->get_string().empty()) refuse_field(path, "must not be empty");
    return std::string(prompt->get_string());
  }
  if (!prompt->is_array()) refuse_field(path, "must be a string or an array of token ids");
  if (prompt->get_array().empty()) refuse_field(path, "must not be empty");
  if (prompt->get_array().size() > prompt_tokens_max) refuse_field(path, "has more tokens than this server takes");
  return parse_ids(prompt->get_array(), path);
}

}  // namespace

CompletionRequest parse_completion_request(std::string_view text, size_t prompt_tokens_max) {
  const json::value value = parse_body(text);
  const JsonFields body(value.get_object(), "");
  CompletionRequest request;
  request.parameters = parse_generation_parameters(body);
  request.parameters.max_tokens =
      static_cast<uint32_t>(body.integer("max_tokens", 1, kMaxTokensMax).value_or(kMaxTokensDefault));
  if (const auto logprobs = body.integer("logprobs", 0, kLogprobsMax)) {
    request.parameters.logprobs = true;
    request.parameters.top_logprobs = static_cast<uint32_t>(*logprobs);
  }
  if (const auto logprobs = body.integer("prompt_logprobs", 0, kTopLogprobsMax)) {
    if (request.parameters.stream) refuse_field("prompt_logprobs", "is only allowed when `stream` is false");
    request.parameters.prompt_logprobs = static_cast<uint32_t>(*logprobs);
  }
  request.prompt = parse_prompt(body, prompt_tokens_max);
  return request;
}

}  // namespace bellwether::gateway
