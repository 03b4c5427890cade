// Replies of POST /v1/completions.
#pragma once

#include "api-gateway/reply_json.h"

namespace bellwether::gateway {

class CompletionReply : public ReplyFormat {
 public:
  // `logprobs`: asked for.
  CompletionReply(ReplyHead head, bool usage_asked, bool logprobs);

  std::string first_chunk() override { return {}; }
  std::string chunk(const ReplyPart& part) override;
  std::string last_chunk(ReplyEnd end) override;
  std::string usage_chunk(const ReplyUsage& usage) override;
  std::string whole(const ReplyPart& part, ReplyEnd end, const ReplyUsage& usage) override;

 private:
  boost::json::value logprobs_json(const std::vector<TokenLogprobs>& entries);

  ReplyHead head_;
  bool logprobs_;
  ChunkFrame frame_;
  size_t text_offset_ = 0;  // of the next token in the text, in characters
};

}  // namespace bellwether::gateway
