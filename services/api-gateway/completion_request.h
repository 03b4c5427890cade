// The body of POST /v1/completions.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api-gateway/generation_parameters.h"
#include "text/tokenizer.h"

namespace bellwether::gateway {

using Prompt = std::variant<std::string, std::vector<text::TokenId>>;  // never empty

struct CompletionRequest {
  GenerationParameters parameters;
  std::vector<Prompt> prompts;      // at least one
  bool echo = false;                // each choice begins with its prompt
  bool adds_special_tokens = true;  // begin-of-sentence before a text
};

// Throws Error{kInvalidArgument} naming the field at fault.
[[nodiscard]] CompletionRequest parse_completion_request(std::string_view body, const RequestLimits& limits);

// Ids below 2^31; "tokens[2]" is at fault when one is none.
[[nodiscard]] std::vector<text::TokenId> parse_token_ids(const boost::json::array& values, const std::string& path);

}  // namespace bellwether::gateway
