// Replies of POST /v1/completions.
#pragma once

#include <vector>

#include "api-gateway/reply_json.h"

namespace bellwether::gateway {

class CompletionReply final : public ReplyFormat {
 public:
  CompletionReply(ReplyHead head, ReplyOptions options);
  CompletionReply(const CompletionReply&) = delete;
  CompletionReply& operator=(const CompletionReply&) = delete;

  void begin(std::string& /*out*/) override {}
  void add(std::string& out, const ReplyPart& part) override;
  void finish(std::string& out, const ReplyUsage& usage) override { frame_.append_end(out, usage); }
  void fail(std::string& out, const Failure& failure) override { append_failure(out, failure); }
  std::string whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) override;

 private:
  struct TokenLists;

  void keep_prompt_logprobs(const ReplyPart& part);
  void list(TokenLists& lists, uint32_t choice, const std::vector<TokenLogprobs>& entries);
  void list_prompt(TokenLists& lists, uint32_t choice);
  [[nodiscard]] boost::json::value logprobs_json(const ReplyPart& part, bool with_prompt);
  void append_text(std::string& out, const ReplyPart& part, bool begins);
  void append_end(std::string& out, const ReplyPart& part);
  [[nodiscard]] boost::json::object whole_choice(const ReplyPart& part);

  ReplyHead head_;
  ReplyOptions options_;
  ChunkFrame frame_;
  std::vector<size_t> text_offsets_;                         // of each choice's next token, in characters
  std::vector<bool> begun_;                                  // by choice: a part of it has been sent
  std::vector<std::vector<TokenLogprobs>> prompt_logprobs_;  // by prompt, once they have come
};

}  // namespace bellwether::gateway
