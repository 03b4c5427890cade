#include "engine/echo/echo_forward.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/loop_driver.h"

namespace bellwether::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using testing::ElementsAre;

constexpr EngineOptions kSmall = {.threads = 1, .kv_blocks = 16, .batch_tokens_max = 64};

// A loop around an echo that notes how long it would have paused.
struct EchoLoop {
  explicit EchoLoop(const EngineOptions& options, const EchoPace& pace = {}) {
    ModelConfig config = tiny_config();
    config.eos_token_ids = {0, 7};
    const EngineOptions resolved = resolve(options, config);
    loop = std::make_unique<EngineLoop>(
        config, resolved, std::make_unique<EchoForward>(config, resolved.kv_blocks, pace, [this](nanoseconds pause) {
          pauses.push_back(pause);
        }));
  }

  Outcomes run(const std::vector<SequenceRequest>& requests) {
    for (const SequenceRequest& request : requests) {
      std::string reason;
      EXPECT_EQ(loop->admit(request, &reason), Admission::kAdmitted) << reason;
    }
    Outcomes outcomes;
    drain(*loop, outcomes, std::ssize(requests.front().output_ids));
    return outcomes;
  }

  std::vector<nanoseconds> pauses;
  std::unique_ptr<EngineLoop> loop;
};

std::vector<int32_t> echo_of(const std::vector<int32_t>& prompt, int64_t tokens) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens; ++i) {
    const int32_t id = prompt[static_cast<size_t>(i % std::ssize(prompt))];
    ids.push_back(id == 0 || id == 7 ? 1 : id);
  }
  return ids;
}

TEST(EchoForward, RepeatsThePromptAtAnyTemperature) {
  SequenceRequest request = request_of(1, 5, 12, 2);
  request.prompt_ids = {3, 0, 7, 9, 4};
  EXPECT_THAT(EchoLoop(kSmall).run({request})[1].ids, ElementsAre(3, 1, 1, 9, 4, 3, 1, 1, 9, 4, 3, 1));
}

TEST(EchoForward, ManySequencesInPiecesAndPreempted) {
  std::vector<SequenceRequest> requests;
  for (SequenceId id = 1; id <= 5; ++id) requests.push_back(request_of(id, 100 + static_cast<int64_t>(id), 150, 1));
  EchoLoop echo({.threads = 1, .kv_blocks = 10, .batch_tokens_max = 48});
  const Outcomes outcomes = echo.run(requests);
  for (const SequenceRequest& request : requests) {
    EXPECT_EQ(outcomes.at(request.id).ids, echo_of(request.prompt_ids, 150));
    EXPECT_EQ(outcomes.at(request.id).finish, Finish::kLength);
  }
}

TEST(EchoForward, GoesOnWhereAnotherStopped) {
  SequenceRequest request = request_of(1, 70, 90);
  const auto whole = echo_of(request.prompt_ids, 90);
  request.output_ids = {whole.begin(), whole.begin() + 33};
  EXPECT_EQ(EchoLoop(kSmall).run({request})[1].ids, std::vector<int32_t>(whole.begin() + 33, whole.end()));
}

TEST(EchoForward, StopsWhereTheRequestSays) {
  SequenceRequest request = request_of(1, 20, 90);
  request.prompt_ids[11] = 60;
  request.stop_ids = {60};
  const Outcome outcome = EchoLoop(kSmall).run({request})[1];
  EXPECT_EQ(outcome.finish, Finish::kStop);
  EXPECT_LE(outcome.ids.size(), 12U);
  EXPECT_EQ(outcome.ids.back(), 60);
}

TEST(EchoForward, ASharedPromptIsReadOnce) {
  EchoLoop echo({.threads = 1, .kv_blocks = 64, .batch_tokens_max = 512});
  SequenceRequest request = request_of(1, 200, 2);
  EXPECT_EQ(echo.run({request})[1].cached_tokens, 0);
  request.id = 2;
  const Outcome outcome = echo.run({request})[2];
  EXPECT_EQ(outcome.cached_tokens, 3 * kBlockTokens);
  EXPECT_EQ(outcome.ids, echo_of(request.prompt_ids, 2));
}

TEST(EchoForward, PausesForItsPace) {
  EchoLoop echo(kSmall, {.tokens_per_s = 100, .prefill_tokens_per_s = 1000});
  echo.run({request_of(1, 20, 3), request_of(2, 30, 3)});
  EXPECT_THAT(echo.pauses, ElementsAre(milliseconds(50), milliseconds(10), milliseconds(10)));
  EXPECT_EQ(step_time({}, 1000, 1000), milliseconds(0));
  EXPECT_EQ(step_time({.tokens_per_s = 100, .prefill_tokens_per_s = 1000}, 20, 1), milliseconds(30));
}

TEST(EchoForward, ABusyEngineKeepsItsRate) {
  const std::chrono::steady_clock::time_point begin{milliseconds(1000)};
  EXPECT_EQ(step_due(begin, begin + milliseconds(4), milliseconds(10)), begin + milliseconds(10));
  EXPECT_EQ(step_due(begin, begin + milliseconds(9), milliseconds(10)), begin + milliseconds(10));
  EXPECT_EQ(step_due(begin, begin + milliseconds(50), milliseconds(10)), begin + milliseconds(60));
}

TEST(EchoForward, ReallyPauses) {
  const EchoForward::Pause pause = EchoForward::real_pause();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 3; ++i) pause(milliseconds(5));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(15));
}

}  // namespace
}  // namespace bellwether::engine
