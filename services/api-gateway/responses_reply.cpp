#include "api-gateway/responses_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <boost/json/serialize.hpp>

#include "api-gateway/reply_json.h"

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

constexpr std::string_view kCompleted = "completed";
constexpr std::string_view kIncomplete = "incomplete";

json::object usage_json_of(const ReplyUsage& usage) {
  return {{"input_tokens", usage.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", usage.cached_prompt_tokens.value_or(0)}}},
          {"output_tokens", usage.completion_tokens},
          {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
          {"total_tokens", uint64_t{usage.prompt_tokens} + usage.completion_tokens}};
}

json::object chance_json(const TokenChance& chance) {
  json::array bytes;
  for (const char byte : chance.bytes) bytes.emplace_back(static_cast<unsigned char>(byte));
  return {{"token", printable(chance.bytes)}, {"logprob", chance.logprob}, {"bytes", std::move(bytes)}};
}

json::object logprob_json(const TokenLogprobs& entry) {
  json::object token = chance_json(entry.chosen);
  json::array top;
  for (const TokenChance& chance : entry.top) top.push_back(chance_json(chance));
  token["top_logprobs"] = std::move(top);
  return token;
}

}  // namespace

ResponsesReply::ResponsesReply(ReplyHead head, json::object echo, bool logprobs)
    : head_(std::move(head)), echo_(std::move(echo)), logprobs_(logprobs) {}

void ResponsesReply::append_event(std::string& out, std::string_view type, json::object members) {
  json::object event{{"type", type}, {"sequence_number", sequence_++}};
  for (auto& member : members) event.insert(member);
  fmt::format_to(std::back_inserter(out), "event: {}\ndata: ", type);
  out += json::serialize(event);
  out += "\n\n";
}

json::object ResponsesReply::part_json(const Item& item) {
  if (item.kind == Kind::kReasoning) return {{"type", "reasoning_text"}, {"text", item.text}};
  return {{"type", "output_text"}, {"text", item.text}, {"annotations", json::array()}, {"logprobs", item.logprobs}};
}

json::object ResponsesReply::item_json(const Item& item, std::string_view status) {
  json::object object{{"id", item.id}};
  json::array content;
  if (!item.text.empty()) content.push_back(part_json(item));
  switch (item.kind) {
    case Kind::kReasoning:
      object["type"] = "reasoning";
      object["summary"] = json::array();
      object["content"] = std::move(content);
      break;
    case Kind::kMessage:
      object["type"] = "message";
      object["role"] = "assistant";
      object["content"] = std::move(content);
      break;
    case Kind::kCall:
      object["type"] = "function_call";
      object["call_id"] = item.call_id;
      object["name"] = item.name;
      object["arguments"] = item.text;
      break;
  }
  object["status"] = status;
  return object;
}

json::object ResponsesReply::place_json() const {
  json::object place{{"item_id", open_->id}, {"output_index", output_.size()}};
  if (open_->kind != Kind::kCall) place["content_index"] = 0;
  return place;
}

json::object ResponsesReply::response_json(std::string_view status) const {
  json::object response{{"id", "resp_" + head_.id}, {"object", "response"}, {"created_at", head_.created_unix_s},
                        {"status", status},         {"error", nullptr},     {"incomplete_details", nullptr},
                        {"model", head_.model},     {"output", output_},    {"usage", nullptr}};
  for (const auto& member : echo_) response.insert(member);
  return response;
}

json::object ResponsesReply::ended_json(const ReplyUsage& usage) const {
  json::object response = response_json(cut_off() ? kIncomplete : kCompleted);
  if (cut_off()) response["incomplete_details"] = {{"reason", "max_output_tokens"}};
  response["usage"] = usage_json_of(usage);
  return response;
}

void ResponsesReply::begin(std::string& out) {
  append_event(out, "response.created", {{"response", response_json("in_progress")}});
  append_event(out, "response.in_progress", {{"response", response_json("in_progress")}});
}

void ResponsesReply::open(std::string& out, Kind kind, const CallDelta* call) {
  if (open_ && open_->kind == kind && call == nullptr) return;
  close(out, kCompleted);
  constexpr std::string_view kPrefixes[] = {"rs", "msg", "fc"};
  open_.emplace(Item{.kind = kind,
                     .id = fmt::format("{}_{}_{}", kPrefixes[static_cast<size_t>(kind)], head_.id, output_.size())});
  if (call != nullptr) {
    open_->call_id = call->id;
    open_->name = call->name;
  }
  append_event(out, "response.output_item.added",
               {{"output_index", output_.size()}, {"item", item_json(*open_, "in_progress")}});
  if (kind == Kind::kCall) return;
  json::object members = place_json();
  members["part"] = part_json(*open_);
  append_event(out, "response.content_part.added", std::move(members));
}

void ResponsesReply::close(std::string& out, std::string_view status) {
  if (!open_) return;
  json::object members = place_json();
  switch (open_->kind) {
    case Kind::kReasoning:
      members["text"] = open_->text;
      append_event(out, "response.reasoning_text.done", std::move(members));
      break;
    case Kind::kMessage:
      members["text"] = open_->text;
      members["logprobs"] = open_->logprobs;
      append_event(out, "response.output_text.done", std::move(members));
      break;
    case Kind::kCall:
      members["name"] = open_->name;
      members["arguments"] = open_->text;
      append_event(out, "response.function_call_arguments.done", std::move(members));
      break;
  }
  if (open_->kind != Kind::kCall) {
    members = place_json();
    members["part"] = part_json(*open_);
    append_event(out, "response.content_part.done", std::move(members));
  }
  json::object item = item_json(*open_, status);
  append_event(out, "response.output_item.done", {{"output_index", output_.size()}, {"item", item}});
  output_.push_back(std::move(item));
  open_.reset();
}

// Of the open item. These are nearly all events of a stream, which is why they are written by hand.
void ResponsesReply::append_text(std::string& out, std::string_view text, json::array logprobs) {
  if (text.empty()) return;
  constexpr std::string_view kTypes[] = {"response.reasoning_text.delta", "response.output_text.delta",
                                         "response.function_call_arguments.delta"};
  const std::string_view type = kTypes[static_cast<size_t>(open_->kind)];
  open_->text += text;
  fmt::format_to(std::back_inserter(out),
                 "event: {0}\ndata: "
                 R"({{"type":"{0}","sequence_number":{1},"item_id":"{2}","output_index":{3},)",
                 type, sequence_++, open_->id, output_.size());
  if (open_->kind != Kind::kCall) out += R"("content_index":0,)";
  out += R"("delta":)";
  append_json_string(out, text);
  if (open_->kind == Kind::kMessage) {
    out += R"(,"logprobs":)";
    out += json::serialize(logprobs);
    std::move(logprobs.begin(), logprobs.end(), std::back_inserter(open_->logprobs));
  }
  out += "}\n\n";
}

// Reasoning has none in this API.
void ResponsesReply::take_logprobs(const ReplyPart& part) {
  if (!logprobs_) return;
  for (size_t i = part.reasoning_tokens; i < part.logprobs.size(); ++i) {
    held_logprobs_.push_back(logprob_json(part.logprobs[i]));
  }
}

void ResponsesReply::add(std::string& out, const ReplyPart& part) {
  take_logprobs(part);
  if (!part.output.reasoning.empty()) {
    open(out, Kind::kReasoning);
    append_text(out, part.output.reasoning);
  }
  if (!part.output.content.empty()) {
    open(out, Kind::kMessage);
    append_text(out, part.output.content, std::exchange(held_logprobs_, {}));
  }
  for (const CallDelta& call : part.output.tool_calls) {
    if (!call.name.empty()) open(out, Kind::kCall, &call);
    append_text(out, call.arguments);
  }
  if (part.end) end_ = part.end;
}

void ResponsesReply::finish(std::string& out, const ReplyUsage& usage) {
  close(out, cut_off() ? kIncomplete : kCompleted);
  append_event(out, cut_off() ? "response.incomplete" : "response.completed", {{"response", ended_json(usage)}});
}

// Twice: as the response's last state, and as the event that the clients take for an error.
void ResponsesReply::fail(std::string& out, const Failure& failure) {
  close(out, kIncomplete);
  constexpr std::string_view kCode = "server_error";
  json::object response = response_json("failed");
  response["error"] = {{"code", kCode}, {"message", failure.message}};
  append_event(out, "response.failed", {{"response", std::move(response)}});
  json::value param;
  if (!failure.param.empty()) param = failure.param;
  const json::object error{{"type", kCode}, {"code", kCode}, {"message", failure.message}, {"param", param}};
  append_event(out, "error", {{"code", kCode}, {"message", failure.message}, {"param", param}, {"error", error}});
}

std::string ResponsesReply::whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) {
  std::string events;  // of nobody
  add(events, choices[0]);
  close(events, cut_off() ? kIncomplete : kCompleted);
  return json::serialize(ended_json(usage));
}

}  // namespace bellwether::gateway
