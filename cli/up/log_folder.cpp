#include "cli/up/log_folder.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "mesh/error.h"

namespace bellwether::cli {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& folder, const std::string& why) {
  throw mesh::Error(mesh::ErrorCode::kUnavailable, fmt::format("cannot make {}: {}", folder, why), "--log-folder");
}

fs::path state_folder() {
  for (const char* name : {"XDG_STATE_HOME", "TMPDIR"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value == '/') return value;
  }
  return "/tmp";
}

}  // namespace

std::string make_log_folder(const std::string& chosen) {
  const fs::path folder = chosen.empty() ? state_folder() : fs::absolute(chosen);
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail(folder.string(), error.message());
  if (!chosen.empty()) return folder.string();
  std::string fresh = (folder / "bellwether-up-XXXXXX").string();
  if (mkdtemp(fresh.data()) == nullptr) fail(fresh, std::strerror(errno));
  return fresh;
}

}  // namespace bellwether::cli
