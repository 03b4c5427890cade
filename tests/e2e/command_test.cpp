// The commands as a person or a script uses them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <boost/json/value.hpp>

#include "e2e/reference.h"
#include "e2e/shared_mesh.h"

namespace bellwether::e2e {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ChatCommand, PrintsTheAnswerAlone) {
  // It finds the mesh by itself; its input and output are no terminal.
  const auto chat = shared_mesh().run_command(
      {"chat", "--temperature=0", "--system=You are a helpful assistant.", "Who won the world series in 2020?"});
  EXPECT_EQ(chat.output, reference_cases()[0].content + "\n");
  EXPECT_EQ(chat.status, 0);
}

TEST(ChatCommand, ShowsTheServersError) {
  const auto chat = shared_mesh().run_command({"chat", "--model=no-such-model", "hello"});
  EXPECT_EQ(chat.status, 1);
  EXPECT_THAT(chat.output, HasSubstr("no-such-model"));
  EXPECT_THAT(chat.output, Not(HasSubstr("{"))) << "the message, not its JSON";
}

TEST(ChatCommand, SaysWhenNobodyAnswers) {
  const auto chat = shared_mesh().run_command({"chat", "--url=http://127.0.0.1:1", "hello"});
  EXPECT_EQ(chat.status, 1);
  EXPECT_THAT(chat.output, HasSubstr("http://127.0.0.1:1"));
}

TEST(StatusCommand, ShowsTheReplica) {
  const boost::json::value replicas = shared_mesh().replicas();
  ASSERT_EQ(replicas.as_array().size(), 1U);
  const boost::json::value& replica = replicas.at(0);
  EXPECT_EQ(replica.at("model"), kModel);
  EXPECT_EQ(replica.at("phase"), "ready");
  EXPECT_EQ(replica.at("ranks_healthy"), 2);
  EXPECT_EQ(replica.at("ranks_total"), 2);
  EXPECT_GT(replica.at("kv_blocks_total").to_number<int>(), 0);
}

TEST(StatusCommand, DrawsATable) {
  const auto status = shared_mesh().run_command({"status"});
  EXPECT_EQ(status.status, 0);
  EXPECT_THAT(status.output, HasSubstr("REPLICA"));
  EXPECT_THAT(status.output, HasSubstr(kModel));
}

TEST(StatusCommand, SaysWhenThereIsNoBus) {
  const auto status = shared_mesh().run_command({"status", "--nats-url=nats://127.0.0.1:1"});
  EXPECT_EQ(status.status, 1);
  EXPECT_THAT(status.output, HasSubstr("nats://127.0.0.1:1"));
}

TEST(Command, KnowsItsNames) {
  EXPECT_EQ(shared_mesh().run_command({"--version"}).status, 0);
  EXPECT_EQ(shared_mesh().run_command({"up", "--help"}).status, 0);
  const auto mistyped = shared_mesh().run_command({"stauts"});
  EXPECT_EQ(mistyped.status, 2);
  EXPECT_THAT(mistyped.output, HasSubstr("\"status\""));
}

}  // namespace
}  // namespace bellwether::e2e
