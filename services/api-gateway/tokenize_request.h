// POST /tokenize and /detokenize, as vLLM has them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api-gateway/chat_request.h"
#include "api-gateway/served_model.h"

namespace bellwether::gateway {

// A prompt, or a conversation.
struct TokenizeRequest {
  std::optional<std::string> prompt = {};
  ChatRequest chat = {};  // with the model's name, which may be empty
  bool adds_special_tokens = true;
  bool returns_texts = false;  // of each token
};

struct DetokenizeRequest {
  std::string model;  // may be empty
  std::vector<text::TokenId> ids;
};

// Both throw Error{kInvalidArgument} naming the field at fault.
[[nodiscard]] TokenizeRequest parse_tokenize_request(std::string_view body, const RequestLimits& limits);
[[nodiscard]] DetokenizeRequest parse_detokenize_request(std::string_view body, const RequestLimits& limits);

[[nodiscard]] std::string tokenize_reply(const ServedModel& model, const std::vector<text::TokenId>& ids,
                                         uint32_t context_tokens_max, bool with_texts);
// Throws RequestFailed (400, naming `tokens`) for an id that the model does not have.
[[nodiscard]] std::string detokenize_reply(const ServedModel& model, const std::vector<text::TokenId>& ids);

}  // namespace bellwether::gateway
