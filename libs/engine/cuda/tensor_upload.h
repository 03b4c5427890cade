// Tensors of a checkpoint to the GPU, or made up there.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "engine/cuda/device_memory.h"
#include "engine/cuda/weight_kernels.h"
#include "engine/model_config.h"
#include "engine/ranks/slices.h"
#include "weights/tensor_source.h"

namespace bellwether::engine::cuda {

// Rows and columns of the tensor `name` of the shape (all_rows, all_cols).
struct TensorPart {
  std::string name;
  int64_t all_rows = 0;
  Slice rows;
  int64_t all_cols = 0;
  Slice cols;
};

[[nodiscard]] inline TensorPart whole(std::string name, int64_t rows, int64_t cols) {
  return {std::move(name), rows, {0, rows}, cols, {0, cols}};
}

// Copies through two pinned buffers in turn: one is filled while the other is on its way.
class TensorUpload {
 public:
  // `fp8`: whether a made-up model's projections are FP8 (weights::make_synthetic_source).
  TensorUpload(weights::TensorSource& source, bool fp8, cudaStream_t stream);
  ~TensorUpload();
  TensorUpload(const TensorUpload&) = delete;
  TensorUpload& operator=(const TensorUpload&) = delete;

  // Throws WeightsError for a format that no kernel takes.
  [[nodiscard]] Format format_of(const TensorPart& part);

  // The part's elements side by side, in their format, at `to` in GPU memory. Throws WeightsError when FP8 codes hold
  // NaN.
  void put(const TensorPart& part, void* to);

  // The same as bf16.
  void put_bf16(const TensorPart& part, __nv_bfloat16* to);

  // The scales of the whole matrix that `part` is of: (ceil(all_rows / 128), ceil(all_cols / 128)). Throws WeightsError
  // for one that is not usable.
  [[nodiscard]] std::vector<float> scales(const TensorPart& part);

  // `count` values to GPU memory.
  void put_floats(const float* from, int64_t count, float* to);

  // Memory for elements on their way, of `bytes` at least; what it held before may be lost.
  [[nodiscard]] uint8_t* staging(int64_t bytes);

  [[nodiscard]] std::vector<float> vector(const std::string& name, int64_t size);

 private:
  struct Buffer {
    PinnedArray<std::byte> memory;
    cudaEvent_t sent = nullptr;
  };

  void copy(const std::string& name, const std::byte* from, int64_t row_bytes, int64_t stride_bytes, int64_t rows,
            bool is_fp8, std::byte* to);
  std::byte* next_buffer();

  weights::TensorSource& source_;
  bool fp8_;
  cudaStream_t stream_;
  std::array<Buffer, 2> buffers_;
  size_t next_ = 0;
  DeviceArray<uint8_t> staging_;
  DeviceArray<float> scales_;
};

}  // namespace bellwether::engine::cuda
