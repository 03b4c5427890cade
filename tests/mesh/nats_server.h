// A real nats-server for tests, on a free port, that can be killed and started again on the same port.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "mesh/ids.h"
#include "mesh/process.h"

namespace bellwether::testing {

// Accepts connections from construction and after start(). It ends with the test, however the test ends.
// REQUIRES: constructed and started on the main thread (see mesh::ChildProcess).
class NatsServer {
 public:
  // `arguments` are added to the command line, "-c FILE" for instance.
  explicit NatsServer(std::vector<std::string> arguments = {})
      : arguments_(std::move(arguments)),
        folder_(std::filesystem::temp_directory_path() / mesh::random_id("bellwether-nats")) {
    std::filesystem::create_directories(folder_);
    start();
  }
  ~NatsServer() {
    process_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  NatsServer(const NatsServer&) = delete;
  NatsServer& operator=(const NatsServer&) = delete;

  [[nodiscard]] std::string url() const { return "nats://127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] uint16_t port() const { return port_; }

  // As by kill -9.
  void kill() { process_.reset(); }

  // In order: it closes its connections and ends.
  void stop() {
    if (process_) process_->signal(SIGTERM);
    if (process_ && !process_->wait(kTimeMax)) throw std::runtime_error("nats-server does not stop");
    process_.reset();
  }

  // As by SIGSTOP and SIGCONT: connections stay open, nothing answers.
  void freeze() { process_->signal(SIGSTOP); }
  void thaw() { process_->signal(SIGCONT); }

  // After kill() or stop(), on the same port.
  void start() {
    const auto deadline = std::chrono::steady_clock::now() + kTimeMax;
    do {
      process_.emplace(mesh::Command{command(), (folder_ / "log").string()});
      while (std::chrono::steady_clock::now() < deadline && !process_->poll()) {
        if (port_ == 0) port_ = read_port();
        if (port_ != 0 && accepts()) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      // It ended by itself: another process may hold the port for a moment.
    } while (std::chrono::steady_clock::now() < deadline);
    throw std::runtime_error("nats-server does not start:\n" + read_file(folder_ / "log"));
  }

 private:
  static constexpr std::chrono::seconds kTimeMax{20};

  [[nodiscard]] std::vector<std::string> command() const {
    std::vector<std::string> command = {"/usr/sbin/nats-server", "-a", "127.0.0.1"};
    command.insert(command.end(), {"-p", port_ == 0 ? "-1" : std::to_string(port_)});
    command.insert(command.end(), {"--ports_file_dir", folder_.string()});
    command.insert(command.end(), arguments_.begin(), arguments_.end());
    return command;
  }

  static std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  // From the server's ports file, {"nats":["nats://127.0.0.1:43211"]}; 0 while it is not there or not complete.
  [[nodiscard]] uint16_t read_port() const {
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path().extension() != ".ports") continue;
      const std::string text = read_file(entry.path());
      static constexpr std::string_view kStart = "nats://127.0.0.1:";
      const size_t start = text.find(kStart);
      if (start == std::string::npos || text.find('"', start) == std::string::npos) continue;
      return static_cast<uint16_t>(std::stoi(text.substr(start + kStart.size())));
    }
    return 0;
  }

  // It greets every client with a line that begins with INFO.
  [[nodiscard]] bool accepts() const {
    const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval wait_max{1, 0};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait_max, sizeof wait_max);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    char greeting[4] = {};
    const bool greeted = connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                         recv(descriptor, greeting, sizeof greeting, MSG_WAITALL) == sizeof greeting;
    close(descriptor);
    return greeted && std::string_view(greeting, sizeof greeting) == "INFO";
  }

  std::vector<std::string> arguments_;
  std::filesystem::path folder_;
  uint16_t port_ = 0;
  std::optional<mesh::ChildProcess> process_;
};

}  // namespace bellwether::testing
