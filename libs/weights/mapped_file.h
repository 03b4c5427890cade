// A whole file, mapped read-only.
//
// Sizes are checked when the file is opened. A file that another process shortens afterwards raises SIGBUS when its
// lost pages are touched: checkpoints are replaced by renaming, not by writing into them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace bellwether::weights {

class MappedFile {
 public:
  // Throws WeightsError when `path` is no readable regular file.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace bellwether::weights
