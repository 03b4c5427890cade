// Messages to prompt, by the model's chat format.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "text/tokenizer.h"

namespace bellwether::text {

enum class Role { kSystem, kUser, kAssistant, kTool };

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments;  // JSON text, as the model wrote it
};

struct Message {
  Role role = Role::kUser;
  std::string content;
  std::vector<ToolCall> tool_calls = {};  // of an assistant
  std::string reasoning = {};             // of an assistant; built-in formats drop it, but in a message to be continued
  std::string name = {};                  // of whoever speaks; only templates read it
  std::string tool_call_id = {};          // of a tool: the call that this answers; only templates read it
};

struct Conversation {
  std::vector<Message> messages;
  // Each as in an OpenAI request: {"type":"function","function":{...}}, members in the client's order.
  std::vector<boost::json::value> tools = {};
  bool add_generation_prompt = true;  // not added after tool outputs, where the format does not have it
  // The prompt ends inside the last message, which the model carries on. The generation prompt is left out.
  bool continue_final_message = false;
  boost::json::object template_arguments = {};  // `chat_template_kwargs`: variables of a template; V3.1's `thinking`
};

struct Prompt {
  std::string text;
  // It ends inside the model's reasoning, so that the answer starts there without an opening tag.
  bool opens_reasoning = false;
};

// How a model writes calls of tools (deepseek_markers.h).
enum class ToolCallForm {
  kFenced,  // R1's and V3's: the arguments in a fence
  kPlain,   // V3.1's
};

// A format turns a conversation into the prompt's text, markers included, begin-of-sentence too.
// Stateless: usable from several threads.
class ChatFormat {
 public:
  virtual ~ChatFormat() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  // Nothing where it is not known; then answers cannot be made to call tools.
  [[nodiscard]] virtual std::optional<ToolCallForm> tool_call_form() const { return std::nullopt; }
  // Throws TextError, in words for the client, for a conversation that the format cannot express.
  [[nodiscard]] virtual Prompt render(const Conversation& conversation) const = 0;
};

// The built-in formats: "deepseek-r1", "deepseek-r1-0528", "deepseek-v3-0324", "deepseek-v3.1". nullptr for an unknown
// name.
[[nodiscard]] std::shared_ptr<const ChatFormat> find_chat_format(std::string_view name);
[[nodiscard]] std::vector<std::string> chat_format_names();

}  // namespace bellwether::text
