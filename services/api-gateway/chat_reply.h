// Replies of POST /v1/chat/completions.
#pragma once

#include "api-gateway/reply_json.h"

namespace bellwether::gateway {

class ChatReply : public ReplyFormat {
 public:
  // `logprobs`: asked for.
  ChatReply(ReplyHead head, bool usage_asked, bool logprobs);

  std::string first_chunk() override;
  std::string chunk(const ReplyPart& part) override;
  std::string last_chunk(ReplyEnd end) override;
  std::string usage_chunk(const ReplyUsage& usage) override;
  std::string whole(const ReplyPart& part, ReplyEnd end, const ReplyUsage& usage) override;

 private:
  ReplyHead head_;
  bool logprobs_;
  ChunkFrame frame_;
  uint32_t tool_calls_sent_ = 0;
};

}  // namespace bellwether::gateway
