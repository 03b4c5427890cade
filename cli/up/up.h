// `bellwether up`: a whole mesh on this machine as child processes, until Ctrl-C.
#pragma once

namespace bellwether::cli {

// Exit status: 0 after Ctrl-C or SIGTERM, 1 when the mesh could not be started or a child died too often, 2 for a wrong
// command line.
int run_up(int argc, char** argv);

}  // namespace bellwether::cli
