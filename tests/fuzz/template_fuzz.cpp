// Any text as a chat template, over a conversation: an output within its limits, or an error. The same twice.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "text/jinja/template.h"

namespace {

using namespace bellwether::text;

const boost::json::object& variables() {
  static const boost::json::object variables = boost::json::parse(R"({
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hällo <think>\n"},
      {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function",
        "function": {"name": "f", "arguments": {"a": [1, 2.5, null, true, "x"]}}}]},
      {"role": "tool", "content": "{}", "tool_call_id": "1"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "n": 7, "f": -0.5, "x": "a b"})")
                                                   .as_object();
  return variables;
}

std::string outcome_of(const jinja::Template& chat, const jinja::Limits& limits) {
  try {
    std::string text = chat.render(variables(), 1'700'000'000);
    if (text.size() > limits.output_bytes_max || !is_valid_utf8(text)) std::abort();
    return text;
  } catch (const TextError& error) {
    return error.what();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const jinja::Limits limits{
      .template_bytes_max = 4096, .output_bytes_max = 1 << 16, .steps_max = 50'000, .text_bytes_max = 1 << 20};
  // A first byte of 0: an expression alone, which the fuzzer would seldom put between braces.
  std::string source(reinterpret_cast<const char*>(data), size);
  if (!source.empty() && source[0] == '\0') source = "{{ " + source.substr(1) + " }}";
  try {
    const jinja::Template chat = jinja::Template::parse(source, limits);
    if (outcome_of(chat, limits) != outcome_of(chat, limits)) std::abort();
  } catch (const jinja::LoadError&) {
  }
  return 0;
}
