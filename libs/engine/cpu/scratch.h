// Working memory that is written before it is read, and kept from one batch to the next.
#pragma once

#include <cstdint>
#include <memory>

namespace bellwether::engine::cpu {

template <class T>
class Scratch {
 public:
  // Makes room for `count` elements, whose values are lost if there was less; never shrinks.
  void reserve(int64_t count) {
    if (count <= count_) return;
    data_ = std::make_unique_for_overwrite<T[]>(static_cast<size_t>(count));
    count_ = count;
  }

  [[nodiscard]] T* at_least(int64_t count) {
    reserve(count);
    return data_.get();
  }

  [[nodiscard]] T* data() { return data_.get(); }

 private:
  std::unique_ptr<T[]> data_;
  int64_t count_ = 0;
};

}  // namespace bellwether::engine::cpu
