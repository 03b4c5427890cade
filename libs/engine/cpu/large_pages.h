// Memory for weights, which are read from end to end for every token. In large pages, where the system gives them: with
// pages of 4 KiB the CPU waits for their addresses as well, and reads a quarter slower (docs/performance.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace bellwether::engine::cpu {

class LargePages {
 public:
  // Not initialised, aligned to cache lines; lives as long as this. Throws std::bad_alloc. REQUIRES: bytes >= 0.
  [[nodiscard]] std::byte* allocate(int64_t bytes);

 private:
  static constexpr std::align_val_t kPage{2 << 20};
  struct Free {
    void operator()(std::byte* data) const { ::operator delete[](data, kPage); }
  };

  std::vector<std::unique_ptr<std::byte[], Free>> chunks_;
  std::byte* next_ = nullptr;  // in the last chunk
  int64_t left_ = 0;           // from there on
};

}  // namespace bellwether::engine::cpu
