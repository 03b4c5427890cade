#include "mesh/free_port.h"

#include <iterator>
#include <random>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "mesh/error.h"

namespace bellwether::mesh {
namespace {

using boost::asio::ip::tcp;

constexpr uint16_t kPortMin = 20000;
constexpr uint16_t kPortMax = 32767;
constexpr int kAttemptsMax = 1000;

}  // namespace

std::vector<uint16_t> free_loopback_ports(int count) {
  boost::asio::io_context io;
  std::vector<tcp::acceptor> held;  // until all are found
  std::vector<uint16_t> found;
  std::random_device random;
  std::uniform_int_distribution<uint16_t> ports(kPortMin, kPortMax);
  for (int attempt = 0; attempt < kAttemptsMax && std::ssize(found) < count; ++attempt) {
    const tcp::endpoint endpoint(boost::asio::ip::address_v4::loopback(), ports(random));
    tcp::acceptor acceptor(io);
    boost::system::error_code error;
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.bind(endpoint, error);
    if (error) continue;
    held.push_back(std::move(acceptor));
    found.push_back(endpoint.port());
  }
  if (std::ssize(found) < count) throw Error(ErrorCode::kUnavailable, "there are not enough free ports on 127.0.0.1");
  return found;
}

}  // namespace bellwether::mesh
