// Working memory that is written before it is read, and kept from one batch to the next. Aligned to cache lines, across
// which loads of whole vectors cost twice as much.
#pragma once

#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

namespace bellwether::engine::cpu {

template <class T>
  requires std::is_trivially_copyable_v<T>
class Scratch {
 public:
  // Makes room for `count` elements, whose values are lost if there was less; never shrinks.
  void reserve(int64_t count) {
    if (count <= count_) return;
    data_.reset(static_cast<T*>(::operator new[](static_cast<size_t>(count) * sizeof(T), kAlignment)));
    count_ = count;
  }

  [[nodiscard]] T* at_least(int64_t count) {
    reserve(count);
    return data_.get();
  }

  [[nodiscard]] T* data() { return data_.get(); }
  [[nodiscard]] const T* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(T* data) const { ::operator delete[](data, kAlignment); }
  };

  std::unique_ptr<T[], Free> data_;
  int64_t count_ = 0;
};

}  // namespace bellwether::engine::cpu
