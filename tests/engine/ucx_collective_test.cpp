#include "engine/ranks/ucx_collective.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "engine/rank_processes.h"
#include "weights/float_formats.h"

namespace bellwether::engine {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Group = std::unique_ptr<UcxCollective>;

// Values whose sum depends on the order of summing.
float value_of(int rank, size_t i) {
  return std::ldexp(static_cast<float>((i * 7919 + static_cast<size_t>(rank) * 104729) % 10007) - 5000.5F,
                    rank % 5 * 3);
}

float sum_of(int ranks, size_t i, float (*value)(int, size_t)) {
  float sum = value(0, i);
  for (int rank = 1; rank < ranks; ++rank) sum += value(rank, i);
  return sum;
}

float bf16_value_of(int rank, size_t i) {
  return weights::float_of_bf16(weights::bf16_of(value_of(rank, i)));
}

std::string check_all_reduce(Collective& group, size_t size) {
  std::vector<float> data(size + 1, -7);  // one more, to see that it is left alone
  for (size_t i = 0; i < size; ++i) data[i] = value_of(group.rank(), i);
  group.all_reduce(std::span(data).first(size));
  for (size_t i = 0; i < size; ++i) {
    if (data[i] != sum_of(group.ranks(), i, value_of)) return "all_reduce of " + std::to_string(size);
  }
  return data[size] == -7 ? "" : "all_reduce wrote beyond its end";
}

std::string check_all_reduce_bf16(Collective& group, size_t size) {
  std::vector<uint16_t> data(size);
  for (size_t i = 0; i < size; ++i) data[i] = weights::bf16_of(value_of(group.rank(), i));
  group.all_reduce_bf16(data);
  for (size_t i = 0; i < size; ++i) {
    const uint16_t expected = weights::bf16_of(sum_of(group.ranks(), i, bf16_value_of));
    if (data[i] != expected) return "all_reduce_bf16 of " + std::to_string(size);
  }
  return "";
}

std::string check_all_gather(Collective& group, size_t size) {
  const std::vector<std::byte> mine(size, static_cast<std::byte>(group.rank() + 1));
  std::vector<std::byte> out(size * static_cast<size_t>(group.ranks()));
  group.all_gather(mine, out);
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i] != static_cast<std::byte>(i / size + 1)) return "all_gather of " + std::to_string(size);
  }
  return "";
}

std::string check_broadcast(Collective& group, size_t size, int root) {
  std::vector<std::byte> data(size, static_cast<std::byte>(group.rank() + 1));
  group.broadcast(data, root);
  for (const std::byte value : data) {
    if (value != static_cast<std::byte>(root + 1)) return "broadcast of " + std::to_string(size);
  }
  return "";
}

std::string check_everything(Collective& group) {
  for (const size_t size : {0, 1, 7, 256, 1000, 4097, 40000, 300001}) {
    std::string problems = check_all_reduce(group, size) + check_all_reduce_bf16(group, size) +
                           check_all_gather(group, size) + check_broadcast(group, size, 0) +
                           check_broadcast(group, size, group.ranks() - 1);
    if (!problems.empty()) return problems;
  }
  return "fine";
}

class UcxRanks : public testing::TestWithParam<int> {};

// With every transport, and with those alone that hosts have between them.
class UcxTransports : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { setenv("UCX_TLS", GetParam(), 1); }
  void TearDown() override { unsetenv("UCX_TLS"); }
};

INSTANTIATE_TEST_SUITE_P(Transports, UcxTransports, testing::Values("all", "tcp,self"),
                         [](const auto& info) { return std::string(info.param, 3); });

TEST_P(UcxRanks, ExchangeWhatTheyShould) {
  // More ranks than CPUs take turns.
  const RankProcesses ranks(GetParam(), [](Group& group, const StringPipe&) { return check_everything(*group); },
                            {.connect = 60s, .progress = 30s});
  for (int rank = 0; rank < GetParam(); ++rank) EXPECT_EQ(ranks.pipe(rank).receive(), "fine") << "rank " << rank;
}

INSTANTIATE_TEST_SUITE_P(Ranks, UcxRanks, testing::Values(1, 2, 3, 4, 8, 16));

// Ranks that are now ahead, now behind, so that each waits for the others in every way there is.
TEST_P(UcxTransports, RanksOfUnevenPaceLoseNothing) {
  const auto work = [](Group& group, const StringPipe&) {
    uint32_t random = 1 + static_cast<uint32_t>(group->rank());
    for (int i = 0; i < 200; ++i) {
      random = random * 1664525 + 1013904223;
      if (random >> 24 < 12) std::this_thread::sleep_for(std::chrono::microseconds(random >> 12 & 2047));
      if (std::string problem = check_all_reduce(*group, 1 + static_cast<size_t>(i)); !problem.empty()) return problem;
      if (std::string problem = check_broadcast(*group, 100, i % 3); !problem.empty()) return problem;
    }
    return std::string("fine");
  };
  const RankProcesses ranks(3, work, {.connect = 60s, .progress = 30s});
  for (int rank = 0; rank < 3; ++rank) EXPECT_EQ(ranks.pipe(rank).receive(), "fine");
}

TEST_P(UcxTransports, ReportsItsTransports) {
  const RankProcesses ranks(2, [](Group& group, const StringPipe&) { return group->transports(); });
  EXPECT_THAT(ranks.pipe(0).receive(),
              testing::AnyOf(testing::HasSubstr("posix"), testing::HasSubstr("sysv"), testing::HasSubstr("tcp")));
}

// How long until the group broke, in milliseconds, and why.
std::string time_to_break(Collective& group, size_t size) {
  const auto began = Clock::now();
  std::string reason;
  try {
    for (;;) (void)check_all_reduce(group, size);
  } catch (const GroupBroken& broken) {
    reason = broken.what();
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
  try {
    (void)check_all_gather(group, 1);
    return "a broken group went on";
  } catch (const GroupBroken&) {
    return took < 1500ms ? reason : reason + ", after " + std::to_string(took.count()) + " ms";
  }
}

// Ranks 0 and 2 go on after rank 1 has met `signal`.
void expect_break(int signal, size_t size) {
  const auto work = [size](Group& group, const StringPipe& parent) {
    (void)check_all_reduce(*group, 10);
    parent.send("here");
    (void)parent.receive();
    return time_to_break(*group, size);
  };
  const RankProcesses ranks(3, work);
  for (int rank = 0; rank < 3; ++rank) ASSERT_EQ(ranks.pipe(rank).receive(), "here");
  kill(ranks.pid(1), signal);
  for (const int rank : {0, 2}) ranks.pipe(rank).send("go on");
  for (const int rank : {0, 2})
    EXPECT_THAT(ranks.pipe(rank).receive(), testing::MatchesRegex("rank [012].*(lost|advance).*"));
}

TEST_P(UcxTransports, AKilledRankBreaksTheGroup) {
  for (const size_t size : {1000, 300000}) expect_break(SIGKILL, size);
}

TEST_P(UcxTransports, AStoppedRankBreaksTheGroup) {
  for (const size_t size : {1000, 300000}) expect_break(SIGSTOP, size);
}

TEST_P(UcxTransports, AbortWakesAWaitingRank) {
  const auto work = [](Group& group, const StringPipe& parent) -> std::string {
    if (group->rank() == 0) return parent.receive();
    std::thread other([&] {
      (void)parent.receive();
      group->abort();
    });
    std::string outcome = "no end";
    try {
      (void)check_broadcast(*group, 100, 0);
    } catch (const GroupBroken& broken) {
      outcome = broken.what();
    }
    other.join();
    return outcome;
  };
  const RankProcesses ranks(2, work);
  ranks.await_sleep(1);
  ranks.pipe(1).send("abort");
  EXPECT_THAT(ranks.pipe(1).receive(), testing::HasSubstr("told to break up"));
}

TEST_P(UcxTransports, WaitingForThePlanTakesNoCpuAndHasNoLimit) {
  const auto work = [](Group& group, const StringPipe&) -> std::string {
    if (group->rank() == 0) std::this_thread::sleep_for(700ms);  // the time itself is the subject
    rusage before{};
    getrusage(RUSAGE_SELF, &before);
    std::string problem = check_broadcast(*group, 100, 0);
    rusage after{};
    getrusage(RUSAGE_SELF, &after);
    const auto microseconds = [](const rusage& usage) {
      return 1'000'000 * (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + usage.ru_utime.tv_usec +
             usage.ru_stime.tv_usec;
    };
    const auto used = microseconds(after) - microseconds(before);
    return problem + (used < 50'000 ? "little" : "used " + std::to_string(used) + " us");
  };
  const RankProcesses ranks(2, work, {.connect = 10s, .progress = 300ms});
  EXPECT_EQ(ranks.pipe(0).receive(), "little");
  EXPECT_EQ(ranks.pipe(1).receive(), "little");
}

TEST_P(UcxTransports, UnequalSizesBreakTheGroup) {
  for (const auto [first, second] : {std::pair{100, 200}, {200, 100}, {0, 100}, {20000, 10}}) {
    const auto work = [&](Group& group, const StringPipe&) {
      (void)check_broadcast(*group, static_cast<size_t>(group->rank() == 0 ? first : second), 0);
      return std::string("no end");
    };
    const RankProcesses ranks(2, work);
    (void)ranks.pipe(0).receive();
    EXPECT_NE(ranks.pipe(1).receive(), "no end") << first << " and " << second;
  }
}

TEST_P(UcxTransports, ARankThatNeverComesIsNotWaitedForLong) {
  const UcxEndpoint silent;
  const auto began = Clock::now();
  UcxEndpoint endpoint;
  const std::vector<std::string> addresses = {endpoint.address(), silent.address()};
  EXPECT_THROW((void)UcxCollective::connect(std::move(endpoint), 0, addresses, {.connect = 200ms}), GroupBroken);
  EXPECT_LT(Clock::now() - began, 3s);
}

TEST_P(UcxTransports, TheSameProcessesFormAnotherGroup) {
  const auto work = [](Group& group, const StringPipe& parent) {
    group->abort();
    const auto again = RankProcesses::join(parent, group->rank(), group->ranks(), {});
    return check_all_reduce(*again, 1000) + "fine";
  };
  const RankProcesses ranks(2, work);
  ranks.meet();
  for (const int rank : {0, 1}) EXPECT_EQ(ranks.pipe(rank).receive(), "fine");
}

}  // namespace
}  // namespace bellwether::engine
