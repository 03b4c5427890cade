// What the replies of /v1/chat/completions and /v1/completions share in their JSON.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "api-gateway/reply_format.h"

namespace bellwether::gateway {

// What the client asked to see.
struct ReplyOptions {
  bool usage = false;             // a last chunk with the usage; all other chunks then carry "usage": null
  bool usage_continuous = false;  // the usage of its choice so far in every chunk
  bool logprobs = false;
  bool prompt_logprobs = false;
  bool token_ids = false;      // of prompts and choices
  bool tokens_as_ids = false;  // in log-probabilities, "token_id:7" instead of the token's text
  bool echo = false;           // each choice begins with its prompt
  uint32_t choices_per_prompt = 1;
  std::vector<ReplyPrompt> prompts = {};

  [[nodiscard]] uint32_t choices() const { return static_cast<uint32_t>(prompts.size()) * choices_per_prompt; }
  [[nodiscard]] const ReplyPrompt& prompt_of(uint32_t choice) const { return prompts[choice / choices_per_prompt]; }
};

// Chunks that differ in their choices only: all else is written once.
class ChunkFrame {
 public:
  // REQUIRES: `options` outlives this.
  ChunkFrame(std::string_view object, const ReplyHead& head, const ReplyOptions& options);

  // Appends an event. `choice_json`: the choice; `tokens`: it has so far; `more`: members of the chunk, each with a
  // comma before it.
  void append(std::string& out, std::string_view choice_json, uint32_t choice, uint32_t tokens,
              std::string_view more = {}) const;
  // The end of a stream, with its usage if that was asked for.
  void append_end(std::string& out, const ReplyUsage& usage) const;

 private:
  const ReplyOptions& options_;
  std::string begin_;  // up to the choice
};

// The end of a stream that failed, in OpenAI's shape.
void append_failure(std::string& out, const Failure& failure);

void append_json_string(std::string& out, std::string_view text);
[[nodiscard]] boost::json::object reply_head(std::string_view object, const ReplyHead& head);
[[nodiscard]] boost::json::object usage_json(const ReplyUsage& usage);
[[nodiscard]] std::string_view finish_reason(EndKind kind);
[[nodiscard]] boost::json::value stop_reason_json(const StopReason& reason);  // vLLM's: null, a token id or a text
[[nodiscard]] boost::json::array ids_json(const std::vector<text::TokenId>& ids);
[[nodiscard]] std::string token_json_text(const TokenChance& chance, const ReplyOptions& options);
// vLLM's shape: an object for each token of the prompt, the token's own entry first; null for the first token.
[[nodiscard]] boost::json::array prompt_logprobs_json(const std::vector<TokenLogprobs>& entries);

}  // namespace bellwether::gateway
