// `bellwether chat`: a conversation with a model in the terminal, or one question and its answer.
#pragma once

namespace bellwether::cli {

// Exit status: 0, 1 when an answer could not be had, 2 for a wrong command line, 130 when Ctrl-C
// stopped the one answer that was asked for.
int run_chat(int argc, char** argv);

}  // namespace bellwether::cli
