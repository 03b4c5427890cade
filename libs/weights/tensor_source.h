// Where a model's tensors come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::weights {

// A checkpoint that cannot be used; the message names the file and the tensor.
class WeightsError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class DType { kF32, kBF16, kF16, kF8E4M3, kF8E8M0, kI64, kI32, kI8, kU8, kBool };

[[nodiscard]] size_t bytes_of(DType dtype);
[[nodiscard]] std::string_view name_of(DType dtype);  // as safetensors writes it: "F8_E4M3"

using Shape = std::vector<int64_t>;

[[nodiscard]] std::string text_of(const Shape& shape);  // "[256, 128]"

// A tensor as stored: little-endian, row-major, not necessarily aligned. Valid as long as its source, unless forgotten.
struct Tensor {
  DType dtype = DType::kF32;
  Shape shape;
  std::span<const std::byte> data;
};

// Tensors by name. Not thread-safe; the spans it hands out may be read from any thread.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  // The tensor of that name, checked against the shape the caller needs. Throws WeightsError when it is missing or has
  // another shape. Sizes never exceed what `shape` implies.
  [[nodiscard]] virtual Tensor get(const std::string& name, const Shape& shape) = 0;
  [[nodiscard]] virtual bool has(const std::string& name) const = 0;
  // Nobody needs what get() gave of this tensor any more; a source that keeps it in memory of its own frees that.
  virtual void forget(const std::string& /*name*/) {}
  // Whether its tensors are those of synthetic.h's rule, which can be made elsewhere without get().
  [[nodiscard]] virtual bool is_made_up() const { return false; }
};

}  // namespace bellwether::weights
