// The engine against logits and greedy continuations made by transformers in float32 (tools/demo-model/check.py and
// variants.py), each sequence alone and all of them interleaved in batches that cut their prompts in pieces.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>

#include <boost/json.hpp>

#include "engine/tiny_model.h"
#include "weights/safetensors.h"

namespace bellwether::engine {
namespace {

namespace json = boost::json;

struct Case {
  std::vector<int32_t> prompt_ids;
  std::vector<int32_t> greedy_ids;
  std::vector<double> greedy_logprobs = {};  // empty for the synthetic models
  double smallest_gap = 1;                   // between the best two logits of a greedy step
};

std::string read(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<Case> cases_of(const std::string& path) {
  std::vector<Case> cases;
  const json::value reference = json::parse(read(path));
  for (const json::value& item : reference.at("cases").as_array()) {
    Case entry{.prompt_ids = json::value_to<std::vector<int32_t>>(item.at("prompt_ids")),
               .greedy_ids = json::value_to<std::vector<int32_t>>(item.at("greedy_ids"))};
    const json::object& fields = item.as_object();
    if (const auto* logprobs = fields.if_contains("greedy_logprobs")) {
      entry.greedy_logprobs = json::value_to<std::vector<double>>(*logprobs);
    }
    if (const auto* gap = fields.if_contains("smallest_gap")) entry.smallest_gap = gap->to_number<double>();
    cases.push_back(std::move(entry));
  }
  return cases;
}

float float_of_f16(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                        : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

// The reference logits called `name`: (positions, vocab), as floats.
std::vector<float> reference_logits(const std::string& path, const std::string& name) {
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

double relative_error(std::span<const float> actual, std::span<const float> expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / norm);
}

// Makes an engine whose forward pass records: of the demo model, or of a synthetic one.
using MakeLoop = std::function<RecordedLoop(const EngineOptions&)>;

RecordedLoop load_nano(const EngineOptions& options) {
  const ModelConfig config = parse_model_config(read(BELLWETHER_DEMO_MODEL "/config.json"));
  return RecordedLoop(config, options, BELLWETHER_DEMO_MODEL);
}

// One more token than the reference has, so that the last one's logits are computed too.
SequenceRequest request_of(const Case& entry, SequenceId id) {
  return {.id = id,
          .prompt_ids = entry.prompt_ids,
          .sampling = {.temperature = 0, .logprobs = true},
          .max_tokens = std::ssize(entry.greedy_ids) + 1};
}

struct Outcome {
  std::vector<int32_t> ids;
  std::vector<float> logprobs;
  std::vector<float> logits;  // (prompt + greedy ids, vocab)
};

void collect(const StepReport& report, std::vector<Outcome>& outcomes) {
  for (const SequenceOutput& output : report.outputs) {
    Outcome& outcome = outcomes[output.id];
    outcome.ids.insert(outcome.ids.end(), output.ids.begin(), output.ids.end());
    for (const TokenLogprob& logprob : output.logprobs) outcome.logprobs.push_back(logprob.logprob);
  }
}

// Of all tokens but the last, which is not computed.
std::vector<float> logits_of(const RecordedLoop& recorded, const Case& entry, const Outcome& outcome) {
  std::vector<int32_t> ids = entry.prompt_ids;
  ids.insert(ids.end(), outcome.ids.begin(), outcome.ids.end() - 1);
  return recorded.forward->logits(ids, std::ssize(entry.prompt_ids));
}

std::vector<Outcome> run_interleaved(const MakeLoop& make, const std::vector<Case>& cases,
                                     const EngineOptions& options) {
  RecordedLoop recorded = make(options);
  std::vector<Outcome> outcomes(cases.size());
  size_t arrived = 0;
  for (int step = 0; arrived < cases.size() || recorded.loop->has_work(); ++step) {
    if (step % 2 == 0 && arrived < cases.size()) {
      EXPECT_EQ(recorded.loop->admit(request_of(cases[arrived], arrived), nullptr), Admission::kAdmitted);
      ++arrived;
    }
    collect(recorded.loop->step(), outcomes);
  }
  size_t together = 0;
  for (const auto& batch : recorded.forward->batches()) together = std::max(together, batch.segments);
  EXPECT_GE(together, std::min<size_t>(4, cases.size()));
  for (size_t i = 0; i < cases.size(); ++i) {
    outcomes[i].logits = logits_of(recorded, cases[i], outcomes[i]);
  }
  return outcomes;
}

std::vector<Outcome> run_alone(const MakeLoop& make, const std::vector<Case>& cases, const EngineOptions& options) {
  std::vector<Outcome> outcomes(cases.size());
  RecordedLoop recorded = make(options);
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(recorded.loop->admit(request_of(cases[i], i), nullptr), Admission::kAdmitted);
    while (recorded.loop->has_work()) collect(recorded.loop->step(), outcomes);
    outcomes[i].logits = logits_of(recorded, cases[i], outcomes[i]);
  }
  return outcomes;
}

void expect_same_bits(const std::vector<Outcome>& a, const std::vector<Outcome>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].logits.size(), b[i].logits.size()) << "case " << i;
    EXPECT_EQ(std::memcmp(a[i].logits.data(), b[i].logits.data(), a[i].logits.size() * sizeof(float)), 0)
        << "case " << i;
    EXPECT_EQ(a[i].ids, b[i].ids) << "case " << i;
  }
}

void expect_greedy(const Case& entry, const Outcome& outcome) {
  ASSERT_EQ(outcome.ids.size(), entry.greedy_ids.size() + 1);
  EXPECT_TRUE(std::equal(entry.greedy_ids.begin(), entry.greedy_ids.end(), outcome.ids.begin()));
  for (size_t i = 0; i < entry.greedy_logprobs.size(); ++i) {
    EXPECT_NEAR(outcome.logprobs[i], entry.greedy_logprobs[i], 1e-3) << "token " << i;
  }
}

TEST(Nano, AnswersAsTransformersDoes) {
  const auto cases = cases_of(BELLWETHER_TEST_DATA "/nano/reference.json");
  ASSERT_EQ(cases.size(), 11U);
  const auto alone = run_alone(load_nano, cases, {.threads = 1});
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    expect_greedy(cases[i], alone[i]);
  }
  for (size_t i = 0; i < 3; ++i) {
    const auto expected =
        reference_logits(BELLWETHER_TEST_DATA "/nano/reference.safetensors", "logits." + std::to_string(i));
    const double error = relative_error(std::span(alone[i].logits).first(expected.size()), expected);
    RecordProperty("relative_error_" + std::to_string(i), std::to_string(error));
    EXPECT_LT(error, 1e-3);
  }
  const auto interleaved = run_interleaved(load_nano, cases, {.threads = 2, .batch_tokens_max = 100});
  expect_same_bits(alone, interleaved);
}

TEST(Nano, ThreadsDoNotMatter) {
  const auto all = cases_of(BELLWETHER_TEST_DATA "/nano/reference.json");
  const std::vector<Case> cases = {all[0], all[10]};
  const auto one = run_alone(load_nano, cases, {.threads = 1});
  for (const int threads : {2, 3}) expect_same_bits(one, run_alone(load_nano, cases, {.threads = threads}));
}

class Variants : public testing::TestWithParam<const char*> {};

TEST_P(Variants, ComputesAsTransformersDoes) {
  const std::string folder = std::string(BELLWETHER_TEST_DATA "/synthetic/") + GetParam();
  const auto cases = cases_of(folder + "/reference.json");
  ASSERT_EQ(cases.size(), 4U);
  const ModelConfig config = parse_model_config(read(folder + "/config.json"));
  const MakeLoop make = [&](const EngineOptions& options) { return RecordedLoop(config, options); };
  const auto alone = run_alone(make, cases, {.threads = 2});
  for (size_t i = 0; i < cases.size(); ++i) {
    SCOPED_TRACE("case " + std::to_string(i));
    EXPECT_GT(cases[i].smallest_gap, 1e-3);  // far above the errors allowed below, so that no greedy token may differ
    expect_greedy(cases[i], alone[i]);
    const auto expected = reference_logits(folder + "/reference.safetensors", "logits." + std::to_string(i));
    ASSERT_GE(alone[i].logits.size(), expected.size());
    const double error = relative_error(std::span(alone[i].logits).last(expected.size()), expected);
    RecordProperty("relative_error_" + std::to_string(i), std::to_string(error));
    EXPECT_LT(error, 1e-4);
  }
  expect_same_bits(alone, run_interleaved(make, cases, {.threads = 3, .batch_tokens_max = 50}));
}

INSTANTIATE_TEST_SUITE_P(Synthetic, Variants, testing::Values("wide", "flat", "blocks"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace bellwether::engine
