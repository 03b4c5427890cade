#include "mesh/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <iterator>
#include <mutex>

#include "mesh/clock.h"

namespace bellwether::mesh::log {
namespace {

// A longer text value is cut, so that no input can make a line without end.
constexpr size_t kTextBytesMax = 8192;

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD, in place of each byte that is no UTF-8

std::string_view level_name(Level level) {
  static constexpr std::array<std::string_view, 4> kNames = {"debug", "info", "warning", "error"};
  return kNames[static_cast<size_t>(level)];
}

// The length of the well-formed UTF-8 sequence at the start of `text`, or 0. REQUIRES: text is not empty.
size_t utf8_sequence_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && byte(1) < 0xA0;
    const bool surrogate = first == 0xED && byte(1) > 0x9F;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && byte(1) < 0x90;
    const bool beyond = first == 0xF4 && byte(1) > 0x8F;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

// Calls `take` with each character of `text`, ill-formed bytes replaced and the rest after kTextBytesMax left out.
template <class Take>
void for_each_character(std::string_view text, Take take) {
  size_t position = 0;
  while (position < text.size()) {
    if (position >= kTextBytesMax) {
      take(std::string_view("..."));
      return;
    }
    const size_t bytes = utf8_sequence_bytes(text.substr(position));
    take(bytes == 0 ? kReplacement : text.substr(position, bytes));
    position += bytes == 0 ? 1 : bytes;
  }
}

// C0 and C1 controls and DEL, which a terminal would act on.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return first < 0x20 || first == 0x7F;
  return first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

void append_escaped(std::string& out, std::string_view text) {
  for_each_character(text, [&](std::string_view character) {
    const char c = character[0];
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_control(character)) {
      const auto code = static_cast<unsigned char>(character.back());  // of U+0080 to U+009F too
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", code);
    } else {
      out += character;
    }
  });
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_escaped(out, text);
  out += '"';
}

bool needs_quotes(std::string_view text) {
  if (text.empty() || text.size() > kTextBytesMax) return true;
  bool needed = false;
  for_each_character(text, [&](std::string_view character) {
    const char c = character[0];
    needed =
        needed || c == ' ' || c == '"' || c == '\\' || c == '=' || is_control(character) || character == kReplacement;
  });
  return needed;
}

void append_number(std::string& out, double number) {
  if (std::isfinite(number)) {
    fmt::format_to(std::back_inserter(out), "{}", number);
  } else {
    out += "null";  // JSON has no infinity and no NaN
  }
}

void append_value(std::string& out, const Field::Value& value, bool quote_always) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    if (quote_always || needs_quotes(*text)) {
      append_quoted(out, *text);
    } else {
      out += *text;
    }
  } else if (const auto* number = std::get_if<double>(&value)) {
    append_number(out, *number);
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    out += *flag ? "true" : "false";
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    fmt::format_to(std::back_inserter(out), "{}", *integer);
  } else {
    fmt::format_to(std::back_inserter(out), "{}", std::get<uint64_t>(value));
  }
}

// RFC 3339, in UTC: lines of several machines sort by it.
std::string utc_time(uint64_t unix_ms) {
  const auto seconds = static_cast<time_t>(unix_ms / 1000);
  std::tm fields{};
  gmtime_r(&seconds, &fields);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", fields.tm_year + 1900, fields.tm_mon + 1,
                     fields.tm_mday, fields.tm_hour, fields.tm_min, fields.tm_sec, unix_ms % 1000);
}

// The time of day where the reader is: text is for the person in front of it.
std::string local_time(uint64_t unix_ms) {
  const auto seconds = static_cast<time_t>(unix_ms / 1000);
  std::tm fields{};
  localtime_r(&seconds, &fields);
  return fmt::format("{:02}:{:02}:{:02}.{:03}", fields.tm_hour, fields.tm_min, fields.tm_sec, unix_ms % 1000);
}

std::string render_json(std::string_view service, Level level, uint64_t unix_ms, std::string_view event,
                        Fields fields) {
  std::string line = fmt::format(R"({{"time":"{}","level":"{}","service":)", utc_time(unix_ms), level_name(level));
  append_quoted(line, service);
  line += ",\"event\":";
  append_quoted(line, event);
  for (const Field& field : fields) {
    line += ',';
    append_quoted(line, field.key);
    line += ':';
    append_value(line, field.value, true);
  }
  line += '}';
  return line;
}

std::string render_text(std::string_view service, Level level, uint64_t unix_ms, std::string_view event, Fields fields,
                        bool coloured) {
  static constexpr std::array<std::string_view, 4> kLabels = {"DEBUG", "INFO ", "WARN ", "ERROR"};
  static constexpr std::array<std::string_view, 4> kColours = {"\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
  const auto index = static_cast<size_t>(level);
  std::string line = local_time(unix_ms);
  line += ' ';
  if (coloured) line += kColours[index];
  line += kLabels[index];
  if (coloured) line += "\x1b[0m";
  line += ' ';
  if (!service.empty()) {
    append_escaped(line, service);
    line += ": ";
  }
  append_escaped(line, event);
  for (const Field& field : fields) {
    line += ' ';
    append_escaped(line, field.key);
    line += '=';
    append_value(line, field.value, false);
  }
  return line;
}

struct Configuration {
  std::string service;
  Format format = Format::kText;
  bool coloured = false;
};

std::atomic<Level> level_min{Level::kInfo};

std::mutex& configuration_mutex() {
  static std::mutex mutex;
  return mutex;
}

Format resolve(Format format) {
  if (format != Format::kAuto) return format;
  return isatty(STDERR_FILENO) != 0 ? Format::kText : Format::kJson;
}

// NO_COLOR: https://no-color.org, any value that is not empty.
bool wants_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return isatty(STDERR_FILENO) != 0 && (no_colour == nullptr || *no_colour == '\0');
}

// GUARDED_BY configuration_mutex().
Configuration& configuration() {
  static Configuration value{"", resolve(Format::kAuto), wants_colour()};
  return value;
}

void write_line(std::string_view line) {
  while (!line.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // a log that cannot be written is nobody's reason to fail
    line.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace

void configure(std::string_view service, Level level, Format format) {
  const std::lock_guard lock(configuration_mutex());
  configuration() = {std::string(service), resolve(format), wants_colour()};
  level_min = level;
}

bool enabled(Level level) {
  return level >= level_min.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view event, Fields fields) {
  if (!enabled(level)) return;
  const uint64_t unix_ms = unix_ms_now();
  std::string line;
  {
    const std::lock_guard lock(configuration_mutex());
    const Configuration& how = configuration();
    line = how.format == Format::kJson ? render_json(how.service, level, unix_ms, event, fields)
                                       : render_text(how.service, level, unix_ms, event, fields, how.coloured);
  }
  line += '\n';
  write_line(line);
}

std::string render(Format format, std::string_view service, Level level, uint64_t unix_ms, std::string_view event,
                   Fields fields) {
  return resolve(format) == Format::kJson ? render_json(service, level, unix_ms, event, fields)
                                          : render_text(service, level, unix_ms, event, fields, false);
}

}  // namespace bellwether::mesh::log
