#include "cli/chat/printer.h"

#include <utility>

namespace bellwether::cli {

AnswerPrinter::AnswerPrinter(Terminal terminal, std::function<void(std::string_view)> write)
    : terminal_(terminal), write_(std::move(write)) {}

void AnswerPrinter::reasoning(std::string_view text) {
  if (!terminal_.is_terminal || text.empty()) return;
  if (part_ != Part::kReasoning) {
    if (!terminal_.styled) write_("[reasoning]\n");
    part_ = Part::kReasoning;
  }
  const std::string safe = printable(text);
  at_line_start_ = safe.empty() ? at_line_start_ : safe.back() == '\n';
  write_(dim(terminal_, safe));
}

void AnswerPrinter::content(std::string_view text) {
  if (text.empty()) return;
  if (part_ == Part::kReasoning) end_reasoning();
  part_ = Part::kAnswer;
  put(terminal_.is_terminal ? printable(text) : std::string(text));
}

void AnswerPrinter::finish() {
  if (part_ != Part::kNothing && !at_line_start_) put("\n");
  part_ = Part::kNothing;
}

void AnswerPrinter::end_reasoning() {
  if (!at_line_start_) put("\n");
  put(terminal_.styled ? "\n" : "[answer]\n");
}

void AnswerPrinter::put(std::string_view text) {
  if (text.empty()) return;
  at_line_start_ = text.back() == '\n';
  write_(text);
}

}  // namespace bellwether::cli
