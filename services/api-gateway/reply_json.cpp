#include "api-gateway/reply_json.h"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>

#include "api-gateway/sse.h"
#include "mesh/http_server.h"

namespace bellwether::gateway {

namespace json = boost::json;

void append_json_string(std::string& out, std::string_view text) {
  out += json::serialize(json::string_view(text));
}

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
  object["completion_tokens_details"] = json::object{{"reasoning_tokens", usage.reasoning_tokens},
                                                     {"draft_tokens", usage.draft_tokens},
                                                     {"draft_tokens_accepted", usage.draft_tokens_accepted}};
  return object;
}

std::string_view finish_reason(EndKind kind) {
  switch (kind) {
    case EndKind::kStop:
      return "stop";
    case EndKind::kLength:
      return "length";
    case EndKind::kToolCalls:
      return "tool_calls";
  }
  return "stop";
}

json::value stop_reason_json(const StopReason& reason) {
  if (const auto* id = std::get_if<uint32_t>(&reason)) return json::value(*id);
  if (const auto* text = std::get_if<std::string>(&reason)) return json::value(*text);
  return nullptr;
}

json::array ids_json(const std::vector<text::TokenId>& ids) {
  return json::array(ids.begin(), ids.end());
}

std::string token_json_text(const TokenChance& chance, const ReplyOptions& options) {
  return options.tokens_as_ids ? fmt::format("token_id:{}", chance.id) : printable(chance.bytes);
}

json::array prompt_logprobs_json(const std::vector<TokenLogprobs>& entries) {
  json::array tokens{nullptr};
  for (const TokenLogprobs& entry : entries) {
    json::object chances;
    const auto add = [&](const TokenChance& chance, json::value rank) {
      chances[std::to_string(chance.id)] = {
          {"logprob", chance.logprob}, {"rank", std::move(rank)}, {"decoded_token", printable(chance.bytes)}};
    };
    add(entry.chosen, nullptr);  // of the less likely ones the rank is not known
    for (size_t i = 0; i < entry.top.size(); ++i) add(entry.top[i], i + 1);
    tokens.push_back(std::move(chances));
  }
  return tokens;
}

ChunkFrame::ChunkFrame(std::string_view object, const ReplyHead& head, const ReplyOptions& options)
    : options_(options), begin_("data: " + json::serialize(reply_head(object, head))) {
  begin_.pop_back();
  begin_ += R"(,"choices":[)";
}

void ChunkFrame::append(std::string& out, std::string_view choice_json, uint32_t choice, uint32_t tokens,
                        std::string_view more) const {
  out += begin_;
  out += choice_json;
  out += ']';
  out += more;
  if (options_.usage_continuous) {
    const size_t prompt_tokens = options_.prompt_of(choice).ids.size();
    fmt::format_to(std::back_inserter(out),
                   R"(,"usage":{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{}}})", prompt_tokens, tokens,
                   prompt_tokens + tokens);
  } else if (options_.usage) {
    out += R"(,"usage":null)";
  }
  out += "}\n\n";
}

void ChunkFrame::append_end(std::string& out, const ReplyUsage& usage) const {
  if (options_.usage) {
    out += begin_;
    out += R"(],"usage":)";
    out += json::serialize(usage_json(usage));
    out += "}\n\n";
  }
  out += kSseDone;
}

void append_failure(std::string& out, const Failure& failure) {
  append_sse_event(out, mesh::http_error_body(failure.status, failure.message, failure.param));
  out += kSseDone;
}

}  // namespace bellwether::gateway
