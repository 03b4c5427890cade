#include "text/chat_format.h"

#include "text/deepseek_formats.h"

namespace bellwether::text {
namespace {

const std::vector<std::shared_ptr<const ChatFormat>>& formats() {
  static const std::vector<std::shared_ptr<const ChatFormat>> built_in = make_deepseek_formats();
  return built_in;
}

}  // namespace

std::shared_ptr<const ChatFormat> find_chat_format(std::string_view name) {
  for (const auto& format : formats()) {
    if (format->name() == name) return format;
  }
  return nullptr;
}

std::vector<std::string> chat_format_names() {
  std::vector<std::string> names;
  for (const auto& format : formats()) names.emplace_back(format->name());
  return names;
}

}  // namespace bellwether::text
