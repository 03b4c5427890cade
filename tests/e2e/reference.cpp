#include "e2e/reference.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>

namespace bellwether::e2e {
namespace {

namespace json = boost::json;

constexpr std::string_view kReasoningEnd = "\n</think>\n\n";
constexpr std::string_view kEndOfSentence = "<｜end▁of▁sentence｜>";

void split_text(std::string text, ReferenceCase& out) {
  if (!text.ends_with(kEndOfSentence)) throw std::runtime_error("a reference that does not end");
  text.resize(text.size() - kEndOfSentence.size());
  const size_t end = text.find(kReasoningEnd);
  if (end == std::string::npos) {
    out.content = text;
    return;
  }
  out.reasoning = text.substr(0, end);
  out.content = text.substr(end + kReasoningEnd.size());
}

std::vector<ReferenceCase> load() {
  std::ifstream in(BELLWETHER_TEST_DATA "/nano/reference.json");
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const json::value document = json::parse(text);
  std::vector<ReferenceCase> cases;
  for (const json::value& value : document.at("cases").as_array()) {
    ReferenceCase one;
    one.messages = value.at("messages").as_array();
    if (value.at("tools").is_array()) one.tools = value.at("tools").as_array();
    one.prompt_tokens = value.at("prompt_ids").as_array().size();
    one.completion_tokens = value.at("greedy_ids").as_array().size();
    split_text(json::value_to<std::string>(value.at("greedy_text")), one);
    cases.push_back(std::move(one));
  }
  return cases;
}

}  // namespace

std::string ReferenceCase::request(bool stream) const {
  json::object body;
  body["model"] = kModel;
  body["messages"] = messages;
  if (!tools.empty()) body["tools"] = tools;
  body["temperature"] = 0;
  if (stream) {
    body["stream"] = true;
    body["stream_options"] = json::object{{"include_usage", true}};
  }
  return json::serialize(body);
}

const std::vector<ReferenceCase>& reference_cases() {
  static const std::vector<ReferenceCase> cases = load();
  return cases;
}

std::string endless_request(const ReferenceCase& about, int tokens) {
  json::object body;
  body["model"] = kModel;
  body["messages"] = about.messages;
  body["temperature"] = 0;
  body["ignore_eos"] = true;
  body["max_tokens"] = tokens;
  body["stream"] = true;
  body["stream_options"] = json::object{{"include_usage", true}};
  return json::serialize(body);
}

const ReferenceCase& longest_prompt() {
  const auto& cases = reference_cases();
  return *std::max_element(cases.begin(), cases.end(), [](const ReferenceCase& a, const ReferenceCase& b) {
    return a.prompt_tokens < b.prompt_tokens;
  });
}

}  // namespace bellwether::e2e
