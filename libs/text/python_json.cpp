#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "text/chat_format.h"

namespace bellwether::text {
namespace {

namespace json = boost::json;

void write(const json::value& value, std::string& out);

void write_string(std::string_view text, std::string& out) {
  out.push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        out.append("\\\"");
        break;
      case '\\':
        out.append("\\\\");
        break;
      case '\n':
        out.append("\\n");
        break;
      case '\r':
        out.append("\\r");
        break;
      case '\t':
        out.append("\\t");
        break;
      case '\f':
        out.append("\\f");
        break;
      case '\b':
        out.append("\\b");
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out.append(fmt::format("\\u{:04x}", c));
        } else {
          out.push_back(c);
        }
    }
  }
  out.push_back('"');
}

// Python's repr: the shortest digits that read back, with an exponent below 1e-4 and from 1e16.
void write_double(double value, std::string& out) {
  if (std::isnan(value)) {
    out.append("NaN");
    return;
  }
  if (std::isinf(value)) {
    out.append(value < 0 ? "-Infinity" : "Infinity");
    return;
  }
  const double magnitude = std::fabs(value);
  const bool exponent = magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e16);
  std::array<char, 32> digits;
  const auto format = exponent ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, format).ptr;
  const std::string_view text(digits.data(), end);
  out.append(text);
  if (!exponent && text.find('.') == std::string_view::npos) out.append(".0");
}

void write_array(const json::array& array, std::string& out) {
  out.push_back('[');
  std::string_view separator;
  for (const json::value& element : array) {
    out.append(separator);
    write(element, out);
    separator = ", ";
  }
  out.push_back(']');
}

void write_object(const json::object& object, std::string& out) {
  out.push_back('{');
  std::string_view separator;
  for (const auto& member : object) {
    out.append(separator);
    write_string(member.key(), out);
    out.append(": ");
    write(member.value(), out);
    separator = ", ";
  }
  out.push_back('}');
}

void write(const json::value& value, std::string& out) {
  switch (value.kind()) {
    case json::kind::null:
      out.append("null");
      break;
    case json::kind::bool_:
      out.append(value.get_bool() ? "true" : "false");
      break;
    case json::kind::int64:
      out.append(std::to_string(value.get_int64()));
      break;
    case json::kind::uint64:
      out.append(std::to_string(value.get_uint64()));
      break;
    case json::kind::double_:
      write_double(value.get_double(), out);
      break;
    case json::kind::string:
      write_string(value.get_string(), out);
      break;
    case json::kind::array:
      write_array(value.get_array(), out);
      break;
    case json::kind::object:
      write_object(value.get_object(), out);
      break;
  }
}

}  // namespace

std::string to_python_json(const json::value& value) {
  std::string out;
  write(value, out);
  return out;
}

}  // namespace bellwether::text
