#include "text/chat_format.h"

#include <array>

#include "text/deepseek_r1_format.h"

namespace bellwether::text {
namespace {

const DeepSeekR1Format kDeepSeekR1;
const std::array<const ChatFormat*, 1> kFormats = {&kDeepSeekR1};

}  // namespace

const ChatFormat* find_chat_format(std::string_view name) {
  for (const ChatFormat* const format : kFormats) {
    if (format->name() == name) return format;
  }
  return nullptr;
}

std::vector<std::string> chat_format_names() {
  std::vector<std::string> names;
  for (const ChatFormat* const format : kFormats) names.emplace_back(format->name());
  return names;
}

}  // namespace bellwether::text
