#include "api-gateway/json_fields.h"

#include <fmt/format.h>

#include <cmath>

#include <boost/json/stream_parser.hpp>

#include "mesh/error.h"

namespace bellwether::gateway {

namespace json = boost::json;

namespace {

// Tool schemas nest; nothing that a client sends in earnest nests deeper.
constexpr size_t kDepthMax = 64;

}  // namespace

void refuse_field(const std::string& path, const std::string& complaint) {
  throw mesh::Error(mesh::ErrorCode::kInvalidArgument, fmt::format("`{}` {}", path, complaint), path);
}

json::value parse_body(std::string_view body) {
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::stream_parser parser({}, options);
  boost::system::error_code error;
  const size_t consumed = parser.write_some(body.data(), body.size(), error);
  if (!error && consumed == body.size()) parser.finish(error);
  if (!error && consumed < body.size()) error = json::error::extra_data;
  if (error == json::error::too_deep) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument,
                      fmt::format("the body nests deeper than {} levels", kDepthMax));
  }
  if (error) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument,
                      fmt::format("the body is not valid JSON: {} at byte {}", error.message(), consumed));
  }
  json::value value = parser.release();
  if (!value.is_object()) throw mesh::Error(mesh::ErrorCode::kInvalidArgument, "the body must be a JSON object");
  return value;
}

std::string element_path(const std::string& path, size_t index) {
  return fmt::format("{}[{}]", path, index);
}

JsonFields JsonFields::of(const json::value& value, const std::string& path) {
  if (!value.is_object()) refuse_field(path, "must be an object");
  return {value.get_object(), path};
}

std::string JsonFields::path(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

const json::value* JsonFields::find(std::string_view name) const {
  const json::value* value = object_.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<bool> JsonFields::boolean(std::string_view name) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_bool()) refuse_field(path(name), "must be true or false");
  return value->get_bool();
}

std::optional<int64_t> JsonFields::integer(std::string_view name, int64_t min, int64_t max) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const auto refuse = [&] {
    refuse_field(path(name), max == std::numeric_limits<int64_t>::max()
                                 ? fmt::format("must be a whole number of at least {}", min)
                                 : fmt::format("must be a whole number from {} to {}", min, max));
  };
  int64_t number = 0;
  if (value->is_int64()) {
    number = value->get_int64();
  } else if (value->is_double() && std::trunc(value->get_double()) == value->get_double() &&
             std::abs(value->get_double()) < 9007199254740992.0) {  // 2^53: beyond it doubles skip whole numbers
    number = static_cast<int64_t>(value->get_double());
  } else {
    refuse();
  }
  if (number < min || number > max) refuse();
  return number;
}

std::optional<double> JsonFields::number(std::string_view name, double min, double max) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !(value->to_number<double>() >= min) || !(value->to_number<double>() <= max)) {
    refuse_field(path(name), fmt::format("must be a number from {} to {}", min, max));
  }
  return value->to_number<double>();
}

std::optional<std::string_view> JsonFields::text(std::string_view name) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse_field(path(name), "must be a string");
  return std::string_view(value->get_string());
}

const json::array* JsonFields::array(std::string_view name, size_t size_max) const {
  const json::value* value = find(name);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) refuse_field(path(name), "must be an array");
  if (value->get_array().size() > size_max) {
    refuse_field(path(name),
                 fmt::format("has {} elements; at most {} are allowed", value->get_array().size(), size_max));
  }
  return &value->get_array();
}

std::optional<JsonFields> JsonFields::object(std::string_view name) const {
  const json::value* value = find(name);
  if (value == nullptr) return std::nullopt;
  return of(*value, path(name));
}

std::string_view JsonFields::required_text(std::string_view name) const {
  const std::optional<std::string_view> value = text(name);
  if (!value) refuse_field(path(name), "is required");
  if (value->empty()) refuse_field(path(name), "must not be empty");
  return *value;
}

}  // namespace bellwether::gateway
