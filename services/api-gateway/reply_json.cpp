#include "api-gateway/reply_json.h"

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace bellwether::gateway {

namespace json = boost::json;

json::object reply_head(std::string_view object, const ReplyHead& head) {
  return {{"id", head.id}, {"object", object}, {"created", head.created_unix_s}, {"model", head.model}};
}

json::object usage_json(const ReplyUsage& usage) {
  json::object object{{"prompt_tokens", usage.prompt_tokens},
                      {"completion_tokens", usage.completion_tokens},
                      {"total_tokens", uint64_t{usage.prompt_tokens} + usage.completion_tokens}};
  if (usage.cached_prompt_tokens) {
    object["prompt_tokens_details"] = json::object{{"cached_tokens", *usage.cached_prompt_tokens}};
  }
  return object;
}

std::string_view finish_reason(ReplyEnd end) {
  switch (end) {
    case ReplyEnd::kStop:
      return "stop";
    case ReplyEnd::kLength:
      return "length";
    case ReplyEnd::kToolCalls:
      return "tool_calls";
  }
  return "stop";
}

ChunkFrame::ChunkFrame(std::string_view object, const ReplyHead& head, bool usage_asked)
    : begin_(json::serialize(reply_head(object, head))), end_(usage_asked ? R"(],"usage":null})" : "]}") {
  begin_.pop_back();
  begin_ += R"(,"choices":[)";
}

std::string ChunkFrame::chunk(const json::object& choice) const {
  std::string text = begin_;
  text += json::serialize(choice);
  text += end_;
  return text;
}

std::string ChunkFrame::usage_chunk(const ReplyUsage& usage) const {
  return begin_ + R"(],"usage":)" + json::serialize(usage_json(usage)) + '}';
}

}  // namespace bellwether::gateway
