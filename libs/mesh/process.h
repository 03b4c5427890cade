// Child processes: started, watched and stopped. Used by `bellwether up` and by the autoscaler's local supervisor.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace bellwether::mesh {

struct Command {
  std::vector<std::string> arguments;  // [0] is the program's path
  std::string log_file;                // standard output and error are appended here; empty = inherited
};

// One child. It receives SIGTERM if the thread that started it ends (so that nothing outlives a killed parent): start
// children from the main thread only. Not thread-safe.
class ChildProcess {
 public:
  // Throws Error{kUnavailable} when the program cannot be executed.
  explicit ChildProcess(Command command);
  ~ChildProcess();  // kills with SIGKILL and reaps what still runs
  ChildProcess(ChildProcess&&) noexcept;
  ChildProcess& operator=(ChildProcess&&) noexcept;

  [[nodiscard]] pid_t pid() const;
  [[nodiscard]] const Command& command() const;
  // The exit status once it has ended, without waiting: exit code, or 128 + signal.
  [[nodiscard]] std::optional<int> poll();
  void signal(int number);
  // Waits at most `timeout` for the end.
  [[nodiscard]] std::optional<int> wait(std::chrono::milliseconds timeout);

 private:
  Command command_;
  pid_t pid_ = -1;
  std::optional<int> status_;
};

// SIGTERM to all at once, then waits for all for `grace`, then SIGKILL. Returns how many had to be killed.
int stop_all(std::vector<ChildProcess>& children, std::chrono::milliseconds grace);

// The folder of the running program, where its siblings are.
[[nodiscard]] std::string program_folder();

}  // namespace bellwether::mesh
