// The chat format that a model brings along: the Jinja template of its tokenizer_config.json or chat_template.jinja.
//
// Replies under such a template are read as under the built-in formats: reasoning is what stands before </think>, if
// the reply begins with <think> or the prompt ends with it; calls of tools are found in DeepSeek's markers only. What
// a model writes in another form is content, unchanged.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/chat_format.h"
#include "text/jinja/budget.h"

namespace bellwether::text {

// "auto" and those below, and the built-in ones.
[[nodiscard]] std::vector<std::string> chat_format_choices();

// A tokenizer_config.json whose chat_template is the text of chat_template.jinja, which goes before the file's own as
// in transformers. Throws TextError when the file is no JSON object.
[[nodiscard]] std::string with_chat_template(const std::string& tokenizer_config_json, std::string_view chat_template);

// What `asked` comes to for a model: the name of a built-in format, "template" or "none". "auto" takes
// - "deepseek-r1" for a model without a template;
// - a built-in format where the model's template does the same: it writes the same prompts for a few conversations
//   with and without earlier answers and reasoning, and with tools either the same, too, or nothing of them, as
//   DeepSeek's published templates;
// - "template" otherwise.
// Throws TextError for "template" where there is none, and for a template that cannot be loaded, with the line.
[[nodiscard]] std::string choose_chat_format(std::string_view asked, const std::string& tokenizer_config_json);

// By a name that choose_chat_format() gave; nullptr for "none" and unknown names. Throws TextError as above.
[[nodiscard]] std::shared_ptr<const ChatFormat> make_chat_format(std::string_view name,
                                                                 const std::string& tokenizer_config_json,
                                                                 const jinja::Limits& limits = {});

}  // namespace bellwether::text
