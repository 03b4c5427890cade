#include "text/grammar/string_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace bellwether::text::grammar {
namespace {

std::string date() {
  constexpr std::string_view kLeapYear = R"((\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00))";
  return fmt::format(R"((\d{{4}}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|\d{{4}}-(0[13-9]|1[0-2])-(29|30)|)"
                     R"(\d{{4}}-(0[13578]|1[02])-31|{}-02-29))",
                     kLeapYear);
}

std::string time() {
  return R"(([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d))";
}

std::string date_time() {
  return date() + "T" + time();
}

std::string duration() {
  constexpr std::string_view kNumber = R"(\d{1,6})";
  const std::string days = fmt::format("({0}Y({0}M({0}D)?)?|{0}M({0}D)?|{0}D)", kNumber);
  const std::string hours = fmt::format("T({0}H({0}M({0}S)?)?|{0}M({0}S)?|{0}S)", kNumber);
  return fmt::format("P({0}W|{1}({2})?|{2})", kNumber, days, hours);
}

std::string label() {
  return "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
}

// At most 253 characters.
std::string hostname() {
  return fmt::format(R"({0}(\.{0}){{0,2}})", label());
}

// At most 64 characters before the @.
std::string email() {
  constexpr std::string_view kAtom = "[A-Za-z0-9_+-]";
  return fmt::format(R"({0}{{1,32}}(\.{0}{{1,31}})?@{1}(\.{1}){{1,2}})", kAtom, label());
}

std::string ipv4() {
  constexpr std::string_view kByte = R"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d))";
  return fmt::format(R"({0}(\.{0}){{3}})", kByte);
}

std::string ipv6() {
  constexpr std::string_view kGroup = "[0-9a-fA-F]{1,4}";
  std::string pattern = fmt::format("(({0}:){{7}}{0}|({0}:){{1,7}}:|:(:{0}){{1,7}}|::", kGroup);
  for (int before = 1; before <= 6; ++before) {  // groups at most, of both sides of a double colon
    pattern += fmt::format("|({0}:){{1,{1}}}(:{0}){{1,{2}}}", kGroup, before, 7 - before);
  }
  return pattern + ")";
}

std::string uuid() {
  return "[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}";
}

constexpr std::string_view kPathCharacter = R"(([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}))";

std::string path_and_more() {
  return fmt::format(R"((/{0}*)*(\?({0}|[/?])*)?(#({0}|[/?])*)?)", kPathCharacter);
}

std::string uri() {
  return fmt::format(R"([A-Za-z][A-Za-z0-9+.-]{{0,15}}://{}(:\d{{1,5}})?{})", hostname(), path_and_more());
}

std::string uri_reference() {
  return fmt::format("({}|/{}+{})", uri(), kPathCharacter, path_and_more());
}

struct Format {
  std::string_view name;
  std::string (*pattern)();
};

constexpr Format kFormats[] = {
    {"date", date},         {"date-time", date_time},
    {"duration", duration}, {"email", email},
    {"hostname", hostname}, {"ipv4", ipv4},
    {"ipv6", ipv6},         {"time", time},
    {"uri", uri},           {"uri-reference", uri_reference},
    {"uuid", uuid},
};

}  // namespace

std::string pattern_of_format(std::string_view format) {
  const auto* const found = std::ranges::find(kFormats, format, &Format::name);
  return found == std::end(kFormats) ? std::string() : found->pattern();
}

std::vector<std::string_view> format_names() {
  std::vector<std::string_view> names;
  for (const Format& format : kFormats) names.push_back(format.name);
  return names;
}

}  // namespace bellwether::text::grammar
