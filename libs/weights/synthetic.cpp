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

constexpr std::string_view kScaleSuffix = "_scale_inv";

class SyntheticSource final : public TensorSource {
 public:
  explicit SyntheticSource(bool fp8) : fp8_(fp8) {}

  [[nodiscard]] bool has(const std::string&) const override { return true; }
  [[nodiscard]] bool is_made_up() const override { return true; }

  [[nodiscard]] Tensor get(const std::string& name, const Shape& shape) override {
    auto found = tensors_.find(name);
    if (found == tensors_.end()) found = tensors_.emplace(name, make(name, shape)).first;
    Made& made = found->second;
    if (made.shape != shape) {
      throw WeightsError(fmt::format("synthetic tensor {}: has shape {}, but {} is needed", name, text_of(made.shape),
                                     text_of(shape)));
    }
    if (made.bytes.empty()) made = make(name, shape);  // it was forgotten
    return {.dtype = made.dtype, .shape = made.shape, .data = made.bytes};
  }

  void forget(const std::string& name) override {
    const auto found = tensors_.find(name);
    if (found != tensors_.end()) std::vector<std::byte>().swap(found->second.bytes);
  }

 private:
  struct Made {
    DType dtype;
    Shape shape;
    std::vector<std::byte> bytes;
  };

  [[nodiscard]] Made make(const std::string& name, const Shape& shape) const {
    if (fp8_ && name.ends_with(kScaleSuffix)) return make_scale(name, shape);
    return make(synthetic_rule(name, shape, fp8_), shape);
  }

  [[nodiscard]] static Made make(const SyntheticRule& rule, const Shape& shape) {
    switch (rule.dtype) {
      case DType::kF32:
        return fill<float>(rule.dtype, shape, [&](uint64_t i) { return synthetic_element(rule, i); });
      case DType::kF8E4M3:
        return fill<uint8_t>(rule.dtype, shape, [&](uint64_t i) { return e4m3_of(synthetic_element(rule, i)); });
      default:
        return fill<uint16_t>(rule.dtype, shape, [&](uint64_t i) { return bf16_of(synthetic_element(rule, i)); });
    }
  }

  [[nodiscard]] Made make_scale(const std::string& name, const Shape& shape) const {
    const std::string weight = name.substr(0, name.size() - kScaleSuffix.size());
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
    return make(synthetic_scale_rule(weight, of.at(1)), shape);
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

// One statement for each operation keeps the compiler from fusing them.
float synthetic_element(const SyntheticRule& rule, uint64_t i) {
  const float part = noise(rule.seed, i) * rule.factor;
  const float sum = rule.base + part;
  return rule.unit * sum;
}

SyntheticRule synthetic_rule(std::string_view name, const Shape& shape, bool fp8) {
  SyntheticRule rule{.seed = seed_of(name)};
  if (name.ends_with("e_score_correction_bias")) {
    rule.dtype = DType::kF32;
    rule.factor = 0.1F;
  } else if (shape.size() == 1) {
    rule.base = 1;
    rule.factor = 0.35F;
  } else if (name.find("embed_tokens") != std::string_view::npos) {
    rule.factor = 0.5F;
  } else if (fp8 && is_fp8_name(name)) {
    rule.dtype = DType::kF8E4M3;
    rule.factor = 448;
  } else {
    rule.factor = amplitude(shape.at(1));
  }
  return rule;
}

SyntheticRule synthetic_scale_rule(std::string_view name, int64_t cols) {
  return {.dtype = DType::kF32,
          .seed = seed_of(std::string(name) + std::string(kScaleSuffix)),
          .base = 1,
          .factor = 0.5F,
          .unit = amplitude(cols) / 448.0F};
}

std::unique_ptr<TensorSource> make_synthetic_source(bool fp8) {
  return std::make_unique<SyntheticSource>(fp8);
}

}  // namespace bellwether::weights
