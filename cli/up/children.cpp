#include "cli/up/children.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <utility>

#include "mesh/error.h"

namespace bellwether::cli {
namespace {

constexpr std::streamoff kTailBytesMax = 64 * 1024;

bool contains(const std::vector<Role>& roles, Role role) {
  return std::find(roles.begin(), roles.end(), role) != roles.end();
}

}  // namespace

Children::Children(mesh::Clock clock, const RestartLimits& limits) : clock_(std::move(clock)), limits_(limits) {}

pid_t Children::start(PlannedProcess planned) {
  mesh::ChildProcess process(planned.command);
  const pid_t pid = process.pid();
  children_.push_back({std::move(planned), std::move(process), clock_(), std::nullopt, RestartPolicy(limits_)});
  return pid;
}

std::vector<ChildEnd> Children::collect_ended() {
  std::vector<ChildEnd> ended;
  for (Child& child : children_) {
    const auto status = child.process ? child.process->poll() : std::nullopt;
    if (!status) continue;
    const mesh::TimePoint now = clock_();
    const auto wait = child.policy.died(child.started, now);
    child.process.reset();
    if (wait) child.due = now + *wait;
    ended.push_back({child.planned.name, child.planned.command.log_file, *status, wait});
  }
  return ended;
}

std::vector<std::string> Children::restart_due() {
  std::vector<std::string> restarted;
  for (Child& child : children_) {
    if (!child.due || *child.due > clock_()) continue;
    child.due.reset();
    child.process.emplace(child.planned.command);
    child.started = clock_();
    restarted.push_back(child.planned.name);
  }
  return restarted;
}

std::optional<mesh::TimePoint> Children::next_restart() const {
  std::optional<mesh::TimePoint> next;
  for (const Child& child : children_) {
    if (child.due && (!next || *child.due < *next)) next = child.due;
  }
  return next;
}

void Children::replan(const PlannedProcess& planned) {
  for (Child& child : children_) {
    if (child.planned.name == planned.name) child.planned = planned;
  }
}

void Children::forget_restarts() {
  for (Child& child : children_) child.due.reset();
}

void Children::signal(const std::vector<Role>& roles, int number) {
  for (Child& child : children_) {
    if (child.process && contains(roles, child.planned.role)) child.process->signal(number);
  }
}

void Children::kill_all() {
  for (Child& child : children_) {
    if (child.process) child.process->signal(SIGKILL);
  }
}

bool Children::all_ended(const std::vector<Role>& roles) {
  return std::all_of(children_.begin(), children_.end(), [&](Child& child) {
    return !contains(roles, child.planned.role) || !child.process || child.process->poll();
  });
}

std::string describe_status(int status) {
  if (status <= 128) return fmt::format("ended with status {}", status);
  return fmt::format("was ended by signal {} ({})", status - 128, strsignal(status - 128));
}

std::string last_lines(const std::string& file, int lines) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return {};
  const std::streamoff bytes = in.tellg();
  const std::streamoff begin = std::max<std::streamoff>(0, bytes - kTailBytesMax);
  in.seekg(begin);
  std::string text(static_cast<size_t>(bytes - begin), '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  while (text.ends_with('\n')) text.pop_back();
  size_t start = text.size();
  for (int i = 0; i < lines && start != std::string::npos; ++i)
    start = start == 0 ? std::string::npos : text.rfind('\n', start - 1);
  return start == std::string::npos ? text : text.substr(start + 1);
}

}  // namespace bellwether::cli
