// Structured logs: one line an event, text on a terminal and JSON elsewhere, always to standard error.
//
//   log::info("placed", {{"request_id", id}, {"replica_id", replica}, {"took_ms", 0.4}});
//
// Lines about a request carry its "request_id". Secrets and prompts are never logged. Thread-safe: a line is one write.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>

namespace bellwether::mesh::log {

enum class Level { kDebug, kInfo, kWarning, kError };
enum class Format { kAuto, kText, kJson };  // kAuto: text when standard error is a terminal

struct Field {
  using Value = std::variant<std::string_view, int64_t, uint64_t, double, bool>;

  template <std::convertible_to<std::string_view> S>
  Field(std::string_view field_key, const S& text) : key(field_key), value(std::string_view(text)) {}
  template <std::signed_integral I>
  Field(std::string_view field_key, I number) : key(field_key), value(static_cast<int64_t>(number)) {}
  template <std::unsigned_integral U>
  Field(std::string_view field_key, U number) : key(field_key), value(static_cast<uint64_t>(number)) {}
  Field(std::string_view field_key, bool flag) : key(field_key), value(flag) {}
  Field(std::string_view field_key, double number) : key(field_key), value(number) {}

  std::string_view key;
  Value value;  // refers to the caller's text: valid for the call only
};

using Fields = std::initializer_list<Field>;

// Call once at start. `service` stands on every line.
void configure(std::string_view service, Level level, Format format);

[[nodiscard]] bool enabled(Level level);
void write(Level level, std::string_view event, Fields fields);

inline void debug(std::string_view event, Fields fields = {}) {
  if (enabled(Level::kDebug)) write(Level::kDebug, event, fields);
}
inline void info(std::string_view event, Fields fields = {}) {
  write(Level::kInfo, event, fields);
}
inline void warning(std::string_view event, Fields fields = {}) {
  write(Level::kWarning, event, fields);
}
inline void error(std::string_view event, Fields fields = {}) {
  write(Level::kError, event, fields);
}

// One line without its line feed; exposed for tests. `unix_ms` is the time of the event.
[[nodiscard]] std::string render(Format format, std::string_view service, Level level, uint64_t unix_ms,
                                 std::string_view event, Fields fields);

}  // namespace bellwether::mesh::log
