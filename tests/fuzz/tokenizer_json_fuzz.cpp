// Any bytes as tokenizer.json, or as members of one that is otherwise right: a tokenizer that gives its text back, or a
// TextError.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "../text/synthetic_language.h"
#include "text/tokenizer.h"

namespace {

namespace json = boost::json;

using bellwether::text::SyntheticLanguage;
using bellwether::text::TextError;
using bellwether::text::Tokenizer;

void use(std::string_view tokenizer_json) {
  constexpr std::string_view kText = "Hello! 毕老师\r\n  1 + 1 = 2 🤖";
  try {
    const Tokenizer tokenizer = Tokenizer::from_json(tokenizer_json);
    if (tokenizer.decode(tokenizer.encode(kText), false) != kText) std::abort();
  } catch (const TextError&) {
  }
}

// Every line of `members` takes the place of a member, if it is JSON.
std::string changed_file(std::string_view members) {
  static const json::value base = json::parse(SyntheticLanguage(0, 1).tokenizer_json(256));
  json::value file = base;
  json::object& model = file.as_object()["model"].as_object();
  json::value more_tokens;
  const std::array<json::value*, 4> places = {&file.as_object()["pre_tokenizer"], &file.as_object()["added_tokens"],
                                              &model["merges"], &more_tokens};
  for (json::value* const place : places) {
    const size_t end = members.find('\n');
    json::error_code error;
    json::value member = json::parse(members.substr(0, end), error);
    if (!error) *place = std::move(member);
    members.remove_prefix(end == std::string_view::npos ? members.size() : end + 1);
  }
  if (const json::object* const tokens = more_tokens.if_object()) {
    for (const auto& [token, id] : *tokens) model["vocab"].as_object().emplace(token, id);
  }
  return json::serialize(file);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  use(bytes);
  use(changed_file(bytes));
  return 0;
}
