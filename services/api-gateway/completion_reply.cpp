#include "api-gateway/completion_reply.h"

#include <algorithm>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

json::object choice_json(std::string_view text, json::value logprobs, json::value finish) {
  return {{"index", 0}, {"text", text}, {"logprobs", std::move(logprobs)}, {"finish_reason", std::move(finish)}};
}

size_t characters(std::string_view utf8) {
  return static_cast<size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

CompletionReply::CompletionReply(ReplyHead head, bool usage_asked, bool logprobs)
    : head_{"cmpl-" + head.id, head.created_unix_s, std::move(head.model)},
      logprobs_(logprobs),
      frame_("text_completion", head_, usage_asked) {}

json::value CompletionReply::logprobs_json(const std::vector<TokenLogprobs>& entries) {
  if (!logprobs_) return nullptr;
  json::array tokens;
  json::array chosen;
  json::array top;
  json::array offsets;
  for (const TokenLogprobs& entry : entries) {
    const std::string token = printable(entry.chosen.bytes);
    offsets.emplace_back(text_offset_);
    text_offset_ += characters(token);
    tokens.emplace_back(token);
    chosen.emplace_back(entry.chosen.logprob);
    json::object alternatives;
    for (const TokenChance& chance : entry.top) alternatives.emplace(printable(chance.bytes), chance.logprob);
    top.push_back(std::move(alternatives));
  }
  return json::object{{"tokens", std::move(tokens)},
                      {"token_logprobs", std::move(chosen)},
                      {"top_logprobs", std::move(top)},
                      {"text_offset", std::move(offsets)}};
}

std::string CompletionReply::chunk(const ReplyPart& part) {
  return frame_.chunk(choice_json(part.output.content, logprobs_json(part.logprobs), nullptr));
}

std::string CompletionReply::last_chunk(ReplyEnd end) {
  return frame_.chunk(choice_json("", nullptr, json::value(finish_reason(end))));
}

std::string CompletionReply::usage_chunk(const ReplyUsage& usage) {
  return frame_.usage_chunk(usage);
}

std::string CompletionReply::whole(const ReplyPart& part, ReplyEnd end, const ReplyUsage& usage) {
  json::object reply = reply_head("text_completion", head_);
  reply["choices"] =
      json::array{choice_json(part.output.content, logprobs_json(part.logprobs), json::value(finish_reason(end)))};
  reply["usage"] = usage_json(usage);
  return json::serialize(reply);
}

}  // namespace bellwether::gateway
