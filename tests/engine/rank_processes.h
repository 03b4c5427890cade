// Ranks as processes on this machine, connected by UCX; their addresses go through the parent.
#pragma once

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/ranks/ucx_collective.h"

namespace bellwether::engine {

// Two processes' end of a pipe that carries strings.
class StringPipe {
 public:
  explicit StringPipe(int fd) : fd_(fd) {}
  ~StringPipe() {
    if (fd_ >= 0) close(fd_);
  }
  StringPipe(StringPipe&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  StringPipe& operator=(StringPipe&&) = delete;

  void send(const std::string& text) const {
    const size_t size = text.size();
    const std::string message = std::string(reinterpret_cast<const char*>(&size), sizeof size) + text;
    if (write(fd_, message.data(), message.size()) != std::ssize(message)) _exit(3);
  }
  // "(ended)" when the other process has.
  [[nodiscard]] std::string receive() const {
    size_t size = 0;
    if (!read_all(reinterpret_cast<char*>(&size), sizeof size)) return "(ended)";
    std::string text(size, '\0');
    return read_all(text.data(), size) ? text : "(ended)";
  }

 private:
  [[nodiscard]] bool read_all(char* to, size_t size) const {
    while (size > 0) {
      const auto count = read(fd_, to, size);
      if (count <= 0) return false;
      to += count;
      size -= static_cast<size_t>(count);
    }
    return true;
  }

  int fd_;
};

class RankProcesses {
 public:
  // What a rank does, with a group that it may keep; it returns its last words.
  using Work = std::function<std::string(std::unique_ptr<UcxCollective>& group, const StringPipe& parent)>;

  RankProcesses(int ranks, const Work& work, const UcxLimits& limits = {}) {
    for (int rank = 0; rank < ranks; ++rank) {
      int fds[2];
      if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) throw std::runtime_error("no pair of sockets");
      const pid_t pid = fork();
      if (pid < 0) throw std::runtime_error("no process for a rank");
      if (pid == 0) {
        close(fds[0]);
        run(StringPipe(fds[1]), rank, ranks, work, limits);
      }
      close(fds[1]);
      pids_.push_back(pid);
      pipes_.emplace_back(fds[0]);
    }
    meet();
  }
  ~RankProcesses() {
    for (const pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }

  // All ranks tell their address and learn all.
  void meet() const {
    std::vector<std::string> addresses;
    for (const StringPipe& pipe : pipes_) addresses.push_back(pipe.receive());
    for (const StringPipe& pipe : pipes_) {
      for (const std::string& address : addresses) pipe.send(address);
    }
  }

  [[nodiscard]] const StringPipe& pipe(int rank) const { return pipes_[static_cast<size_t>(rank)]; }
  [[nodiscard]] pid_t pid(int rank) const { return pids_[static_cast<size_t>(rank)]; }

  // Returns when that process does not run.
  void await_sleep(int rank) const {
    std::string state;
    while (state != "S" && state != "Z") {
      std::ifstream stat("/proc/" + std::to_string(pid(rank)) + "/stat");
      std::string number;
      std::string name;
      stat >> number >> name >> state;
    }
  }

  static std::unique_ptr<UcxCollective> join(const StringPipe& parent, int rank, int ranks, const UcxLimits& limits) {
    UcxEndpoint endpoint;
    parent.send(endpoint.address());
    std::vector<std::string> addresses;
    for (int i = 0; i < ranks; ++i) addresses.push_back(parent.receive());
    return UcxCollective::connect(std::move(endpoint), rank, addresses, limits);
  }

 private:
  [[noreturn]] static void run(const StringPipe& parent, int rank, int ranks, const Work& work,
                               const UcxLimits& limits) {
    std::string words;
    try {
      auto group = join(parent, rank, ranks, limits);
      words = work(group, parent);
    } catch (const std::exception& error) {
      words = error.what();
    }
    parent.send(words);
    _exit(0);
  }

  std::vector<pid_t> pids_;
  std::vector<StringPipe> pipes_;
};

}  // namespace bellwether::engine
