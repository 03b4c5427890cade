// How `bellwether status` and `bellwether chat` find a mesh that `bellwether up` started: `up` leaves a small file with
// its addresses in a folder of the user's own while it runs.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace bellwether::cli {

struct RunningMesh {
  pid_t pid = 0;
  uint64_t process_start = 0;  // of pid, in clock ticks since boot: tells the process from a later one of the same pid
  uint64_t started_unix_ms = 0;
  std::string nats_url;
  std::string http_url;
};

// $XDG_RUNTIME_DIR/bellwether, or /tmp/bellwether-UID where there is none.
[[nodiscard]] std::string default_run_folder();

// The start time of a running process as RunningMesh::process_start has it; nullopt when there is no such process.
[[nodiscard]] std::optional<uint64_t> process_start_of(pid_t pid);

// Present while it lives.
class RunFile {
 public:
  // Makes `folder` (mode 0700) and a file in it (mode 0600). Throws mesh::Error{kUnavailable} when it cannot, or when
  // the folder belongs to another user or others can write it.
  RunFile(const std::string& folder, const RunningMesh& mesh);
  ~RunFile();
  RunFile(const RunFile&) = delete;
  RunFile& operator=(const RunFile&) = delete;

 private:
  std::string path_;
};

// The youngest mesh in the folder whose process still runs. Files that cannot be read or are stale are passed over.
[[nodiscard]] std::optional<RunningMesh> find_running_mesh(const std::string& folder);

}  // namespace bellwether::cli
