// What the gateway needs of a model to turn messages into ids and ids into text, made from its card.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "text/chat_format.h"
#include "text/jinja/budget.h"
#include "text/tokenizer.h"

namespace bellwether::gateway {

// How the model's makers want it sampled (generation_config.json), with the usual values where they say nothing.
struct GenerationDefaults {
  double temperature = 1;
  double top_p = 1;
  uint32_t top_k = 0;  // 0 = all
};

// Immutable, shared by all requests of the model.
struct ServedModel {
  std::string digest;
  text::Tokenizer tokenizer;
  std::shared_ptr<const text::ChatFormat> chat_format = {};  // nullptr: the model takes plain prompts only
  GenerationDefaults defaults = {};
  std::vector<uint32_t> eos_ids = {};
  std::optional<text::TokenId> bos_id = {};              // set when plain prompts begin with it
  std::vector<text::TokenId> tool_marker_ids = {};       // special tokens that the tool-call parser must see
  std::optional<text::TokenId> reasoning_begin_id = {};  // <think> and </think>, where they are tokens
  std::optional<text::TokenId> reasoning_end_id = {};
  uint32_t context_tokens_max = 0;  // prompt + output
  size_t token_bytes_max = 0;       // of the longest token
};

// Throws Error{kInternal} naming the file of the card that cannot be used. Takes long for large tokenizers.
[[nodiscard]] ServedModel make_served_model(const v1::ModelCard& card, const text::jinja::Limits& template_limits = {});

}  // namespace bellwether::gateway
