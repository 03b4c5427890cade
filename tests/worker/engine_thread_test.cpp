#include "worker/engine_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "worker/requests.h"

namespace bellwether::worker {
namespace {

namespace asio = boost::asio;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience{120};

// An engine thread and everything it said.
class Driver {
 public:
  explicit Driver(EngineThread::Loader loader)
      : thread_(io_.get_executor(), std::move(loader),
                {.on_progress = [this](double done) { progress_ = done; },
                 .on_loaded = [this](ModelFacts facts, v1::ModelCard,
                                     EngineHandlers::Vocabulary) { facts_ = std::move(facts); },
                 .on_report = [this](const EngineReport& report) { keep(report); },
                 .on_failed = [this](const std::string& reason) { failure_ = reason; }}) {}

  template <class Condition>
  bool until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (!condition()) {
      if (io_.run_one_until(deadline) == 0) return false;
    }
    return true;
  }

  bool stop() {
    bool stopped = false;
    asio::co_spawn(io_, thread_.stop(), [&](const std::exception_ptr&) { stopped = true; });
    return until([&] { return stopped; });
  }

  EngineThread& thread() { return thread_; }

  std::optional<ModelFacts> facts_;
  std::string failure_;
  double progress_ = 0;
  std::map<engine::SequenceId, std::vector<int32_t>> ids_;
  std::vector<engine::SequenceId> admitted_;
  std::vector<EngineReport::Rejection> rejected_;
  std::vector<engine::SequenceId> cancelled_;
  std::set<engine::SequenceId> finished_;
  engine::EngineLoad load_;

 private:
  void keep(const EngineReport& report) {
    admitted_.insert(admitted_.end(), report.admitted.begin(), report.admitted.end());
    rejected_.insert(rejected_.end(), report.rejected.begin(), report.rejected.end());
    cancelled_.insert(cancelled_.end(), report.cancelled.begin(), report.cancelled.end());
    for (const auto& output : report.step.outputs) {
      ids_[output.id].insert(ids_[output.id].end(), output.ids.begin(), output.ids.end());
      if (output.finish != engine::Finish::kNone) finished_.insert(output.id);
    }
    load_ = report.load;
  }

  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  EngineThread thread_;
};

EngineThread::Loader demo_model(int64_t max_num_seqs, int64_t max_num_waiting) {
  return [=](const auto& progress) {
    return load_model({.model = BELLWETHER_DEMO_MODEL,
                       .served_model_name = "nano",
                       .threads = 1,
                       .max_num_seqs = max_num_seqs,
                       .max_num_waiting = max_num_waiting,
                       .kv_blocks = 64},
                      progress);
  };
}

engine::SequenceRequest short_sequence(engine::SequenceId id, int64_t max_tokens) {
  return {.id = id, .prompt_ids = {0, 424, 380, 271}, .sampling = {.temperature = 0}, .max_tokens = max_tokens};
}

TEST(EngineThread, LoadsAndGenerates) {
  Driver driver(demo_model(4, 4));
  ASSERT_TRUE(driver.until([&] { return driver.facts_.has_value(); }));
  EXPECT_EQ(driver.facts_->vocab_size, 2048);
  EXPECT_EQ(driver.facts_->kv_blocks_total, 64);
  EXPECT_THAT(driver.facts_->eos_ids, ElementsAre(1));
  EXPECT_EQ(driver.progress_, 1);
  driver.thread().admit(short_sequence(1, 5));
  ASSERT_TRUE(driver.until([&] { return driver.finished_.contains(1); }));
  EXPECT_EQ(driver.ids_[1].size(), 5u);
  EXPECT_EQ(driver.load_.kv_blocks_used, 0);
  EXPECT_TRUE(driver.stop());
}

TEST(EngineThread, ContextIsNoLongerThanTheKvCache) {
  Driver driver(demo_model(4, 4));
  ASSERT_TRUE(driver.until([&] { return driver.facts_.has_value(); }));
  EXPECT_EQ(driver.facts_->context_tokens_max, 64 * driver.facts_->kv_block_tokens);
}

TEST(EngineThread, AppliesCommandsInTheirOrderSoThatACancelMakesRoom) {
  Driver driver(demo_model(1, 1));
  ASSERT_TRUE(driver.until([&] { return driver.facts_.has_value(); }));
  driver.thread().admit(short_sequence(1, 2000));
  driver.thread().admit(short_sequence(2, 3));
  driver.thread().cancel(1);
  driver.thread().admit(short_sequence(3, 3));
  ASSERT_TRUE(driver.until([&] { return driver.finished_.size() == 2; }));
  EXPECT_THAT(driver.admitted_, ElementsAre(1, 2, 3));
  EXPECT_TRUE(driver.rejected_.empty());
}

TEST(EngineThread, CancelsWhatWaitsAndWhatRuns) {
  Driver driver(demo_model(1, 3));
  ASSERT_TRUE(driver.until([&] { return driver.facts_.has_value(); }));
  for (engine::SequenceId id = 1; id <= 4; ++id) driver.thread().admit(short_sequence(id, 2000));
  ASSERT_TRUE(driver.until([&] { return driver.ids_.contains(1); }));
  for (const engine::SequenceId id : {4, 2, 3, 1}) driver.thread().cancel(id);
  ASSERT_TRUE(driver.until([&] { return driver.cancelled_.size() == 4; }));
  EXPECT_EQ(driver.load_.kv_blocks_used, 0);
  EXPECT_EQ(driver.load_.running + driver.load_.waiting, 0);
  EXPECT_TRUE(driver.finished_.empty());
  EXPECT_FALSE(driver.ids_.contains(4));
}

TEST(EngineThread, ConfirmsTheCancellationOfWhatHasFinished) {
  Driver driver(demo_model(1, 1));
  driver.thread().admit(short_sequence(1, 1));
  ASSERT_TRUE(driver.until([&] { return driver.finished_.contains(1); }));
  driver.thread().cancel(1);
  ASSERT_TRUE(driver.until([&] { return driver.cancelled_.size() == 1; }));
}

TEST(EngineThread, ReportsWhatTheEngineWillNeverTake) {
  Driver driver(demo_model(1, 1));
  driver.thread().admit(short_sequence(1, 1'000'000));
  driver.thread().admit(short_sequence(2, 1));
  ASSERT_TRUE(driver.until([&] { return driver.finished_.contains(2); }));
  ASSERT_EQ(driver.rejected_.size(), 1u);
  EXPECT_EQ(driver.rejected_[0].sequence, 1u);
  EXPECT_NE(driver.rejected_[0].reason, "");
}

TEST(EngineThread, AnExceptionWhileLoadingIsAFailureWithItsReason) {
  Driver driver([](const auto&) -> LoadedModel { throw std::runtime_error("the disk is on fire"); });
  ASSERT_TRUE(driver.until([&] { return !driver.failure_.empty(); }));
  EXPECT_THAT(driver.failure_, HasSubstr("the disk is on fire"));
  EXPECT_TRUE(driver.stop());
}

TEST(EngineThread, StopsInTheMidstOfLoading) {
  Driver driver([](const auto& progress) -> LoadedModel {
    for (int i = 0;; ++i) progress(i % 100 / 100.0);
  });
  ASSERT_TRUE(driver.until([&] { return driver.progress_ > 0; }));
  EXPECT_TRUE(driver.stop());
  EXPECT_EQ(driver.failure_, "");
}

TEST(EngineThread, StopsInTheMidstOfWorkAndTwice) {
  Driver driver(demo_model(1, 1));
  driver.thread().admit(short_sequence(1, 2000));
  ASSERT_TRUE(driver.until([&] { return driver.ids_.contains(1); }));
  EXPECT_TRUE(driver.stop());
  EXPECT_TRUE(driver.stop());
}

TEST(EngineThread, WorksOnOnlyAsFarAheadAsItsReportsAreRead) {
  Driver driver(demo_model(1, 1));
  driver.thread().admit(short_sequence(1, 300));
  ASSERT_TRUE(driver.until([&] { return driver.ids_.contains(1); }));
  // Nobody reads reports while the executor is busy, here in this thread.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  driver.thread().cancel(1);
  ASSERT_TRUE(driver.until([&] { return driver.cancelled_.size() == 1; }));
  EXPECT_LT(driver.ids_[1].size(), 40u);
}

}  // namespace
}  // namespace bellwether::worker
