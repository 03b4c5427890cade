#include "api-gateway/completion_reply.h"

#include <algorithm>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

json::object choice_json(uint32_t choice, std::string_view text, json::value logprobs, json::value finish) {
  return {{"index", choice}, {"text", text}, {"logprobs", std::move(logprobs)}, {"finish_reason", std::move(finish)}};
}

// vLLM's shape: an object for each token of the prompt, the token's own entry first; null for the first token.
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

size_t characters(std::string_view utf8) {
  return static_cast<size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

CompletionReply::CompletionReply(ReplyHead head, bool usage_asked, bool logprobs, bool prompt_logprobs)
    : head_{"cmpl-" + head.id, head.created_unix_s, std::move(head.model)},
      logprobs_(logprobs),
      prompt_logprobs_(prompt_logprobs),
      frame_("text_completion", head_, usage_asked) {}

json::value CompletionReply::logprobs_json(const ReplyPart& part) {
  if (!logprobs_) return nullptr;
  size_t& text_offset = text_offsets_[part.choice];
  json::array tokens;
  json::array chosen;
  json::array top;
  json::array offsets;
  for (const TokenLogprobs& entry : part.logprobs) {
    const std::string token = printable(entry.chosen.bytes);
    offsets.emplace_back(text_offset);
    text_offset += characters(token);
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
  return frame_.chunk(choice_json(part.choice, part.output.content, logprobs_json(part), nullptr));
}

std::string CompletionReply::last_chunk(uint32_t choice, ReplyEnd end) {
  return frame_.chunk(choice_json(choice, "", nullptr, json::value(finish_reason(end))));
}

std::string CompletionReply::usage_chunk(const ReplyUsage& usage) {
  return frame_.usage_chunk(usage);
}

json::object CompletionReply::whole_choice(const ReplyPart& part) {
  json::object choice =
      choice_json(part.choice, part.output.content, logprobs_json(part), json::value(finish_reason(*part.end)));
  if (prompt_logprobs_) choice["prompt_logprobs"] = prompt_logprobs_json(part.prompt_logprobs);
  return choice;
}

std::string CompletionReply::whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) {
  json::array choices_json;
  for (const ReplyPart& choice : choices) choices_json.push_back(whole_choice(choice));
  json::object reply = reply_head("text_completion", head_);
  reply["choices"] = std::move(choices_json);
  reply["usage"] = usage_json(usage);
  return json::serialize(reply);
}

}  // namespace bellwether::gateway
