#include "text/jinja/json_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "text/jinja/operators.h"
#include "text/python_json.h"

namespace bellwether::text::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}
  void write(const Value& value, size_t level);
  std::string take() { return std::move(out_); }

 private:
  void append(std::string_view text) {
    budget_.spend_text(text.size());
    out_.append(text);
  }
  void write_text(std::string_view text);
  void write_list(const List& list, size_t level);
  void write_dict(const Dict& dict, size_t level);
  void write_line(size_t level);
  [[nodiscard]] std::string key_text(const Value& key) const;

  const JsonStyle& style_;
  Budget& budget_;
  std::string out_;
};

void JsonWriter::write_text(std::string_view text) {
  const size_t before = out_.size();
  append_json_string(text, style_.ascii, out_);
  budget_.spend_text(out_.size() - before);
}

void JsonWriter::write_line(size_t level) {
  if (!style_.indent) return;
  append("\n");
  for (size_t i = 0; i < level; ++i) append(*style_.indent);
}

void JsonWriter::write_list(const List& list, size_t level) {
  if (list.kind == List::Kind::kGenerator) throw RenderError("a generator has no JSON form; put `| list` before it");
  append("[");
  for (size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) append(style_.item_separator);
    write_line(level + 1);
    write(list.items[i], level + 1);
  }
  if (!list.items.empty()) write_line(level);
  append("]");
}

std::string JsonWriter::key_text(const Value& key) const {
  if (const std::string* const text = key.if_text()) return *text;
  if (key.is_none()) return "null";
  if (const bool* const boolean = std::get_if<bool>(&key.variant())) return *boolean ? "true" : "false";
  if (!key.is_number()) throw RenderError(fmt::format("a '{}' cannot be a key in JSON", type_name(key)));
  return printed(key, budget_);
}

void JsonWriter::write_dict(const Dict& dict, size_t level) {
  std::vector<std::pair<std::string, const Value*>> members;
  for (const auto& [key, value] : dict.members) members.emplace_back(key_text(key), &value);
  if (style_.sorts_keys) {
    std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  }
  append("{");
  for (size_t i = 0; i < members.size(); ++i) {
    if (i > 0) append(style_.item_separator);
    write_line(level + 1);
    write_text(members[i].first);
    append(style_.key_separator);
    write(*members[i].second, level + 1);
  }
  if (!members.empty()) write_line(level);
  append("}");
}

void JsonWriter::write(const Value& value, size_t level) {
  budget_.spend_steps(1);
  if (const std::string* const text = value.if_text()) return write_text(*text);
  if (value.is_none()) return append("null");
  if (const bool* const boolean = std::get_if<bool>(&value.variant())) return append(*boolean ? "true" : "false");
  if (const List* const list = value.if_list()) return write_list(*list, level);
  if (const Dict* const dict = value.if_dict()) return write_dict(*dict, level);
  if (const double* const number = std::get_if<double>(&value.variant())) {
    std::string text;
    append_json_float(*number, text);
    return append(text);
  }
  if (value.is_number()) return append(printed(value, budget_));
  require_defined(value);
  throw RenderError(fmt::format("a '{}' has no JSON form", type_name(value)));
}

Value from_object(const boost::json::object& object, Budget& budget) {
  std::vector<std::pair<Value, Value>> members;
  members.reserve(object.size());
  for (const auto& member : object) {
    members.emplace_back(make_text(std::string(member.key()), budget), from_json(member.value(), budget));
  }
  return make_dict_of_distinct(std::move(members), budget);
}

}  // namespace

std::string to_json_text(const Value& value, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  writer.write(value, 0);
  return writer.take();
}

Value from_json(const boost::json::value& json, Budget& budget) {
  switch (json.kind()) {
    case boost::json::kind::null:
      return {};
    case boost::json::kind::bool_:
      return Value(json.get_bool());
    case boost::json::kind::int64:
      return Value(static_cast<int64_t>(json.get_int64()));
    case boost::json::kind::uint64: {
      const uint64_t number = json.get_uint64();
      constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
      return number <= kMax ? Value(static_cast<int64_t>(number)) : Value(static_cast<double>(number));
    }
    case boost::json::kind::double_:
      return Value(json.get_double());
    case boost::json::kind::string:
      return make_text(std::string(json.get_string()), budget);
    case boost::json::kind::array: {
      Values items;
      items.reserve(json.get_array().size());
      for (const boost::json::value& item : json.get_array()) items.push_back(from_json(item, budget));
      return make_list(std::move(items), budget);
    }
    case boost::json::kind::object:
      return from_object(json.get_object(), budget);
  }
  return {};
}

}  // namespace bellwether::text::jinja
