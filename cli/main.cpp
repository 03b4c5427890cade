// `bellwether`: starts a mesh on this machine, talks to one, looks at one.
#include "cli/chat/chat.h"
#include "cli/command_line.h"
#include "cli/drain/drain.h"
#include "cli/key/key.h"
#include "cli/status/status.h"
#include "cli/up/up.h"

int main(int argc, char** argv) {
  using namespace bellwether::cli;
  return run_command_line(argc, argv,
                          {
                              {"up", "Starts a whole mesh on this machine, ready to answer", &run_up},
                              {"chat", "Talks to a model in the terminal", &run_chat},
                              {"drain", "Has a replica leave without losing a request", &run_drain},
                              {"key", "Makes an API key", &run_key},
                              {"status", "Shows the replicas of a running mesh", &run_status},
                          });
}
