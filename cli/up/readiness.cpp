#include "cli/up/readiness.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <iterator>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "mesh/address.h"
#include "mesh/error.h"

namespace bellwether::cli {
namespace {

namespace json = boost::json;
using boost::asio::ip::tcp;

// The text of a member, "" when there is none.
std::string_view text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  const json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view() : std::string_view(*text);
}

void try_listen(const mesh::Address& wanted) {
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
  const size_t scheme_end = url.find("://");
  return mesh::parse_address(std::string(scheme_end == std::string_view::npos ? url : url.substr(scheme_end + 3))).port;
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

void require_free_address(const std::string& text) {
  mesh::Address address;
  try {
    address = mesh::parse_address(text);
  } catch (const mesh::Error& error) {
    throw mesh::Error(error.code(), error.what(), "--http");
  }
  if (address.port == 0) return;
  try {
    try_listen(address);
  } catch (const boost::system::system_error& error) {
    throw mesh::Error(mesh::ErrorCode::kUnavailable,
                      fmt::format("cannot listen on {}: {}; choose another HOST:PORT", text, error.code().message()),
                      "--http");
  }
}

std::string client_url(const std::string& address) {
  mesh::Address reachable = mesh::parse_address(address);
  if (reachable.host == "0.0.0.0") reachable.host = "127.0.0.1";
  if (reachable.host == "::") reachable.host = "::1";
  return "http://" + mesh::to_string(reachable);
}

}  // namespace bellwether::cli
