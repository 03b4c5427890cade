// Typed reading of a client's JSON. Every complaint is an Error{kInvalidArgument} that names the field as the client
// would write it: "messages[2].content".
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

namespace bellwether::gateway {

[[noreturn]] void refuse_field(const std::string& path, const std::string& complaint);

// REQUIRES: nothing. Throws when the body is not JSON in UTF-8, nested too deep, or not an object.
[[nodiscard]] boost::json::value parse_body(std::string_view body);

// "messages", 2 -> "messages[2]"
[[nodiscard]] std::string element_path(const std::string& path, size_t index);

// One object of the body. A member that is null counts as absent, as OpenAI's clients send it.
class JsonFields {
 public:
  // REQUIRES: `object` outlives this. `path` is "" for the body itself.
  JsonFields(const boost::json::object& object, std::string path) : object_(object), path_(std::move(path)) {}

  // As the constructor; throws when `value` is not an object.
  static JsonFields of(const boost::json::value& value, const std::string& path);

  [[nodiscard]] std::string path(std::string_view name) const;
  [[nodiscard]] const boost::json::value* find(std::string_view name) const;  // nullptr when absent or null

  [[nodiscard]] std::optional<bool> boolean(std::string_view name) const;
  // A whole number; 5.0 counts as one.
  [[nodiscard]] std::optional<int64_t> integer(std::string_view name, int64_t min, int64_t max) const;
  [[nodiscard]] std::optional<double> number(std::string_view name, double min, double max) const;
  [[nodiscard]] std::optional<std::string_view> text(std::string_view name) const;
  [[nodiscard]] const boost::json::array* array(std::string_view name, size_t size_max) const;  // nullptr when absent
  [[nodiscard]] std::optional<JsonFields> object(std::string_view name) const;

  // Throws when the member is absent or an empty text.
  [[nodiscard]] std::string_view required_text(std::string_view name) const;

 private:
  const boost::json::object& object_;
  std::string path_;
};

}  // namespace bellwether::gateway
