#include "cli/up/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace bellwether::cli {

ProgressPrinter::ProgressPrinter(Terminal terminal, std::function<void(std::string_view)> write)
    : terminal_(terminal), write_(std::move(write)) {}

void ProgressPrinter::line(std::string_view text) {
  const std::string drawn = drawn_;
  clear();
  write_(fmt::format("{}\n", text));
  if (drawn.empty()) return;
  write_(drawn);
  drawn_ = drawn;
}

void ProgressPrinter::loading(double fraction, size_t ready, size_t expected) {
  const int percent = static_cast<int>(fraction * 100);
  if (!terminal_.is_terminal) {
    const int quarter = static_cast<int>(fraction * kQuarters);
    if (quarter > std::exchange(quarter_, std::max(quarter, quarter_))) write_(fmt::format("loading {}%\n", percent));
    return;
  }
  constexpr int kTextColumns = 34;
  const int cells = std::clamp(terminal_.columns - kTextColumns, 0, 40);
  std::string text = fmt::format("loading {} {:3}%", progress_bar(fraction, cells), percent);
  if (expected > 1) text += fmt::format("  {} of {} ready", ready, expected);
  if (text == drawn_) return;
  clear();
  write_(text);
  drawn_ = std::move(text);
}

void ProgressPrinter::clear() {
  if (!drawn_.empty()) write_("\r\x1b[K");
  drawn_.clear();
}

}  // namespace bellwether::cli
