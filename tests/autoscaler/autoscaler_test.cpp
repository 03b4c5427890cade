// The autoscaler on a real nats-server, with workers that are real processes.
#include "autoscaler/autoscaler.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "autoscaler/local_supervisor.h"
#include "mesh/nats_server.h"
#include "mesh/process.h"
#include "mesh/subjects.h"

namespace bellwether::autoscaler {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class AutoscalerTest : public ::testing::Test {
 protected:
  AutoscalerTest() {
    options_.interval = milliseconds(100);
    options_.policy.scale_down_window = milliseconds(0);
    decisions_ = bus_.subscribe<v1::ScaleDecision>(
        mesh::subjects::kAllScaleDecisions,
        [this](const v1::ScaleDecision& decision, const mesh::BusMessage&) { heard_.push_back(decision); });
    states_ = bus_.subscribe<v1::ReplicaState>(mesh::subjects::kAllReplicaStates,
                                               [this](const v1::ReplicaState& state, const mesh::BusMessage&) {
                                                 workers_[state.replica_id()] = std::stoi(state.version());
                                               });
  }

  ~AutoscalerTest() override {
    if (autoscaler_) await(autoscaler_->stop());
    await(bus_.stop());
  }

  mesh::BusOptions bus_options() {
    mesh::BusOptions options;
    options.url = nats_.url();
    return options;
  }

  void await(boost::asio::awaitable<void> task) {
    bool done = false;
    boost::asio::co_spawn(io_, std::move(task), [&](const std::exception_ptr&) { done = true; });
    run_until([&] { return done; });
  }

  void run_until(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + seconds(30);
    while (!condition()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "waited too long";
      io_.run_one_for(milliseconds(50));
    }
  }

  std::vector<std::string> worker_command(std::vector<std::string> arguments) {
    std::vector<std::string> command = {mesh::program_folder() + "/test_scripted_worker", "--nats-url", nats_.url(),
                                        "--served-model-name", "nano"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return command;
  }

  void start(std::unique_ptr<ReplicaSet> replicas) {
    autoscaler_ =
        std::make_unique<Autoscaler>(io_, bus_, registry_, options_, std::move(replicas), [this] { ready_ = true; });
  }

  void start_supervising(std::vector<std::string> arguments) {
    options_.model = "nano";
    LocalSupervisorOptions options;
    options.command = worker_command(std::move(arguments));
    start(std::make_unique<LocalSupervisor>(io_.get_executor(), options, mesh::steady_now));
  }

  // Waits for a decision made from now on.
  v1::ScaleDecision decision(const std::function<bool(const v1::ScaleDecision&)>& wanted) {
    const size_t old = heard_.size();
    std::vector<v1::ScaleDecision>::iterator found;
    run_until([&] {
      found = std::find_if(heard_.begin() + static_cast<ptrdiff_t>(old), heard_.end(), wanted);
      return found != heard_.end();
    });
    return found == heard_.end() ? v1::ScaleDecision() : *found;
  }

  v1::ScaleDecision decision_with(uint32_t ready, uint32_t desired) {
    return decision([&](const v1::ScaleDecision& decision) {
      return decision.replicas_ready() == ready && decision.replicas_desired() == desired;
    });
  }

  testing::NatsServer nats_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> busy_{io_.get_executor()};
  mesh::Bus bus_{io_.get_executor(), bus_options()};
  prometheus::Registry registry_;
  AutoscalerOptions options_;
  std::unique_ptr<Autoscaler> autoscaler_;
  bool ready_ = false;
  std::vector<v1::ScaleDecision> heard_;
  std::map<std::string, pid_t> workers_;  // heard, by replica
  mesh::Subscription decisions_;
  mesh::Subscription states_;
};

TEST_F(AutoscalerTest, DecidesAboutEveryModelHeard) {
  mesh::ChildProcess worker({worker_command({"--replica-id", "r1", "--kv-use", ".9"}), ""});
  start(nullptr);
  const auto decided = decision_with(1, 2);
  EXPECT_EQ(decided.model(), "nano");
  EXPECT_DOUBLE_EQ(decided.kv_cache_use_mean(), 0.9);
  EXPECT_DOUBLE_EQ(decided.kv_cache_use_target(), 0.5);
  EXPECT_EQ(decided.replicas_pending(), 0);
  EXPECT_GT(decided.reasons_size(), 0);
  EXPECT_TRUE(ready_);
  const std::string metrics = mesh::render_metrics(registry_);
  for (const char* line : {R"(bellwether_autoscaler_replicas_desired{model="nano"} 2)",
                           R"(bellwether_autoscaler_replicas_ready{model="nano"} 1)",
                           R"(bellwether_autoscaler_replicas_pending{model="nano"} 0)",
                           R"(bellwether_autoscaler_kv_cache_use_mean{model="nano"} 0.9)",
                           R"(bellwether_autoscaler_decisions_total{direction="up",model="nano"} 1)"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << "\n" << metrics;
  }
}

TEST_F(AutoscalerTest, StartsTheMinimumAndStopsAllAtTheEnd) {
  options_.policy.replicas_min = 2;
  start_supervising({"--kv-use", ".4"});
  EXPECT_EQ(decision([](const auto& decided) { return decided.replicas_desired() == 2; }).replicas_ready(), 0);
  decision_with(2, 2);
  EXPECT_EQ(workers_.size(), 2);
  await(autoscaler_->stop());
  EXPECT_TRUE(
      std::none_of(heard_.begin(), heard_.end(), [](const auto& decided) { return decided.replicas_desired() != 2; }));
  for (const auto& [id, pid] : workers_) EXPECT_EQ(kill(pid, 0), -1) << id << " still runs";
  await(autoscaler_->stop());
}

TEST_F(AutoscalerTest, AWorkerThatHasNotBeenHeardIsPending) {
  start_supervising({"--mute", "1"});
  const auto decided = decision([](const auto& candidate) { return candidate.replicas_pending() > 0; });
  EXPECT_EQ(decided.replicas_pending(), 1);
  EXPECT_EQ(decided.replicas_ready(), 0);
  EXPECT_EQ(decided.replicas_desired(), 1);
}

TEST_F(AutoscalerTest, ScalesUpToTheMaximumWhenFull) {
  options_.policy.replicas_max = 3;
  start_supervising({"--kv-use", ".9"});
  decision_with(3, 3);
  EXPECT_EQ(workers_.size(), 3) << "no more were ever started";
}

TEST_F(AutoscalerTest, CountsReplicasThatSomebodyElseStarted) {
  std::vector<mesh::ChildProcess> others;
  for (const char* id : {"r1", "r2"}) {
    others.emplace_back(mesh::Command{worker_command({"--replica-id", id, "--kv-use", "0"}), ""});
  }
  run_until([&] { return workers_.size() == 2; });
  options_.policy.replicas_min = 3;
  start_supervising({"--kv-use", "0"});
  decision_with(3, 3);
  EXPECT_EQ(workers_.size(), 3);
}

TEST_F(AutoscalerTest, ReplacesADeadWorker) {
  start_supervising({"--kv-use", ".4"});
  decision_with(1, 1);
  ASSERT_EQ(workers_.size(), 1);
  kill(workers_.begin()->second, SIGKILL);
  run_until([&] { return workers_.size() == 2; });
  decision_with(1, 1);
}

}  // namespace
}  // namespace bellwether::autoscaler
