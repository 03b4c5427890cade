#include "api-gateway/chat_reply.h"

#include <fmt/format.h>

#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

json::object chance_json(const TokenChance& chance, const ReplyOptions& options) {
  json::array bytes;
  for (const char byte : chance.bytes) bytes.emplace_back(static_cast<unsigned char>(byte));
  return {{"token", token_json_text(chance, options)}, {"logprob", chance.logprob}, {"bytes", std::move(bytes)}};
}

void append_member(std::string& out, std::string_view name, std::string_view text) {
  out += out.size() > 1 ? ",\"" : "\"";
  out += name;
  out += "\":";
  append_json_string(out, text);
}

// As a member of a delta.
void append_calls(std::string& out, const std::vector<CallDelta>& calls) {
  json::array array;
  for (const CallDelta& call : calls) {
    json::object object{{"index", call.index}};
    json::object function;
    if (!call.name.empty()) {
      object["id"] = call.id;
      object["type"] = "function";
      function["name"] = call.name;
    }
    function["arguments"] = call.arguments;
    object["function"] = std::move(function);
    array.push_back(std::move(object));
  }
  out += out.size() > 1 ? ",\"tool_calls\":" : "\"tool_calls\":";
  out += json::serialize(array);
}

std::string delta_json(const OutputDelta& output) {
  std::string delta = "{";
  if (!output.reasoning.empty()) {
    append_member(delta, "reasoning_content", output.reasoning);
    append_member(delta, "reasoning", output.reasoning);
  }
  if (!output.content.empty()) append_member(delta, "content", output.content);
  if (!output.tool_calls.empty()) append_calls(delta, output.tool_calls);
  delta += '}';
  return delta;
}

}  // namespace

ChatReply::ChatReply(ReplyHead head, ReplyOptions options)
    : head_{"chatcmpl-" + head.id, head.created_unix_s, std::move(head.model)},
      options_(std::move(options)),
      frame_("chat.completion.chunk", head_, options_) {}

json::value ChatReply::logprobs_json(const ReplyPart& part) const {
  if (!options_.logprobs) return nullptr;
  json::array content;
  for (const TokenLogprobs& entry : part.logprobs) {
    json::array top;
    for (const TokenChance& chance : entry.top) top.push_back(chance_json(chance, options_));
    json::object token = chance_json(entry.chosen, options_);
    token["top_logprobs"] = std::move(top);
    content.push_back(std::move(token));
  }
  return json::object{{"content", std::move(content)}};
}

void ChatReply::begin(std::string& out) {
  std::string more;
  if (options_.token_ids) more = R"(,"prompt_token_ids":)" + json::serialize(ids_json(options_.prompts[0].ids));
  for (uint32_t choice = 0; choice < options_.choices(); ++choice) {
    const std::string json = fmt::format(
        R"({{"index":{},"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}})", choice);
    frame_.append(out, json, choice, 0, choice == 0 ? more : "");
  }
}

void ChatReply::add(std::string& out, const ReplyPart& part) {
  if (options_.token_ids || !part.output.empty() || !part.logprobs.empty()) append_delta(out, part);
  if (part.end) append_end(out, part);
}

void ChatReply::append_delta(std::string& out, const ReplyPart& part) const {
  std::string choice = fmt::format(R"({{"index":{},"delta":)", part.choice);
  choice += delta_json(part.output);
  choice += R"(,"logprobs":)" + json::serialize(logprobs_json(part)) + R"(,"finish_reason":null)";
  if (options_.token_ids) choice += R"(,"token_ids":)" + json::serialize(ids_json(part.ids));
  choice += '}';
  frame_.append(out, choice, part.choice, part.tokens);
}

void ChatReply::append_end(std::string& out, const ReplyPart& part) const {
  std::string choice = fmt::format(R"({{"index":{},"delta":{{}},"logprobs":null,"finish_reason":"{}","stop_reason":)",
                                   part.choice, finish_reason(part.end->kind));
  choice += json::serialize(stop_reason_json(part.end->reason));
  choice += '}';
  frame_.append(out, choice, part.choice, part.tokens);
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
    for (const CallDelta& call : output.tool_calls) {
      calls.push_back(
          {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
    message["tool_calls"] = std::move(calls);
  }
  json::object choice{{"index", part.choice},
                      {"message", std::move(message)},
                      {"logprobs", logprobs_json(part)},
                      {"finish_reason", finish_reason(part.end->kind)},
                      {"stop_reason", stop_reason_json(part.end->reason)}};
  if (options_.token_ids) choice["token_ids"] = ids_json(part.ids);
  return choice;
}

std::string ChatReply::whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) {
  json::array choices_json;
  for (const ReplyPart& choice : choices) choices_json.push_back(whole_choice(choice));
  json::object reply = reply_head("chat.completion", head_);
  reply["choices"] = std::move(choices_json);
  reply["usage"] = usage_json(usage);
  if (options_.prompt_logprobs) reply["prompt_logprobs"] = prompt_logprobs_json(choices[0].prompt_logprobs);
  if (options_.token_ids) reply["prompt_token_ids"] = ids_json(options_.prompts[0].ids);
  return json::serialize(reply);
}

}  // namespace bellwether::gateway
