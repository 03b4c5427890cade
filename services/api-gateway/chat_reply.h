// Replies of POST /v1/chat/completions.
#pragma once

#include <map>

#include "api-gateway/reply_json.h"

namespace bellwether::gateway {

class ChatReply : public ReplyFormat {
 public:
  // `logprobs`: asked for.
  ChatReply(ReplyHead head, bool usage_asked, bool logprobs);

  std::string first_chunk(uint32_t choice) override;
  std::string chunk(const ReplyPart& part) override;
  std::string last_chunk(uint32_t choice, ReplyEnd end) override;
  std::string usage_chunk(const ReplyUsage& usage) override;
  std::string whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) override;

 private:
  [[nodiscard]] boost::json::object whole_choice(const ReplyPart& part) const;

  ReplyHead head_;
  bool logprobs_;
  ChunkFrame frame_;
  std::map<uint32_t, uint32_t> tool_calls_sent_;  // by choice
};

}  // namespace bellwether::gateway
