// Arrays in GPU memory, and in host memory that the GPU copies from and to directly.
#pragma once

#include <cuda_runtime.h>
#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <utility>

#include "engine/cuda/launch.h"

namespace bellwether::engine::cuda {

// What all DeviceArrays of this process hold.
inline std::atomic<int64_t> device_bytes_held = 0;

// Not initialised.
template <class T>
class DeviceArray {
 public:
  DeviceArray() = default;
  // Throws CudaError that says how much was wanted and how much there is.
  explicit DeviceArray(int64_t count) : count_(count) {
    if (count == 0) return;
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (cudaMalloc(reinterpret_cast<void**>(&data_), bytes) == cudaSuccess) {
      device_bytes_held += static_cast<int64_t>(bytes);
      return;
    }
    (void)cudaGetLastError();  // it is told here
    size_t free = 0;
    size_t total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    throw CudaError(fmt::format("{:.2f} GB of GPU memory are wanted, {:.2f} of {:.2f} GB are free",
                                static_cast<double>(bytes) / 1e9, static_cast<double>(free) / 1e9,
                                static_cast<double>(total) / 1e9));
  }
  ~DeviceArray() {
    if (data_ == nullptr) return;
    (void)cudaFree(data_);
    device_bytes_held -= count_ * static_cast<int64_t>(sizeof(T));
  }
  DeviceArray(DeviceArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    return *this;
  }

  [[nodiscard]] T* get() const { return data_; }
  [[nodiscard]] int64_t count() const { return count_; }

 private:
  T* data_ = nullptr;
  int64_t count_ = 0;
};

// In host memory.
template <class T>
class PinnedArray {
 public:
  explicit PinnedArray(int64_t count) {
    if (count == 0) return;
    check(cudaMallocHost(reinterpret_cast<void**>(&data_), static_cast<size_t>(count) * sizeof(T)), "cudaMallocHost");
  }
  ~PinnedArray() { (void)cudaFreeHost(data_); }
  PinnedArray(const PinnedArray&) = delete;
  PinnedArray& operator=(const PinnedArray&) = delete;

  [[nodiscard]] T* get() const { return data_; }

 private:
  T* data_ = nullptr;
};

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
  ~Stream() { (void)cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] cudaStream_t get() const { return stream_; }
  void wait() const { check(cudaStreamSynchronize(stream_), "the GPU's work"); }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace bellwether::engine::cuda
