// Replies of POST /v1/chat/completions.
#pragma once

#include "api-gateway/reply_json.h"

namespace bellwether::gateway {

class ChatReply final : public ReplyFormat {
 public:
  // REQUIRES: one prompt.
  ChatReply(ReplyHead head, ReplyOptions options);
  ChatReply(const ChatReply&) = delete;
  ChatReply& operator=(const ChatReply&) = delete;

  void begin(std::string& out) override;
  void add(std::string& out, const ReplyPart& part) override;
  void finish(std::string& out, const ReplyUsage& usage) override { frame_.append_end(out, usage); }
  void fail(std::string& out, const Failure& failure) override { append_failure(out, failure); }
  std::string whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) override;

 private:
  [[nodiscard]] boost::json::value logprobs_json(const ReplyPart& part) const;
  [[nodiscard]] boost::json::object whole_choice(const ReplyPart& part) const;
  void append_delta(std::string& out, const ReplyPart& part) const;
  void append_end(std::string& out, const ReplyPart& part) const;

  ReplyHead head_;
  ReplyOptions options_;
  ChunkFrame frame_;
};

}  // namespace bellwether::gateway
