#include "text/template_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <optional>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "text/deepseek_markers.h"
#include "text/jinja/template.h"
#include "text/jinja/text_operations.h"

namespace bellwether::text {
namespace {

namespace json = boost::json;

constexpr std::string_view kTemplate = "template";
constexpr std::string_view kNone = "none";
constexpr std::string_view kAuto = "auto";

json::object parse_config(const std::string& text) {
  if (text.empty()) return {};
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  if (error || !value.is_object()) throw TextError("tokenizer_config.json is not a JSON object");
  return std::move(value.get_object());
}

std::string text_of(const json::value* value) {
  if (value != nullptr && value->is_object()) value = value->get_object().if_contains("content");
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

struct Sources {
  std::optional<std::string> plain = {};
  std::optional<std::string> with_tools = {};  // another one for conversations with tools
};

// One template, or a list of named ones: "default", "tool_use".
Sources find_sources(const json::object& config) {
  Sources sources;
  const json::value* const value = config.if_contains("chat_template");
  if (value == nullptr || value->is_null()) return sources;
  if (value->is_string()) {
    sources.plain = std::string(value->get_string());
    return sources;
  }
  if (!value->is_array()) throw TextError("chat_template in tokenizer_config.json is neither a string nor a list");
  for (const json::value& each : value->get_array()) {
    if (!each.is_object()) throw TextError("chat_template in tokenizer_config.json has an element that is no object");
    const std::string name = text_of(each.get_object().if_contains("name"));
    if (name == "default") sources.plain = text_of(each.get_object().if_contains("template"));
    if (name == "tool_use") sources.with_tools = text_of(each.get_object().if_contains("template"));
  }
  if (!sources.plain) throw TextError("chat_template in tokenizer_config.json has no template named \"default\"");
  return sources;
}

std::string_view role_name(Role role) {
  constexpr std::string_view kNames[] = {"system", "user", "assistant", "tool"};
  return kNames[static_cast<size_t>(role)];
}

json::object special_tokens(const json::object& config) {
  json::object tokens;
  for (const char* name :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    std::string token = text_of(config.if_contains(name));
    if (!token.empty()) tokens.emplace(name, std::move(token));
  }
  return tokens;
}

class TemplateFormat final : public ChatFormat {
 public:
  TemplateFormat(const json::object& config, const Sources& sources, const jinja::Limits& limits);

  [[nodiscard]] std::string_view name() const override { return kTemplate; }
  [[nodiscard]] std::optional<ToolCallForm> tool_call_form() const override { return tool_call_form_; }
  [[nodiscard]] Prompt render(const Conversation& conversation) const override;

 private:
  [[nodiscard]] std::string render_text(const Conversation& conversation, bool arguments_as_text) const;
  [[nodiscard]] json::object variables_of(const Conversation& conversation, bool arguments_as_text) const;
  void learn_tool_calls();

  const json::object special_tokens_;
  const jinja::Template plain_;
  const std::optional<jinja::Template> with_tools_;
  // Templates take the arguments of earlier calls as an object (most) or as the text that the model wrote (DeepSeek's).
  bool arguments_as_text_ = false;
  std::optional<ToolCallForm> tool_call_form_;
};

TemplateFormat::TemplateFormat(const json::object& config, const Sources& sources, const jinja::Limits& limits)
    : special_tokens_(special_tokens(config)),
      plain_(jinja::Template::parse(*sources.plain, limits)),
      with_tools_(sources.with_tools ? std::optional(jinja::Template::parse(*sources.with_tools, limits))
                                     : std::nullopt) {
  learn_tool_calls();
}

// How a call is written, from one that is rendered.
void TemplateFormat::learn_tool_calls() {
  const Conversation conversation{
      .messages = {{.role = Role::kUser, .content = "a"},
                   {.role = Role::kAssistant,
                    .content = "",
                    .tool_calls = {{.id = "call12345", .name = "f", .arguments = R"({"argument":1})"}}},
                   {.role = Role::kTool, .content = "b", .tool_call_id = "call12345"}}};
  for (const bool as_text : {false, true}) {
    std::string text;
    try {
      text = render_text(conversation, as_text);
    } catch (const TextError&) {
      continue;
    }
    if (text.find("{'argument'") != std::string::npos) continue;  // an object that is printed, which is not JSON
    arguments_as_text_ = as_text;
    if (text.find(deepseek::kToolCallBegin) == std::string::npos) return;
    const bool fenced = text.find(deepseek::kArgumentsOpen) != std::string::npos;
    tool_call_form_ = fenced ? ToolCallForm::kFenced : ToolCallForm::kPlain;
    return;
  }
}

json::value arguments_of(const ToolCall& call, bool as_text) {
  if (as_text) return json::value(call.arguments);
  boost::system::error_code error;
  json::value arguments = json::parse(call.arguments, error);
  return error || !arguments.is_object() ? json::value(call.arguments) : arguments;
}

json::object message_object(const Message& message, bool arguments_as_text) {
  json::object object{{"role", role_name(message.role)}, {"content", message.content}};
  if (!message.name.empty()) object.emplace("name", message.name);
  if (!message.reasoning.empty()) object.emplace("reasoning_content", message.reasoning);
  if (!message.tool_call_id.empty()) object.emplace("tool_call_id", message.tool_call_id);
  if (message.tool_calls.empty()) return object;
  json::array calls;
  for (const ToolCall& call : message.tool_calls) {
    json::object function{{"name", call.name}, {"arguments", arguments_of(call, arguments_as_text)}};
    calls.push_back({{"id", call.id}, {"type", "function"}, {"function", std::move(function)}});
  }
  object.emplace("tool_calls", std::move(calls));
  return object;
}

json::object TemplateFormat::variables_of(const Conversation& conversation, bool arguments_as_text) const {
  json::object variables = special_tokens_;
  for (const auto& argument : conversation.template_arguments) {
    for (const std::string_view reserved : {"messages", "tools", "documents", "add_generation_prompt"}) {
      if (argument.key() == reserved) {
        throw TextError(fmt::format("chat_template_kwargs must not set `{}`", reserved));
      }
    }
    variables.insert_or_assign(argument.key(), argument.value());
  }
  json::array messages;
  for (const Message& message : conversation.messages) messages.push_back(message_object(message, arguments_as_text));
  variables.insert_or_assign("messages", std::move(messages));
  variables.insert_or_assign("documents", nullptr);
  variables.insert_or_assign("tools", nullptr);
  if (!conversation.tools.empty()) {
    variables.insert_or_assign("tools", json::array(conversation.tools.begin(), conversation.tools.end()));
  }
  const bool adds_prompt = conversation.add_generation_prompt && !conversation.continue_final_message;
  variables.insert_or_assign("add_generation_prompt", adds_prompt);
  return variables;
}

std::string TemplateFormat::render_text(const Conversation& conversation, bool arguments_as_text) const {
  const jinja::Template& used = with_tools_ && !conversation.tools.empty() ? *with_tools_ : plain_;
  return used.render(variables_of(conversation, arguments_as_text), std::time(nullptr));
}

// Up to the end of the last message, as transformers finds it: where its text stands last. Templates may strip it.
Prompt cut_behind(std::string text, const Message& message) {
  const bool in_reasoning = message.content.empty();
  const std::string_view shown = in_reasoning ? message.reasoning : message.content;
  const std::string_view core = jinja::strip(shown, std::nullopt, jinja::Sides::kBoth);
  if (core.empty()) throw TextError("a last message without text cannot be continued");
  const size_t at = text.rfind(core);
  if (at == std::string::npos) {
    throw TextError("the model's chat template does not show the last message as it is, so it cannot be continued");
  }
  const std::string_view with_end = jinja::strip(shown, std::nullopt, jinja::Sides::kLeft);
  const bool kept = std::string_view(text).substr(at).starts_with(with_end);
  text.resize(at + (kept ? with_end.size() : core.size()));
  const size_t open = shown.rfind(deepseek::kThinkOpen);
  const bool opens =
      open != std::string_view::npos && shown.find(deepseek::kThinkClose, open) == std::string_view::npos;
  return {.text = std::move(text), .opens_reasoning = in_reasoning || opens};
}

Prompt TemplateFormat::render(const Conversation& conversation) const {
  const std::vector<Message>& messages = conversation.messages;
  if (conversation.continue_final_message) {
    const bool fits =
        !messages.empty() && messages.back().role == Role::kAssistant && messages.back().tool_calls.empty();
    if (!fits) throw TextError("only a last message of the assistant, without tool calls, can be continued");
    return cut_behind(render_text(conversation, arguments_as_text_), messages.back());
  }
  Prompt prompt{.text = render_text(conversation, arguments_as_text_)};
  const std::string_view end = jinja::strip(prompt.text, std::nullopt, jinja::Sides::kRight);
  prompt.opens_reasoning = conversation.add_generation_prompt && end.ends_with(deepseek::kThinkOpen);
  return prompt;
}

std::optional<std::string> prompt_of(const ChatFormat& format, const Conversation& conversation) {
  try {
    return format.render(conversation).text;
  } catch (const TextError&) {
    return std::nullopt;
  }
}

// Conversations in which DeepSeek's formats differ from each other.
std::vector<Conversation> telling_conversations() {
  const Message system{.role = Role::kSystem, .content = "a"};
  const Message user{.role = Role::kUser, .content = "b"};
  const Message answer{.role = Role::kAssistant, .content = "c</think>d"};
  return {{.messages = {system, user}},
          {.messages = {user, answer, user}},
          {.messages = {system, user, answer, user}, .template_arguments = {{"thinking", true}}}};
}

bool writes_the_same(const ChatFormat& model, const ChatFormat& built_in) {
  for (const Conversation& conversation : telling_conversations()) {
    if (prompt_of(model, conversation) != prompt_of(built_in, conversation)) return false;
  }
  Conversation conversation = telling_conversations()[0];
  const auto without_tools = prompt_of(model, conversation);
  const json::object function{{"name", "f"}, {"parameters", json::object()}};
  conversation.tools.emplace_back(json::object{{"type", "function"}, {"function", function}});
  const auto with_tools = prompt_of(model, conversation);
  return with_tools == without_tools || with_tools == prompt_of(built_in, conversation);
}

}  // namespace

std::vector<std::string> chat_format_choices() {
  std::vector<std::string> choices = chat_format_names();
  choices.insert(choices.begin(), std::string(kAuto));
  choices.emplace_back(kTemplate);
  choices.emplace_back(kNone);
  return choices;
}

std::string with_chat_template(const std::string& tokenizer_config_json, std::string_view chat_template) {
  json::object config = parse_config(tokenizer_config_json);
  config["chat_template"] = chat_template;
  return json::serialize(config);
}

std::string choose_chat_format(std::string_view asked, const std::string& tokenizer_config_json) {
  if (asked != kAuto && asked != kTemplate) return std::string(asked);
  const bool has_template = find_sources(parse_config(tokenizer_config_json)).plain.has_value();
  if (asked == kAuto && !has_template) return "deepseek-r1";
  const auto model = make_chat_format(kTemplate, tokenizer_config_json);
  if (asked == kTemplate) return std::string(kTemplate);
  for (const std::string& name : chat_format_names()) {
    if (writes_the_same(*model, *find_chat_format(name))) return name;
  }
  return std::string(kTemplate);
}

std::shared_ptr<const ChatFormat> make_chat_format(std::string_view name, const std::string& tokenizer_config_json,
                                                   const jinja::Limits& limits) {
  if (name != kTemplate) return find_chat_format(name);
  const json::object config = parse_config(tokenizer_config_json);
  const Sources sources = find_sources(config);
  if (!sources.plain) throw TextError("the model has no chat template");
  try {
    return std::make_shared<const TemplateFormat>(config, sources, limits);
  } catch (const jinja::LoadError& error) {
    throw TextError(fmt::format("the model's chat template, {}", error.what()));
  }
}

}  // namespace bellwether::text
