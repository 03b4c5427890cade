#include "text/template_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace bellwether::text {
namespace {

using testing::HasSubstr;
using namespace std::string_view_literals;

std::string read_file(const std::string& name) {
  std::ifstream file(std::string(BELLWETHER_SOURCE_DIR) + "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string family(const std::string& name) {
  return read_file("tests/data/templates/" + name + ".jinja");
}

std::string config_of(const boost::json::value& chat_template) {
  return boost::json::serialize(boost::json::object{{"bos_token", {{"content", "<｜begin▁of▁sentence｜>"}}},
                                                    {"eos_token", "<｜end▁of▁sentence｜>"},
                                                    {"chat_template", chat_template}});
}

std::string config_of(std::string_view source) {
  return config_of(boost::json::value(source));
}

std::string chosen(const std::string& source) {
  return choose_chat_format("auto", config_of(source));
}

std::string error_of(const std::string& asked, const std::string& config) {
  try {
    return choose_chat_format(asked, config);
  } catch (const TextError& error) {
    return error.what();
  }
}

Prompt rendered(const std::string& source, const Conversation& conversation) {
  return make_chat_format("template", config_of(source))->render(conversation);
}

Message user(std::string content) {
  return {.role = Role::kUser, .content = std::move(content)};
}
Message assistant(std::string content) {
  return {.role = Role::kAssistant, .content = std::move(content)};
}

Conversation with_call() {
  Message call = assistant("");
  call.tool_calls = {{.id = "call12345", .name = "f", .arguments = R"({"a":[1, 2]})"}};
  return {.messages = {user("x"), call, {.role = Role::kTool, .content = "y", .tool_call_id = "call12345"}}};
}

// DeepSeek's formats as templates, in their shape: %1 what opens the reply, %2 what becomes of earlier reasoning.
std::string deepseek_like(const std::string& opening, const std::string& earlier) {
  return "{{ bos_token }}{% for m in messages if m.role == 'system' %}{{ m.content }}{% endfor %}"
         "{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content + '<｜Assistant｜>' }}"
         "{% elif m.role == 'assistant' %}" +
         earlier +
         "{{ eos_token }}{% endif %}{% endfor %}"
         "{% if add_generation_prompt %}" +
         opening + "{% endif %}";
}
const std::string kDropped = "{{ m.content.split('</think>')[-1] }}";

TEST(TemplateFormat, AutoKnowsDeepSeeksFormatsByWhatTheirTemplatesWrite) {
  EXPECT_EQ(choose_chat_format("auto", read_file("models/bellwether-nano/tokenizer_config.json")), "deepseek-r1");
  EXPECT_EQ(chosen(family("deepseek_v3")), "deepseek-r1");
  EXPECT_EQ(chosen(deepseek_like("", kDropped)), "deepseek-r1-0528");
  EXPECT_EQ(chosen(deepseek_like("", "{{ m.content }}")), "deepseek-v3-0324");
  const std::string thinking = "{{ '<think>' if thinking else '</think>' }}";
  EXPECT_EQ(chosen(deepseek_like(thinking, "</think>" + kDropped)), "deepseek-v3.1");
}

TEST(TemplateFormat, AutoTakesTheModelsOwnTemplateOtherwise) {
  for (const char* name : {"llama31", "marked", "mistral", "qwen25", "qwen3"})
    EXPECT_EQ(chosen(family(name)), "template");
  EXPECT_EQ(chosen(deepseek_like("<think>", kDropped)), "template");
  EXPECT_EQ(chosen("{{ tools | tojson }}" + deepseek_like("", kDropped)), "template");
  EXPECT_EQ(choose_chat_format("auto", ""), "deepseek-r1");
  EXPECT_EQ(choose_chat_format("auto", "{}"), "deepseek-r1");
}

TEST(TemplateFormat, AToolsTextOfItsOwnIsNotOverwritten) {
  const std::string own = deepseek_like("", kDropped) + "{% if tools %}own{% endif %}";
  EXPECT_EQ(chosen(own), "template");
}

TEST(TemplateFormat, NamesAreTakenAsTheyAre) {
  const std::string config = config_of(family("qwen3"));
  for (const char* name : {"deepseek-v3.1", "template", "none"}) EXPECT_EQ(choose_chat_format(name, config), name);
  EXPECT_EQ(make_chat_format("none", config), nullptr);
  EXPECT_EQ(make_chat_format("deepseek-v3.1", config)->name(), "deepseek-v3.1");
  EXPECT_EQ(make_chat_format("template", config)->name(), "template");
}

TEST(TemplateFormat, WhatCannotBeLoadedIsAnErrorWithItsLine) {
  EXPECT_EQ(error_of("auto", config_of("a\n{% include 'b' %}"sv)),
            "the model's chat template, line 2: the tag 'include' is not supported here");
  EXPECT_EQ(error_of("template", "{}"), "the model has no chat template");
  EXPECT_THAT(error_of("auto", "[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(error_of("auto", config_of(7)), HasSubstr("neither a string nor a list"));
  EXPECT_THAT(error_of("auto", config_of(boost::json::array{{{"name", "rag"}, {"template", "x"}}})),
              HasSubstr("no template named \"default\""));
}

TEST(TemplateFormat, TheFileChatTemplateGoesBeforeTheConfigs) {
  const std::string config = with_chat_template(config_of("old"sv), "new {{ eos_token }}");
  EXPECT_EQ(make_chat_format("template", config)->render({.messages = {user("a")}}).text, "new <｜end▁of▁sentence｜>");
  EXPECT_EQ(make_chat_format("template", with_chat_template("", "x"))->render({.messages = {}}).text, "x");
}

TEST(TemplateFormat, ANamedTemplateIsForTools) {
  const boost::json::array named = {{{"name", "default"}, {"template", "plain"}},
                                    {{"name", "tool_use"}, {"template", "{{ tools | length }} tools"}}};
  const auto format = make_chat_format("template", config_of(named));
  EXPECT_EQ(format->render({.messages = {user("a")}}).text, "plain");
  EXPECT_EQ(format->render({.messages = {user("a")}, .tools = {boost::json::object{}}}).text, "1 tools");
}

TEST(TemplateFormat, ArgumentsOfCallsAreWhatTheTemplateTakes) {
  EXPECT_THAT(rendered(family("qwen25"), with_call()).text, HasSubstr(R"("arguments": {"a": [1, 2]}})"));
  EXPECT_THAT(rendered(family("deepseek_v3"), with_call()).text, HasSubstr("```json\n{\"a\":[1, 2]}\n```"));
  EXPECT_THAT(rendered("{{ messages[1].tool_calls[0].function.arguments if messages|length > 1 }}", with_call()).text,
              R"({"a":[1, 2]})");
}

TEST(TemplateFormat, TheFormOfCallsIsDeepSeeksOrUnknown) {
  EXPECT_EQ(make_chat_format("template", config_of(family("deepseek_v3")))->tool_call_form(), ToolCallForm::kFenced);
  EXPECT_EQ(make_chat_format("template", config_of(family("qwen3")))->tool_call_form(), std::nullopt);
}

TEST(TemplateFormat, ReasoningIsOpenWhereThePromptOpensIt) {
  EXPECT_TRUE(rendered("{{ messages[0].content }}<think>\n\n", {.messages = {user("a")}}).opens_reasoning);
  EXPECT_FALSE(rendered("{{ messages[0].content }}", {.messages = {user("a")}}).opens_reasoning);
  EXPECT_FALSE(rendered(family("qwen3"), {.messages = {user("<think>")}}).opens_reasoning);
}

TEST(TemplateFormat, TheLastMessageIsContinued) {
  const std::string qwen = family("qwen25");
  const auto continued = [&](std::string content) {
    return rendered(qwen,
                    {.messages = {user("Go on. One"), assistant(std::move(content))}, .continue_final_message = true});
  };
  EXPECT_TRUE(continued("One").text.ends_with("<|im_start|>assistant\nOne"));
  EXPECT_TRUE(continued("One, ").text.ends_with("<|im_start|>assistant\nOne, "));
  EXPECT_FALSE(continued("One").opens_reasoning);
  EXPECT_TRUE(continued("<think>\nOne").opens_reasoning);
  EXPECT_THROW((void)continued(" "), TextError);
  EXPECT_THROW((void)rendered(qwen, {.messages = {user("a")}, .continue_final_message = true}), TextError);
  EXPECT_TRUE(rendered(family("llama31"), {.messages = {user("a"), assistant("b ")}, .continue_final_message = true})
                  .text.ends_with("\n\nb"));  // it strips
  EXPECT_THROW((void)rendered("x", {.messages = {user("a"), assistant("b")}, .continue_final_message = true}),
               TextError);
}

TEST(TemplateFormat, ArgumentsOfTheRequestAreVariablesButForTheConversation) {
  const Conversation off{.messages = {user("a")}, .template_arguments = {{"enable_thinking", false}}};
  EXPECT_TRUE(rendered(family("qwen3"), off).text.ends_with("<think>\n\n</think>\n\n"));
  EXPECT_THROW((void)rendered("x", {.messages = {user("a")}, .template_arguments = {{"messages", 1}}}), TextError);
}

TEST(TemplateFormat, WhatATemplateRaisesIsTheError) {
  try {
    (void)rendered(family("mistral"), {.messages = {user("a"), user("b")}});
    FAIL();
  } catch (const TextError& error) {
    EXPECT_STREQ(error.what(), "Roles must alternate: user, assistant, user, ...");
  }
}

}  // namespace
}  // namespace bellwether::text
