#include "mesh/setting_value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "mesh/error.h"
#include "mesh/suggestion.h"

namespace bellwether::mesh {
namespace {

constexpr size_t kShownBytesMax = 80;  // of a value in an error

// 10000000 rather than 1e+07.
std::string number_text(double number) {
  static constexpr double kExactMax = 1e15;
  if (std::trunc(number) == number && std::abs(number) < kExactMax) return fmt::format("{}", int64_t(number));
  return fmt::format("{}", number);
}

template <class Number>
Number parse_number(const std::string& text, const SettingAbout& about, const std::string& origin) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stopped != end || !std::isfinite(static_cast<double>(number))) {
    const char* kind = std::is_integral_v<Number> ? "whole number" : "number";
    reject_setting(origin,
                   about.secret ? fmt::format("is not a {}", kind) : fmt::format("{} is not a {}", shown(text), kind));
  }
  const auto value = static_cast<double>(number);
  if (value < about.min || value > about.max) {
    const std::string bounds = bounds_text(about);
    reject_setting(origin, about.secret ? "must be " + bounds : fmt::format("must be {}, not {}", bounds, text));
  }
  return number;
}

bool parse_boolean(const std::string& text, const SettingAbout& about, const std::string& origin) {
  for (const std::string_view yes : {"true", "yes", "on", "1"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"false", "no", "off", "0"}) {
    if (text == no) return false;
  }
  reject_setting(origin,
                 about.secret ? "must be true or false" : fmt::format("must be true or false, not {}", shown(text)));
}

std::string parse_text(const std::string& text, const SettingAbout& about, const std::string& origin) {
  if (about.choices.empty() || std::ranges::find(about.choices, text) != about.choices.end()) return text;
  const std::string one_of = fmt::format("must be one of {}", fmt::join(about.choices, ", "));
  if (about.secret) reject_setting(origin, one_of);
  reject_setting(origin, fmt::format("{}, not {}{}", one_of, shown(text), did_you_mean(text, about.choices)));
}

}  // namespace

void reject_setting(const std::string& origin, const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message, origin);
}

void assign(const SettingTarget& target, const SettingAbout& about, const std::string& text,
            const std::string& origin) {
  if (auto* const* as_text = std::get_if<std::string*>(&target)) {
    **as_text = parse_text(text, about, origin);
  } else if (auto* const* as_boolean = std::get_if<bool*>(&target)) {
    **as_boolean = parse_boolean(text, about, origin);
  } else if (auto* const* as_integer = std::get_if<int64_t*>(&target)) {
    **as_integer = parse_number<int64_t>(text, about, origin);
  } else if (auto* const* as_number = std::get_if<double*>(&target)) {
    **as_number = parse_number<double>(text, about, origin);
  } else {
    std::get<std::vector<std::string>*>(target)->push_back(parse_text(text, about, origin));
  }
}

std::vector<std::string>* as_list(const SettingTarget& target) {
  auto* const* list = std::get_if<std::vector<std::string>*>(&target);
  return list == nullptr ? nullptr : *list;
}

std::string value_text(const SettingTarget& target) {
  if (auto* const* as_text = std::get_if<std::string*>(&target)) return **as_text;
  if (auto* const* as_boolean = std::get_if<bool*>(&target)) return **as_boolean ? "true" : "false";
  if (auto* const* as_integer = std::get_if<int64_t*>(&target)) return fmt::format("{}", **as_integer);
  if (auto* const* as_number = std::get_if<double*>(&target)) return number_text(**as_number);
  return fmt::format("{}", fmt::join(*as_list(target), ","));
}

std::string bounds_text(const SettingAbout& about) {
  const std::string unit = about.unit.empty() ? "" : " " + about.unit;
  if (std::isfinite(about.min) && std::isfinite(about.max)) {
    return fmt::format("{} to {}{}", number_text(about.min), number_text(about.max), unit);
  }
  if (std::isfinite(about.min)) return fmt::format("at least {}{}", number_text(about.min), unit);
  if (std::isfinite(about.max)) return fmt::format("at most {}{}", number_text(about.max), unit);
  return about.unit.empty() ? "" : "in " + about.unit;
}

std::string printable(std::string_view text) {
  std::string result(text.substr(0, kShownBytesMax));
  for (char& c : result) {
    if (std::iscntrl(static_cast<unsigned char>(c)) != 0) c = '?';
  }
  return text.size() > kShownBytesMax ? result + "..." : result;
}

std::string shown(std::string_view text) {
  return "'" + printable(text) + "'";
}

std::string did_you_mean(std::string_view text, const std::vector<std::string>& candidates) {
  const auto closest = closest_choice(text, {candidates.begin(), candidates.end()});
  return closest ? fmt::format("; did you mean {}?", *closest) : "";
}

}  // namespace bellwether::mesh
