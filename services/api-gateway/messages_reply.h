// Replies of POST /v1/messages, Anthropic's API.
#pragma once

#include <optional>

#include "api-gateway/reply_format.h"
#include "mesh/http_server.h"

namespace bellwether::gateway {

// A message is a list of blocks: thinking, text, and one for each tool call.
class MessagesReply final : public ReplyFormat {
 public:
  MessagesReply(ReplyHead head, uint32_t prompt_tokens);

  void begin(std::string& out) override;
  void add(std::string& out, const ReplyPart& part) override;
  void finish(std::string& out, const ReplyUsage& usage) override;
  void fail(std::string& out, const Failure& failure) override;
  std::string whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) override;

 private:
  enum class Block { kThinking, kText, kToolUse };

  void open(std::string& out, Block block, const CallDelta* call = nullptr);
  void close(std::string& out);
  void append_delta(std::string& out, std::string_view type, std::string_view member, std::string_view text) const;

  ReplyHead head_;
  uint32_t prompt_tokens_;
  std::optional<Block> open_;  // of the stream
  uint32_t blocks_ = 0;        // begun
  std::optional<ReplyEnd> end_;
};

// {"type":"error","error":{"type":...,"message":...}}, with Retry-After where retrying may help.
[[nodiscard]] mesh::HttpResponse messages_response_of(const Failure& failure);

}  // namespace bellwether::gateway
