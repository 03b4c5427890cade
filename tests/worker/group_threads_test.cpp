// A head's engine and a follower's, each on its thread as in their processes, joined by what stands for a transport.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "engine/thread_group.h"
#include "worker/engine_thread.h"
#include "worker/follower_thread.h"
#include "worker/requests.h"

namespace bellwether::worker {
namespace {

namespace asio = boost::asio;
using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience{120};
constexpr int kRanks = 2;

// The ranks of this process, a group for each epoch. An address that was used before is refused, as UCX would.
class Transport {
 public:
  OpenEndpoint opener() {
    return [this]() -> std::unique_ptr<RankEndpoint> {
      const std::lock_guard lock(mutex_);
      return std::make_unique<Endpoint>(*this, "endpoint-" + std::to_string(++opened_));
    };
  }

  bool refuses = false;  // to connect

 private:
  class Endpoint final : public RankEndpoint {
   public:
    Endpoint(Transport& transport, std::string address) : transport_(transport), address_(std::move(address)) {}
    [[nodiscard]] std::string address() const override { return address_; }
    std::unique_ptr<engine::Collective> connect(const GroupPlace& place) override {
      const std::lock_guard lock(transport_.mutex_);
      if (transport_.refuses) throw engine::GroupBroken("nobody there");
      EXPECT_EQ(place.addresses.at(static_cast<size_t>(place.rank)), address_);
      auto& group = transport_.groups_[place.epoch];
      if (!group) group = std::make_shared<engine::ThreadGroup>(kRanks);
      return group->member(place.rank);
    }

   private:
    Transport& transport_;
    const std::string address_;
  };

  std::mutex mutex_;
  int opened_ = 0;
  std::map<uint64_t, std::shared_ptr<engine::ThreadGroup>> groups_;
};

WorkerSettings settings(int rank) {
  return {.model = BELLWETHER_DEMO_MODEL,
          .served_model_name = "nano",
          .threads = 1,
          .kv_blocks = 64,
          .draft_tokens = 0,
          .rank = rank,
          .ranks = kRanks};
}

class GroupThreadsTest : public ::testing::Test {
 protected:
  template <class Condition>
  bool until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (io_.run_one_until(deadline) == 0) return false;
    }
    return true;
  }

  void join(uint64_t epoch) {
    follower_.load(
        [](const auto& progress) { return load_follower(settings(1), engine_options(settings(1)), progress); });
    ASSERT_TRUE(until([&] { return !head_address_.empty() && !follower_address_.empty(); }));
    join_again(epoch);
  }

  void join_again(uint64_t epoch) {
    ASSERT_TRUE(until([&] { return !head_address_.empty() && !follower_address_.empty(); }));
    GroupPlace place{.epoch = epoch,
                     .addresses = {std::exchange(head_address_, ""), std::exchange(follower_address_, "")}};
    head_.join(place);
    place.rank = 1;
    follower_.follow(place);
    ASSERT_TRUE(until([&] { return head_joined_ == epoch && follower_running_ == epoch; }));
  }

  void admit(engine::SequenceId id, int64_t max_tokens) {
    const ReferenceIds prompt = reference_prompt();
    head_.admit({.id = id, .prompt_ids = prompt, .sampling = {.temperature = 0}, .max_tokens = max_tokens});
  }

  using ReferenceIds = std::vector<int32_t>;
  static ReferenceIds reference_prompt() {
    const auto ids = testing::reference_cases()[0].prompt_ids;
    return {ids.begin(), ids.end()};
  }
  static ReferenceIds reference_answer(size_t tokens) {
    const auto ids = testing::reference_cases()[0].greedy_ids;
    return {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(tokens)};
  }

  void keep(const EngineReport& report) {
    for (const auto& output : report.step.outputs) {
      ids_[output.id].insert(ids_[output.id].end(), output.ids.begin(), output.ids.end());
    }
    load_ = report.load;
    dumped_ = dumped_ || report.kv_dump.has_value();
  }

  bool stop() {
    int stopped = 0;
    asio::co_spawn(io_, head_.stop(), [&](const std::exception_ptr&) { ++stopped; });
    if (!until([&] { return stopped == 1; })) return false;
    asio::co_spawn(io_, follower_.stop(), [&](const std::exception_ptr&) { ++stopped; });
    return until([&] { return stopped == 2; });
  }

  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  Transport transport_;
  std::string head_address_;
  std::string follower_address_;
  uint64_t head_joined_ = 0;
  uint64_t follower_running_ = 0;
  std::map<uint64_t, std::string> head_left_;
  std::map<uint64_t, std::string> follower_left_;
  std::string failure_;
  std::map<engine::SequenceId, ReferenceIds> ids_;
  engine::EngineLoad load_;
  bool dumped_ = false;
  EngineThread head_{io_.get_executor(),
                     [](const auto& progress) { return load_model(settings(0), progress); },
                     {.on_progress = [](double) {},
                      .on_loaded = [](ModelFacts, v1::ModelCard, EngineHandlers::Vocabulary) {},
                      .on_report = [this](const EngineReport& report) { keep(report); },
                      .on_failed = [this](const std::string& reason) { failure_ = reason; },
                      .on_reachable = [this](std::string address) { head_address_ = std::move(address); },
                      .on_joined = [this](uint64_t epoch, const ModelFacts&) { head_joined_ = epoch; },
                      .on_left = [this](uint64_t epoch, const std::string& reason) { head_left_[epoch] = reason; }},
                     transport_.opener()};
  FollowerThread follower_{
      io_.get_executor(),
      transport_.opener(),
      {.on_progress = [](double) {},
       .on_reachable = [this](std::string address) { follower_address_ = std::move(address); },
       .on_running = [this](uint64_t epoch) { follower_running_ = epoch; },
       .on_left = [this](uint64_t epoch, const std::string& reason) { follower_left_[epoch] = reason; },
       .on_failed = [this](const std::string& reason) { failure_ = reason; }}};
};

TEST_F(GroupThreadsTest, ComputeTogetherAndEndInOrder) {
  join(1);
  admit(1, 20);
  ASSERT_TRUE(until([&] { return ids_[1].size() == 20; }));
  EXPECT_EQ(ids_[1], reference_answer(20));
  EXPECT_GE(follower_.steps(), 19u) << "the last may not have been counted yet";
  EXPECT_TRUE(stop());
  EXPECT_EQ(follower_left_.at(1), "") << "the head ended the group in order";
  EXPECT_EQ(failure_, "");
}

TEST_F(GroupThreadsTest, AFollowerThatLeavesInTheMidstOfAStepBreaksTheGroupWhichIsJoinedAgain) {
  join(1);
  admit(1, 2000);
  ASSERT_TRUE(until([&] { return !ids_[1].empty(); }));
  follower_.leave(1);
  ASSERT_TRUE(until([&] { return head_left_.contains(1) && follower_left_.contains(1); }));
  EXPECT_NE(head_left_[1], "");
  EXPECT_NE(follower_left_[1], "");
  const size_t ids = ids_[1].size();
  admit(2, 5);  // to nobody: there is no group
  head_.dump_kv();
  ASSERT_TRUE(until([&] { return dumped_; })) << "who asks is answered all the same";
  EXPECT_EQ(load_.running + load_.waiting, 0);
  join_again(2);
  admit(3, 5);
  ASSERT_TRUE(until([&] { return ids_[3].size() == 5; }));
  EXPECT_EQ(ids_[3], reference_answer(5));
  EXPECT_EQ(ids_[1].size(), ids) << "what the broken group had is forgotten";
  EXPECT_FALSE(ids_.contains(2));
  EXPECT_LE(follower_.steps(), 20u) << "counted from the start of the group";
  EXPECT_TRUE(stop());
}

TEST_F(GroupThreadsTest, AnIdleHeadLeavesWhenToldTo) {
  join(1);
  head_.leave(7);  // another group's: no matter
  head_.leave(1);
  ASSERT_TRUE(until([&] { return head_left_.contains(1); }));
  ASSERT_TRUE(until([&] { return follower_left_.contains(1); }));
  EXPECT_FALSE(head_left_.contains(7));
  join_again(8);
  EXPECT_TRUE(stop());
}

TEST_F(GroupThreadsTest, AGroupThatCannotConnectIsLeftAtOnce) {
  transport_.refuses = true;
  ASSERT_TRUE(until([&] { return !head_address_.empty(); }));
  head_.join({.epoch = 1, .addresses = {std::exchange(head_address_, ""), "x"}});
  ASSERT_TRUE(until([&] { return head_left_.contains(1) && !head_address_.empty(); }));
  EXPECT_THAT(head_left_[1], HasSubstr("nobody there"));
  EXPECT_EQ(head_joined_, 0u);
  EXPECT_TRUE(stop());
}

TEST_F(GroupThreadsTest, StopsInTheMidstOfWork) {
  join(1);
  admit(1, 2000);
  ASSERT_TRUE(until([&] { return !ids_[1].empty(); }));
  EXPECT_TRUE(stop());
}

}  // namespace
}  // namespace bellwether::worker
