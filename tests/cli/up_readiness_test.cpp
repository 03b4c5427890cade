#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "cli/up/readiness.h"
#include "mesh/error.h"

namespace bellwether::cli {
namespace {

using boost::asio::ip::tcp;
using ::testing::HasSubstr;

TEST(NatsPorts, TakesTheFirstClientUrl) {
  EXPECT_EQ(parse_nats_ports(R"({"nats":["nats://127.0.0.1:35331"],"monitoring":null})"), "nats://127.0.0.1:35331");
  for (const char* text : {"", "{", "[]", "{}", R"({"nats":null})", R"({"nats":[]})", R"({"nats":[7]})"}) {
    EXPECT_EQ(parse_nats_ports(text), std::nullopt) << text;
  }
  EXPECT_EQ(port_of_url("nats://127.0.0.1:35331"), 35331);
}

TEST(HttpAddress, IsInTheStartedLineOfThatProcess) {
  const std::string log =
      "not JSON\n"
      "{\"event\":\"started\",\"http\":\"127.0.0.1:1\",\"pid\":7}\n"
      "{\"event\":\"ready\",\"http\":\"127.0.0.1:2\",\"pid\":8}\n"
      "{\"event\":\"started\",\"http\":\"127.0.0.1:3\",\"pid\":8}\n"
      "{\"event\":\"started\",\"http\":\"127.0";
  EXPECT_EQ(find_http_address(log, 8), "127.0.0.1:3");
  EXPECT_EQ(find_http_address(log, 9), std::nullopt);
}

TEST(RequireFreeAddress, NamesAnAddressThatIsTaken) {
  boost::asio::io_context io;
  tcp::acceptor taken(io, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
  const std::string address = "127.0.0.1:" + std::to_string(taken.local_endpoint().port());
  try {
    require_free_address(address);
    FAIL() << "it is taken";
  } catch (const mesh::Error& error) {
    EXPECT_EQ(error.code(), mesh::ErrorCode::kUnavailable);
    EXPECT_THAT(error.what(), HasSubstr(address));
    EXPECT_EQ(error.field(), "--http");
  }
  taken.close();
  EXPECT_NO_THROW(require_free_address(address));
  EXPECT_NO_THROW(require_free_address("127.0.0.1:0"));
}

TEST(RequireFreeAddress, RejectsWhatIsNoAddress) {
  for (const char* address : {"", "8000", "127.0.0.1:", ":8000", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:80 "}) {
    EXPECT_THROW(require_free_address(address), mesh::Error) << address;
  }
}

TEST(ClientUrl, IsReachableFromThisMachine) {
  EXPECT_EQ(client_url("127.0.0.1:8000"), "http://127.0.0.1:8000");
  EXPECT_EQ(client_url("0.0.0.0:8000"), "http://127.0.0.1:8000");
  EXPECT_EQ(client_url("[::]:8000"), "http://[::1]:8000");
  EXPECT_EQ(client_url("localhost:1"), "http://localhost:1");
}

}  // namespace
}  // namespace bellwether::cli
