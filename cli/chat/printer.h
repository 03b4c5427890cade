// How an answer looks while it arrives.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "cli/terminal.h"

namespace bellwether::cli {

// On a terminal: the reasoning dimmed (or, without styles, between the lines "[reasoning]" and "[answer]"), an empty
// line, the answer. Elsewhere the answer alone, so that it can be piped on.
class AnswerPrinter {
 public:
  AnswerPrinter(Terminal terminal, std::function<void(std::string_view)> write);

  void reasoning(std::string_view text);
  void content(std::string_view text);

  // The line's end after the last piece; also after an answer that was cut short.
  void finish();

 private:
  enum class Part { kNothing, kReasoning, kAnswer };
  void put(std::string_view text);
  void end_reasoning();

  Terminal terminal_;
  std::function<void(std::string_view)> write_;
  Part part_ = Part::kNothing;
  bool at_line_start_ = true;
};

}  // namespace bellwether::cli
