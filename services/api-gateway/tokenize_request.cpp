#include "api-gateway/tokenize_request.h"

#include <fmt/format.h>

#include <algorithm>

#include <boost/json/serialize.hpp>

#include "api-gateway/completion_request.h"
#include "api-gateway/failure.h"
#include "api-gateway/logprobs.h"

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

std::string parse_optional_model(const JsonFields& body) {
  return body.find("model") == nullptr ? std::string() : parse_model(body);
}

}  // namespace

TokenizeRequest parse_tokenize_request(std::string_view text, const RequestLimits& limits) {
  const json::value value = parse_body(text);
  const JsonFields body(value.get_object(), "");
  TokenizeRequest request;
  request.chat.parameters.model = parse_optional_model(body);
  request.returns_texts = body.boolean("return_token_strs").value_or(false);
  if (const auto prompt = body.text("prompt")) {
    if (body.find("messages") != nullptr) refuse_field("messages", "is only allowed where there is no `prompt`");
    request.prompt = *prompt;
    request.adds_special_tokens = body.boolean("add_special_tokens").value_or(true);
    return request;
  }
  if (body.find("messages") == nullptr) refuse_field("prompt", "or `messages` is required");
  parse_conversation(body, limits, request.chat);
  return request;
}

DetokenizeRequest parse_detokenize_request(std::string_view text, const RequestLimits& limits) {
  const json::value value = parse_body(text);
  const JsonFields body(value.get_object(), "");
  const json::array* tokens = body.array("tokens", limits.prompt_tokens_max);
  if (tokens == nullptr) refuse_field("tokens", "is required");
  return {.model = parse_optional_model(body), .ids = parse_token_ids(*tokens, "tokens")};
}

std::string tokenize_reply(const ServedModel& model, const std::vector<text::TokenId>& ids, uint32_t context_tokens_max,
                           bool with_texts) {
  json::object reply{{"count", ids.size()},
                     {"max_model_len", context_tokens_max},
                     {"tokens", json::array(ids.begin(), ids.end())},
                     {"token_strs", nullptr}};
  if (with_texts) {
    json::array texts;
    for (const text::TokenId id : ids) texts.emplace_back(printable(model.tokenizer.bytes(id)));
    reply["token_strs"] = std::move(texts);
  }
  return json::serialize(reply);
}

std::string detokenize_reply(const ServedModel& model, const std::vector<text::TokenId>& ids) {
  const text::TokenId limit = model.tokenizer.id_limit();
  const auto beyond = std::find_if(ids.begin(), ids.end(), [&](text::TokenId id) { return id >= limit; });
  if (beyond != ids.end()) {
    throw RequestFailed(
        {400, "bad_request",
         fmt::format("`tokens[{}]` is {}; this model's token ids are below {}", beyond - ids.begin(), *beyond, limit),
         "tokens"});
  }
  return json::serialize(json::object{{"prompt", model.tokenizer.decode(ids, false)}});
}

}  // namespace bellwether::gateway
