#include "cli/up/progress.h"

#include <gtest/gtest.h>

#include <string>

#include "cli/terminal.h"

namespace bellwether::cli {
namespace {

TEST(ProgressBar, FillsWithTheFraction) {
  EXPECT_EQ(progress_bar(0, 4), "[----]");
  EXPECT_EQ(progress_bar(0.5, 4), "[##--]");
  EXPECT_EQ(progress_bar(1, 4), "[####]");
  EXPECT_EQ(progress_bar(7, 4), "[####]");
  EXPECT_EQ(progress_bar(-1, 4), "[----]");
}

struct Printed {
  explicit Printed(Terminal terminal) : printer(terminal, [this](std::string_view text) { out += text; }) {}
  std::string out;
  ProgressPrinter printer;
};

TEST(ProgressPrinter, SaysEachQuarterOnceWithoutATerminal) {
  Printed printed({});
  for (const double fraction : {0.0, 0.1, 0.3, 0.4, 0.2, 0.6, 1.0, 1.0}) printed.printer.loading(fraction, 0, 1);
  printed.printer.clear();
  EXPECT_EQ(printed.out, "loading 30%\nloading 60%\nloading 100%\n");
}

TEST(ProgressPrinter, RedrawsOneLineOnATerminal) {
  Printed printed({.is_terminal = true, .styled = true, .columns = 38});
  printed.printer.loading(0.5, 1, 2);
  EXPECT_EQ(printed.out, "loading [##--]  50%  1 of 2 ready");
  printed.printer.loading(0.5, 1, 2);
  EXPECT_EQ(printed.out, "loading [##--]  50%  1 of 2 ready") << "nothing has changed";
  printed.out.clear();
  printed.printer.line("hello");
  EXPECT_EQ(printed.out, "\r\x1b[Khello\nloading [##--]  50%  1 of 2 ready") << "a line goes above it";
  printed.out.clear();
  printed.printer.clear();
  printed.printer.line("bye");
  EXPECT_EQ(printed.out, "\r\x1b[Kbye\n");
}

}  // namespace
}  // namespace bellwether::cli
