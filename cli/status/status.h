// `bellwether status`: the replicas of a mesh, as their heartbeats tell.
#pragma once

namespace bellwether::cli {

// Exit status: 0, 1 when there is no bus, 2 for a wrong command line, 3 when no replica was heard.
int run_status(int argc, char** argv);

}  // namespace bellwether::cli
