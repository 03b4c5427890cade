#include "api-gateway/messages_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "api-gateway/reply_json.h"

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

void append_event(std::string& out, std::string_view name, const json::value& data) {
  fmt::format_to(std::back_inserter(out), "event: {}\ndata: ", name);
  out += json::serialize(data);
  out += "\n\n";
}

std::string_view error_type(unsigned status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    case 504:
      return "timeout_error";
    default:
      return status < 500 ? "invalid_request_error" : "api_error";
  }
}

json::object error_json(const Failure& failure) {
  const std::string message =
      failure.param.empty() ? failure.message : fmt::format("{}: {}", failure.param, failure.message);
  return {{"type", "error"}, {"error", {{"type", error_type(failure.status)}, {"message", message}}}};
}

// Of the prompt, what the cache did not have counts as input.
json::object message_usage(const ReplyUsage& usage) {
  const uint32_t cached = std::min(usage.cached_prompt_tokens.value_or(0), usage.prompt_tokens);
  return {{"input_tokens", usage.prompt_tokens - cached},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", cached},
          {"output_tokens", usage.completion_tokens}};
}

json::object end_json(const ReplyEnd& end) {
  const auto* sequence = std::get_if<std::string>(&end.reason);
  switch (end.kind) {
    case EndKind::kLength:
      return {{"stop_reason", "max_tokens"}, {"stop_sequence", nullptr}};
    case EndKind::kToolCalls:
      return {{"stop_reason", "tool_use"}, {"stop_sequence", nullptr}};
    case EndKind::kStop:
      break;
  }
  if (sequence == nullptr) return {{"stop_reason", "end_turn"}, {"stop_sequence", nullptr}};
  return {{"stop_reason", "stop_sequence"}, {"stop_sequence", *sequence}};
}

// Arguments that are no JSON object, as the model may write them, stand as a text in one.
json::object input_of(const CallDelta& call) {
  boost::system::error_code error;
  json::value input = json::parse(call.arguments, error);
  if (!error && input.is_object()) return std::move(input.get_object());
  return {{"arguments", call.arguments}};
}

json::object message_json(const ReplyHead& head) {
  return {{"id", "msg_" + head.id}, {"type", "message"}, {"role", "assistant"}, {"model", head.model}};
}

}  // namespace

MessagesReply::MessagesReply(ReplyHead head, uint32_t prompt_tokens)
    : head_(std::move(head)), prompt_tokens_(prompt_tokens) {}

void MessagesReply::begin(std::string& out) {
  json::object message = message_json(head_);
  message["content"] = json::array();
  message["stop_reason"] = nullptr;
  message["stop_sequence"] = nullptr;
  message["usage"] = message_usage({.prompt_tokens = prompt_tokens_});
  append_event(out, "message_start", {{"type", "message_start"}, {"message", std::move(message)}});
}

void MessagesReply::open(std::string& out, Block block, const CallDelta* call) {
  if (open_ == block && call == nullptr) return;
  close(out);
  json::object content;
  switch (block) {
    case Block::kThinking:
      content = {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}};
      break;
    case Block::kText:
      content = {{"type", "text"}, {"text", ""}};
      break;
    case Block::kToolUse:
      content = {{"type", "tool_use"}, {"id", call->id}, {"name", call->name}, {"input", json::object()}};
      break;
  }
  open_ = block;
  append_event(out, "content_block_start",
               {{"type", "content_block_start"}, {"index", blocks_++}, {"content_block", std::move(content)}});
}

void MessagesReply::close(std::string& out) {
  if (!std::exchange(open_, std::nullopt)) return;
  append_event(out, "content_block_stop", {{"type", "content_block_stop"}, {"index", blocks_ - 1}});
}

// Of the open block.
void MessagesReply::append_delta(std::string& out, std::string_view type, std::string_view member,
                                 std::string_view text) const {
  if (text.empty()) return;
  fmt::format_to(std::back_inserter(out),
                 "event: content_block_delta\ndata: "
                 R"({{"type":"content_block_delta","index":{},"delta":{{"type":"{}","{}":)",
                 blocks_ - 1, type, member);
  append_json_string(out, text);
  out += "}}\n\n";
}

void MessagesReply::add(std::string& out, const ReplyPart& part) {
  if (!part.output.reasoning.empty()) {
    open(out, Block::kThinking);
    append_delta(out, "thinking_delta", "thinking", part.output.reasoning);
  }
  if (!part.output.content.empty()) {
    open(out, Block::kText);
    append_delta(out, "text_delta", "text", part.output.content);
  }
  for (const CallDelta& call : part.output.tool_calls) {
    if (!call.name.empty()) open(out, Block::kToolUse, &call);
    append_delta(out, "input_json_delta", "partial_json", call.arguments);
  }
  if (part.end) end_ = part.end;
}

void MessagesReply::finish(std::string& out, const ReplyUsage& usage) {
  close(out);
  append_event(
      out, "message_delta",
      {{"type", "message_delta"}, {"delta", end_json(end_.value_or(ReplyEnd{}))}, {"usage", message_usage(usage)}});
  append_event(out, "message_stop", {{"type", "message_stop"}});
}

void MessagesReply::fail(std::string& out, const Failure& failure) {
  append_event(out, "error", error_json(failure));
}

std::string MessagesReply::whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) {
  const ReplyPart& part = choices[0];
  json::array content;
  if (!part.output.reasoning.empty()) {
    content.push_back({{"type", "thinking"}, {"thinking", part.output.reasoning}, {"signature", ""}});
  }
  if (!part.output.content.empty()) content.push_back({{"type", "text"}, {"text", part.output.content}});
  for (const CallDelta& call : part.output.tool_calls) {
    content.push_back({{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", input_of(call)}});
  }
  json::object message = message_json(head_);
  message["content"] = std::move(content);
  for (auto& member : end_json(*part.end)) message.insert(member);
  message["usage"] = message_usage(usage);
  return json::serialize(message);
}

mesh::HttpResponse messages_response_of(const Failure& failure) {
  mesh::HttpResponse response = response_of(failure);
  response.body = json::serialize(error_json(failure));
  return response;
}

}  // namespace bellwether::gateway
