// The running children of `bellwether up`: started, looked after, started again, told to stop.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/up/plan.h"
#include "cli/up/restart.h"
#include "mesh/clock.h"
#include "mesh/process.h"

namespace bellwether::cli {

struct ChildEnd {
  std::string name;
  std::string log_file;
  int status = 0;                                          // as mesh::ChildProcess::poll() has it
  std::optional<std::chrono::milliseconds> restart_after;  // nullopt: it has died too often
};

// Children are started from the thread that calls: see mesh::ChildProcess. Not thread-safe.
class Children {
 public:
  Children(mesh::Clock clock, const RestartLimits& limits);

  // Throws mesh::Error{kUnavailable} when the program cannot be executed. Returns the pid.
  pid_t start(PlannedProcess planned);

  // The children that ended since the last call. Each is due again after its wait, until then it does not run.
  [[nodiscard]] std::vector<ChildEnd> collect_ended();

  // Starts those that are due. Returns their names.
  std::vector<std::string> restart_due();

  // When restart_due() has something to do next.
  [[nodiscard]] std::optional<mesh::TimePoint> next_restart() const;

  // A restarted child is given these arguments from now on: addresses that were free ports at first stay.
  void replan(const PlannedProcess& planned);

  // Ends restarting: called before the first of them is told to stop.
  void forget_restarts();

  void signal(const std::vector<Role>& roles, int number);
  void kill_all();
  [[nodiscard]] bool all_ended(const std::vector<Role>& roles);

 private:
  struct Child {
    PlannedProcess planned;
    std::optional<mesh::ChildProcess> process;  // nullopt: it waits to be started again, or never will be
    mesh::TimePoint started;
    std::optional<mesh::TimePoint> due;
    RestartPolicy policy;
  };

  mesh::Clock clock_;
  RestartLimits limits_;
  std::vector<Child> children_;
};

// "ended with status 3" or "was ended by signal 9 (Killed)".
[[nodiscard]] std::string describe_status(int status);

// The last `lines` lines of a file, at most 64 KiB of it; "" when it cannot be read.
[[nodiscard]] std::string last_lines(const std::string& file, int lines);

}  // namespace bellwether::cli
