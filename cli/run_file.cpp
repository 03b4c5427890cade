#include "cli/run_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>

#include "mesh/error.h"

namespace bellwether::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr size_t kFileBytesMax = 64 * 1024;

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw mesh::Error(mesh::ErrorCode::kUnavailable, fmt::format("{} {}: {}", what, path, std::strerror(errno)));
}

// In /tmp anybody may have made the folder first.
void require_own_folder(const std::string& folder) {
  struct stat about{};
  if (lstat(folder.c_str(), &about) != 0) fail("cannot look at", folder);
  if (!S_ISDIR(about.st_mode) || about.st_uid != geteuid() || (about.st_mode & 022U) != 0) {
    throw mesh::Error(mesh::ErrorCode::kUnavailable, folder + " is not a folder that only this user can write");
  }
}

std::string to_json(const RunningMesh& mesh) {
  json::object object;
  object["pid"] = mesh.pid;
  object["process_start"] = mesh.process_start;
  object["started_unix_ms"] = mesh.started_unix_ms;
  object["nats_url"] = mesh.nats_url;
  object["http_url"] = mesh.http_url;
  return json::serialize(object) + "\n";
}

std::optional<RunningMesh> from_json(std::string_view text) {
  try {
    const json::value value = json::parse(text);
    RunningMesh mesh;
    mesh.pid = value.at("pid").to_number<pid_t>();
    mesh.process_start = value.at("process_start").to_number<uint64_t>();
    mesh.started_unix_ms = value.at("started_unix_ms").to_number<uint64_t>();
    mesh.nats_url = json::value_to<std::string>(value.at("nats_url"));
    mesh.http_url = json::value_to<std::string>(value.at("http_url"));
    return mesh;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

std::optional<std::string> read_small_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kFileBytesMax, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || in.gcount() == 0) return std::nullopt;
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

}  // namespace

std::string default_run_folder() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  std::error_code error;
  if (runtime != nullptr && *runtime == '/' && fs::is_directory(runtime, error)) {
    return std::string(runtime) + "/bellwether";
  }
  return fmt::format("/tmp/bellwether-{}", geteuid());
}

std::optional<uint64_t> process_start_of(pid_t pid) {
  const auto text = read_small_file(fmt::format("/proc/{}/stat", pid));
  if (!text) return std::nullopt;
  // The second field, the program's name in parentheses, may hold spaces; starttime is field 22 (proc(5)).
  const size_t name_end = text->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream rest(text->substr(name_end + 1));
  constexpr int kFieldsBetween = 19;
  std::string field;
  rest >> field;
  if (field == "Z" || field == "X") return std::nullopt;  // ended, not yet reaped
  for (int i = 1; i < kFieldsBetween; ++i) rest >> field;
  uint64_t start = 0;
  return rest >> start ? std::optional(start) : std::nullopt;
}

RunFile::RunFile(const std::string& folder, const RunningMesh& mesh)
    : path_(fmt::format("{}/up-{}.json", folder, mesh.pid)) {
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) fail("cannot make", folder);
  require_own_folder(folder);
  // Written beside and renamed, so that nobody reads half of it.
  const std::string fresh = path_ + ".new";
  const int descriptor = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) fail("cannot write", fresh);
  const std::string text = to_json(mesh);
  const bool written = write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  close(descriptor);
  if (!written || rename(fresh.c_str(), path_.c_str()) != 0) fail("cannot write", path_);
}

RunFile::~RunFile() {
  unlink(path_.c_str());
}

std::optional<RunningMesh> find_running_mesh(const std::string& folder) {
  try {
    require_own_folder(folder);
  } catch (const mesh::Error&) {
    return std::nullopt;
  }
  std::optional<RunningMesh> youngest;
  std::error_code error;
  for (fs::directory_iterator file(folder, error), end; !error && file != end; file.increment(error)) {
    if (file->path().extension() != ".json") continue;
    const auto text = read_small_file(file->path());
    const auto mesh = text ? from_json(*text) : std::nullopt;
    if (!mesh || process_start_of(mesh->pid) != mesh->process_start) continue;
    if (!youngest || mesh->started_unix_ms > youngest->started_unix_ms) youngest = mesh;
  }
  return youngest;
}

}  // namespace bellwether::cli
