#include "weights/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "weights/tensor_source.h"

namespace bellwether::weights {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what, int error) {
  throw WeightsError(fmt::format("{}: {}: {}", path.string(), what, std::generic_category().message(error)));
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail(path, "cannot be opened", errno);
  struct stat status{};
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(file);
    throw WeightsError(fmt::format("{}: is no regular file", path.string()));
  }
  const auto size = static_cast<size_t>(status.st_size);
  // An empty file cannot be mapped; it has no bytes to hand out either.
  void* data = size == 0 ? nullptr : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  const int error = errno;
  close(file);
  if (data == MAP_FAILED) fail(path, "cannot be mapped", error);
  bytes_ = {static_cast<const std::byte*>(data), size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace bellwether::weights
