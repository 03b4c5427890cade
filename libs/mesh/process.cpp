#include "mesh/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "mesh/error.h"

namespace bellwether::mesh {
namespace {

// How often a child's end is looked for: a wait of at most this much more than needed, at no cost worth counting.
constexpr std::chrono::milliseconds kPollInterval{5};

// A file descriptor that is closed at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  [[nodiscard]] int number() const { return number_; }
  void reset() {
    if (number_ >= 0) close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

[[noreturn]] void fail(const std::string& what, int error_number, const std::string& field) {
  throw Error(ErrorCode::kUnavailable, what + ": " + std::strerror(error_number), field);
}

int open_log_file(const std::string& path) {
  if (path.empty()) return -1;
  const int number = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (number < 0) fail("cannot open the log file " + path, errno, path);
  return number;
}

// Between fork() and exec only async-signal-safe calls are allowed: other threads of the parent may hold any lock.
// Returns only when it failed, with errno set.
void become(char* const* arguments, int log_descriptor, pid_t parent) {
  // Ctrl-C reaches the terminal's foreground group only: children hear of it from their parent, once and in order.
  if (setpgid(0, 0) != 0) return;
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) return;
  if (getppid() != parent) _exit(128 + SIGTERM);  // the parent ended before the line above

  const int null = open("/dev/null", O_RDONLY);  // a background group that reads the terminal would be stopped
  if (null < 0 || dup2(null, STDIN_FILENO) < 0) return;
  if (log_descriptor >= 0 && (dup2(log_descriptor, STDOUT_FILENO) < 0 || dup2(log_descriptor, STDERR_FILENO) < 0)) {
    return;
  }
  // Sockets that libraries opened without close-on-exec must not stay open in the child. Too old a kernel: no matter.
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);

  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(number, SIG_DFL);
  execv(arguments[0], arguments);
}

int status_of(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

// 0 when the child got as far as the program, otherwise the errno it reported.
int read_exec_error(int descriptor) {
  int error_number = 0;
  ssize_t bytes = 0;
  do {
    bytes = read(descriptor, &error_number, sizeof error_number);
  } while (bytes < 0 && errno == EINTR);
  return bytes == sizeof error_number ? error_number : 0;
}

void reap(pid_t pid) {
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

}  // namespace

ChildProcess::ChildProcess(Command command) : command_(std::move(command)) {
  if (command_.arguments.empty()) throw Error(ErrorCode::kInvalidArgument, "no program to run", "arguments");
  const std::string& program = command_.arguments[0];
  std::vector<char*> arguments;
  for (std::string& argument : command_.arguments) arguments.push_back(argument.data());
  arguments.push_back(nullptr);

  const Descriptor log_file(open_log_file(command_.log_file));
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) fail("cannot run " + program, errno, program);
  const Descriptor exec_error(ends[0]);
  Descriptor exec_error_writer(ends[1]);

  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail("cannot run " + program, errno, program);
  if (pid == 0) {
    become(arguments.data(), log_file.number(), parent);
    const int error_number = errno;
    [[maybe_unused]] const ssize_t written = write(exec_error_writer.number(), &error_number, sizeof error_number);
    _exit(127);
  }
  exec_error_writer.reset();
  if (const int error_number = read_exec_error(exec_error.number()); error_number != 0) {
    reap(pid);
    fail("cannot run " + program, error_number, program);
  }
  pid_ = pid;
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0 || poll()) return;
  kill(pid_, SIGKILL);
  reap(pid_);
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : command_(std::move(other.command_)), pid_(std::exchange(other.pid_, -1)), status_(other.status_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(command_, other.command_);
  std::swap(pid_, other.pid_);
  std::swap(status_, other.status_);
  return *this;
}

pid_t ChildProcess::pid() const {
  return pid_;
}

const Command& ChildProcess::command() const {
  return command_;
}

std::optional<int> ChildProcess::poll() {
  if (status_ || pid_ < 0) return status_;
  int wait_status = 0;
  const pid_t ended = waitpid(pid_, &wait_status, WNOHANG);
  if (ended == pid_) status_ = status_of(wait_status);
  return status_;
}

void ChildProcess::signal(int number) {
  // Until it has been reaped its number belongs to no other process.
  if (pid_ > 0 && !poll()) kill(pid_, number);
}

std::optional<int> ChildProcess::wait(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!poll() && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(kPollInterval);
  return status_;
}

int stop_all(std::vector<ChildProcess>& children, std::chrono::milliseconds grace) {
  const auto deadline = std::chrono::steady_clock::now() + grace;
  for (ChildProcess& child : children) child.signal(SIGTERM);
  int killed = 0;
  for (ChildProcess& child : children) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (child.wait(std::max(left, std::chrono::milliseconds(0)))) continue;
    child.signal(SIGKILL);
    ++killed;
  }
  static constexpr std::chrono::seconds kKilledWaitMax{5};
  for (ChildProcess& child : children) static_cast<void>(child.wait(kKilledWaitMax));
  return killed;
}

std::string program_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().string();
}

}  // namespace bellwether::mesh
