#include "text/pretokenizer.h"

#include <fmt/format.h>

namespace bellwether::text {
namespace {

namespace json = boost::json;

// The pattern of a ByteLevel with use_regex (Hugging Face tokenizers, pre_tokenizers/byte_level.rs).
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr size_t kSplitsMax = 16;

const json::object& object_of(const json::value& value) {
  if (!value.is_object()) throw TextError("pre_tokenizer: not an object");
  return value.get_object();
}

std::string_view string_member(const json::object& object, std::string_view name) {
  const json::value* const value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) throw TextError(fmt::format("pre_tokenizer: no string {:?}", name));
  return value->get_string();
}

bool bool_member(const json::object& object, std::string_view name, bool missing) {
  const json::value* const value = object.if_contains(name);
  if (value == nullptr) return missing;
  if (!value->is_bool()) throw TextError(fmt::format("pre_tokenizer: {:?} is not a boolean", name));
  return value->get_bool();
}

Regex split_regex(const json::object& split) {
  if (const auto behavior = string_member(split, "behavior"); behavior != "Isolated") {
    throw TextError(fmt::format("pre_tokenizer: the behavior {:?} of a Split is not supported", behavior));
  }
  if (bool_member(split, "invert", false)) throw TextError("pre_tokenizer: an inverted Split is not supported");
  const json::value* const pattern = split.if_contains("pattern");
  if (pattern == nullptr || !pattern->is_object()) throw TextError("pre_tokenizer: a Split without a pattern");
  if (pattern->get_object().contains("Regex")) {
    return Regex::from_pattern(string_member(pattern->get_object(), "Regex"));
  }
  const std::string_view literal = string_member(pattern->get_object(), "String");
  if (literal.empty()) throw TextError("pre_tokenizer: a Split at an empty String");
  return Regex::from_literal(literal);
}

// The steps before the ByteLevel, and the ByteLevel itself, which must be the last.
std::vector<const json::object*> steps_of(const json::object& description) {
  if (string_member(description, "type") != "Sequence") return {&description};
  const json::value* const steps = description.if_contains("pretokenizers");
  if (steps == nullptr || !steps->is_array()) throw TextError("pre_tokenizer: a Sequence without pretokenizers");
  std::vector<const json::object*> objects;
  for (const json::value& step : steps->get_array()) objects.push_back(&object_of(step));
  if (objects.empty() || objects.size() > kSplitsMax) {
    throw TextError(fmt::format("pre_tokenizer: a Sequence of {} steps", objects.size()));
  }
  return objects;
}

class Splitting {
 public:
  Splitting(const std::vector<Regex>& splits, std::vector<std::string_view>& pieces) : pieces_(pieces) {
    matchers_.reserve(splits.size());
    for (const Regex& split : splits) matchers_.emplace_back(split);
  }

  // Depth first, so that a piece is cut further while it is in the processor's cache.
  void cut(std::string_view text, size_t step) {
    if (text.empty()) return;
    if (step == matchers_.size()) return pieces_.push_back(text);
    size_t done = 0;
    while (done < text.size()) {
      // A lookahead or lookbehind must not see beyond the piece.
      const auto match = matchers_[step].find(text, done);
      if (!match) break;
      cut(text.substr(done, match->begin - done), step + 1);
      cut(text.substr(match->begin, match->end - match->begin), step + 1);
      done = match->end;
    }
    cut(text.substr(done), step + 1);
  }

 private:
  std::vector<RegexMatcher> matchers_;
  std::vector<std::string_view>& pieces_;
};

}  // namespace

PreTokenizer::PreTokenizer(const json::value& description) {
  std::vector<const json::object*> steps = steps_of(object_of(description));
  const json::object& last = *steps.back();
  steps.pop_back();
  for (const json::object* const step : steps) {
    if (const auto type = string_member(*step, "type"); type != "Split") {
      throw TextError(fmt::format("pre_tokenizer: {:?} before the end of a Sequence is not supported", type));
    }
    splits_.push_back(split_regex(*step));
  }
  if (const auto type = string_member(last, "type"); type != "ByteLevel") {
    throw TextError(fmt::format("pre_tokenizer: {:?} at the end is not supported, only ByteLevel", type));
  }
  if (bool_member(last, "add_prefix_space", true)) {
    throw TextError("pre_tokenizer: add_prefix_space is not supported");
  }
  if (bool_member(last, "use_regex", true)) splits_.push_back(Regex::from_pattern(kGpt2Pattern));
}

void PreTokenizer::split(std::string_view text, std::vector<std::string_view>& pieces) const {
  Splitting(splits_, pieces).cut(text, 0);
}

}  // namespace bellwether::text
