#include "worker/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "worker/requests.h"

namespace bellwether::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

AdmissionFacts ready_head() {
  return {.model = "bellwether-nano",
          .phase = v1::REPLICA_PHASE_READY,
          .limits = {.vocab_size = 2048,
                     .eos_ids = {1},
                     .sequences_max = 2,
                     .waiting_max = 3,
                     .kv_blocks_total = 512,
                     .kv_block_tokens = 64,
                     .context_tokens_max = 100},
          .requests_live = 0,
          .now_unix_ms = 5000};
}

v1::GenerateRequest good_request() {
  return testing::request_for("r1", {0, 5, 7}, 10);
}

TEST(Admission, TakesAGoodRequest) {
  EXPECT_FALSE(refuse(ready_head(), good_request()));
}

struct BadRequest {
  std::string said;  // the message begins with it
  std::function<void(v1::GenerateRequest&)> spoil;
};

class InvalidRequest : public ::testing::TestWithParam<BadRequest> {};

TEST_P(InvalidRequest, IsRefusedNamingTheField) {
  v1::GenerateRequest request = good_request();
  GetParam().spoil(request);
  const auto refused = refuse(ready_head(), request);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code(), v1::REFUSAL_CODE_INVALID);
  EXPECT_THAT(refused->message(), StartsWith(GetParam().said));
  EXPECT_EQ(refused->retry_after_ms(), 0u);
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

INSTANTIATE_TEST_SUITE_P(
    EachField, InvalidRequest,
    ::testing::Values(
        BadRequest{"request_id", [](auto& r) { r.clear_request_id(); }},
        BadRequest{"request_id", [](auto& r) { r.set_request_id(std::string(kIdBytesMax + 1, 'x')); }},
        BadRequest{"gateway_id", [](auto& r) { r.clear_gateway_id(); }},
        BadRequest{"gateway_id", [](auto& r) { r.set_gateway_id(std::string(kIdBytesMax + 1, 'x')); }},
        BadRequest{"attempt", [](auto& r) { r.set_attempt(0); }},
        BadRequest{"prompt_ids is empty", [](auto& r) { r.clear_prompt_ids(); }},
        BadRequest{"prompt_ids[1] is 2048", [](auto& r) { r.set_prompt_ids(1, 2048); }},
        BadRequest{"prompt_ids[2] is 4294967295", [](auto& r) { r.set_prompt_ids(2, 0xFFFFFFFF); }},
        BadRequest{"output_ids[0] is 2048", [](auto& r) { r.add_output_ids(2048); }},
        BadRequest{"stop_ids[1] is 2048", [](auto& r) { r.add_stop_ids(2048); }},
        BadRequest{"stop_ids has more",
                   [](auto& r) {
                     for (int i = 0; i < kStopIdsMax; ++i) r.add_stop_ids(3);
                   }},
        BadRequest{"max_tokens is 0", [](auto& r) { r.set_max_tokens(0); }},
        BadRequest{"max_tokens is 2",
                   [](auto& r) {
                     r.set_max_tokens(2);
                     r.add_output_ids(4);
                     r.add_output_ids(4);
                   }},
        BadRequest{"prompt_ids and max_tokens make 101", [](auto& r) { r.set_max_tokens(98); }},
        BadRequest{"prompt_ids and max_tokens make 4294967298", [](auto& r) { r.set_max_tokens(0xFFFFFFFF); }},
        BadRequest{"sampling is missing", [](auto& r) { r.clear_sampling(); }},
        BadRequest{"sampling.temperature", [](auto& r) { r.mutable_sampling()->set_temperature(-1); }},
        BadRequest{"sampling.temperature", [](auto& r) { r.mutable_sampling()->set_temperature(kNan); }},
        BadRequest{"sampling.top_p", [](auto& r) { r.mutable_sampling()->set_top_p(0); }},
        BadRequest{"sampling.top_k", [](auto& r) { r.mutable_sampling()->set_top_k(0x80000000); }},
        BadRequest{"sampling.top_logprobs", [](auto& r) { r.mutable_sampling()->set_top_logprobs(21); }},
        BadRequest{"sampling.top_logprobs", [](auto& r) { r.mutable_sampling()->set_top_logprobs(0xFFFFFFFF); }}));

TEST(Admission, TakesWhatFitsTheContextExactly) {
  v1::GenerateRequest request = good_request();
  request.set_max_tokens(97);
  EXPECT_FALSE(refuse(ready_head(), request));
}

TEST(Admission, RefusesAnotherModelByName) {
  v1::GenerateRequest request = good_request();
  request.set_model("somebody-else");
  const auto refused = refuse(ready_head(), request);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code(), v1::REFUSAL_CODE_UNKNOWN_MODEL);
  EXPECT_THAT(refused->message(), HasSubstr("bellwether-nano"));
}

TEST(Admission, RefusesWhenFullAndSaysWhenToComeAgain) {
  AdmissionFacts head = ready_head();
  head.requests_live = 4;
  EXPECT_FALSE(refuse(head, good_request()));
  head.requests_live = 5;
  const auto refused = refuse(head, good_request());
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code(), v1::REFUSAL_CODE_OVERLOADED);
  EXPECT_GT(refused->retry_after_ms(), 0u);
}

TEST(Admission, RefusesWhatHasWaitedPastItsDeadline) {
  v1::GenerateRequest request = good_request();
  request.set_deadline_unix_ms(5000);
  EXPECT_FALSE(refuse(ready_head(), request));
  request.set_deadline_unix_ms(4999);
  const auto refused = refuse(ready_head(), request);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code(), v1::REFUSAL_CODE_OVERLOADED);
}

TEST(Admission, RefusesInEveryPhaseButReady) {
  const auto code_in = [](v1::ReplicaPhase phase) {
    AdmissionFacts head = ready_head();
    head.phase = phase;
    const auto refused = refuse(head, good_request());
    return refused ? refused->code() : v1::REFUSAL_CODE_UNSPECIFIED;
  };
  EXPECT_EQ(code_in(v1::REPLICA_PHASE_LOADING), v1::REFUSAL_CODE_NO_REPLICA);
  EXPECT_EQ(code_in(v1::REPLICA_PHASE_FAILED), v1::REFUSAL_CODE_NO_REPLICA);
  EXPECT_EQ(code_in(v1::REPLICA_PHASE_DRAINING), v1::REFUSAL_CODE_DRAINING);
  EXPECT_EQ(code_in(v1::REPLICA_PHASE_STOPPED), v1::REFUSAL_CODE_DRAINING);
}

TEST(Admission, HandsTheEngineEveryField) {
  v1::GenerateRequest request = good_request();
  request.add_output_ids(9);
  request.add_stop_ids(6);
  request.set_priority(-3);
  request.mutable_sampling()->set_temperature(0.5F);
  request.mutable_sampling()->set_top_p(0.25F);
  request.mutable_sampling()->set_top_k(40);
  request.mutable_sampling()->set_seed(0xFFFFFFFFFFFFFFFF);
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->set_top_logprobs(7);
  const engine::SequenceRequest sequence = sequence_of(request, 12, ready_head().limits);
  EXPECT_EQ(sequence.id, 12u);
  EXPECT_THAT(sequence.prompt_ids, ElementsAre(0, 5, 7));
  EXPECT_THAT(sequence.output_ids, ElementsAre(9));
  EXPECT_THAT(sequence.stop_ids, ElementsAre(1, 6));
  EXPECT_EQ(sequence.max_tokens, 10);
  EXPECT_EQ(sequence.priority, -3);
  EXPECT_EQ(sequence.sampling.temperature, 0.5F);
  EXPECT_EQ(sequence.sampling.top_p, 0.25F);
  EXPECT_EQ(sequence.sampling.top_k, 40);
  EXPECT_EQ(sequence.sampling.seed, 0xFFFFFFFFFFFFFFFF);
  EXPECT_TRUE(sequence.sampling.logprobs);
  EXPECT_EQ(sequence.sampling.top_logprobs, 7);
}

TEST(Admission, IgnoringEosKeepsTheOtherStopIds) {
  v1::GenerateRequest request = good_request();
  request.add_stop_ids(6);
  request.set_ignore_eos(true);
  EXPECT_THAT(sequence_of(request, 1, ready_head().limits).stop_ids, ElementsAre(6));
}

}  // namespace
}  // namespace bellwether::worker
