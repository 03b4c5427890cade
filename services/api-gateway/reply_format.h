// Replies as their clients read them: what is said is the same for all endpoints, how it is said is not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api-gateway/failure.h"
#include "api-gateway/logprobs.h"
#include "api-gateway/output_text.h"

namespace bellwether::gateway {

struct ReplyHead {
  std::string id;  // the mesh's request id
  int64_t created_unix_s = 0;
  std::string model;
};

// Of all prompts and choices. Without OpenAI's accepted and rejected prediction tokens: those are about text that the
// client predicted and pays for, while drafts are the server's own affair and have names of their own.
struct ReplyUsage {
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
  uint32_t reasoning_tokens = 0;                      // of completion_tokens
  std::optional<uint32_t> cached_prompt_tokens = {};  // absent when the head did not get to say
  uint32_t draft_tokens = 0;                          // guesses that were verified ...
  uint32_t draft_tokens_accepted = 0;                 // ... and how many were right
};

enum class EndKind { kStop, kLength, kToolCalls };

struct ReplyEnd {
  EndKind kind = EndKind::kStop;
  StopReason reason = {};
};

// A piece of a choice, or all of it (each of its tool calls then in one).
struct ReplyPart {
  uint32_t choice = 0;  // of all prompts: the first prompt's choices come first
  OutputDelta output = {};
  std::vector<text::TokenId> ids = {};              // it was made of, the one that ended the text included
  std::vector<TokenLogprobs> logprobs = {};         // of those tokens that are in the text, if asked for
  std::vector<TokenLogprobs> prompt_logprobs = {};  // of the prompt's tokens from the second on, if asked for
  std::optional<ReplyEnd> end = {};                 // it was the choice's last
  uint32_t tokens = 0;                              // of the choice so far
  uint32_t reasoning_tokens = 0;                    // of this part: they come first in it
};

// A prompt as its reply may repeat it.
struct ReplyPrompt {
  std::vector<text::TokenId> ids = {};
  bool begins_with_bos = false;  // the first of them was added by this gateway
  std::string text = {};         // as the client gave it, or what its ids say
  std::string first_token = {};  // bytes of ids[0]
};

// One request's. A stream is what begin(), add() and finish() append, in server-sent events; fail() may take the place
// of whatever would come next.
class ReplyFormat {
 public:
  virtual ~ReplyFormat() = default;
  virtual void begin(std::string& out) = 0;
  virtual void add(std::string& out, const ReplyPart& part) = 0;
  virtual void finish(std::string& out, const ReplyUsage& usage) = 0;
  virtual void fail(std::string& out, const Failure& failure) = 0;
  // REQUIRES: the choices in order, each whole and with its end.
  [[nodiscard]] virtual std::string whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) = 0;
};

}  // namespace bellwether::gateway
