#include "text/deepseek_formats.h"

#include <fmt/format.h>

#include <utility>

#include "text/deepseek_markers.h"
#include "text/python_json.h"

namespace bellwether::text {
namespace {

using namespace deepseek;

using Tools = std::vector<boost::json::value>;

void append_paragraph(std::string& text, std::string_view paragraph) {
  if (!text.empty()) text.append("\n\n");
  text.append(paragraph);
}

// All system messages, wherever they stand, and then what tells of the tools.
std::string system_text(const Conversation& conversation, std::string (*tools_text)(const Tools&)) {
  std::string text;
  for (const Message& message : conversation.messages) {
    if (message.role == Role::kSystem) append_paragraph(text, message.content);
  }
  if (!conversation.tools.empty()) append_paragraph(text, tools_text(conversation.tools));
  return text;
}

std::string tools_as_lines(const Tools& tools) {
  std::string text = "## Tools\n";
  for (const boost::json::value& tool : tools) text.append(to_python_json(tool)).append("\n");
  return text;
}

std::string tools_in_fences(const Tools& tools) {
  std::string text = "## Tools\n\n### Function\n\n";
  for (const boost::json::value& tool : tools) {
    text.append("```json\n").append(to_python_json(tool)).append("\n```\n\n");
  }
  text.append("Call a function by writing exactly this, with its arguments as valid JSON:\n\n");
  text.append(kToolCallsBegin).append(kToolCallBegin).append("function").append(kToolSep).append("NAME");
  text.append(kArgumentsOpen).append("{\"PARAMETER\": \"VALUE\"}").append(kArgumentsClose).append(kToolCallEnd);
  return text.append(kToolCallsEnd);
}

const boost::json::value* member(const boost::json::value& value, std::string_view name) {
  const boost::json::object* const object = value.if_object();
  return object == nullptr ? nullptr : object->if_contains(name);
}

std::string text_member(const boost::json::value& value, std::string_view name) {
  const boost::json::value* const found = member(value, name);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

std::string tools_as_sections(const Tools& tools) {
  std::string text = "## Tools\nYou have access to the following tools:\n\n";
  for (const boost::json::value& tool : tools) {
    const boost::json::value* const function = member(tool, "function");
    if (function == nullptr) continue;
    const boost::json::value* const parameters = member(*function, "parameters");
    text.append(fmt::format("### {}\nDescription: {}\n\nParameters: {}\n\n", text_member(*function, "name"),
                            text_member(*function, "description"),
                            parameters == nullptr ? "{}" : to_python_json(*parameters)));
  }
  text.append("A tool is called in exactly this form, its arguments valid JSON that follows its parameters:\n");
  text.append(kToolCallsBegin).append(kToolCallBegin).append("tool_call_name").append(kToolSep);
  text.append("tool_call_arguments").append(kToolCallEnd).append(kToolCallsEnd);
  return text.append("\nSeveral calls follow each other with nothing between them.\n");
}

std::string_view without_reasoning(std::string_view content) {
  const size_t close = content.rfind(kThinkClose);
  return close == std::string_view::npos ? content : content.substr(close + kThinkClose.size());
}

// True when a message to be continued ends before its reasoning does.
bool ends_in_reasoning(std::string_view text) {
  const size_t open = text.rfind(kThinkOpen);
  return open != std::string_view::npos && text.find(kThinkClose, open) == std::string_view::npos;
}

const Message* continued_message(const Conversation& conversation) {
  if (!conversation.continue_final_message) return nullptr;
  const bool fits = !conversation.messages.empty() && conversation.messages.back().role == Role::kAssistant &&
                    conversation.messages.back().tool_calls.empty();
  if (!fits) throw TextError("only a last message of the assistant, without tool calls, can be continued");
  return &conversation.messages.back();
}

// What the model would have written so far: with its reasoning, which earlier messages lose.
std::string continued_text(const Message& message) {
  if (message.reasoning.empty()) return message.content;
  std::string text = fmt::format("{}\n{}", kThinkOpen, message.reasoning);
  if (!message.content.empty()) text.append("\n").append(kThinkClose).append("\n\n").append(message.content);
  return text;
}

bool is_tool(const std::vector<Message>& messages, size_t i) {
  return i < messages.size() && messages[i].role == Role::kTool;
}

bool is_user(const std::vector<Message>& messages, size_t i) {
  return i < messages.size() && messages[i].role == Role::kUser;
}

struct V3Dialect {
  std::string_view name;
  bool assistant_follows_user;  // its marker does, at once
  bool drops_reasoning;         // from earlier content
  bool opens_reasoning;
  std::string (*tools_text)(const Tools&);
};

// V3, R1 and their revisions.
class DeepSeekV3Format final : public ChatFormat {
 public:
  explicit DeepSeekV3Format(V3Dialect dialect) : dialect_(dialect) {}
  [[nodiscard]] std::string_view name() const override { return dialect_.name; }
  [[nodiscard]] std::optional<ToolCallForm> tool_call_form() const override { return ToolCallForm::kFenced; }
  [[nodiscard]] Prompt render(const Conversation& conversation) const override;

 private:
  void append_message(std::string& prompt, const std::vector<Message>& messages, size_t i, bool continued) const;
  void append_assistant_marker(std::string& prompt, const std::vector<Message>& messages, size_t i) const;

  V3Dialect dialect_;
};

void append_v3_calls(std::string& prompt, const std::vector<ToolCall>& calls) {
  prompt.append(kToolCallsBegin);
  for (size_t i = 0; i < calls.size(); ++i) {
    if (i > 0) prompt.append(kBetweenCalls);
    prompt.append(kToolCallBegin).append("function").append(kToolSep).append(calls[i].name).append(kArgumentsOpen);
    prompt.append(calls[i].arguments).append(kArgumentsClose).append(kToolCallEnd);
  }
  prompt.append(kToolCallsEnd);
}

// Before message i, or at the end.
void DeepSeekV3Format::append_assistant_marker(std::string& prompt, const std::vector<Message>& messages,
                                               size_t i) const {
  const bool after_tool = i > 0 && is_tool(messages, i - 1);
  const bool stands_already = dialect_.assistant_follows_user && i > 0 && is_user(messages, i - 1);
  const bool left_out = dialect_.assistant_follows_user && i < messages.size();
  if (!after_tool && !stands_already && !left_out) prompt.append(kAssistant);
}

void DeepSeekV3Format::append_message(std::string& prompt, const std::vector<Message>& messages, size_t i,
                                      bool continued) const {
  const Message& message = messages[i];
  switch (message.role) {
    case Role::kSystem:
      break;
    case Role::kUser:
      prompt.append(kUser).append(message.content);
      if (dialect_.assistant_follows_user) prompt.append(kAssistant);
      break;
    case Role::kAssistant:
      append_assistant_marker(prompt, messages, i);
      if (continued) {
        prompt.append(continued_text(message));
        break;
      }
      prompt.append(dialect_.drops_reasoning ? without_reasoning(message.content) : message.content);
      if (!message.tool_calls.empty()) append_v3_calls(prompt, message.tool_calls);
      prompt.append(kEndOfSentence);
      break;
    case Role::kTool:
      prompt.append(i > 0 && is_tool(messages, i - 1) ? kBetweenCalls : kToolOutputsBegin);
      prompt.append(kToolOutputBegin).append(message.content).append(kToolOutputEnd);
      if (!is_tool(messages, i + 1)) prompt.append(kToolOutputsEnd);
      break;
  }
}

Prompt DeepSeekV3Format::render(const Conversation& conversation) const {
  const Message* const continued = continued_message(conversation);
  const std::vector<Message>& messages = conversation.messages;
  Prompt prompt{.text = std::string(kBeginOfSentence)};
  prompt.text.append(system_text(conversation, dialect_.tools_text));
  for (size_t i = 0; i < messages.size(); ++i) {
    append_message(prompt.text, messages, i, &messages[i] == continued);
  }
  if (continued != nullptr) {
    prompt.opens_reasoning = ends_in_reasoning(continued_text(*continued));
  } else if (conversation.add_generation_prompt && (messages.empty() || messages.back().role != Role::kTool)) {
    append_assistant_marker(prompt.text, messages, messages.size());
    if (dialect_.opens_reasoning) prompt.text.append(kThinkOpen).append("\n");
    prompt.opens_reasoning = dialect_.opens_reasoning;
  }
  return prompt;
}

class DeepSeekV31Format final : public ChatFormat {
 public:
  [[nodiscard]] std::string_view name() const override { return "deepseek-v3.1"; }
  [[nodiscard]] std::optional<ToolCallForm> tool_call_form() const override { return ToolCallForm::kPlain; }
  [[nodiscard]] Prompt render(const Conversation& conversation) const override;
};

bool thinks(const Conversation& conversation) {
  const boost::json::value* const thinking = conversation.template_arguments.if_contains("thinking");
  if (thinking == nullptr || thinking->is_null()) return false;
  if (!thinking->is_bool()) throw TextError("`thinking` must be true or false");
  return thinking->get_bool();
}

void append_v31_assistant(std::string& prompt, const Message& message) {
  prompt.append(without_reasoning(message.content));
  if (!message.tool_calls.empty()) {
    prompt.append(kToolCallsBegin);
    for (const ToolCall& call : message.tool_calls) {
      prompt.append(kToolCallBegin).append(call.name).append(kToolSep).append(call.arguments).append(kToolCallEnd);
    }
    prompt.append(kToolCallsEnd);
  }
  prompt.append(kEndOfSentence);
}

// A message to be continued, after <｜Assistant｜>. True when it ends inside the reasoning.
bool append_v31_continued(std::string& prompt, const Message& message, bool thinking) {
  std::string text = message.content;
  if (!message.reasoning.empty()) {
    text = message.reasoning;
    if (!message.content.empty()) text.append(kThinkClose).append(message.content);
    thinking = true;
  } else if (text.starts_with(kThinkOpen)) {
    text.erase(0, kThinkOpen.size());
    thinking = true;
  }
  prompt.append(thinking ? kThinkOpen : kThinkClose).append(text);
  return thinking && text.find(kThinkClose) == std::string::npos;
}

Prompt DeepSeekV31Format::render(const Conversation& conversation) const {
  const Message* const continued = continued_message(conversation);
  const bool thinking = thinks(conversation);
  const std::vector<Message>& messages = conversation.messages;
  Prompt prompt{.text = std::string(kBeginOfSentence)};
  std::string& text = prompt.text;
  text.append(system_text(conversation, tools_as_sections));
  bool after_user = false;
  for (const Message& message : messages) {
    if (message.role == Role::kUser) text.append(kUser).append(message.content);
    if (message.role == Role::kTool) text.append(kToolOutputBegin).append(message.content).append(kToolOutputEnd);
    if (message.role == Role::kAssistant) {
      if (after_user) text.append(kAssistant);
      if (&message == continued) {
        prompt.opens_reasoning = append_v31_continued(text, message, thinking);
      } else {
        if (after_user) text.append(kThinkClose);
        append_v31_assistant(text, message);
      }
    }
    if (message.role != Role::kSystem) after_user = message.role == Role::kUser;
  }
  if (continued == nullptr && conversation.add_generation_prompt && after_user) {
    text.append(kAssistant).append(thinking ? kThinkOpen : kThinkClose);
    prompt.opens_reasoning = thinking;
  }
  return prompt;
}

}  // namespace

std::vector<std::shared_ptr<const ChatFormat>> make_deepseek_formats() {
  const auto v3 = [](V3Dialect dialect) { return std::make_shared<const DeepSeekV3Format>(dialect); };
  return {v3({.name = "deepseek-r1",
              .assistant_follows_user = false,
              .drops_reasoning = true,
              .opens_reasoning = true,
              .tools_text = tools_as_lines}),
          v3({.name = "deepseek-r1-0528",
              .assistant_follows_user = true,
              .drops_reasoning = true,
              .opens_reasoning = false,
              .tools_text = tools_in_fences}),
          v3({.name = "deepseek-v3-0324",
              .assistant_follows_user = true,
              .drops_reasoning = false,
              .opens_reasoning = false,
              .tools_text = tools_in_fences}),
          std::make_shared<const DeepSeekV31Format>()};
}

}  // namespace bellwether::text
