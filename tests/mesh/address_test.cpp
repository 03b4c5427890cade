#include "mesh/address.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "mesh/error.h"
#include "mesh/free_port.h"

namespace bellwether::mesh {
namespace {

TEST(Address, IsHostAndPort) {
  for (const char* text : {"127.0.0.1:0", "localhost:65535", "[::1]:80", "example.org:8000"}) {
    EXPECT_EQ(to_string(parse_address(text)), text);
  }
  EXPECT_EQ(parse_address("[::1]:80").host, "::1");
  EXPECT_EQ(parse_address("[::1]:80").port, 80);
  for (const char* text : {"", ":", "80", "127.0.0.1", "127.0.0.1:", ":80", "[]:80", "::1:80", "h:http", "h:-1",
                           "h: 80", "h:80 ", "h:65536", "h:080000000000"}) {
    EXPECT_THROW((void)parse_address(text), Error) << text;
  }
}

TEST(Address, IsLoopbackWhenNobodyElseCanReachIt) {
  for (const char* text : {"127.0.0.1:1", "127.3.2.1:1", "[::1]:1", "localhost:1"}) {
    EXPECT_TRUE(is_loopback(parse_address(text))) << text;
  }
  for (const char* text : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.org:1", "127.0.0.1.example.org:1"}) {
    EXPECT_FALSE(is_loopback(parse_address(text))) << text;
  }
}

TEST(FreePorts, AreDifferentAndBelowThoseThatSystemsHandOut) {
  const std::vector<uint16_t> ports = free_loopback_ports(50);
  EXPECT_EQ(std::set<uint16_t>(ports.begin(), ports.end()).size(), 50u);
  for (const uint16_t port : ports) EXPECT_TRUE(port >= 20000 && port < 32768) << port;
}

}  // namespace
}  // namespace bellwether::mesh
