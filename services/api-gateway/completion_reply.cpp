#include "api-gateway/completion_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

size_t characters(std::string_view utf8) {
  return static_cast<size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

// OpenAI's log-probabilities of a text: a list for each property of its tokens.
struct CompletionReply::TokenLists {
  json::array tokens = {};
  json::array logprobs = {};
  json::array top = {};
  json::array offsets = {};
};

CompletionReply::CompletionReply(ReplyHead head, ReplyOptions options)
    : head_{"cmpl-" + head.id, head.created_unix_s, std::move(head.model)},
      options_(std::move(options)),
      frame_("text_completion", head_, options_),
      text_offsets_(options_.choices(), 0),
      begun_(options_.choices(), false),
      prompt_logprobs_(options_.prompts.size()) {}

void CompletionReply::list(TokenLists& lists, uint32_t choice, const std::vector<TokenLogprobs>& entries) {
  for (const TokenLogprobs& entry : entries) {
    lists.offsets.emplace_back(text_offsets_[choice]);
    text_offsets_[choice] += characters(printable(entry.chosen.bytes));
    lists.tokens.emplace_back(token_json_text(entry.chosen, options_));
    lists.logprobs.emplace_back(entry.chosen.logprob);
    json::object alternatives;
    for (const TokenChance& chance : entry.top) {
      alternatives.emplace(token_json_text(chance, options_), chance.logprob);
    }
    lists.top.push_back(std::move(alternatives));
  }
}

// The begin-of-sentence token that this gateway added is no part of the text. Without one, nothing is known of the
// first token's probability.
void CompletionReply::list_prompt(TokenLists& lists, uint32_t choice) {
  const ReplyPrompt& prompt = options_.prompt_of(choice);
  if (!prompt.begins_with_bos) {
    const TokenChance first{prompt.ids[0], prompt.first_token, 0};
    lists.offsets.emplace_back(0);
    text_offsets_[choice] = characters(printable(first.bytes));
    lists.tokens.emplace_back(token_json_text(first, options_));
    lists.logprobs.emplace_back(nullptr);
    lists.top.emplace_back(nullptr);
  }
  list(lists, choice, prompt_logprobs_[choice / options_.choices_per_prompt]);
}

json::value CompletionReply::logprobs_json(const ReplyPart& part, bool with_prompt) {
  if (!options_.logprobs) return nullptr;
  TokenLists lists;
  if (with_prompt) list_prompt(lists, part.choice);
  list(lists, part.choice, part.logprobs);
  return json::object{{"tokens", std::move(lists.tokens)},
                      {"token_logprobs", std::move(lists.logprobs)},
                      {"top_logprobs", std::move(lists.top)},
                      {"text_offset", std::move(lists.offsets)}};
}

// They come with the prompt's first choice, before the others begin.
void CompletionReply::keep_prompt_logprobs(const ReplyPart& part) {
  if (part.prompt_logprobs.empty()) return;
  auto& kept = prompt_logprobs_[part.choice / options_.choices_per_prompt];
  kept.insert(kept.end(), part.prompt_logprobs.begin(), part.prompt_logprobs.end());
}

void CompletionReply::add(std::string& out, const ReplyPart& part) {
  keep_prompt_logprobs(part);
  const bool begins = !begun_[part.choice];
  begun_[part.choice] = true;
  const bool echoes = options_.echo && begins;
  if (echoes || options_.token_ids || !part.output.empty() || !part.logprobs.empty()) append_text(out, part, begins);
  if (part.end) append_end(out, part);
}

void CompletionReply::append_text(std::string& out, const ReplyPart& part, bool begins) {
  const ReplyPrompt& prompt = options_.prompt_of(part.choice);
  const bool echoes = options_.echo && begins;
  std::string choice = fmt::format(R"({{"index":{},"text":)", part.choice);
  append_json_string(choice, echoes ? prompt.text + part.output.content : part.output.content);
  choice += R"(,"logprobs":)" + json::serialize(logprobs_json(part, echoes)) + R"(,"finish_reason":null)";
  if (options_.token_ids) {
    choice += R"(,"token_ids":)" + json::serialize(ids_json(part.ids));
    if (begins) choice += R"(,"prompt_token_ids":)" + json::serialize(ids_json(prompt.ids));
  }
  choice += '}';
  frame_.append(out, choice, part.choice, part.tokens);
}

void CompletionReply::append_end(std::string& out, const ReplyPart& part) {
  std::string choice = fmt::format(R"({{"index":{},"text":"","logprobs":null,"finish_reason":"{}","stop_reason":)",
                                   part.choice, finish_reason(part.end->kind));
  choice += json::serialize(stop_reason_json(part.end->reason));
  choice += '}';
  frame_.append(out, choice, part.choice, part.tokens);
}

json::object CompletionReply::whole_choice(const ReplyPart& part) {
  const ReplyPrompt& prompt = options_.prompt_of(part.choice);
  json::object choice{{"index", part.choice},
                      {"text", options_.echo ? prompt.text + part.output.content : part.output.content},
                      {"logprobs", logprobs_json(part, options_.echo)},
                      {"finish_reason", finish_reason(part.end->kind)},
                      {"stop_reason", stop_reason_json(part.end->reason)}};
  if (options_.prompt_logprobs) {
    choice["prompt_logprobs"] = prompt_logprobs_json(prompt_logprobs_[part.choice / options_.choices_per_prompt]);
  }
  if (options_.token_ids) {
    choice["token_ids"] = ids_json(part.ids);
    choice["prompt_token_ids"] = ids_json(prompt.ids);
  }
  return choice;
}

std::string CompletionReply::whole(const std::vector<ReplyPart>& choices, const ReplyUsage& usage) {
  json::array choices_json;
  for (const ReplyPart& choice : choices) {
    keep_prompt_logprobs(choice);
    choices_json.push_back(whole_choice(choice));
  }
  json::object reply = reply_head("text_completion", head_);
  reply["choices"] = std::move(choices_json);
  reply["usage"] = usage_json(usage);
  return json::serialize(reply);
}

}  // namespace bellwether::gateway
