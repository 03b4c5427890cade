#include "text/deepseek_r1_format.h"

#include <span>

#include "text/deepseek_markers.h"

namespace bellwether::text {
namespace {

using namespace deepseek;

void append_paragraph(std::string& text, std::string_view paragraph) {
  if (!text.empty()) text.append("\n\n");
  text.append(paragraph);
}

std::string system_text(const Conversation& conversation) {
  std::string text;
  for (const Message& message : conversation.messages) {
    if (message.role == Role::kSystem) append_paragraph(text, message.content);
  }
  if (conversation.tools.empty()) return text;
  append_paragraph(text, "## Tools\n");
  for (const boost::json::value& tool : conversation.tools) text.append(to_python_json(tool)).append("\n");
  return text;
}

std::string_view without_reasoning(std::string_view content) {
  const size_t close = content.rfind(kThinkClose);
  return close == std::string_view::npos ? content : content.substr(close + kThinkClose.size());
}

void append_calls(std::string& prompt, const std::vector<ToolCall>& calls) {
  prompt.append(kToolCallsBegin);
  for (size_t i = 0; i < calls.size(); ++i) {
    if (i > 0) prompt.append(kBetweenCalls);
    prompt.append(kToolCallBegin).append("function").append(kToolSep).append(calls[i].name).append(kArgumentsOpen);
    prompt.append(calls[i].arguments).append(kArgumentsClose).append(kToolCallEnd);
  }
  prompt.append(kToolCallsEnd);
}

void append_message(std::string& prompt, const Message& message, bool after_tool, bool before_tool) {
  switch (message.role) {
    case Role::kSystem:
      break;
    case Role::kUser:
      prompt.append(kUser).append(message.content);
      break;
    case Role::kAssistant:
      if (!after_tool) prompt.append(kAssistant);
      prompt.append(without_reasoning(message.content));
      if (!message.tool_calls.empty()) append_calls(prompt, message.tool_calls);
      prompt.append(kEndOfSentence);
      break;
    case Role::kTool:
      prompt.append(after_tool ? kBetweenCalls : kToolOutputsBegin);
      prompt.append(kToolOutputBegin).append(message.content).append(kToolOutputEnd);
      if (!before_tool) prompt.append(kToolOutputsEnd);
      break;
  }
}

}  // namespace

std::string DeepSeekR1Format::render(const Conversation& conversation) const {
  std::string prompt(kBeginOfSentence);
  prompt.append(system_text(conversation));
  const std::span<const Message> messages = conversation.messages;
  const auto is_tool = [&](size_t i) { return i < messages.size() && messages[i].role == Role::kTool; };
  for (size_t i = 0; i < messages.size(); ++i) {
    append_message(prompt, messages[i], i > 0 && is_tool(i - 1), is_tool(i + 1));
  }
  if (prompt_opens_reasoning(conversation)) prompt.append(kAssistant).append(kThinkOpen).append("\n");
  return prompt;
}

bool DeepSeekR1Format::prompt_opens_reasoning(const Conversation& conversation) const {
  const bool after_tool = !conversation.messages.empty() && conversation.messages.back().role == Role::kTool;
  return conversation.add_generation_prompt && !after_tool;
}

}  // namespace bellwether::text
