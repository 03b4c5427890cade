#include "mesh/address.h"

#include <fmt/format.h>

#include <charconv>
#include <system_error>
#include <utility>

#include <boost/asio/ip/address.hpp>

#include "mesh/error.h"

namespace bellwether::mesh {

Address parse_address(const std::string& text) {
  const size_t colon = text.rfind(':');
  std::string host = text.substr(0, colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const bool plain = bracketed || host.find(':') == std::string::npos;
  const std::string port = colon == std::string::npos ? std::string() : text.substr(colon + 1);
  Address address;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (host.empty() || !plain || port.empty() || error != std::errc() || end != port.data() + port.size()) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{:?} is not HOST:PORT", text));
  }
  address.host = std::move(host);
  return address;
}

std::string to_string(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(v6 ? "[{}]:{}" : "{}:{}"), address.host, address.port);
}

bool is_loopback(const Address& address) {
  if (address.host == "localhost") return true;
  boost::system::error_code error;
  const auto ip = boost::asio::ip::make_address(address.host, error);
  return !error && ip.is_loopback();
}

}  // namespace bellwether::mesh
