#include "e2e/mesh_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include "e2e/http_client.h"
#include "mesh/ids.h"

namespace bellwether::e2e {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kReadyTimeMax{60};
constexpr std::chrono::seconds kStopTimeMax{45};

int milliseconds_until(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 600'000));
}

// The parent of each process, from the fourth field of /proc/PID/stat.
std::map<pid_t, pid_t> parents() {
  std::map<pid_t, pid_t> all;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream in(entry.path() / "stat");
    std::string text;
    std::getline(in, text);
    const size_t name_end = text.rfind(')');
    if (name_end == std::string::npos) continue;
    std::istringstream rest(text.substr(name_end + 1));
    std::string state;
    pid_t parent = 0;
    if (rest >> state >> parent) all.emplace(std::stoi(name), parent);
  }
  return all;
}

// A zombie has ended: only its parent has not looked yet.
bool runs(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  const size_t name_end = text.rfind(')');
  return name_end != std::string::npos && name_end + 2 < text.size() && text[name_end + 2] != 'Z';
}

}  // namespace

Program::Program(std::vector<std::string> arguments, std::vector<std::string> environment, const fs::path& folder) {
  const std::string fifo = (folder / mesh::random_id("output")).string();
  if (mkfifo(fifo.c_str(), 0600) != 0) throw std::runtime_error("cannot make " + fifo);
  pipe_ = open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  std::vector<std::string> command = {"/usr/bin/env"};
  command.insert(command.end(), environment.begin(), environment.end());
  command.insert(command.end(), arguments.begin(), arguments.end());
  process_ = std::make_unique<mesh::ChildProcess>(mesh::Command{command, fifo});
}

Program::~Program() {
  process_.reset();
  close(pipe_);
}

bool Program::read_more(Clock::time_point deadline) {
  while (true) {
    pollfd waited{pipe_, POLLIN, 0};
    const int ready = poll(&waited, 1, milliseconds_until(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    char bytes[4096];
    const ssize_t count = read(pipe_, bytes, sizeof bytes);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count <= 0) return false;
    output_.append(bytes, static_cast<size_t>(count));
    return true;
  }
}

std::optional<std::string> Program::wait_for_line(std::string_view text, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  do {
    size_t end = 0;
    while ((end = output_.find('\n', consumed_)) != std::string::npos) {
      std::string line = output_.substr(consumed_, end - consumed_);
      consumed_ = end + 1;
      if (line.find(text) != std::string::npos) return line;
    }
  } while (read_more(deadline));
  return std::nullopt;
}

std::optional<int> Program::wait_for_exit(std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  while (read_more(deadline)) {
  }
  return process_->wait(std::chrono::milliseconds(milliseconds_until(deadline)));
}

MeshProcess::MeshProcess(const std::vector<std::string>& arguments, std::vector<std::string> environment)
    : folder_(make_test_folder()) {
  std::vector<std::string> command = {bellwether_program(), "up",           "--http",
                                      "127.0.0.1:0",        "--log-folder", (folder_ / "logs").string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  environment.push_back("XDG_RUNTIME_DIR=" + folder_.string());
  up_ = std::make_unique<Program>(command, environment, folder_);
  const auto line = up_->wait_for_line("ready http://", kReadyTimeMax);
  if (!line) throw std::runtime_error("the mesh is not ready:\n" + up_->output());
  url_ = line->substr(std::string_view("ready ").size());
}

MeshProcess::~MeshProcess() {
  static_cast<void>(stop());
  up_.reset();
  std::error_code error;
  fs::remove_all(folder_, error);
}

pid_t MeshProcess::pid_of(const std::string& service) const {
  std::istringstream lines(up_->output());
  std::string name;
  std::string word;
  pid_t pid = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    if (words >> name >> word >> pid && name == service && word == "pid") return pid;
  }
  throw std::runtime_error("no line of " + service + " in:\n" + up_->output());
}

std::string MeshProcess::nats_url() const {
  const size_t begin = up_->output().find("nats://");
  return up_->output().substr(begin, up_->output().find(' ', begin) - begin);
}

MeshProcess::Finished MeshProcess::run_command(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {bellwether_program()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  Program program(command, {"XDG_RUNTIME_DIR=" + folder_.string()}, folder_);
  const auto status = program.wait_for_exit(kPatience);
  if (!status) throw std::runtime_error("`bellwether` does not end:\n" + program.output());
  return {*status, program.output()};
}

boost::json::value MeshProcess::replicas() {
  const Finished status = run_command({"status", "--json"});
  if (status.status != 0) throw std::runtime_error("bellwether status: " + status.output);
  return boost::json::parse(status.output).at("replicas");
}

std::string MeshProcess::worker_metrics_url() {
  return "http://" + boost::json::value_to<std::string>(replicas().at(0).at("metrics_address")) + "/metrics";
}

std::optional<int> MeshProcess::stop() {
  up_->signal(SIGTERM);
  return up_->wait_for_exit(kStopTimeMax);
}

fs::path make_test_folder() {
  const fs::path folder = fs::temp_directory_path() / mesh::random_id("bellwether-e2e");
  fs::create_directories(folder);
  return folder;
}

std::string bellwether_program() {
  return mesh::program_folder() + "/bellwether";
}

std::vector<pid_t> descendants_of(pid_t root) {
  const auto parent_of = parents();
  std::vector<pid_t> found = {root};
  for (size_t i = 0; i < found.size(); ++i) {
    for (const auto& [pid, parent] : parent_of) {
      if (parent == found[i]) found.push_back(pid);
    }
  }
  found.erase(found.begin());
  return found;
}

double metric_value(const std::string& url, const std::string& name) {
  std::istringstream lines(http_get(url).body);
  for (std::string line; std::getline(lines, line);) {
    const bool is_sample =
        line.starts_with(name) && line.size() > name.size() && (line[name.size()] == '{' || line[name.size()] == ' ');
    if (is_sample) return std::stod(line.substr(line.rfind(' ') + 1));
  }
  throw std::runtime_error("no metric " + name + " at " + url);
}

bool all_end(const std::vector<pid_t>& pids, std::chrono::milliseconds timeout) {
  return eventually([&] { return std::none_of(pids.begin(), pids.end(), &runs); }, timeout);
}

}  // namespace bellwether::e2e
