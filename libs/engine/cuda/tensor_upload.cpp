#include "engine/cuda/tensor_upload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "weights/float_formats.h"
#include "weights/synthetic.h"

namespace bellwether::engine::cuda {
namespace {

using weights::DType;
using weights::Tensor;
using weights::WeightsError;

constexpr int64_t kBufferBytes = 32 << 20;
constexpr float kScaleMax = 128;  // times 448 * 448 sums stay floats by far

Format format_of_type(const std::string& name, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return Format::kF32;
    case DType::kBF16:
      return Format::kBF16;
    case DType::kF8E4M3:
      return Format::kFP8;
    default:
      throw WeightsError(fmt::format("tensor {}: {} weights are not supported", name, weights::name_of(dtype)));
  }
}

bool holds_nan(const std::byte* codes, int64_t count) {
  int found = 0;
  for (int64_t i = 0; i < count; ++i) found |= static_cast<int>((codes[i] & std::byte{0x7F}) == std::byte{0x7F});
  return found != 0;
}

}  // namespace

TensorUpload::TensorUpload(weights::TensorSource& source, bool fp8, cudaStream_t stream)
    : source_(source),
      fp8_(fp8),
      stream_(stream),
      buffers_{Buffer{PinnedArray<std::byte>(kBufferBytes)}, Buffer{PinnedArray<std::byte>(kBufferBytes)}} {
  for (Buffer& buffer : buffers_) {
    check(cudaEventCreateWithFlags(&buffer.sent, cudaEventDisableTiming), "cudaEventCreate");
  }
}

TensorUpload::~TensorUpload() {
  (void)cudaStreamSynchronize(stream_);
  for (const Buffer& buffer : buffers_) (void)cudaEventDestroy(buffer.sent);
}

Format TensorUpload::format_of(const TensorPart& part) {
  const weights::Shape shape = {part.all_rows, part.all_cols};
  const DType dtype = source_.is_made_up() ? weights::synthetic_rule(part.name, shape, fp8_).dtype
                                           : source_.get(part.name, shape).dtype;
  return format_of_type(part.name, dtype);
}

void TensorUpload::put(const TensorPart& part, void* to) {
  const weights::Shape shape = {part.all_rows, part.all_cols};
  if (source_.is_made_up()) {
    const weights::SyntheticRule rule = weights::synthetic_rule(part.name, shape, fp8_);
    const MadeUp made_up{.format = format_of_type(part.name, rule.dtype),
                         .seed = rule.seed,
                         .base = rule.base,
                         .factor = rule.factor,
                         .unit = rule.unit};
    make_up(made_up, {part.rows.begin, part.rows.size(), part.cols.begin, part.cols.size(), part.all_cols}, to,
            stream_);
    return;
  }
  const Tensor tensor = source_.get(part.name, shape);
  const Format format = format_of_type(part.name, tensor.dtype);
  const int64_t element = bytes_of(format);
  const std::byte* from = tensor.data.data() + (part.rows.begin * part.all_cols + part.cols.begin) * element;
  copy(part.name, from, part.cols.size() * element, part.all_cols * element, part.rows.size(), format == Format::kFP8,
       static_cast<std::byte*>(to));
}

void TensorUpload::copy(const std::string& name, const std::byte* from, int64_t row_bytes, int64_t stride_bytes,
                        int64_t rows, bool is_fp8, std::byte* to) {
  if (row_bytes == 0) return;
  const int64_t rows_each = std::max<int64_t>(1, kBufferBytes / row_bytes);
  if (row_bytes > kBufferBytes) throw WeightsError(fmt::format("tensor {}: its rows are too long", name));
  for (int64_t row = 0; row < rows; row += rows_each) {
    const int64_t count = std::min(rows_each, rows - row);
    std::byte* buffer = next_buffer();
    if (row_bytes == stride_bytes) {
      std::memcpy(buffer, from + row * stride_bytes, static_cast<size_t>(count * row_bytes));
    } else {
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(buffer + i * row_bytes, from + (row + i) * stride_bytes, static_cast<size_t>(row_bytes));
      }
    }
    if (is_fp8 && holds_nan(buffer, count * row_bytes)) throw WeightsError(fmt::format("tensor {}: holds NaN", name));
    check(cudaMemcpyAsync(to + row * row_bytes, buffer, static_cast<size_t>(count * row_bytes), cudaMemcpyHostToDevice,
                          stream_),
          "cudaMemcpyAsync");
    check(cudaEventRecord(buffers_[next_].sent, stream_), "cudaEventRecord");
    next_ = 1 - next_;
  }
}

std::byte* TensorUpload::next_buffer() {
  check(cudaEventSynchronize(buffers_[next_].sent), "the weights' way to the GPU");
  return buffers_[next_].memory.get();
}

void TensorUpload::put_bf16(const TensorPart& part, __nv_bfloat16* to) {
  const Format format = format_of(part);
  if (format == Format::kBF16) return put(part, to);
  const int64_t elements = part.rows.size() * part.cols.size();
  uint8_t* staged = staging(elements * bytes_of(format));
  put(part, staged);
  const MatrixPart where{part.rows.begin, part.rows.size(), part.cols.begin, part.cols.size(), part.all_cols};
  const int64_t scale_stride = ceil_div(part.all_cols, kTile);
  if (format == Format::kFP8) {
    const std::vector<float> of_blocks = scales(part);
    if (scales_.count() < std::ssize(of_blocks)) {
      check(cudaStreamSynchronize(stream_), "the weights' way to the GPU");
      scales_ = DeviceArray<float>(std::ssize(of_blocks));
    }
    put_floats(of_blocks.data(), std::ssize(of_blocks), scales_.get());
  }
  unpack(format, staged, where, scales_.get(), scale_stride, to, stream_);
}

std::vector<float> TensorUpload::scales(const TensorPart& part) {
  const std::string name = part.name + "_scale_inv";
  const int64_t rows = ceil_div(part.all_rows, kTile);
  const int64_t cols = ceil_div(part.all_cols, kTile);
  std::vector<float> values(static_cast<size_t>(rows * cols));
  if (source_.is_made_up()) {
    const weights::SyntheticRule rule = weights::synthetic_scale_rule(part.name, part.all_cols);
    for (size_t i = 0; i < values.size(); ++i) values[i] = weights::synthetic_element(rule, i);
    return values;
  }
  const Tensor tensor = source_.get(name, {rows, cols});
  if (format_of_type(name, tensor.dtype) != Format::kF32) {
    throw WeightsError(fmt::format("tensor {}: {} scales are not supported", name, weights::name_of(tensor.dtype)));
  }
  std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
  for (const float value : values) {
    if (std::fabs(value) < kScaleMax) continue;
    throw WeightsError(fmt::format("tensor {}: holds {}, which is no usable scale", name, value));
  }
  return values;
}

void TensorUpload::put_floats(const float* from, int64_t count, float* to) {
  copy("", reinterpret_cast<const std::byte*>(from), count * int64_t{sizeof(float)}, count * int64_t{sizeof(float)}, 1,
       false, reinterpret_cast<std::byte*>(to));
}

uint8_t* TensorUpload::staging(int64_t bytes) {
  if (staging_.count() < bytes) {
    check(cudaStreamSynchronize(stream_), "the weights' way to the GPU");
    staging_ = {};
    staging_ = DeviceArray<uint8_t>(bytes);
  }
  return staging_.get();
}

std::vector<float> TensorUpload::vector(const std::string& name, int64_t size) {
  const Tensor tensor = source_.get(name, {size});
  std::vector<float> values(static_cast<size_t>(size));
  switch (format_of_type(name, tensor.dtype)) {
    case Format::kF32:
      std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
      break;
    case Format::kBF16:
      for (size_t i = 0; i < values.size(); ++i) {
        uint16_t bits = 0;
        std::memcpy(&bits, tensor.data.data() + 2 * i, sizeof bits);
        values[i] = weights::float_of_bf16(bits);
      }
      break;
    case Format::kFP8:
      throw WeightsError(fmt::format("tensor {}: {} weights are not supported", name, weights::name_of(tensor.dtype)));
  }
  return values;
}

}  // namespace bellwether::engine::cuda
