// Requests as a gateway would write them, and the demo model's reference answers.
#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>

#include "bellwether/v1/generate.pb.h"

namespace bellwether::testing {

struct ReferenceCase {
  std::vector<uint32_t> prompt_ids;
  std::vector<uint32_t> greedy_ids;
};

inline std::vector<ReferenceCase> reference_cases() {
  std::ifstream file(BELLWETHER_TEST_DATA "/nano/reference.json");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::vector<ReferenceCase> cases;
  const boost::json::value reference = boost::json::parse(text);
  for (const auto& each : reference.at("cases").as_array()) {
    cases.push_back({.prompt_ids = boost::json::value_to<std::vector<uint32_t>>(each.at("prompt_ids")),
                     .greedy_ids = boost::json::value_to<std::vector<uint32_t>>(each.at("greedy_ids"))});
  }
  return cases;
}

inline constexpr uint32_t kEosId = 1;  // of the demo model

// A greedy request that the demo model can serve.
inline v1::GenerateRequest request_for(const std::string& request_id, const std::vector<uint32_t>& prompt_ids,
                                       uint32_t max_tokens) {
  v1::GenerateRequest request;
  request.set_request_id(request_id);
  request.set_attempt(1);
  request.set_model("bellwether-nano");
  request.set_gateway_id("gateway-a");
  request.mutable_prompt_ids()->Add(prompt_ids.begin(), prompt_ids.end());
  request.mutable_sampling()->set_temperature(0);
  request.mutable_sampling()->set_top_p(1);
  request.mutable_sampling()->set_repetition_penalty(1);
  request.add_choices();
  request.set_max_tokens(max_tokens);
  request.add_stop_ids(kEosId);
  return request;
}

// One that goes on for `max_tokens` whatever the model says.
inline v1::GenerateRequest long_request_for(const std::string& request_id, uint32_t max_tokens) {
  v1::GenerateRequest request = request_for(request_id, {0, 424, 380, 271}, max_tokens);
  request.set_ignore_eos(true);
  return request;
}

}  // namespace bellwether::testing
