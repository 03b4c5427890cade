#include "weights/synthetic.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include "weights/float_formats.h"

namespace bellwether::weights {
namespace {

constexpr int64_t kBlock = 128;  // rows and columns of an FP8 weight that share a scale

uint64_t seed_of(std::string_view name) {  // FNV-1a
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

// r(i) of the rule: splitmix64 at index i, its upper 24 bits in [-1, 1).
float noise(uint64_t seed, uint64_t i) {
  uint64_t x = seed + (i + 1) * 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  x ^= x >> 31;
  return 2 * (static_cast<float>(x >> 40) * 0x1p-24F) - 1;
}

float amplitude(int64_t cols) {
  return static_cast<float>(2.75 / std::sqrt(static_cast<double>(cols)));
}

bool is_fp8_name(std::string_view name) {
  return name.ends_with(".weight") && name.find("_proj") != std::string_view::npos &&
         name.find("eh_proj") == std::string_view::npos;
}

class SyntheticSource final : public TensorSource {
 public:
  explicit SyntheticSource(bool fp8) : fp8_(fp8) {}

  [[nodiscard]] bool has(const std::string&) const override { return true; }

  [[nodiscard]] Tensor get(const std::string& name, const Shape& shape) override {
    auto found = tensors_.find(name);
    if (found == tensors_.end()) found = tensors_.emplace(name, make(name, shape)).first;
    const Made& made = found->second;
    if (made.shape != shape) {
      throw WeightsError(fmt::format("synthetic tensor {}: has shape {}, but {} is needed", name, text_of(made.shape),
                                     text_of(shape)));
    }
    return {.dtype = made.dtype, .shape = made.shape, .data = made.bytes};
  }

 private:
  struct Made {
    DType dtype;
    Shape shape;
    std::vector<std::byte> bytes;
  };

  // Each product of the rule is rounded on its own: one statement each keeps the compiler from fusing them.
  [[nodiscard]] Made make(const std::string& name, const Shape& shape) const {
    const uint64_t seed = seed_of(name);
    if (name.ends_with("e_score_correction_bias")) {
      return fill<float>(DType::kF32, shape, [&](uint64_t i) { return noise(seed, i) * 0.1F; });
    }
    if (shape.size() == 1) {
      return fill<uint16_t>(DType::kBF16, shape, [&](uint64_t i) {
        const float part = noise(seed, i) * 0.35F;
        return bf16_of(1 + part);
      });
    }
    if (name.find("embed_tokens") != std::string::npos) {
      return fill<uint16_t>(DType::kBF16, shape, [&](uint64_t i) { return bf16_of(noise(seed, i) * 0.5F); });
    }
    if (fp8_ && name.ends_with("_scale_inv")) return make_scale(name, shape);
    if (fp8_ && is_fp8_name(name)) {
      return fill<uint8_t>(DType::kF8E4M3, shape, [&](uint64_t i) { return e4m3_of(noise(seed, i) * 448.0F); });
    }
    const float a = amplitude(shape.at(1));
    return fill<uint16_t>(DType::kBF16, shape, [&](uint64_t i) { return bf16_of(noise(seed, i) * a); });
  }

  [[nodiscard]] Made make_scale(const std::string& name, const Shape& shape) const {
    const std::string weight = name.substr(0, name.size() - std::string_view("_scale_inv").size());
    const auto found = tensors_.find(weight);
    if (found == tensors_.end()) {
      throw WeightsError(fmt::format("synthetic tensor {}: its weight must be asked for first", name));
    }
    const Shape& of = found->second.shape;
    const Shape blocks = {(of.at(0) + kBlock - 1) / kBlock, (of.at(1) + kBlock - 1) / kBlock};
    if (shape != blocks) {
      throw WeightsError(
          fmt::format("synthetic tensor {}: has shape {}, but {} is needed", name, text_of(blocks), text_of(shape)));
    }
    const uint64_t seed = seed_of(name);
    const float unit = amplitude(of.at(1)) / 448.0F;
    return fill<float>(DType::kF32, shape, [&](uint64_t i) {
      const float part = 0.5F * noise(seed, i);
      const float factor = 1 + part;
      return unit * factor;
    });
  }

  template <class T, class Value>
  [[nodiscard]] static Made fill(DType dtype, const Shape& shape, Value value) {
    uint64_t count = 1;
    for (const int64_t size : shape) count *= static_cast<uint64_t>(size);
    Made made{.dtype = dtype, .shape = shape, .bytes = std::vector<std::byte>(count * sizeof(T))};
    const auto fill_part = [&](uint64_t begin, uint64_t end) {
      for (uint64_t i = begin; i < end; ++i) {
        const T element = value(i);
        std::memcpy(made.bytes.data() + i * sizeof(T), &element, sizeof(T));
      }
    };
    // Large tensors by many threads: a model of some gigabytes takes a minute otherwise.
    constexpr uint64_t kPartMin = 1 << 18;
    const uint64_t parts = std::clamp<uint64_t>(count / kPartMin, 1, std::max(1U, std::thread::hardware_concurrency()));
    std::vector<std::jthread> threads;
    for (uint64_t part = 1; part < parts; ++part) {
      threads.emplace_back(fill_part, count * part / parts, count * (part + 1) / parts);
    }
    fill_part(0, count / parts);
    threads.clear();  // joins them
    return made;
  }

  bool fp8_;
  std::map<std::string, Made> tensors_;  // a map's nodes stay where they are, and so do the spans handed out
};

}  // namespace

std::unique_ptr<TensorSource> make_synthetic_source(bool fp8) {
  return std::make_unique<SyntheticSource>(fp8);
}

}  // namespace bellwether::weights
