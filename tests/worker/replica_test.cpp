// The real worker program with the demo model, seen from the bus.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>

#include "mesh/card_digest.h"
#include "mesh/error.h"
#include "mesh/ids.h"
#include "mesh/trace_collector.h"
#include "text/tokenizer.h"
#include "worker/model_card.h"
#include "worker/requests.h"
#include "worker/worker_mesh.h"

namespace bellwether::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::vector<std::string> demo_model(std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"--model", BELLWETHER_DEMO_MODEL};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// Joins a request's events, which must be in order and without a gap.
std::vector<uint32_t> ids_of(const std::vector<v1::TokenEvent>& events, uint32_t first_index = 0) {
  std::vector<uint32_t> ids;
  for (const auto& event : events) {
    EXPECT_EQ(event.first_index(), first_index + ids.size());
    ids.insert(ids.end(), event.ids().begin(), event.ids().end());
  }
  return ids;
}

TEST(Replica, LoadsThenIsReadyThenSaysGoodbye) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until([&] { return !mesh.states().empty(); }));
  EXPECT_EQ(mesh.states().front().phase(), v1::REPLICA_PHASE_LOADING);
  EXPECT_EQ(mesh.states().front().sequence(), 1u);
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  const v1::ReplicaState ready = mesh.states().back();
  EXPECT_EQ(ready.model(), "bellwether-nano");
  EXPECT_GT(ready.epoch(), 0u);
  EXPECT_EQ(ready.loading_progress(), 1);
  EXPECT_EQ(ready.capacity().sequences_max(), 64u);
  EXPECT_EQ(ready.capacity().waiting_max(), 256u);
  EXPECT_EQ(ready.capacity().kv_blocks_total(), 512u);
  EXPECT_EQ(ready.capacity().context_tokens_max(), 8192u);
  EXPECT_EQ(ready.load().running() + ready.load().waiting(), 0u);
  EXPECT_EQ(mesh.get("/ready").status, 200u);
  mesh.process().signal(SIGTERM);
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_STOPPED));
  EXPECT_EQ(mesh.process().wait(WorkerMesh::kPatience), 0);
  for (size_t i = 1; i < mesh.states().size(); ++i) {
    EXPECT_EQ(mesh.states()[i].sequence(), mesh.states()[i - 1].sequence() + 1);
  }
}

TEST(Replica, KeepsAnnouncingWhileNothingHappens) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(mesh.until_next_state());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(700));
}

TEST(Replica, AnswersEveryReferenceCaseTokenForTokenInOneBatchAStep) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  const std::vector<ReferenceCase> cases = reference_cases();
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto reply = mesh.place(request_for("case-" + std::to_string(i), cases[i].prompt_ids, 1000));
    ASSERT_TRUE(reply.has_placed()) << reply.refused().message();
    EXPECT_EQ(reply.placed().replica_id(), WorkerMesh::kReplica);
    EXPECT_EQ(reply.placed().epoch(), mesh.states().back().epoch());
  }
  for (size_t i = 0; i < cases.size(); ++i) {
    const std::string id = "case-" + std::to_string(i);
    ASSERT_TRUE(mesh.until_finished(id)) << id;
    EXPECT_EQ(ids_of(mesh.events(id)), cases[i].greedy_ids) << id;
    const v1::TokenEvent last = mesh.events(id).back();
    EXPECT_EQ(last.finish_reason(), v1::FINISH_REASON_STOP);
    EXPECT_EQ(last.usage().prompt_tokens(), cases[i].prompt_ids.size());
    EXPECT_EQ(last.usage().completion_tokens(), cases[i].greedy_ids.size());
    ASSERT_TRUE(mesh.until_freed(id));
    EXPECT_EQ(mesh.dispatched(v1::Dispatch::PREFILL_DONE, id), 1);
    EXPECT_EQ(mesh.dispatched(v1::Dispatch::FREE, id), 1);
  }
  size_t most_together = 0;
  for (const v1::TokenBatch& batch : mesh.batches()) {
    std::set<std::string> requests;
    for (const auto& event : batch.events()) requests.insert(event.request_id());
    EXPECT_EQ(requests.size(), static_cast<size_t>(batch.events_size()));
    most_together = std::max(most_together, requests.size());
    EXPECT_EQ(batch.epoch(), mesh.states().back().epoch());
  }
  EXPECT_GE(most_together, 2u);
  ASSERT_TRUE(mesh.until_next_state());
  EXPECT_LE(mesh.batches().size(), mesh.states().back().ranks(0).steps());
}

TEST(Replica, ReportsLogprobsWhenAskedTo) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::GenerateRequest request = request_for("r", reference_cases()[0].prompt_ids, 3);
  request.mutable_sampling()->set_logprobs(true);
  request.mutable_sampling()->set_top_logprobs(2);
  ASSERT_TRUE(mesh.place(request).has_placed());
  ASSERT_TRUE(mesh.until_finished("r"));
  for (const auto& event : mesh.events("r")) {
    ASSERT_EQ(event.logprobs_size(), event.ids_size());
    ASSERT_EQ(event.top_logprobs_size(), 2 * event.ids_size());
    EXPECT_EQ(event.logprobs(0).id(), event.ids(0));
    EXPECT_EQ(event.top_logprobs(0).id(), event.ids(0));  // greedy
    EXPECT_GE(event.top_logprobs(0).logprob(), event.top_logprobs(1).logprob());
  }
  EXPECT_EQ(mesh.events("r").back().finish_reason(), v1::FINISH_REASON_LENGTH);
}

std::vector<v1::TokenEvent> of_choice(const std::vector<v1::TokenEvent>& events, uint32_t choice) {
  std::vector<v1::TokenEvent> kept;
  std::copy_if(events.begin(), events.end(), std::back_inserter(kept),
               [&](const v1::TokenEvent& event) { return event.choice() == choice; });
  return kept;
}

// Sampled, with an answer of its own for each seed.
v1::GenerateRequest sampled_request(const std::string& request_id, const std::vector<uint64_t>& seeds) {
  v1::GenerateRequest request = long_request_for(request_id, 30);
  request.mutable_sampling()->set_temperature(1.5);
  request.clear_choices();
  for (uint32_t i = 0; i < seeds.size(); ++i) {
    v1::Choice& choice = *request.add_choices();
    choice.set_index(i);
    choice.set_seed(seeds[i]);
  }
  return request;
}

TEST(Replica, TellsWhatItDidAsAPartOfTheRequestsTrace) {
  TraceCollector collector;
  WorkerMesh mesh(demo_model({"--otlp-endpoint", collector.url()}));
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::GenerateRequest request = request_for("untraced", reference_cases()[0].prompt_ids, 3);
  ASSERT_TRUE(mesh.place(request).has_placed());
  ASSERT_TRUE(mesh.until_finished("untraced"));
  request.set_request_id("traced");
  request.set_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  ASSERT_TRUE(mesh.place(request).has_placed());
  ASSERT_TRUE(mesh.until_finished("traced"));
  const CollectedSpan span = collector.wait_for("generate");
  EXPECT_EQ(span.service, "bellwether-worker");
  EXPECT_EQ(span.trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(span.parent_span_id, "b7ad6b7169203331");
  EXPECT_EQ(span.attributes.at("bellwether.request_id"), "traced");
  EXPECT_EQ(span.attributes.at("bellwether.replica_id"), WorkerMesh::kReplica);
  EXPECT_EQ(span.attributes.at("gen_ai.usage.input_tokens"), std::to_string(request.prompt_ids_size()));
  EXPECT_EQ(span.attributes.at("gen_ai.usage.output_tokens"), "3");
  EXPECT_EQ(span.attributes.at("gen_ai.response.finish_reasons"), "length");
  EXPECT_EQ(span.events, std::vector<std::string>{"first token"});
  EXPECT_FALSE(span.failed);
  EXPECT_THAT(collector.wait_for_spans(1), ::testing::SizeIs(1)) << "the other has no trace";
}

TEST(Replica, EachChoiceIsWhatItWouldBeAlone) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  const std::vector<uint64_t> seeds = {7, 8, 9};
  ASSERT_TRUE(mesh.place(sampled_request("all", seeds)).has_placed());
  ASSERT_TRUE(mesh.until_freed("all"));
  std::set<std::vector<uint32_t>> answers;
  for (uint32_t i = 0; i < seeds.size(); ++i) {
    const std::string alone = "alone-" + std::to_string(i);
    ASSERT_TRUE(mesh.place(sampled_request(alone, {seeds[i]})).has_placed());
    ASSERT_TRUE(mesh.until_freed(alone));
    const auto events = of_choice(mesh.events("all"), i);
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(ids_of(events), ids_of(mesh.events(alone)));
    EXPECT_EQ(events.back().finish_reason(), v1::FINISH_REASON_LENGTH);
    EXPECT_EQ(events.back().usage().completion_tokens(), 30u);
    answers.insert(ids_of(events));
  }
  EXPECT_EQ(answers.size(), seeds.size());
  EXPECT_EQ(mesh.dispatched(v1::Dispatch::PREFILL_DONE, "all"), 1);
  EXPECT_EQ(mesh.dispatched(v1::Dispatch::FREE, "all"), 1);
}

TEST(Replica, TellsTheSchedulersWhatARequestCost) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::GenerateRequest request = sampled_request("r", {7, 8});
  request.set_tenant("acme");
  request.mutable_choices(0)->add_output_ids(50);  // of an earlier attempt: not generated here
  ASSERT_TRUE(mesh.place(request).has_placed());
  ASSERT_TRUE(mesh.until_freed("r"));
  const auto free = std::find_if(mesh.dispatches().begin(), mesh.dispatches().end(),
                                 [](const auto& event) { return event.kind() == v1::Dispatch::FREE; });
  EXPECT_EQ(free->tenant(), "acme");
  EXPECT_EQ(free->choices(), 2u);
  EXPECT_EQ(free->completion_tokens(), 59u);
  EXPECT_FALSE(free->failed());
}

TEST(Replica, CancellingAChoiceLeavesTheOthers) {
  WorkerMesh mesh(demo_model({"--max-num-seqs", "2", "--max-num-waiting", "0"}));
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::GenerateRequest request = long_request_for("r", 4000);
  request.add_choices()->set_index(1);
  ASSERT_TRUE(mesh.place(request).has_placed());
  ASSERT_TRUE(mesh.until([&] { return mesh.states().back().load().running() == 2; }));
  EXPECT_EQ(mesh.place(long_request_for("another", 5)).refused().code(), v1::REFUSAL_CODE_OVERLOADED);
  v1::CancelRequest cancel;
  cancel.set_request_id("r");
  cancel.set_attempt(1);
  cancel.add_choices(0);
  mesh.publish(mesh::subjects::replica_cancel(WorkerMesh::kReplica), cancel);
  ASSERT_TRUE(mesh.until([&] { return mesh.states().back().load().running() == 1; }));
  EXPECT_EQ(mesh.dispatched(v1::Dispatch::FREE, "r"), 0);
  EXPECT_TRUE(mesh.place(long_request_for("another", 5)).has_placed());
  ASSERT_TRUE(mesh.until_finished("another"));
  const size_t cancelled = of_choice(mesh.events("r"), 0).size();
  const size_t others = of_choice(mesh.events("r"), 1).size();
  ASSERT_TRUE(mesh.until([&] { return of_choice(mesh.events("r"), 1).size() >= others + 10; }));
  EXPECT_EQ(of_choice(mesh.events("r"), 0).size(), cancelled);
  mesh.cancel("r", 1);
  ASSERT_TRUE(mesh.until_freed("r"));
  EXPECT_EQ(mesh.dispatched(v1::Dispatch::FREE, "r"), 1);
}

TEST(Replica, GivesEachGatewayItsOwnTokensOnly) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::GenerateRequest other = long_request_for("theirs", 40);
  other.set_gateway_id("gateway-b");
  ASSERT_TRUE(mesh.place(long_request_for("ours", 40)).has_placed());
  ASSERT_TRUE(mesh.place(other).has_placed());
  ASSERT_TRUE(mesh.until_finished("ours"));
  ASSERT_TRUE(mesh.until_finished("theirs"));
  const auto only = [&](const std::string& gateway, const std::string& request_id) {
    for (const auto& batch : mesh.batches(gateway)) {
      for (const auto& event : batch.events()) EXPECT_EQ(event.request_id(), request_id);
    }
  };
  only("gateway-a", "ours");
  only("gateway-b", "theirs");
}

TEST(Replica, CancellingFreesTheBlocksAndEndsTheTokens) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  ASSERT_TRUE(mesh.place(long_request_for("r", 4000)).has_placed());
  ASSERT_TRUE(mesh.until([&] { return mesh.events("r").size() >= 3; }));
  EXPECT_NE(mesh.metric("vllm:kv_cache_usage_perc"), "0");
  mesh.cancel("r", 1);
  ASSERT_TRUE(mesh.until_freed("r"));
  const size_t events = mesh.events("r").size();
  EXPECT_EQ(mesh.metric("vllm:kv_cache_usage_perc"), "0");
  EXPECT_EQ(mesh.metric("vllm:gpu_cache_usage_perc"), "0");
  EXPECT_EQ(mesh.metric("vllm:num_requests_running"), "0");
  EXPECT_EQ(
      mesh.metric("vllm:request_success_total", R"(engine="0",finished_reason="abort",model_name="bellwether-nano")"),
      "1");
  ASSERT_TRUE(mesh.until([&] { return mesh.states().back().load().kv_blocks_used() == 0; }));
  ASSERT_TRUE(mesh.until_next_state());
  EXPECT_EQ(mesh.events("r").size(), events);
  EXPECT_EQ(mesh.events("r").back().finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
  EXPECT_EQ(mesh.dispatched(v1::Dispatch::FREE, "r"), 1);
}

TEST(Replica, CancellingAnOlderAttemptDoesNotTouchANewerOne) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::GenerateRequest request = long_request_for("r", 60);
  request.set_attempt(2);
  ASSERT_TRUE(mesh.place(request).has_placed());
  mesh.cancel("r", 1);
  mesh.cancel("unknown", 1);
  ASSERT_TRUE(mesh.until_finished("r", 2));
  EXPECT_EQ(ids_of(mesh.events("r", 2)).size(), 60u);
}

TEST(Replica, RefusesWhenFullAndTakesAgainWhenNot) {
  WorkerMesh mesh(demo_model({"--max-num-seqs", "1", "--max-num-waiting", "1"}));
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  ASSERT_TRUE(mesh.place(long_request_for("first", 4000)).has_placed());
  ASSERT_TRUE(mesh.place(long_request_for("second", 5)).has_placed());
  const auto reply = mesh.place(long_request_for("third", 5));
  ASSERT_TRUE(reply.has_refused());
  EXPECT_EQ(reply.refused().code(), v1::REFUSAL_CODE_OVERLOADED);
  EXPECT_GT(reply.refused().retry_after_ms(), 0u);
  ASSERT_TRUE(mesh.until([&] {
    const v1::Load& load = mesh.states().back().load();
    return load.running() == 1 && load.waiting() == 1;
  }));
  mesh.cancel("first", 1);
  ASSERT_TRUE(mesh.until_finished("second"));
  EXPECT_TRUE(mesh.place(long_request_for("third", 5)).has_placed());
  EXPECT_TRUE(mesh.until_finished("third"));
  EXPECT_TRUE(mesh.events("first").back().ids_size() > 0);
}

TEST(Replica, RefusesWhatIsInvalidOrNotItsOwnAndGoesOn) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::GenerateRequest invalid = long_request_for("r", 5);
  invalid.add_prompt_ids(2048);
  EXPECT_EQ(mesh.place(invalid).refused().code(), v1::REFUSAL_CODE_INVALID);
  v1::GenerateRequest foreign = long_request_for("r", 5);
  foreign.set_model("another");
  EXPECT_EQ(mesh.place(foreign).refused().code(), v1::REFUSAL_CODE_UNKNOWN_MODEL);
  EXPECT_EQ(mesh.place({}).refused().code(), v1::REFUSAL_CODE_UNKNOWN_MODEL);
  EXPECT_TRUE(mesh.place(long_request_for("r", 5)).has_placed());
  ASSERT_TRUE(mesh.until_finished("r"));
  ASSERT_TRUE(mesh.until_freed("r"));
  EXPECT_EQ(mesh.dispatches().size(), 2u);  // of the refused ones there is nothing to tell
}

TEST(Replica, RunsWorkThatComesTwiceOnce) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  const v1::GenerateRequest request = long_request_for("r", 40);
  ASSERT_TRUE(mesh.place(request).has_placed());
  ASSERT_TRUE(mesh.place(request).has_placed());
  ASSERT_TRUE(mesh.until_freed("r"));
  ASSERT_TRUE(mesh.place(request).has_placed());
  ASSERT_TRUE(mesh.until_next_state());
  EXPECT_EQ(ids_of(mesh.events("r")).size(), 40u);
  EXPECT_EQ(mesh.dispatched(v1::Dispatch::FREE, "r"), 1);
  EXPECT_EQ(mesh.metric("vllm:generation_tokens_total"), "40");
}

TEST(Replica, ANewerAttemptReplacesTheOlderAndGoesOnWhereItWasLeft) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  const ReferenceCase reference = reference_cases()[0];
  ASSERT_TRUE(mesh.place(long_request_for("r", 4000)).has_placed());
  v1::GenerateRequest newer = request_for("r", reference.prompt_ids, 1000);
  newer.set_attempt(2);
  newer.mutable_choices(0)->mutable_output_ids()->Add(reference.greedy_ids.begin(), reference.greedy_ids.begin() + 30);
  ASSERT_TRUE(mesh.place(newer).has_placed());
  ASSERT_TRUE(mesh.until_freed("r", 1));
  ASSERT_TRUE(mesh.until_finished("r", 2));
  EXPECT_EQ(ids_of(mesh.events("r", 2), 30),
            std::vector<uint32_t>(reference.greedy_ids.begin() + 30, reference.greedy_ids.end()));
  EXPECT_EQ(mesh.events("r", 2).back().usage().completion_tokens(), reference.greedy_ids.size());
  EXPECT_EQ(mesh.place(long_request_for("r", 4000)).refused().code(), v1::REFUSAL_CODE_INVALID);
}

TEST(Replica, KeepsToAConstraintAlsoWhenItGoesOn) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::GenerateRequest request = request_for("r", reference_cases()[0].prompt_ids, 60);
  request.mutable_constraint()->set_regex("([a-c]{3} ){5}[d-f]{1,3}-\\d{4}");
  request.mutable_sampling()->set_temperature(2);
  for (uint32_t i = 1; i < 3; ++i) {
    v1::Choice& choice = *request.add_choices();
    choice.set_index(i);
    choice.set_seed(i);
  }
  ASSERT_TRUE(mesh.place(request).has_placed());
  std::vector<std::vector<uint32_t>> ids(3);
  ASSERT_TRUE(mesh.until_freed("r"));
  for (const v1::TokenEvent& event : mesh.events("r")) {
    ids[event.choice()].insert(ids[event.choice()].end(), event.ids().begin(), event.ids().end());
  }
  std::ifstream file(fs::path(BELLWETHER_DEMO_MODEL) / "tokenizer.json");
  const std::string tokenizer_json{std::istreambuf_iterator<char>(file), {}};
  const auto tokenizer = text::Tokenizer::from_json(tokenizer_json);
  for (const std::vector<uint32_t>& each : ids) {
    const std::string text = tokenizer.decode(std::vector<int32_t>(each.begin(), each.end()), true);
    EXPECT_THAT(text, ::testing::MatchesRegex("([a-c]{3} ){5}[d-f]{1,3}-[0-9]{4}"));
  }
  EXPECT_NE(ids[0], ids[1]);

  v1::GenerateRequest newer = request;
  newer.set_attempt(2);
  for (int i = 0; i < 3; ++i) newer.mutable_choices(i)->mutable_output_ids()->Add(ids[i].begin(), ids[i].begin() + 7);
  ASSERT_TRUE(mesh.place(newer).has_placed());
  ASSERT_TRUE(mesh.until_freed("r", 2));
  for (const v1::TokenEvent& event : mesh.events("r", 2)) {
    std::vector<uint32_t>& expected = ids[event.choice()];
    for (int i = 0; i < event.ids_size(); ++i) EXPECT_EQ(event.ids(i), expected.at(event.first_index() + i));
  }
}

TEST(Replica, RefusesAConstraintThatItCannotKeep) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  v1::GenerateRequest request = long_request_for("r", 5);
  request.mutable_constraint()->set_regex("(");
  const v1::GenerateReply reply = mesh.place(request);
  EXPECT_EQ(reply.refused().code(), v1::REFUSAL_CODE_INVALID);
  EXPECT_THAT(reply.refused().message(), HasSubstr("character"));
  request.mutable_constraint()->set_regex("a{3}");
  EXPECT_TRUE(mesh.place(request).has_placed());
  ASSERT_TRUE(mesh.until_finished("r"));
}

TEST(Replica, FinishesItsStreamsOnSigtermAndTakesNoMore) {
  WorkerMesh mesh(demo_model({"--shutdown-grace-ms", "170000"}));  // a sanitized engine on a busy machine needs it
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  ASSERT_TRUE(mesh.place(long_request_for("r", 600)).has_placed());
  ASSERT_TRUE(mesh.until([&] { return !mesh.events("r").empty(); }));
  mesh.process().signal(SIGTERM);
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_DRAINING));
  const auto reply = mesh.place(long_request_for("late", 5));
  ASSERT_TRUE(reply.has_refused());
  EXPECT_EQ(reply.refused().code(), v1::REFUSAL_CODE_DRAINING);
  EXPECT_GT(reply.refused().retry_after_ms(), 0u);
  ASSERT_TRUE(mesh.until_finished("r"));
  EXPECT_EQ(ids_of(mesh.events("r")).size(), 600u);
  EXPECT_EQ(mesh.events("r").back().finish_reason(), v1::FINISH_REASON_LENGTH);
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_STOPPED));
  ASSERT_TRUE(mesh.until_freed("r"));
  EXPECT_EQ(mesh.process().wait(WorkerMesh::kPatience), 0);
}

TEST(Replica, HandsBackWhatTheGraceDoesNotSuffice) {
  WorkerMesh mesh(demo_model({"--shutdown-grace-ms", "100"}));
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  ASSERT_TRUE(mesh.place(long_request_for("r", 8000)).has_placed());
  ASSERT_TRUE(mesh.until([&] { return !mesh.events("r").empty(); }));
  mesh.process().signal(SIGTERM);
  ASSERT_TRUE(mesh.until_finished("r"));
  const v1::TokenEvent last = mesh.events("r").back();
  EXPECT_EQ(last.finish_reason(), v1::FINISH_REASON_LOST);
  EXPECT_THAT(last.error(), HasSubstr("shutting down"));
  EXPECT_EQ(ids_of(mesh.events("r")).size(), last.usage().completion_tokens());
  ASSERT_TRUE(mesh.until_freed("r"));
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_STOPPED));
  EXPECT_EQ(mesh.process().wait(WorkerMesh::kPatience), 0);
}

TEST(Replica, DrainsWhenTold) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  ASSERT_TRUE(mesh.place(long_request_for("r", 8000)).has_placed());
  ASSERT_TRUE(mesh.until([&] { return !mesh.events("r").empty(); }));
  const v1::DrainReply reply = mesh.drain(100);
  EXPECT_EQ(reply.requests(), 1u);
  EXPECT_EQ(reply.limit_ms(), 100u);
  ASSERT_TRUE(mesh.until_finished("r"));
  EXPECT_EQ(mesh.events("r").back().finish_reason(), v1::FINISH_REASON_LOST);
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_STOPPED));
  EXPECT_EQ(mesh.process().wait(WorkerMesh::kPatience), 0);
}

TEST(Replica, SendsAgainWhatItHasSent) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  ASSERT_TRUE(mesh.place(long_request_for("r", 20)).has_placed());
  ASSERT_TRUE(mesh.until_finished("r"));
  const std::vector<uint32_t> ids = ids_of(mesh.events("r"));
  const size_t events = mesh.events("r").size();
  mesh.ask_again("r", 1, 12);
  ASSERT_TRUE(mesh.until([&] { return mesh.events("r").size() > events && mesh.events("r").back().has_usage(); }));
  std::vector<v1::TokenEvent> again = mesh.events("r");
  again.erase(again.begin(), again.begin() + static_cast<long>(events));
  EXPECT_LE(again.front().first_index(), 12u);
  EXPECT_EQ(ids_of(again, again.front().first_index()),
            std::vector<uint32_t>(ids.begin() + again.front().first_index(), ids.end()));
  mesh.ask_again("unheard of", 1, 3);
  ASSERT_TRUE(mesh.until_finished("unheard of"));
  EXPECT_EQ(mesh.events("unheard of").back().finish_reason(), v1::FINISH_REASON_LOST);
}

TEST(Replica, ServesItsCardInChunks) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  std::string bytes;
  v1::CardRequest request;
  v1::CardChunk chunk;
  do {
    request.set_offset(bytes.size());
    chunk = mesh.ask<v1::CardChunk>(mesh::subjects::card("bellwether-nano"), request);
    ASSERT_EQ(chunk.error(), "");
    request.set_digest(chunk.digest());
    bytes += chunk.data();
  } while (bytes.size() < chunk.bytes_total());
  v1::ModelCard card;
  ASSERT_TRUE(card.ParseFromString(bytes));
  EXPECT_EQ(card.model(), "bellwether-nano");
  EXPECT_EQ(card.digest(), mesh::card_digest(card));
  EXPECT_EQ(card.digest(), mesh.states().back().card_digest());
  EXPECT_EQ(card.chat_format(), "deepseek-r1");
  EXPECT_EQ(card.context_tokens_max(), 8192u);
  EXPECT_THAT(card.tokenizer_config_json(), HasSubstr("begin▁of▁sentence"));
  request.set_digest("gone");
  EXPECT_NE(mesh.ask<v1::CardChunk>(mesh::subjects::card("bellwether-nano"), request).error(), "");
}

TEST(Replica, CountsUnderVllmsNames) {
  WorkerMesh mesh(demo_model());
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  const ReferenceCase reference = reference_cases()[0];
  ASSERT_TRUE(mesh.place(request_for("r", reference.prompt_ids, 1000)).has_placed());
  ASSERT_TRUE(mesh.until_freed("r"));
  const std::string generated = std::to_string(reference.greedy_ids.size());
  EXPECT_EQ(mesh.metric("vllm:prompt_tokens_total"), std::to_string(reference.prompt_ids.size()));
  EXPECT_EQ(mesh.metric("vllm:generation_tokens_total"), generated);
  EXPECT_EQ(mesh.metric("vllm:time_to_first_token_seconds_count"), "1");
  EXPECT_EQ(mesh.metric("vllm:inter_token_latency_seconds_count"), std::to_string(reference.greedy_ids.size() - 1));
  EXPECT_EQ(mesh.metric("vllm:time_per_output_token_seconds_count"), std::to_string(reference.greedy_ids.size() - 1));
  EXPECT_EQ(mesh.metric("vllm:e2e_request_latency_seconds_count"), "1");
  EXPECT_EQ(mesh.metric("vllm:request_prompt_tokens_sum"), std::to_string(reference.prompt_ids.size()));
  EXPECT_EQ(mesh.metric("vllm:request_generation_tokens_sum"), generated);
  EXPECT_EQ(mesh.metric("vllm:num_requests_running"), "0");
  EXPECT_EQ(mesh.metric("vllm:num_requests_waiting"), "0");
  EXPECT_EQ(
      mesh.metric("vllm:request_success_total", R"(engine="0",finished_reason="stop",model_name="bellwether-nano")"),
      "1");
  ASSERT_TRUE(mesh.until_next_state());
  EXPECT_GT(mesh.states().back().rates().decode_tokens_per_s(), 0);
  EXPECT_GT(mesh.states().back().rates().prefill_tokens_per_s(), 0);
  EXPECT_GT(mesh.states().back().rates().decode_tokens_per_busy_s(), 0);
  EXPECT_GT(mesh.states().back().rates().prefill_tokens_per_busy_s(), 0);
}

class ModelFolderCopy {
 public:
  ModelFolderCopy() { fs::create_directories(path); }
  ~ModelFolderCopy() { fs::remove_all(path); }
  const fs::path path = fs::temp_directory_path() / mesh::random_id("bellwether-model");
};

TEST(Replica, AModelThatCannotBeLoadedIsAFailureWithItsReason) {
  const ModelFolderCopy folder;
  std::ofstream(folder.path / "config.json") << R"({"architectures":["LlamaForCausalLM"],"model_type":"llama"})";
  WorkerMesh mesh({"--model", folder.path.string(), "--load-format", "synthetic"});
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_FAILED));
  EXPECT_THAT(mesh.states().back().failure(), HasSubstr("model_type"));
  EXPECT_FALSE(mesh.states().back().ranks(0).healthy());
  EXPECT_EQ(mesh.process().wait(WorkerMesh::kPatience), 1);
}

TEST(Replica, MakesWeightsUpFromConfigJsonAlone) {
  const ModelFolderCopy folder;
  fs::copy_file(fs::path(BELLWETHER_DEMO_MODEL) / "config.json", folder.path / "config.json");
  WorkerMesh mesh(
      {"--model", folder.path.string(), "--load-format", "synthetic", "--served-model-name", "bellwether-nano"});
  ASSERT_TRUE(mesh.until_phase(v1::REPLICA_PHASE_READY));
  ASSERT_TRUE(mesh.place(long_request_for("r", 5)).has_placed());
  ASSERT_TRUE(mesh.until_finished("r"));
  EXPECT_EQ(ids_of(mesh.events("r")).size(), 5u);
}

TEST(Replica, WithoutAModelDoesNotStart) {
  NatsServer nats;
  mesh::ChildProcess process(
      {.arguments = {mesh::program_folder() + "/bellwether-worker", "--nats-url", nats.url()}, .log_file = {}});
  EXPECT_EQ(process.wait(WorkerMesh::kPatience), 1);
}

}  // namespace
}  // namespace bellwether::testing
