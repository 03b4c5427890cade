#include "api-gateway/chat_reply.h"

#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

json::object chance_json(const TokenChance& chance) {
  json::array bytes;
  for (const char byte : chance.bytes) bytes.emplace_back(static_cast<unsigned char>(byte));
  return {{"token", printable(chance.bytes)}, {"logprob", chance.logprob}, {"bytes", std::move(bytes)}};
}

json::value logprobs_json(bool asked, const std::vector<TokenLogprobs>& entries) {
  if (!asked) return nullptr;
  json::array content;
  for (const TokenLogprobs& entry : entries) {
    json::array top;
    for (const TokenChance& chance : entry.top) top.push_back(chance_json(chance));
    json::object token = chance_json(entry.chosen);
    token["top_logprobs"] = std::move(top);
    content.push_back(std::move(token));
  }
  return json::object{{"content", std::move(content)}};
}

json::object choice_json(uint32_t choice, json::object delta, json::value logprobs, json::value finish) {
  return {{"index", choice},
          {"delta", std::move(delta)},
          {"logprobs", std::move(logprobs)},
          {"finish_reason", std::move(finish)}};
}

json::object tool_call_json(const text::ToolCall& call) {
  return {{"id", call.id},
          {"type", "function"},
          {"function", json::object{{"name", call.name}, {"arguments", call.arguments}}}};
}

}  // namespace

ChatReply::ChatReply(ReplyHead head, bool usage_asked, bool logprobs)
    : head_{"chatcmpl-" + head.id, head.created_unix_s, std::move(head.model)},
      logprobs_(logprobs),
      frame_("chat.completion.chunk", head_, usage_asked) {}

std::string ChatReply::first_chunk(uint32_t choice) {
  return frame_.chunk(choice_json(choice, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr));
}

std::string ChatReply::chunk(const ReplyPart& part) {
  json::object delta;
  if (!part.output.reasoning.empty()) {
    delta["reasoning_content"] = part.output.reasoning;
    delta["reasoning"] = part.output.reasoning;
  }
  if (!part.output.content.empty()) delta["content"] = part.output.content;
  if (!part.output.tool_calls.empty()) {
    json::array calls;
    for (const text::ToolCall& call : part.output.tool_calls) {
      json::object object{{"index", tool_calls_sent_[part.choice]++}};
      for (auto& member : tool_call_json(call)) object.insert(member);
      calls.push_back(std::move(object));
    }
    delta["tool_calls"] = std::move(calls);
  }
  return frame_.chunk(choice_json(part.choice, std::move(delta), logprobs_json(logprobs_, part.logprobs), nullptr));
}

std::string ChatReply::last_chunk(uint32_t choice, ReplyEnd end) {
  return frame_.chunk(choice_json(choice, {}, nullptr, json::value(finish_reason(end))));
}

std::string ChatReply::usage_chunk(const ReplyUsage& usage) {
  return frame_.usage_chunk(usage);
}

json::object ChatReply::whole_choice(const ReplyPart& part) const {
  const OutputDelta& output = part.output;
  json::value reasoning;
  if (!output.reasoning.empty()) reasoning = output.reasoning;
  json::value content;
  if (!output.content.empty() || output.empty()) content = output.content;
  json::object message{{"role", "assistant"},
                       {"content", std::move(content)},
                       {"reasoning_content", reasoning},
                       {"reasoning", reasoning}};
  if (!output.tool_calls.empty()) {
    json::array calls;
    for (const text::ToolCall& call : output.tool_calls) calls.push_back(tool_call_json(call));
    message["tool_calls"] = std::move(calls);
  }
  return {{"index", part.choice},
          {"message", std::move(message)},
          {"logprobs", logprobs_json(logprobs_, part.logprobs)},
          {"finish_reason", finish_reason(*part.end)}};
}

std::string ChatReply::whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) {
  json::array choices_json;
  for (const ReplyPart& choice : choices) choices_json.push_back(whole_choice(choice));
  json::object reply = reply_head("chat.completion", head_);
  reply["choices"] = std::move(choices_json);
  reply["usage"] = usage_json(usage);
  return json::serialize(reply);
}

}  // namespace bellwether::gateway
