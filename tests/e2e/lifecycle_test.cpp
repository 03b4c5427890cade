// Processes that end, in order and out of it. Each test has a mesh of its own.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

#include "e2e/disturbed_stream.h"
#include "e2e/http_client.h"
#include "e2e/mesh_process.h"
#include "e2e/reference.h"

namespace bellwether::e2e {
namespace {

using std::chrono::seconds;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

constexpr int kTokens = 400;
constexpr int kTokensMax = 7000;  // as long as a context holds: nobody waits for its end

std::string chat_url(const MeshProcess& mesh) {
  return mesh.url() + "/v1/chat/completions";
}

void expect_whole(const StreamedReply& reply) {
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.error, "");
  EXPECT_TRUE(reply.done);
  ASSERT_TRUE(reply.usage);
  EXPECT_EQ(reply.usage->at("completion_tokens"), kTokens);
}

bool serves(const MeshProcess& mesh) {
  return http_post(chat_url(mesh), reference_cases()[0].request(false)).status == 200;
}

TEST(Lifecycle, AWorkerToldToStopFinishesItsStreams) {
  MeshProcess mesh;
  const StreamedReply reply =
      stream_through(chat_url(mesh), kTokens, [&] { ASSERT_EQ(kill(mesh.pid_of("worker-1-rank-0"), SIGTERM), 0); });
  expect_whole(reply);
  EXPECT_TRUE(mesh.up().wait_for_line("worker-1-rank-0 ended with status 0", kPatience)) << mesh.up().output();
  EXPECT_TRUE(mesh.up().wait_for_line("worker-1-rank-0 was started again", kPatience));
  EXPECT_TRUE(eventually([&] { return serves(mesh); }, kPatience)) << "the new worker takes over";
  EXPECT_EQ(mesh.stop(), 0);
}

TEST(Lifecycle, AKilledSchedulerIsReplacedAndStreamsGoOn) {
  MeshProcess mesh;
  const StreamedReply reply = stream_through(chat_url(mesh), kTokens, [&] {
    ASSERT_EQ(kill(mesh.pid_of("scheduler"), SIGKILL), 0);
    EXPECT_TRUE(mesh.up().wait_for_line("scheduler was ended by signal 9", kPatience));
  });
  expect_whole(reply);
  EXPECT_TRUE(mesh.up().wait_for_line("scheduler was started again", kPatience)) << mesh.up().output();
  EXPECT_TRUE(eventually([&] { return serves(mesh); }, kPatience));
  EXPECT_EQ(mesh.stop(), 0);
}

TEST(Lifecycle, TheGatewayIsStartedAgainWhereItWas) {
  MeshProcess mesh;
  ASSERT_EQ(kill(mesh.pid_of("api-gateway"), SIGKILL), 0);
  ASSERT_TRUE(mesh.up().wait_for_line("api-gateway was started again", kPatience)) << mesh.up().output();
  const auto answers = [&] {
    try {
      return serves(mesh);
    } catch (const std::runtime_error&) {
      return false;  // it does not listen yet
    }
  };
  EXPECT_TRUE(eventually(answers, kPatience));
  EXPECT_EQ(mesh.stop(), 0);
}

TEST(Lifecycle, ARequestNobodyCanServeIs503WithRetryAfter) {
  MeshProcess mesh({"--replicas", "0"});
  const Reply reply = http_post(chat_url(mesh), reference_cases()[0].request(false));
  EXPECT_EQ(reply.status, 503) << reply.body;
  ASSERT_TRUE(reply.headers.contains("retry-after"));
  EXPECT_GE(std::stoi(reply.headers.at("retry-after")), 1);
  EXPECT_TRUE(reply.json().at("error").at("message").is_string());
  EXPECT_EQ(mesh.run_command({"status"}).status, 3) << "no replica was heard";
  EXPECT_EQ(mesh.stop(), 0);
}

TEST(Lifecycle, CtrlCFinishesStreamsAndLeavesNothingBehind) {
  MeshProcess mesh;
  const std::vector<pid_t> processes = descendants_of(mesh.up().pid());
  EXPECT_EQ(processes.size(), 6U) << "nats-server, the four services, the worker with two ranks";
  const StreamedReply reply = stream_through(chat_url(mesh), kTokens, [&] { mesh.up().signal(SIGINT); });
  expect_whole(reply);
  EXPECT_EQ(mesh.up().wait_for_exit(kPatience), 0) << mesh.up().output();
  EXPECT_TRUE(all_end(processes, seconds(0)));
}

TEST(Lifecycle, ASecondCtrlCEndsItAtOnce) {
  MeshProcess mesh;
  const std::vector<pid_t> processes = descendants_of(mesh.up().pid());
  std::promise<void> begun;
  auto stream = std::async(std::launch::async, [&] {
    try {
      static_cast<void>(http_stream(chat_url(mesh), endless_request(reference_cases()[0], kTokensMax),
                                    [&](const StreamedReply& so_far) {
                                      if (so_far.text_events == 1) begun.set_value();
                                      return true;
                                    }));
    } catch (const std::runtime_error&) {
      // It was cut off.
    }
  });
  ASSERT_EQ(begun.get_future().wait_for(kPatience), std::future_status::ready);
  mesh.up().signal(SIGINT);
  ASSERT_TRUE(mesh.up().wait_for_line("stopping", kPatience));
  mesh.up().signal(SIGINT);
  EXPECT_EQ(mesh.up().wait_for_exit(seconds(5)), 130);
  EXPECT_TRUE(all_end(processes, seconds(5)));
}

TEST(Lifecycle, NothingOutlivesAKilledUp) {
  MeshProcess mesh;
  const std::vector<pid_t> processes = descendants_of(mesh.up().pid());
  mesh.up().signal(SIGKILL);
  EXPECT_EQ(mesh.up().wait_for_exit(kPatience), 128 + SIGKILL);
  EXPECT_TRUE(all_end(processes, kPatience));
}

// `bellwether up` that is expected not to come up. Returns its output.
std::string failed_start(const std::vector<std::string>& arguments, int expected_status) {
  const std::filesystem::path folder = make_test_folder();
  std::vector<std::string> command = {bellwether_program(), "up", "--log-folder", (folder / "logs").string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  Program up(command, {"XDG_RUNTIME_DIR=" + folder.string()}, folder);
  EXPECT_EQ(up.wait_for_exit(kPatience), expected_status) << up.output();
  std::filesystem::remove_all(folder);
  return up.output();
}

TEST(Lifecycle, ATakenPortIsNamed) {
  const int taken = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  ASSERT_EQ(bind(taken, reinterpret_cast<sockaddr*>(&address), bytes), 0);
  ASSERT_EQ(listen(taken, 1), 0);
  ASSERT_EQ(getsockname(taken, reinterpret_cast<sockaddr*>(&address), &bytes), 0);
  const std::string name = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  const std::string output = failed_start({"--http", name}, 1);
  EXPECT_THAT(output, HasSubstr(name));
  EXPECT_THAT(output, HasSubstr("--http"));
  close(taken);
}

TEST(Lifecycle, AModelThatCannotBeLoadedIsTheCauseShown) {
  const std::filesystem::path model = make_test_folder();
  std::ofstream(model / "config.json") << "{\"model_type\": \"unheard-of\"}";
  const std::string output = failed_start({"--http", "127.0.0.1:0", "--model", model.string()}, 1);
  EXPECT_THAT(output, ContainsRegex("worker-1-rank-[01] ended with status 1"));
  EXPECT_THAT(output, ContainsRegex("worker-1-rank-[01].log"));
  std::filesystem::remove_all(model);
}

}  // namespace
}  // namespace bellwether::e2e
