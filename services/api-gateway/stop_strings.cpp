#include "api-gateway/stop_strings.h"

#include <algorithm>
#include <utility>

namespace bellwether::gateway {

namespace {

// Bytes at the end of `text` that a stop string begins with.
size_t held_size(std::string_view text, const std::vector<std::string>& stop) {
  size_t held = 0;
  for (const std::string& candidate : stop) {
    for (size_t size = std::min(candidate.size() - 1, text.size()); size > held; --size) {
      if (text.ends_with(std::string_view(candidate).substr(0, size))) held = size;
    }
  }
  return held;
}

}  // namespace

std::string StopStrings::push(std::string_view text) {
  if (stopped()) return {};
  if (stop_.empty()) return std::string(text);
  held_ += text;
  size_t end_first = std::string::npos;
  size_t begin_first = std::string::npos;
  for (const std::string& candidate : stop_) {
    const size_t begin = held_.find(candidate);
    if (begin == std::string::npos) continue;
    const size_t end = begin + candidate.size();
    if (end < end_first || (end == end_first && begin < begin_first)) {
      end_first = end;
      begin_first = begin;
      found_ = candidate;
    }
  }
  if (stopped()) {
    held_.resize(included_ ? end_first : begin_first);
    return std::exchange(held_, {});
  }
  const size_t certain = held_.size() - held_size(held_, stop_);
  std::string out = held_.substr(0, certain);
  held_.erase(0, certain);
  return out;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

}  // namespace bellwether::gateway
