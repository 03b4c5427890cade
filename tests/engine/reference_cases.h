// What transformers computed in float32 (tests/data): prompts, greedy continuations, logits.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "weights/safetensors.h"

namespace bellwether::engine {

struct Case {
  std::vector<int32_t> prompt_ids;
  std::vector<int32_t> greedy_ids;
  std::vector<double> greedy_logprobs = {};  // empty for the synthetic models
  std::vector<int32_t> draft_ids = {};       // likewise
  double smallest_gap = 1;                   // between the best two logits of a greedy step
};

inline std::string read(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

inline std::vector<Case> cases_of(const std::string& path) {
  std::vector<Case> cases;
  const boost::json::value reference = boost::json::parse(read(path));
  for (const boost::json::value& item : reference.at("cases").as_array()) {
    Case entry{.prompt_ids = boost::json::value_to<std::vector<int32_t>>(item.at("prompt_ids")),
               .greedy_ids = boost::json::value_to<std::vector<int32_t>>(item.at("greedy_ids"))};
    const boost::json::object& fields = item.as_object();
    if (const auto* logprobs = fields.if_contains("greedy_logprobs")) {
      entry.greedy_logprobs = boost::json::value_to<std::vector<double>>(*logprobs);
    }
    if (const auto* drafts = fields.if_contains("draft_ids")) {
      entry.draft_ids = boost::json::value_to<std::vector<int32_t>>(*drafts);
    }
    if (const auto* gap = fields.if_contains("smallest_gap")) entry.smallest_gap = gap->to_number<double>();
    cases.push_back(std::move(entry));
  }
  return cases;
}

inline float float_of_f16(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                        : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// The reference logits called `name`: (positions, vocab), as floats.
inline std::vector<float> reference_logits(const std::string& path, const std::string& name) {
  const std::string file = read(path);
  for (const auto& entry : weights::parse_safetensors_header(std::as_bytes(std::span(file)), file.size(), path)) {
    if (entry.name != name) continue;
    std::vector<float> values;
    const bool is_half = entry.dtype == weights::DType::kF16;
    for (uint64_t at = entry.begin; at < entry.end; at += is_half ? 2 : 4) {
      uint16_t half = 0;
      float value = 0;
      if (is_half) {
        std::memcpy(&half, file.data() + at, 2);
        value = float_of_f16(half);
      } else {
        std::memcpy(&value, file.data() + at, 4);
      }
      values.push_back(value);
    }
    return values;
  }
  ADD_FAILURE() << path << " has no " << name;
  return {};
}

inline double relative_error(std::span<const float> actual, std::span<const float> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / norm);
}

}  // namespace bellwether::engine
