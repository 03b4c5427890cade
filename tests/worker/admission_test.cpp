#include "worker/admission.h"

#include "mesh/cache_salt.h"

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
          .sequences_live = 0,
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
        BadRequest{"choices is empty", [](auto& r) { r.clear_choices(); }},
        BadRequest{"choices has more than 128",
                   [](auto& r) {
                     for (uint32_t i = 1; i <= kChoicesMax; ++i) r.add_choices()->set_index(i);
                   }},
        BadRequest{"choices has 6, more than the 5 sequences",
                   [](auto& r) {
                     for (uint32_t i = 1; i < 6; ++i) r.add_choices()->set_index(i);
                   }},
        BadRequest{"choices[0].index is 128", [](auto& r) { r.mutable_choices(0)->set_index(kChoicesMax); }},
        BadRequest{"choices[1].index is 0", [](auto& r) { r.add_choices(); }},
        BadRequest{"choices[0].output_ids[0] is 2048", [](auto& r) { r.mutable_choices(0)->add_output_ids(2048); }},
        BadRequest{"stop_ids[1] is 2048", [](auto& r) { r.add_stop_ids(2048); }},
        BadRequest{"stop_ids has more",
                   [](auto& r) {
                     for (int i = 0; i < kStopIdsMax; ++i) r.add_stop_ids(3);
                   }},
        BadRequest{"max_tokens is 0", [](auto& r) { r.set_max_tokens(0); }},
        BadRequest{"choices[1].output_ids has 2 tokens, but max_tokens is 2",
                   [](auto& r) {
                     r.set_max_tokens(2);
                     r.add_choices()->set_index(1);
                     r.mutable_choices(1)->add_output_ids(4);
                     r.mutable_choices(1)->add_output_ids(4);
                   }},
        BadRequest{"min_tokens is 11", [](auto& r) { r.set_min_tokens(11); }},
        BadRequest{"prompt_logprobs", [](auto& r) { r.set_prompt_logprobs(21); }},
        BadRequest{"cache_salt", [](auto& r) { r.set_cache_salt(std::string(kCacheSaltBytesMax + 1, 'x')); }},
        BadRequest{"prompt_ids and max_tokens make 101", [](auto& r) { r.set_max_tokens(98); }},
        BadRequest{"prompt_ids and max_tokens make 4294967298", [](auto& r) { r.set_max_tokens(0xFFFFFFFF); }},
        BadRequest{"sampling is missing", [](auto& r) { r.clear_sampling(); }},
        BadRequest{"sampling.temperature", [](auto& r) { r.mutable_sampling()->set_temperature(-1); }},
        BadRequest{"sampling.temperature", [](auto& r) { r.mutable_sampling()->set_temperature(kNan); }},
        BadRequest{"sampling.top_p", [](auto& r) { r.mutable_sampling()->set_top_p(0); }},
        BadRequest{"sampling.top_k", [](auto& r) { r.mutable_sampling()->set_top_k(0x80000000); }},
        BadRequest{"sampling.min_p", [](auto& r) { r.mutable_sampling()->set_min_p(1.5F); }},
        BadRequest{"sampling.repetition_penalty", [](auto& r) { r.mutable_sampling()->set_repetition_penalty(0); }},
        BadRequest{"sampling.presence_penalty", [](auto& r) { r.mutable_sampling()->set_presence_penalty(3); }},
        BadRequest{"sampling.frequency_penalty", [](auto& r) { r.mutable_sampling()->set_frequency_penalty(kNan); }},
        BadRequest{"sampling.logit_bias", [](auto& r) { r.mutable_sampling()->add_logit_bias()->set_bias(-101); }},
        BadRequest{"sampling.logit_bias has more",
                   [](auto& r) {
                     for (int i = 0; i <= kLogitBiasesMax; ++i) r.mutable_sampling()->add_logit_bias();
                   }},
        BadRequest{"sampling.logit_bias[0].id is 2048",
                   [](auto& r) { r.mutable_sampling()->add_logit_bias()->set_id(2048); }},
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
  head.sequences_live = 4;
  EXPECT_FALSE(refuse(head, good_request()));
  v1::GenerateRequest two = good_request();
  two.add_choices()->set_index(1);
  EXPECT_TRUE(refuse(head, two));
  head.sequences_live = 5;
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
  request.add_stop_ids(6);
  request.set_priority(-3);
  request.set_min_tokens(4);
  request.set_prompt_logprobs(5);
  v1::Sampling& asked = *request.mutable_sampling();
  asked.set_temperature(0.5F);
  asked.set_top_p(0.25F);
  asked.set_top_k(40);
  asked.set_min_p(0.125F);
  asked.set_repetition_penalty(1.5F);
  asked.set_presence_penalty(-0.5F);
  asked.set_frequency_penalty(0.75F);
  asked.add_logit_bias()->set_id(9);
  asked.mutable_logit_bias(0)->set_bias(-100);
  asked.set_logprobs(true);
  asked.set_top_logprobs(7);
  const auto sequences = sequences_of(request, 12, ready_head().limits);
  ASSERT_EQ(sequences.size(), 1u);
  const engine::SequenceRequest& sequence = sequences[0];
  EXPECT_EQ(sequence.id, 12u);
  EXPECT_THAT(sequence.prompt_ids, ElementsAre(0, 5, 7));
  EXPECT_THAT(sequence.stop_ids, ElementsAre(1, 6));
  EXPECT_EQ(sequence.max_tokens, 10);
  EXPECT_EQ(sequence.min_tokens, 4);
  EXPECT_EQ(sequence.priority, -3);
  EXPECT_EQ(sequence.cache_salt, 0u);
  EXPECT_EQ(sequence.prompt_logprobs, 5);
  EXPECT_EQ(sequence.sampling.temperature, 0.5F);
  EXPECT_EQ(sequence.sampling.top_p, 0.25F);
  EXPECT_EQ(sequence.sampling.top_k, 40);
  EXPECT_EQ(sequence.sampling.min_p, 0.125F);
  EXPECT_EQ(sequence.sampling.repetition_penalty, 1.5F);
  EXPECT_EQ(sequence.sampling.presence_penalty, -0.5F);
  EXPECT_EQ(sequence.sampling.frequency_penalty, 0.75F);
  EXPECT_THAT(sequence.sampling.logit_bias, ElementsAre(std::pair(9, -100.0F)));
  EXPECT_TRUE(sequence.sampling.logprobs);
  EXPECT_EQ(sequence.sampling.top_logprobs, 7);
}

TEST(Admission, MakesASequenceOfEachChoice) {
  v1::GenerateRequest request = good_request();
  request.set_prompt_logprobs(0);
  request.mutable_choices(0)->set_index(3);
  request.mutable_choices(0)->set_seed(0xFFFFFFFFFFFFFFFF);
  v1::Choice& second = *request.add_choices();
  second.set_index(1);
  second.set_seed(7);
  second.add_output_ids(9);
  ASSERT_FALSE(refuse(ready_head(), request));
  const auto sequences = sequences_of(request, 12, ready_head().limits);
  ASSERT_EQ(sequences.size(), 2u);
  EXPECT_EQ(sequences[0].id, 12u);
  EXPECT_EQ(sequences[0].sampling.seed, 0xFFFFFFFFFFFFFFFF);
  EXPECT_THAT(sequences[0].output_ids, ElementsAre());
  EXPECT_EQ(sequences[0].prompt_logprobs, 0);
  EXPECT_EQ(sequences[1].id, 13u);
  EXPECT_EQ(sequences[1].sampling.seed, 7u);
  EXPECT_THAT(sequences[1].prompt_ids, ElementsAre(0, 5, 7));
  EXPECT_THAT(sequences[1].output_ids, ElementsAre(9));
  EXPECT_EQ(sequences[1].prompt_logprobs, -1) << "the prompt is the same for both";
}

TEST(Admission, SaltsBecomeNumbersThatDoNotMeet) {
  EXPECT_EQ(mesh::cache_salt_of(""), 0u);
  EXPECT_EQ(mesh::cache_salt_of("abc"), 0xba7816bf8f01cfeau);  // the first test vector of FIPS 180-2
  EXPECT_NE(mesh::cache_salt_of("tenant-1"), mesh::cache_salt_of("tenant-2"));
  v1::GenerateRequest request = good_request();
  request.set_cache_salt("abc");
  EXPECT_EQ(sequences_of(request, 1, ready_head().limits)[0].cache_salt, 0xba7816bf8f01cfeau);
}

TEST(Admission, IgnoringEosKeepsTheOtherStopIds) {
  v1::GenerateRequest request = good_request();
  request.add_stop_ids(6);
  request.set_ignore_eos(true);
  EXPECT_THAT(sequences_of(request, 1, ready_head().limits)[0].stop_ids, ElementsAre(6));
}

}  // namespace
}  // namespace bellwether::worker
