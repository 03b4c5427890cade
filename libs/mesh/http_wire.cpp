#include "mesh/http_wire.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "mesh/error.h"

namespace bellwether::mesh {
namespace {

char lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

bool equal_without_case(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

std::string_view error_type(unsigned status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "service_unavailable_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (equal_without_case(key, name)) return value;
  }
  return {};
}

std::string http_error_body(unsigned status, std::string_view message, std::string_view param) {
  boost::json::object error;
  error["message"] = message;
  error["type"] = error_type(status);
  error["param"] = param.empty() ? boost::json::value(nullptr) : boost::json::value(param);
  error["code"] = status;
  return boost::json::serialize(boost::json::object{{"error", std::move(error)}});
}

}  // namespace bellwether::mesh

namespace bellwether::mesh::http_wire {
namespace {

int hex_digit(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  const char small = lower(letter);
  return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

std::string_view reason(unsigned status) {
  static constexpr std::array<std::pair<unsigned, std::string_view>, 27> kReasons = {{
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {413, "Content Too Large"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {422, "Unprocessable Content"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
  }};
  const auto found = std::ranges::find(kReasons, status, &std::pair<unsigned, std::string_view>::first);
  return found == kReasons.end() ? std::string_view("Unknown") : found->second;
}

// The Date header's value, made anew once a second.
const std::string& date_now() {
  thread_local std::string text;
  thread_local time_t rendered_at = 0;
  const time_t now = time(nullptr);
  if (now != rendered_at) {
    std::array<char, 64> buffer;
    struct tm parts;
    gmtime_r(&now, &parts);
    text.assign(buffer.data(), strftime(buffer.data(), buffer.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts));
    rendered_at = now;
  }
  return text;
}

bool is_token(std::string_view name) {
  constexpr std::string_view kPunctuation = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::ranges::all_of(name, [&](char letter) {
    const char small = lower(letter);
    return (small >= 'a' && small <= 'z') || (letter >= '0' && letter <= '9') ||
           kPunctuation.find(letter) != std::string_view::npos;
  });
}

bool is_header_value(std::string_view value) {
  return std::ranges::none_of(value, [](char letter) {
    const auto code = static_cast<unsigned char>(letter);
    return (code < 0x20 && letter != '\t') || code == 0x7f;
  });
}

void append_header(std::string& head, std::string_view name, std::string_view value) {
  if (!is_token(name) || !is_header_value(value)) {
    throw Error(ErrorCode::kInternal, fmt::format("a response header is not fit for HTTP: {:?}", name));
  }
  head.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return decoded;
}

bool bodiless(unsigned status) {
  return status < 200 || status == 204 || status == 304;
}

std::string render_head(const HttpResponse& response, const HeadOptions& options) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\n", response.status, reason(response.status));
  append_header(head, "Date", date_now());
  for (const auto& [name, value] : response.headers) append_header(head, name, value);
  if (!bodiless(response.status)) {
    if (!response.content_type.empty()) append_header(head, "Content-Type", response.content_type);
    if (options.framing == Framing::kLength)
      append_header(head, "Content-Length", fmt::to_string(response.body.size()));
    if (options.framing == Framing::kChunked) append_header(head, "Transfer-Encoding", "chunked");
  }
  if (!options.keep_alive) append_header(head, "Connection", "close");
  if (options.keep_alive && options.http_1_0) append_header(head, "Connection", "keep-alive");
  head.append("\r\n");
  return head;
}

}  // namespace bellwether::mesh::http_wire
