#include "cli/up/hints.h"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

namespace bellwether::cli {
namespace {

// A text between single quotes of a shell.
std::string in_single_quotes(const std::string& text) {
  std::string quoted;
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted;
}

}  // namespace

std::string ready_text(const std::string& url, const std::string& model, const std::string& program) {
  const std::string model_json = in_single_quotes(boost::json::serialize(boost::json::string(model)));
  return fmt::format(
      "ready {0}\n\n"
      "Try it:\n"
      "  curl {0}/v1/chat/completions -H 'Content-Type: application/json' -d '{{\n"
      "    \"model\": {1}, \"temperature\": 0,\n"
      "    \"messages\": [{{\"role\": \"system\", \"content\": \"You are a helpful assistant.\"}},\n"
      "                 {{\"role\": \"user\", \"content\": \"Who won the world series in 2020?\"}}]}}'\n"
      "or, in another terminal:\n"
      "  {2} chat\n\n"
      "Ctrl-C stops everything.\n",
      url, model_json, program);
}

}  // namespace bellwether::cli
