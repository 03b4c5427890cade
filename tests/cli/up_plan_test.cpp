#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "cli/up/hints.h"
#include "cli/up/plan.h"
#include "cli/up/restart.h"
#include "cli/up/settings.h"

namespace bellwether::cli {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::StartsWith;

PlanOptions make_options() {
  PlanOptions options;
  options.programs = {
      .api_gateway = "/b/gateway", .scheduler = "/b/scheduler", .autoscaler = "/b/scaler", .worker = "/b/worker"};
  options.model = "/models/nano";
  options.http_address = "127.0.0.1:8000";
  options.nats_url = "nats://127.0.0.1:4000";
  options.log_folder = "/logs";
  return options;
}

std::vector<std::string> names(const std::vector<PlannedProcess>& planned) {
  std::vector<std::string> all;
  for (const PlannedProcess& process : planned) all.push_back(process.name);
  return all;
}

std::vector<std::string> arguments_of(const std::vector<PlannedProcess>& planned, const std::string& name) {
  const auto found = std::find_if(planned.begin(), planned.end(), [&](const auto& p) { return p.name == name; });
  return found == planned.end() ? std::vector<std::string>() : found->command.arguments;
}

TEST(UpPlan, HasTheFourServices) {
  const auto planned = plan_services(make_options());
  EXPECT_THAT(names(planned), ElementsAre("scheduler", "autoscaler", "api-gateway", "worker-1"));
  for (const PlannedProcess& process : planned) {
    EXPECT_EQ(process.command.log_file, "/logs/" + process.name + ".log");
    EXPECT_THAT(process.command.arguments, IsSupersetOf({"--nats-url=nats://127.0.0.1:4000", "--log-format=json"}));
  }
  EXPECT_EQ(arguments_of(planned, "worker-1")[0], "/b/worker");
}

TEST(UpPlan, OnlyTheGatewayHasTheGivenAddress) {
  PlanOptions options = make_options();
  options.http_address = "0.0.0.0:80";
  options.allow_remote = true;
  for (const PlannedProcess& process : plan_services(options)) {
    const bool is_gateway = process.role == Role::kGateway;
    EXPECT_EQ(std::ranges::count(process.command.arguments, "--http=0.0.0.0:80"), is_gateway) << process.name;
    EXPECT_EQ(std::ranges::count(process.command.arguments, "--http=127.0.0.1:0"), !is_gateway) << process.name;
    EXPECT_EQ(std::ranges::count(process.command.arguments, "--allow-remote"), is_gateway) << process.name;
  }
}

TEST(UpPlan, KeysAreTheGateways) {
  PlanOptions options = make_options();
  options.api_keys_file = "keys.yaml";
  options.allow_anonymous = true;
  for (const PlannedProcess& process : plan_services(options)) {
    const bool is_gateway = process.role == Role::kGateway;
    EXPECT_EQ(std::ranges::count(process.command.arguments, "--api-keys-file=keys.yaml"), is_gateway) << process.name;
    EXPECT_EQ(std::ranges::count(process.command.arguments, "--allow-anonymous"), is_gateway) << process.name;
  }
}

TEST(UpPlan, WorkersShareTheModelAndDifferInTheirLogs) {
  PlanOptions options = make_options();
  options.replicas = 3;
  options.replicas_max = 3;
  options.threads = 2;
  std::set<std::string> logs;
  for (const PlannedProcess& process : plan_services(options)) {
    if (process.role != Role::kWorker) continue;
    logs.insert(process.command.log_file);
    EXPECT_THAT(process.command.arguments, IsSupersetOf({"--model=/models/nano", "--threads=2"}));
  }
  EXPECT_EQ(logs.size(), 3U);
}

TEST(UpPlan, ARankIsAProcessAndFollowersKnowTheirHead) {
  PlanOptions options = make_options();
  options.replicas = 2;
  options.replicas_max = 2;
  options.ranks = 2;
  options.head_ports = {20001, 20002};
  const auto planned = plan_services(options);
  EXPECT_THAT(names(planned), ElementsAre("scheduler", "autoscaler", "api-gateway", "worker-1-rank-0",
                                          "worker-1-rank-1", "worker-2-rank-0", "worker-2-rank-1"));
  EXPECT_EQ(planned[3].role, Role::kWorker);
  EXPECT_EQ(planned[4].role, Role::kFollower);
  EXPECT_THAT(arguments_of(planned, "worker-1-rank-0"),
              IsSupersetOf({"--ranks=2", "--rank=0", "--grpc=127.0.0.1:20001", "--model=/models/nano"}));
  EXPECT_THAT(arguments_of(planned, "worker-1-rank-0"), Each(Not(StartsWith("--head"))));
  EXPECT_THAT(arguments_of(planned, "worker-2-rank-1"),
              IsSupersetOf({"--ranks=2", "--rank=1", "--head=127.0.0.1:20002", "--grpc=127.0.0.1:0", "--threads=1"}));
}

TEST(UpPlan, ProcessesTakeTheDevicesInTurn) {
  PlanOptions options = make_options();
  options.replicas = 2;
  options.replicas_max = 2;
  options.ranks = 2;
  options.head_ports = {20001, 20002};
  for (const PlannedProcess& process : plan_services(options)) {
    EXPECT_THAT(process.command.arguments, Each(Not(StartsWith("--device")))) << process.name;
  }
  options.devices = {"cuda:0", "cuda:1", "cuda:2"};
  const auto planned = plan_services(options);
  EXPECT_THAT(arguments_of(planned, "worker-1-rank-0"), Contains("--device=cuda:0"));
  EXPECT_THAT(arguments_of(planned, "worker-1-rank-1"), Contains("--device=cuda:1"));
  EXPECT_THAT(arguments_of(planned, "worker-2-rank-0"), Contains("--device=cuda:2"));
  EXPECT_THAT(arguments_of(planned, "worker-2-rank-1"), Contains("--device=cuda:0"));
  EXPECT_THAT(arguments_of(planned, "api-gateway"), Each(Not(StartsWith("--device"))));
}

TEST(UpPlan, SupervisedWorkersHaveTheDevice) {
  PlanOptions options = make_options();
  options.replicas_max = 2;
  options.devices = {"cuda:0"};
  EXPECT_THAT(arguments_of(plan_services(options), "autoscaler"), Contains("--worker-argument=--device=cuda:0"));
}

TEST(DefaultRanks, ArePairsOnCpusAndOneForEachGpu) {
  EXPECT_EQ(default_ranks({}, 1), 2);
  EXPECT_EQ(default_ranks({"cpu"}, 3), 2);
  EXPECT_EQ(default_ranks({"cuda:0"}, 1), 1);
  EXPECT_EQ(default_ranks({"cuda:0"}, 2), 1);
  EXPECT_EQ(default_ranks({"cuda:0", "cuda:1", "cuda:2", "cuda:3"}, 1), 4);
  EXPECT_EQ(default_ranks({"cuda:0", "cuda:1", "cuda:2", "cuda:3"}, 2), 2);
}

TEST(UpPlan, SeveralSchedulersAreNumbered) {
  PlanOptions options = make_options();
  options.schedulers = 2;
  const auto planned = plan_services(options);
  EXPECT_THAT(names(planned), ElementsAre("scheduler-1", "scheduler-2", "autoscaler", "api-gateway", "worker-1"));
  EXPECT_EQ(planned[1].role, Role::kScheduler);
  EXPECT_EQ(planned[1].command.log_file, "/logs/scheduler-2.log");
}

TEST(UpPlan, NoReplicaIsAMeshWithoutWorkers) {
  PlanOptions options = make_options();
  options.replicas = 0;
  options.replicas_max = 0;
  EXPECT_THAT(names(plan_services(options)), ElementsAre("scheduler", "autoscaler", "api-gateway"));
}

TEST(UpPlan, TheAutoscalerSupervisesWhenThereIsRoomToScale) {
  PlanOptions options = make_options();
  EXPECT_THAT(arguments_of(plan_services(options), "autoscaler"), Not(Contains("--supervise")));
  options.replicas_max = 4;
  options.ranks = 2;
  const auto planned = plan_services(options);
  EXPECT_THAT(names(planned), Not(Contains("worker-1"))) << "its workers are its own";
  EXPECT_THAT(arguments_of(planned, "autoscaler"),
              IsSupersetOf({"--supervise", "--min-replicas=1", "--max-replicas=4", "--worker-program=/b/worker",
                            "--worker-log-folder=/logs", "--worker-ranks=2", "--worker-argument=--model=/models/nano",
                            "--model-name=nano", "--worker-argument=--shutdown-grace-ms=30000"}));
}

TEST(UpPlan, PassesOnWhatIsGiven) {
  PlanOptions options = make_options();
  options.config_file = "/etc/mesh.yaml";
  options.nats_credentials_file = "/etc/mesh.creds";
  options.log_level = "debug";
  options.shutdown_grace_ms = 7;
  for (const PlannedProcess& process : plan_services(options)) {
    EXPECT_THAT(process.command.arguments,
                IsSupersetOf({"--config=/etc/mesh.yaml", "--nats-credentials-file=/etc/mesh.creds", "--log-level=debug",
                              "--shutdown-grace-ms=7"}));
  }
}

TEST(UpPlan, NatsServerListensOnThisMachineOnly) {
  EXPECT_THAT(plan_nats_server("/n", 0, "/logs").command.arguments,
              ElementsAre("/n", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", "/logs"));
  EXPECT_THAT(plan_nats_server("/n", 4333, "/logs").command.arguments, Contains("4333"));
}

TEST(StopStages, CoverEveryRoleOnceGatewayFirstBusLast) {
  const auto stages = stop_stages(false);
  std::map<Role, int> seen;
  for (const auto& stage : stages) {
    for (const Role role : stage) ++seen[role];
  }
  EXPECT_EQ(seen.size(), 6U);
  for (const auto& [role, count] : seen) EXPECT_EQ(count, 1);
  EXPECT_THAT(stages.front(), ElementsAre(Role::kGateway));
  EXPECT_THAT(stages.back(), ElementsAre(Role::kNats));
  EXPECT_THAT(stages[1], ElementsAre(Role::kWorker)) << "heads finish with their followers";
  EXPECT_THAT(stages[2], ElementsAre(Role::kFollower));
}

TEST(ThreadsPerWorker, ShareTheCpus) {
  EXPECT_EQ(threads_per_worker(8, 1), 8);
  EXPECT_EQ(threads_per_worker(8, 3), 2);
  EXPECT_EQ(threads_per_worker(2, 5), 1);
  EXPECT_EQ(threads_per_worker(2, 0), 2);
}

TEST(RestartPolicy, WaitsLongerEachTimeAndGivesUp) {
  RestartPolicy policy(RestartLimits{});
  const mesh::TimePoint now{};
  std::vector<std::chrono::milliseconds> waits;
  while (const auto wait = policy.died(now, now)) waits.push_back(*wait);
  ASSERT_EQ(waits.size(), static_cast<size_t>(RestartLimits{}.restarts_max));
  EXPECT_EQ(waits[0], RestartPolicy::kWaitMin);
  EXPECT_EQ(waits[1], 2 * RestartPolicy::kWaitMin);
  EXPECT_TRUE(std::is_sorted(waits.begin(), waits.end()));
  EXPECT_EQ(waits.back(), RestartLimits{}.wait_max);
}

TEST(RestartPolicy, ForgivesAChildThatLivedLong) {
  RestartPolicy policy(RestartLimits{});
  const mesh::TimePoint start{};
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(policy.died(start, start));
  EXPECT_EQ(policy.died(start, start + RestartPolicy::kSteady), RestartPolicy::kWaitMin);
}

TEST(ConfigFile, IsFoundAmongTheArguments) {
  EXPECT_EQ(config_file({"--http", "x", "--config", "/a"}), "/a");
  EXPECT_EQ(config_file({"--config=/b"}), "/b");
  EXPECT_EQ(config_file({"--", "--config=/b"}), "");
  EXPECT_EQ(config_file({"--config"}), "");
}

TEST(ReadyText, BeginsWithTheAddressAndQuotesTheModel) {
  const std::string text = ready_text("http://127.0.0.1:8000", "it's", "/bin/bellwether");
  EXPECT_THAT(text, StartsWith("ready http://127.0.0.1:8000\n"));
  EXPECT_THAT(text, HasSubstr(R"("model": "it'\''s")"));
  EXPECT_THAT(text, HasSubstr("\n  /bin/bellwether chat\n"));
  EXPECT_THAT(text, HasSubstr("Who won the world series in 2020?"));
}

}  // namespace
}  // namespace bellwether::cli
