// What may be written to a terminal, and what a file or a pipe gets instead.
#pragma once

#include <string>
#include <string_view>

namespace bellwether::cli {

struct Terminal {
  bool is_terminal = false;  // a person watches: progress is redrawn in place
  bool styled = false;       // colours and dimming may be used
  int columns = 80;
};

// Of a file descriptor. Styled when it is a terminal that is not "dumb" and NO_COLOR (https://no-color.org) is unset
// or empty.
[[nodiscard]] Terminal inspect_terminal(int descriptor);

[[nodiscard]] std::string dim(const Terminal& terminal, std::string_view text);
[[nodiscard]] std::string bold(const Terminal& terminal, std::string_view text);

// Text of others for a terminal: control characters other than line feeds and tabs are dropped, so that no answer of a
// model or a server can drive the terminal. Bytes of UTF-8 stay as they are.
[[nodiscard]] std::string printable(std::string_view text);

// "[#####-----]" for a fraction of 0 to 1. `cells` excludes the brackets.
[[nodiscard]] std::string progress_bar(double fraction, int cells);

}  // namespace bellwether::cli
