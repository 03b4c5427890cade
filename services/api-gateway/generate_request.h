// From what the client asked to what the mesh is asked.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api-gateway/generation_parameters.h"
#include "api-gateway/served_model.h"
#include "bellwether/v1/generate.pb.h"

namespace bellwether::gateway {

struct PromptLimits {
  uint32_t context_tokens_max = 0;  // prompt + output, of the heads that serve the model
  uint32_t prompt_tokens_max = 0;   // this gateway's
};

// How a prompt becomes ids.
struct PromptEncoding {
  bool adds_bos = false;  // begin-of-sentence in front, where the model wants it and the text does not have it
  std::optional<Truncation> truncation = {};
  uint32_t output_tokens = 1;  // that a truncated prompt leaves room for
};

// Ids of a text. Throws RequestFailed (400, naming `param`) when it is too long for the model; a text that cannot fit
// is refused before it costs anything.
[[nodiscard]] std::vector<text::TokenId> encode_prompt(const ServedModel& model, std::string_view text,
                                                       const PromptLimits& limits, const PromptEncoding& encoding,
                                                       const std::string& param);

// Drops what the encoding wants dropped. `kept`: ids at the beginning that stay.
void truncate(std::vector<text::TokenId>& ids, const PromptLimits& limits, const PromptEncoding& encoding,
              size_t kept = 0);

// Every field of Sampling is filled: the client's value, else the model's default. `random_seed` is taken when the
// client gives none. The output ends where the context ends, if max_tokens goes beyond; a max_tokens of 0 becomes 1,
// because no head takes less. Throws RequestFailed (400, naming `param`) when the prompt leaves no room for a token or
// holds an id that the model does not have.
[[nodiscard]] v1::GenerateRequest make_generate_request(const GenerationParameters& parameters,
                                                        const ServedModel& model,
                                                        const std::vector<text::TokenId>& prompt_ids,
                                                        const PromptLimits& limits, uint64_t random_seed,
                                                        const std::string& param);

}  // namespace bellwether::gateway
