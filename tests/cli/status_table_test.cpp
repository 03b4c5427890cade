#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "cli/status/table.h"

namespace bellwether::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::ReplicaState ready_replica() {
  v1::ReplicaState state;
  state.set_replica_id("nano-1");
  state.set_model("nano");
  state.set_phase(v1::REPLICA_PHASE_READY);
  state.set_version("0.1.0");
  state.set_metrics_address("127.0.0.1:99");
  state.mutable_capacity()->set_kv_blocks_total(200);
  state.mutable_load()->set_kv_blocks_used(3);
  state.mutable_load()->set_running(2);
  state.mutable_load()->set_waiting(1);
  state.mutable_rates()->set_decode_tokens_per_s(1523.6);
  v1::RankHealth& head = *state.add_ranks();
  head.set_host("here");
  head.set_device("cpu");
  head.set_healthy(true);
  head.set_steps(77);
  v1::RankHealth& follower = *state.add_ranks();
  follower.set_rank(1);
  follower.set_host("far\x1b[31maway");
  return state;
}

TEST(StatusTable, LinesUpItsColumns) {
  v1::ReplicaState loading;
  loading.set_replica_id("a-longer-id");
  loading.set_model("nano");
  loading.set_phase(v1::REPLICA_PHASE_LOADING);
  loading.set_loading_progress(0.45F);
  EXPECT_EQ(status_table({ready_replica(), loading}),
            "REPLICA      MODEL  PHASE        RANKS  RUNNING  WAITING  KV    TOKENS/S  VERSION  METRICS\n"
            "nano-1       nano   ready        1/2    2        1        1.5%  1524      0.1.0    127.0.0.1:99\n"
            "a-longer-id  nano   loading 45%  0/0    0        0        0.0%  -         -        -\n"
            "\n"
            "REPLICA  RANK  HOST         DEVICE  HEALTH  STEPS\n"
            "nano-1   0     here         cpu     ok      77\n"
            "nano-1   1     far[31maway  -       lost    0\n");
}

TEST(StatusTable, HasNoTableOfRanksWhereHeadsAreAlone) {
  v1::ReplicaState alone = ready_replica();
  alone.mutable_ranks()->RemoveLast();
  EXPECT_THAT(status_table({alone}), Not(HasSubstr("RANK ")));
}

TEST(StatusTable, SaysWhyAReplicaFailed) {
  v1::ReplicaState failed = ready_replica();
  failed.set_phase(v1::REPLICA_PHASE_FAILED);
  failed.set_failure("rank 1 is stuck");
  EXPECT_THAT(status_table({failed}), HasSubstr("nano-1: rank 1 is stuck\n"));
}

TEST(StatusTable, LetsNoReplicaDriveTheTerminal) {
  v1::ReplicaState state = ready_replica();
  state.set_model("na\x1b[31mno\nx");
  EXPECT_THAT(status_table({state}), Not(HasSubstr("\x1b")));
  EXPECT_THAT(status_table({state}), HasSubstr("na[31mno x"));
}

TEST(StatusJson, TellsEverything) {
  const std::string text = status_json({ready_replica()});
  EXPECT_EQ(text.find('\n'), text.size() - 1) << "one line";
  const auto replica = boost::json::parse(text).at("replicas").at(0);
  EXPECT_EQ(replica.at("replica_id"), "nano-1");
  EXPECT_EQ(replica.at("phase"), "ready");
  EXPECT_EQ(replica.at("ranks_healthy"), 1);
  EXPECT_EQ(replica.at("ranks_total"), 2);
  EXPECT_EQ(replica.at("kv_cache_use"), 0.015);
  EXPECT_EQ(replica.at("metrics_address"), "127.0.0.1:99");
  EXPECT_EQ(boost::json::parse(status_json({})).at("replicas").as_array().size(), 0U);
}

}  // namespace
}  // namespace bellwether::cli
