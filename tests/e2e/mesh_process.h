// A mesh of real processes: `bellwether up` on free ports, with folders of its own.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/json/value.hpp>

#include "mesh/process.h"

namespace bellwether::e2e {

inline constexpr std::chrono::seconds kPatience{30};

// A program whose output can be waited for, line by line. Ends with SIGTERM when the test ends, however it ends.
// REQUIRES: started on the main thread (see mesh::ChildProcess).
class Program {
 public:
  // `environment` is set for it in addition, "NAME=VALUE".
  Program(std::vector<std::string> arguments, std::vector<std::string> environment,
          const std::filesystem::path& folder);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  [[nodiscard]] pid_t pid() const { return process_->pid(); }
  void signal(int number) { process_->signal(number); }

  // The next line of its output that contains `text`; nullopt when it ends or `timeout` passes before. Lines before it
  // are taken too.
  [[nodiscard]] std::optional<std::string> wait_for_line(std::string_view text, std::chrono::milliseconds timeout);

  // Its exit status. Reads on meanwhile, so that it cannot stand still on a full pipe.
  [[nodiscard]] std::optional<int> wait_for_exit(std::chrono::milliseconds timeout);

  [[nodiscard]] const std::string& output() const { return output_; }  // all that was read so far

 private:
  // False when nothing more comes, or nothing until the deadline.
  bool read_more(std::chrono::steady_clock::time_point deadline);

  int pipe_ = -1;
  std::unique_ptr<mesh::ChildProcess> process_;
  std::string output_;
  size_t consumed_ = 0;  // of output_, by wait_for_line
};

class MeshProcess {
 public:
  // Started with `bellwether up --http 127.0.0.1:0` and these arguments; `environment` is set for it and its services
  // in addition. Throws std::runtime_error with its output when it is not ready in time.
  explicit MeshProcess(const std::vector<std::string>& arguments = {}, std::vector<std::string> environment = {});
  ~MeshProcess();

  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] std::string nats_url() const;
  [[nodiscard]] Program& up() { return *up_; }

  // Of a service as `up` named it when it started it: "worker-1-rank-0".
  [[nodiscard]] pid_t pid_of(const std::string& service) const;

  // Runs `bellwether` with the mesh's environment to its end; throws std::runtime_error when that takes too long.
  struct Finished {
    int status = 0;
    std::string output;
  };
  [[nodiscard]] Finished run_command(const std::vector<std::string>& arguments);

  // `bellwether status --json`, its list of replicas.
  [[nodiscard]] boost::json::value replicas();

  // Where the only worker serves its metrics.
  [[nodiscard]] std::string worker_metrics_url();

  // SIGTERM, and its exit status; nullopt when it does not end.
  [[nodiscard]] std::optional<int> stop();

 private:
  std::filesystem::path folder_;
  std::unique_ptr<Program> up_;
  std::string url_;
};

// The folder that Program and MeshProcess of this test program make theirs in.
[[nodiscard]] std::filesystem::path make_test_folder();

// `bellwether`, beside this test program.
[[nodiscard]] std::string bellwether_program();

// The processes started by `root`, directly or not.
[[nodiscard]] std::vector<pid_t> descendants_of(pid_t root);

// Whether all of them end within `timeout`.
[[nodiscard]] bool all_end(const std::vector<pid_t>& pids, std::chrono::milliseconds timeout);

// The first sample of a metric on a page of Prometheus' text format. Throws std::runtime_error when there is none.
[[nodiscard]] double metric_value(const std::string& url, const std::string& name);

// Polls `condition` until it holds, at most for `timeout`: for what can be looked at, but not waited for.
template <class Condition>
[[nodiscard]] bool eventually(Condition condition, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace bellwether::e2e
