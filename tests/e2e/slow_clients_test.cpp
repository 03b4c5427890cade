// Clients that take forever: one that reads a byte a second, and ones whose requests never come to an end.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>

#include <boost/json/parse.hpp>

#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"

namespace bellwether::e2e {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A connection that does just what it is told.
class RawConnection {
 public:
  // With buffers so small that what is not read soon stays with the sender.
  explicit RawConnection(const std::string& url) {
    const size_t colon = url.rfind(':');
    sockaddr_in target{};
    target.sin_family = AF_INET;
    target.sin_port = htons(static_cast<uint16_t>(std::stoi(url.substr(colon + 1))));
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int bytes = 4096;
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
      throw std::runtime_error("cannot connect to " + url);
    }
  }
  ~RawConnection() { ::close(socket_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  // False when the other side has closed.
  [[nodiscard]] bool send(std::string_view bytes) const {
    return ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }

  // Up to `bytes_max` bytes; "" at the end, or when nothing comes for `patience`.
  [[nodiscard]] std::string receive(size_t bytes_max, milliseconds patience) {
    std::string bytes(bytes_max, '\0');
    pollfd readable{.fd = socket_, .events = POLLIN, .revents = 0};
    const bool ready = ::poll(&readable, 1, static_cast<int>(patience.count())) > 0;
    const ssize_t count = ready ? ::recv(socket_, bytes.data(), bytes.size(), 0) : 0;
    timed_out_ = !ready;
    bytes.resize(static_cast<size_t>(std::max<ssize_t>(count, 0)));
    return bytes;
  }
  // All that comes till the other side closes. Throws when it does not, for `patience`.
  [[nodiscard]] std::string receive_all(milliseconds patience) {
    std::string all;
    for (std::string more = receive(4096, patience); !more.empty(); more = receive(4096, patience)) all += more;
    if (timed_out_) throw std::runtime_error("the connection stays open");
    return all;
  }

 private:
  int socket_ = -1;
  bool timed_out_ = false;
};

std::string request_head(size_t body_bytes) {
  return "POST /v1/completions HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: " +
         std::to_string(body_bytes) + "\r\n\r\n";
}

std::string body_of(int choices, int tokens) {
  return R"({"model":")" + std::string(kModel) +
         R"(","prompt":[40,41,42,43,44,45],"stream":true,"ignore_eos":true,"n":)" + std::to_string(choices) +
         R"(,"max_tokens":)" + std::to_string(tokens) + R"(,"stream_options":{"include_usage":true}})";
}

// An echo at a pace that fills a slow reader's buffers at once, behind a gateway that has little patience.
class SlowClients : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    mesh_ = std::make_unique<MeshProcess>(
        std::vector<std::string>{"--ranks", "1"},
        std::vector<std::string>{"BELLWETHER_WORKER_ENGINE=echo", "BELLWETHER_WORKER_ECHO_TOKENS_PER_S=400",
                                 "BELLWETHER_WORKER_KV_BLOCKS=2048", "BELLWETHER_API_GATEWAY_WRITE_MS_MAX=1500",
                                 "BELLWETHER_API_GATEWAY_REQUEST_MS_MAX=1500",
                                 "BELLWETHER_API_GATEWAY_IDLE_MS_MAX=2500"});
  }
  static void TearDownTestSuite() { mesh_.reset(); }

  static double aborted() {
    const std::string page = http_get(mesh_->worker_metrics_url()).body;
    std::smatch found;
    const std::regex sample(R"re(vllm:request_success_total\{[^}]*finished_reason="abort"[^}]*\} (\S+))re");
    return std::regex_search(page, found, sample) ? std::stod(found[1]) : 0;
  }
  static double clients_gone() {
    return metric_value(mesh_->url() + "/metrics", "bellwether_gateway_clients_gone_total");
  }
  static double connections() { return metric_value(mesh_->url() + "/metrics", "bellwether_http_connections"); }

  static inline std::unique_ptr<MeshProcess> mesh_;
};

TEST_F(SlowClients, AReaderOfAByteASecondIsCutAndHurtsNobody) {
  constexpr int kTokens = 3000;
  std::atomic<int> events = 0;
  auto other = std::async(std::launch::async, [&] {
    return http_stream(mesh_->url() + "/v1/completions", body_of(1, kTokens), [&](const StreamedReply& so_far) {
      events = so_far.text_events;
      return true;
    });
  });
  ASSERT_TRUE(eventually([&] { return events > 0; }, kPatience));

  const std::string body = body_of(16, kTokens);
  RawConnection slow(mesh_->url());
  ASSERT_TRUE(slow.send(request_head(body.size()) + body));
  std::atomic<bool> over = false;
  std::thread reader([&] {
    while (!over && !slow.receive(1, seconds(1)).empty()) std::this_thread::sleep_for(seconds(1));
  });
  EXPECT_TRUE(eventually([] { return clients_gone() == 1; }, kPatience));
  EXPECT_TRUE(eventually([] { return aborted() == 16; }, kPatience)) << "its choices take the engine's time no more";
  EXPECT_LT(events, kTokens) << "long before they would have ended";
  over = true;
  reader.join();

  const StreamedReply undisturbed = other.get();
  EXPECT_EQ(undisturbed.error, "");
  EXPECT_TRUE(undisturbed.done);
  ASSERT_TRUE(undisturbed.usage.has_value());
  EXPECT_EQ(undisturbed.usage->at("completion_tokens"), kTokens);
}

TEST_F(SlowClients, ABodyThatNeverComesIsAnsweredAndCut) {
  RawConnection silent(mesh_->url());
  ASSERT_TRUE(silent.send(request_head(100)));
  RawConnection half(mesh_->url());
  ASSERT_TRUE(half.send(request_head(100) + R"({"model":)"));
  for (RawConnection* client : {&silent, &half}) {
    const std::string reply = client->receive_all(kPatience);
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 408 "));
    EXPECT_THAT(reply, HasSubstr("did not arrive in time"));
  }
}

// Whoever always sends a little more has no more time than the others.
TEST_F(SlowClients, ARequestThatTricklesIsCutToo) {
  RawConnection trickle(mesh_->url());
  ASSERT_TRUE(trickle.send("GET /v1/models HTTP/1.1\r\nX-Long: "));
  std::string reply;
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (reply.empty() && std::chrono::steady_clock::now() < give_up) {
    if (!trickle.send("x")) break;
    reply = trickle.receive(4096, milliseconds(100));
  }
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 408 "));
}

TEST_F(SlowClients, AConnectionWithoutARequestIsClosed) {
  RawConnection idle(mesh_->url());
  EXPECT_EQ(idle.receive_all(kPatience), "");
}

TEST_F(SlowClients, LeaveNothingBehind) {
  EXPECT_TRUE(eventually([] { return connections() == 1; }, kPatience)) << "the one that asks";
  EXPECT_EQ(metric_value(mesh_->worker_metrics_url(), "vllm:num_requests_running"), 0);
  EXPECT_EQ(http_get(mesh_->url() + "/v1/models").status, 200);
}

}  // namespace
}  // namespace bellwether::e2e
