// Replies of POST /v1/completions.
#pragma once

#include <map>

#include "api-gateway/reply_json.h"

namespace bellwether::gateway {

class CompletionReply : public ReplyFormat {
 public:
  // `logprobs`, `prompt_logprobs`: asked for.
  CompletionReply(ReplyHead head, bool usage_asked, bool logprobs, bool prompt_logprobs);

  std::string first_chunk(uint32_t /*choice*/) override { return {}; }
  std::string chunk(const ReplyPart& part) override;
  std::string last_chunk(uint32_t choice, ReplyEnd end) override;
  std::string usage_chunk(const ReplyUsage& usage) override;
  std::string whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) override;

 private:
  boost::json::value logprobs_json(const ReplyPart& part);
  boost::json::object whole_choice(const ReplyPart& part);

  ReplyHead head_;
  bool logprobs_;
  bool prompt_logprobs_;
  ChunkFrame frame_;
  std::map<uint32_t, size_t> text_offsets_;  // of each choice's next token in its text, in characters
};

}  // namespace bellwether::gateway
