// A request for tokens once it is understood: what the mesh is asked, and how its tokens become the client's reply.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "api-gateway/answer_constraint.h"
#include "api-gateway/chat_request.h"
#include "api-gateway/completion_request.h"
#include "api-gateway/generate_request.h"
#include "api-gateway/output_text.h"
#include "api-gateway/reply_format.h"
#include "api-gateway/reply_json.h"
#include "bellwether/v1/generate.pb.h"

namespace bellwether::gateway {

struct Job {
  std::shared_ptr<const ServedModel> model;
  bool stream = false;
  bool has_priority = false;                        // the body gave one
  bool limits_output = false;                       // the body gave max_tokens
  std::vector<v1::GenerateRequest> requests = {};   // one for each prompt
  std::optional<AnswerConstraint> constraint = {};  // that they have, to be checked
  OutputOptions output = {};
  ReplyOptions reply = {};  // for the endpoints that are OpenAI's chat and completions
  std::unique_ptr<ReplyFormat> format = {};
};

// What a request is understood with.
struct JobContext {
  std::shared_ptr<const ServedModel> model;
  PromptLimits limits = {};
  std::mt19937_64& random;  // seeds, where the client gives none
};

// All but the format. Throws RequestFailed; messages that cannot be a prompt are the fault of `param`.
[[nodiscard]] Job chat_job(const ChatRequest& chat, const JobContext& context, const std::string& param);
[[nodiscard]] Job completion_job(const CompletionRequest& completion, const JobContext& context);

// The prompt's ids, as chat_job() has them. Sets `opens_reasoning`: the prompt ends inside the model's reasoning.
[[nodiscard]] std::vector<text::TokenId> encode_conversation(const ChatRequest& chat, const ServedModel& model,
                                                             const PromptLimits& limits, const std::string& param,
                                                             bool& opens_reasoning);

}  // namespace bellwether::gateway
