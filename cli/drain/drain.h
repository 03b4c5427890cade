// `bellwether drain`: has a replica leave without losing a request.
#pragma once

namespace bellwether::cli {

// Exit status: 0, 1 when there is no bus or the replica does not answer, 2 for a wrong command line.
int run_drain(int argc, char** argv);

}  // namespace bellwether::cli
