#include "cli/chat/sse_parser.h"

#include <utility>

namespace bellwether::cli {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

}  // namespace

SseParser::SseParser(std::function<void(std::string_view)> on_data) : on_data_(std::move(on_data)) {}

bool SseParser::push(std::string_view bytes) {
  for (const char byte : bytes) {
    if (broken_) return false;
    const bool rest_of_line_end = std::exchange(after_carriage_return_, byte == '\r') && byte == '\n';
    if (rest_of_line_end) continue;
    if (byte == '\r' || byte == '\n') {
      end_line();
    } else {
      line_ += byte;
      broken_ = line_.size() + data_.size() > kEventBytesMax;
    }
  }
  return !broken_;
}

void SseParser::end_line() {
  std::string_view line = line_;
  if (std::exchange(at_start_, false) && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  if (!line.empty()) {
    take_field(line);
  } else if (std::exchange(has_data_, false)) {
    on_data_(data_);
    data_.clear();
  }
  line_.clear();
}

void SseParser::take_field(std::string_view line) {
  const size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  if (name != "data") return;  // a comment, which starts with a colon, has an empty name
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (has_data_) data_ += '\n';
  data_ += value;
  has_data_ = true;
}

}  // namespace bellwether::cli
