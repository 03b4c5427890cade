#include "text/python_json.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "text/utf8.h"

namespace bellwether::text {
namespace {

namespace json = boost::json;

void write(const json::value& value, std::string& out);

// Python's repr: the shortest digits that read back, with an exponent below 1e-4 and from 1e16.
void append_finite_float(double value, std::string& out) {
  const double magnitude = std::fabs(value);
  const bool exponent = magnitude != 0 && (magnitude < 1e-4 || magnitude >= 1e16);
  std::array<char, 32> digits;
  const auto format = exponent ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, format).ptr;
  const std::string_view text(digits.data(), end);
  out.append(text);
  if (!exponent && text.find('.') == std::string_view::npos) out.append(".0");
}

// The UTF-16 units of a character beyond ASCII.
void append_escaped_character(std::string_view character, std::string& out) {
  uint32_t code_point = static_cast<uint8_t>(character[0]) & (0x7Fu >> character.size());
  for (const char c : character.substr(1)) code_point = code_point << 6 | (static_cast<uint8_t>(c) & 0x3Fu);
  if (code_point < 0x10000) {
    out.append(fmt::format("\\u{:04x}", code_point));
  } else {
    code_point -= 0x10000;
    out.append(fmt::format("\\u{:04x}\\u{:04x}", 0xD800 | code_point >> 10, 0xDC00 | (code_point & 0x3FF)));
  }
}

void append_json_character(char c, std::string& out) {
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
    append_json_string(member.key(), false, out);
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
      append_json_float(value.get_double(), out);
      break;
    case json::kind::string:
      append_json_string(value.get_string(), false, out);
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

void append_json_string(std::string_view text, bool ascii, std::string& out) {
  out.push_back('"');
  while (!text.empty()) {
    const char c = text.front();
    const size_t length = ascii ? next_utf8(text).length : 1;
    if (length > 1) {
      append_escaped_character(text.substr(0, length), out);
    } else {
      append_json_character(c, out);
    }
    text.remove_prefix(length);
  }
  out.push_back('"');
}

void append_json_float(double value, std::string& out) {
  if (std::isnan(value)) {
    out.append("NaN");
  } else if (std::isinf(value)) {
    out.append(value < 0 ? "-Infinity" : "Infinity");
  } else {
    append_finite_float(value, out);
  }
}

void append_python_float(double value, std::string& out) {
  if (std::isnan(value)) {
    out.append("nan");
  } else if (std::isinf(value)) {
    out.append(value < 0 ? "-inf" : "inf");
  } else {
    append_finite_float(value, out);
  }
}

std::string to_python_json(const json::value& value) {
  std::string out;
  write(value, out);
  return out;
}

}  // namespace bellwether::text
