#include "cli/up/programs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <system_error>

#include "mesh/error.h"

namespace bellwether::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDemoModel = "bellwether-nano";

bool is_program(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && access(path.c_str(), X_OK) == 0;
}

std::string require_sibling(const std::string& folder, const char* name) {
  fs::path path = fs::path(folder) / name;
  if (!is_program(path)) {
    throw mesh::Error(mesh::ErrorCode::kUnavailable, fmt::format("{} is missing beside this program", path.string()));
  }
  return path.string();
}

bool is_model(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / "config.json", error);
}

}  // namespace

Programs find_programs(const std::string& folder) {
  return {.api_gateway = require_sibling(folder, "bellwether-api-gateway"),
          .scheduler = require_sibling(folder, "bellwether-scheduler"),
          .autoscaler = require_sibling(folder, "bellwether-autoscaler"),
          .worker = require_sibling(folder, "bellwether-worker")};
}

std::string find_nats_server(std::string_view path) {
  const std::string folders = fmt::format("{}:/usr/sbin:/usr/local/sbin", path);
  for (size_t begin = 0; begin < folders.size();) {
    const size_t end = std::min(folders.find(':', begin), folders.size());
    const fs::path candidate = fs::path(folders.substr(begin, end - begin)) / "nats-server";
    if (candidate.is_absolute() && is_program(candidate)) return candidate.string();
    begin = end + 1;
  }
  throw mesh::Error(mesh::ErrorCode::kUnavailable,
                    "nats-server is not installed. On Debian: apt-get install nats-server. "
                    "Or use a server that runs elsewhere: --nats-url nats://HOST:4222");
}

std::string find_demo_model(const std::string& program_folder) {
  const std::array<fs::path, 2> candidates = {
      fs::path(program_folder).parent_path() / "share" / "bellwether" / "models" / kDemoModel,
      fs::path(BELLWETHER_SOURCE_DIR) / "models" / kDemoModel};
  for (const fs::path& candidate : candidates) {
    if (is_model(candidate)) return candidate.string();
  }
  throw mesh::Error(mesh::ErrorCode::kUnavailable,
                    fmt::format("the demo model is neither in {} nor in {}; name another", candidates[0].string(),
                                candidates[1].string()),
                    "--model");
}

std::string require_model(const std::string& folder) {
  std::error_code error;
  const fs::path absolute = fs::canonical(folder, error);
  if (error || !is_model(absolute)) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument, fmt::format("{} holds no config.json", folder), "--model");
  }
  return absolute.string();
}

}  // namespace bellwether::cli
