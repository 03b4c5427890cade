#include "cli/up/readiness.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "mesh/error.h"

namespace bellwether::cli {
namespace {

namespace json = boost::json;
using boost::asio::ip::tcp;

struct HostPort {
  std::string host;  // without the brackets of an IPv6 address
  uint16_t port;
};

std::optional<HostPort> split_address(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const std::string_view digits = address.substr(colon + 1);
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || host.empty()) return std::nullopt;
  return HostPort{std::string(host), port};
}

// The text of a member, "" when there is none.
std::string_view text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  const json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

void try_listen(const HostPort& wanted) {
  boost::asio::io_context io;
  tcp::resolver resolver(io);
  for (const auto& entry : resolver.resolve(wanted.host, fmt::to_string(wanted.port))) {
    tcp::acceptor acceptor(io);
    acceptor.open(entry.endpoint().protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(entry.endpoint());
    acceptor.listen();
  }
}

}  // namespace

std::optional<std::string> parse_nats_ports(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  const json::object* object = error ? nullptr : value.if_object();
  const json::value* urls = object == nullptr ? nullptr : object->if_contains("nats");
  if (urls == nullptr || !urls->is_array() || urls->as_array().empty()) return std::nullopt;
  const json::string* first = urls->as_array().front().if_string();
  return first == nullptr ? std::nullopt : std::optional<std::string>(std::string(first->data(), first->size()));
}

std::optional<std::string> read_nats_url(const std::string& folder, pid_t nats_server) {
  std::ifstream in(fmt::format("{}/nats-server_{}.ports", folder, nats_server));
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  return parse_nats_ports(text);
}

int port_of_url(std::string_view url) {
  const auto split = split_address(url);
  return split ? split->port : 0;
}

std::optional<std::string> find_http_address(std::string_view log_text, pid_t service) {
  while (!log_text.empty()) {
    const size_t end = std::min(log_text.find('\n'), log_text.size());
    boost::system::error_code error;
    const json::value line = json::parse(log_text.substr(0, end), error);
    log_text.remove_prefix(std::min(end + 1, log_text.size()));
    const json::object* object = error ? nullptr : line.if_object();
    if (object == nullptr || text_of(*object, "event") != "started") continue;
    const json::value* pid = object->if_contains("pid");
    if (pid == nullptr || !pid->is_int64() || pid->as_int64() != service) continue;
    if (const std::string_view address = text_of(*object, "http"); !address.empty()) return std::string(address);
  }
  return std::nullopt;
}

void require_free_address(const std::string& address) {
  const auto wanted = split_address(address);
  if (!wanted) {
    throw mesh::Error(mesh::ErrorCode::kInvalidArgument, fmt::format("--http: {} is not HOST:PORT", address), "--http");
  }
  if (wanted->port == 0) return;
  try {
    try_listen(*wanted);
  } catch (const boost::system::system_error& error) {
    throw mesh::Error(mesh::ErrorCode::kUnavailable,
                      fmt::format("cannot listen on {}: {}. Choose another address with --http HOST:PORT", address,
                                  error.code().message()),
                      "--http");
  }
}

std::string client_url(std::string_view address) {
  const auto split = split_address(address);
  if (!split) return fmt::format("http://{}", address);
  std::string host = split->host;
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  const bool ipv6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}:{}", ipv6 ? fmt::format("[{}]", host) : host, split->port);
}

}  // namespace bellwether::cli
