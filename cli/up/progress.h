// The progress of loading: one line redrawn on a terminal, a line now and then elsewhere.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "cli/terminal.h"

namespace bellwether::cli {

// Everything that `bellwether up` prints goes through here, so that lines and the redrawn one do not mix.
class ProgressPrinter {
 public:
  ProgressPrinter(Terminal terminal, std::function<void(std::string_view)> write);

  // A line of its own, `text` without its line feed.
  void line(std::string_view text);

  // How far loading is: `fraction` of 0 to 1. Elsewhere than on a terminal it is said at every quarter.
  void loading(double fraction, size_t ready, size_t expected);

  // Takes the redrawn line away.
  void clear();

 private:
  static constexpr int kQuarters = 4;

  Terminal terminal_;
  std::function<void(std::string_view)> write_;
  std::string drawn_;
  int quarter_ = 0;
};

}  // namespace bellwether::cli
