// The body of POST /v1/completions.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api-gateway/generation_parameters.h"
#include "text/tokenizer.h"

namespace bellwether::gateway {

struct CompletionRequest {
  GenerationParameters parameters;
  std::variant<std::string, std::vector<text::TokenId>> prompt;  // never empty
};

// Throws Error{kInvalidArgument} naming the field at fault.
[[nodiscard]] CompletionRequest parse_completion_request(std::string_view body, size_t prompt_tokens_max);

}  // namespace bellwether::gateway
