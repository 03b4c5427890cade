#include "mesh/address.h"

#include <gtest/gtest.h>

#include <string>

#include "mesh/error.h"

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

}  // namespace
}  // namespace bellwether::mesh
