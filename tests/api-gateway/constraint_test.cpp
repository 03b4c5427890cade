// The form of an answer: what a request asks for, and what the worker is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <exception>
#include <map>
#include <memory>
#include <random>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "api-gateway/answer_constraint.h"
#include "api-gateway/completion_request.h"
#include "api-gateway/constraint_checker.h"
#include "api-gateway/failure.h"
#include "api-gateway/job.h"
#include "api-gateway/messages_request.h"
#include "api-gateway/responses_request.h"
#include "scripted_mesh.h"

namespace bellwether::gateway {
namespace {

namespace asio = boost::asio;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr RequestLimits kLimits{.messages_max = 8, .prompts_max = 4, .prompt_tokens_max = 4000, .choices_max = 128};

std::shared_ptr<const ServedModel> model(const std::string& chat_format = "deepseek-r1") {
  static std::map<std::string, std::shared_ptr<const ServedModel>> models;
  std::shared_ptr<const ServedModel>& made = models[chat_format];
  if (made == nullptr) {
    v1::ModelCard card = ::bellwether::testing::demo_card();
    card.set_chat_format(chat_format);
    made = std::make_shared<const ServedModel>(make_served_model(card));
  }
  return made;
}

class AnswerConstraintTest : public ::testing::Test {
 protected:
  JobContext context(const std::string& chat_format) {
    return {model(chat_format), {.context_tokens_max = 4096, .prompt_tokens_max = 4096}, random_};
  }

  // What the worker is told of a chat with `more` in its body, in protobuf's text form, on one line; "" = nothing.
  std::string told(const std::string& more, const std::string& chat_format = "deepseek-r1") {
    const std::string body = R"({"model":"nano","messages":[{"role":"user","content":"Hi"}],)" + more + "}";
    return told_by(parse_chat_request(body, kLimits), chat_format);
  }
  std::string told_by(const ChatRequest& chat, const std::string& chat_format = "deepseek-r1") {
    return text_of(chat_job(chat, context(chat_format), "messages"));
  }
  std::string told_of_completion(const std::string& more) {
    const std::string body = R"({"model":"nano","prompt":["A","B"],)" + more + "}";
    return text_of(completion_job(parse_completion_request(body, kLimits), context("deepseek-r1")));
  }

  static std::string text_of(const Job& job) {
    if (job.constraint) compile_for_complaints(*job.constraint, *job.model);
    for (const v1::GenerateRequest& request : job.requests) {
      EXPECT_EQ(request.constraint().ShortDebugString(), job.requests[0].constraint().ShortDebugString());
    }
    return job.requests[0].constraint().ShortDebugString();
  }

  // "PARAM: message" of a chat that is refused.
  std::string refused(const std::string& more, const std::string& chat_format = "deepseek-r1") {
    try {
      (void)told(more, chat_format);
      return "";
    } catch (const RequestFailed& error) {
      EXPECT_EQ(error.failure().status, 400U);
      EXPECT_EQ(error.failure().reason, "bad_request");
      return error.failure().param + ": " + error.failure().message;
    } catch (const mesh::Error& error) {
      EXPECT_EQ(error.code(), mesh::ErrorCode::kInvalidArgument);
      return error.field() + ": " + error.what();
    }
  }

  std::mt19937_64 random_{1};
};

// The answer of this format begins inside the reasoning, which ends with a token.
std::string after_reasoning(const std::string& form) {
  return form + " reasoning_end_id: " + std::to_string(*model()->reasoning_end_id);
}

TEST_F(AnswerConstraintTest, EveryWayToAskForAFormOfText) {
  const std::string integer = after_reasoning(R"(json_schema: "{\"type\":\"integer\"}")");
  const std::string object = after_reasoning("any_json_object { }");
  EXPECT_EQ(told(R"("response_format":{"type":"text"})"), "");
  EXPECT_EQ(told(R"("response_format":null,"structured_outputs":{"json":null,"json_object":false})"), "");
  EXPECT_EQ(told(R"("response_format":{"type":"json_object"})"), object);
  EXPECT_EQ(told(R"("response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","strict":true,
                     "schema":{"type":"integer"}}})"),
            integer);
  EXPECT_EQ(told(R"("structured_outputs":{"json":{"type":"integer"}})"), integer);
  EXPECT_EQ(told(R"("structured_outputs":{"json":"{\"type\":\"integer\"}"})"), integer);
  EXPECT_EQ(told(R"("structured_outputs":{"json_object":true})"), object);
  EXPECT_EQ(told(R"("structured_outputs":{"regex":"a+"})"), after_reasoning(R"(regex: "a+")"));
  EXPECT_EQ(told(R"("structured_outputs":{"choice":["a","b"]})"),
            after_reasoning(R"(choice { texts: "a" texts: "b" })"));
  EXPECT_EQ(told(R"("structured_outputs":{"grammar":"root ::= \"x\""})"), after_reasoning(R"(ebnf: "root ::= \"x\"")"));
  EXPECT_EQ(told(R"("guided_json":{"type":"integer"})"), integer);
  EXPECT_EQ(told(R"("guided_regex":"a+")"), after_reasoning(R"(regex: "a+")"));
  EXPECT_EQ(told(R"("guided_choice":["a","b"])"), after_reasoning(R"(choice { texts: "a" texts: "b" })"));
  EXPECT_EQ(told(R"("guided_grammar":"root ::= \"x\"")"), after_reasoning(R"(ebnf: "root ::= \"x\"")"));
}

TEST_F(AnswerConstraintTest, OtherEndpointsHaveTheirOwnWays) {
  const std::string integer = R"(json_schema: "{\"type\":\"integer\"}")";
  EXPECT_EQ(told_of_completion(R"("response_format":{"type":"json_schema","json_schema":{"name":"n",
                                   "schema":{"type":"integer"}}})"),
            integer)
      << "a completion has no reasoning";
  EXPECT_EQ(told_of_completion(R"("structured_outputs":{"regex":"a+"})"), R"(regex: "a+")");
  const auto response = [&](const std::string& more) {
    return told_by(parse_responses_request(R"({"model":"nano","input":"Hi",)" + more + "}", kLimits).chat);
  };
  EXPECT_EQ(response(R"("text":{"format":{"type":"text"}})"), "");
  EXPECT_EQ(response(R"("text":{"format":{"type":"json_object"}})"), after_reasoning("any_json_object { }"));
  EXPECT_EQ(response(R"("text":{"format":{"type":"json_schema","name":"n","schema":{"type":"integer"}}})"),
            after_reasoning(integer));
  const auto message = [&](const std::string& more) {
    return told_by(parse_messages_request(
        R"({"model":"nano","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],)" + more + "}", kLimits));
  };
  EXPECT_EQ(message(R"("output_config":{"format":{"type":"json_schema","schema":{"type":"integer"}}})"),
            after_reasoning(integer));
  EXPECT_EQ(message(R"("output_format":{"type":"json_schema","schema":{"type":"integer"}})"), after_reasoning(integer));
}

TEST_F(AnswerConstraintTest, ReasoningIsLeftFree) {
  const std::string id = std::to_string(*model()->reasoning_end_id);
  EXPECT_THAT(told(R"("response_format":{"type":"json_object"})", "deepseek-v3-0324"),
              HasSubstr("reasoning_end_id: " + id + " reasoning_begin_id: "));
  EXPECT_THAT(
      told(R"("response_format":{"type":"json_object"},"chat_template_kwargs":{"thinking":true})", "deepseek-v3.1"),
      ::testing::Not(HasSubstr("reasoning_begin_id")));
}

constexpr char kTools[] = R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}},
    {"type":"function","function":{"name":"g"}}])";

TEST_F(AnswerConstraintTest, ToolsAreFreeUnlessTheyAreAskedFor) {
  EXPECT_EQ(told(kTools), "");
  EXPECT_EQ(told(std::string(kTools) + R"(,"tool_choice":"none")"), "");
  const std::string both = R"(functions { name: "f" parameters: "{\"type\":\"object\"}" } functions { name: "g" })";
  EXPECT_EQ(told(std::string(kTools) + R"(,"tool_choice":"required")"),
            after_reasoning("calls { " + both + " form: CALL_FORM_FENCED parallel: true }"));
  EXPECT_EQ(told(std::string(kTools) + R"(,"tool_choice":"required","parallel_tool_calls":false)"),
            after_reasoning("calls { " + both + " form: CALL_FORM_FENCED }"));
  EXPECT_THAT(told(std::string(kTools) + R"(,"tool_choice":"required")", "deepseek-v3.1"),
              HasSubstr("form: CALL_FORM_PLAIN"));
  EXPECT_EQ(told(std::string(kTools) + R"(,"tool_choice":{"type":"function","function":{"name":"g"}})"),
            after_reasoning(R"(calls { functions { name: "g" } form: CALL_FORM_FENCED })"));
  EXPECT_EQ(told(std::string(kTools) + R"(,"tool_choice":"required","response_format":{"type":"json_object"})"),
            told(std::string(kTools) + R"(,"tool_choice":"required")"))
      << "the answer is a call";
}

TEST_F(AnswerConstraintTest, StrictFunctionsAreKeptToTheirParameters) {
  EXPECT_EQ(told(R"("tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"required":["a"]}}},
                    {"type":"function","function":{"name":"g","parameters":{"required":["b"]}}}])"),
            after_reasoning(R"(any_text { } calls { functions { name: "f" parameters: "{\"required\":[\"a\"]}" } )"
                            R"(functions { name: "g" } form: CALL_FORM_FENCED parallel: true })"));
  EXPECT_EQ(told(std::string(kTools) + R"(,"response_format":{"type":"json_object"})"),
            after_reasoning(R"(any_json_object { } calls { functions { name: "f" } functions { name: "g" } )"
                            R"(form: CALL_FORM_FENCED parallel: true })"))
      << "an object, or calls";
}

TEST_F(AnswerConstraintTest, OtherEndpointsToolsToo) {
  const ChatRequest message = parse_messages_request(
      R"({"model":"nano","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],
          "tools":[{"name":"f","input_schema":{"required":["a"]}},{"name":"g","input_schema":{}}],
          "tool_choice":{"type":"any","disable_parallel_tool_use":true}})",
      kLimits);
  EXPECT_EQ(told_by(message), after_reasoning(R"(calls { functions { name: "f" parameters: "{\"required\":[\"a\"]}" } )"
                                              R"(functions { name: "g" parameters: "{}" } form: CALL_FORM_FENCED })"));
  const auto response = parse_responses_request(
      R"({"model":"nano","input":"Hi","tools":[{"type":"function","name":"f","strict":true,"parameters":{}}],
          "tool_choice":{"type":"function","name":"f"}})",
      kLimits);
  EXPECT_EQ(told_by(response.chat),
            after_reasoning(R"(calls { functions { name: "f" parameters: "{}" } form: CALL_FORM_FENCED })"));
}

TEST_F(AnswerConstraintTest, WhatCannotBeHonouredIsRefusedByName) {
  const auto schema = [](const std::string& text) {
    return R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":)" + text + "}}";
  };
  EXPECT_THAT(refused(schema(R"({"properties":{"a":{"multipleOf":3}}})")),
              StartsWith("response_format.json_schema.schema/properties/a/multipleOf: `response_format"));
  EXPECT_THAT(refused(schema("false")), StartsWith("response_format.json_schema.schema: "));
  EXPECT_THAT(refused(schema(R"({"enum":[]})")), HasSubstr("no text can satisfy it"));
  EXPECT_THAT(refused(schema(R"({"enum":{}})")), StartsWith("response_format.json_schema.schema/enum: "));
  EXPECT_THAT(refused(schema(R"({"properties":{")" + std::string(1000, 'x') + R"(":{"not":{}}}})")),
              StartsWith("response_format.json_schema.schema/properties/xxx"));
  EXPECT_LT(refused(schema(R"({"properties":{")" + std::string(1000, 'x') + R"(":{"not":{}}}})")).size(), 600U);
  EXPECT_THAT(refused(R"("structured_outputs":{"json":"{"})"), StartsWith("structured_outputs.json: "));
  EXPECT_THAT(refused(R"("structured_outputs":{"regex":"(a"})"),
              StartsWith("structured_outputs.regex: `structured_outputs.regex` cannot be used: character 1"));
  EXPECT_THAT(refused(R"("guided_grammar":"root ::= x")"), StartsWith("guided_grammar: "));
  EXPECT_THAT(refused(R"("guided_regex":"a","guided_choice":["a"])"), StartsWith("guided_choice: "));
  EXPECT_THAT(refused(R"("guided_regex":"a","response_format":{"type":"json_object"})"), StartsWith("guided_regex: "));
  EXPECT_THAT(refused(R"("tool_choice":"required","tools":[{"type":"function","function":{"name":"f"}},
                 {"type":"function","function":{"name":"g","parameters":{"properties":{"a":{"not":{}}}}}}])"),
              StartsWith("tools[1].function.parameters/properties/a/not: "));
  EXPECT_THAT(refused(R"("tools":[{"type":"function","function":{"name":"g","strict":true,"parameters":{"not":{}}}}])"),
              StartsWith("tools[0].function.parameters/not: "));
  EXPECT_EQ(refused(R"("tools":[{"type":"function","function":{"name":"g","parameters":{"not":{}}}}])"), "")
      << "nobody asked to keep to it";
}

class ConstraintCheckerTest : public ::testing::Test {
 protected:
  // Begins; the outcome is counted when it is there.
  void check(const std::string& pattern) {
    AnswerConstraint constraint{
        .grammar = {.text = text::grammar::Regex{pattern}}, .message = {}, .text_path = "regex"};
    constraint.message.set_regex(pattern);
    asio::co_spawn(io_, checker_.check(std::move(constraint), model()), [this](const std::exception_ptr& error) {
      try {
        if (error) std::rethrow_exception(error);
        ++good_;
      } catch (const RequestFailed& failed) {
        ++refused_[failed.failure().status];
      }
    });
  }
  void run() {
    io_.restart();
    io_.run();
  }

  asio::io_context io_;
  ConstraintChecker checker_;
  int good_ = 0;
  std::map<unsigned, int> refused_;
};

TEST_F(ConstraintCheckerTest, RemembersWhatWasGood) {
  check("a+");
  run();
  EXPECT_EQ(checker_.remembered(), 1U);
  for (int i = 0; i < 2; ++i) {
    check("a+");
    check("(");
    run();
  }
  EXPECT_EQ(good_, 3);
  EXPECT_EQ(refused_[400], 2) << "what is bad stays bad";
  EXPECT_EQ(checker_.remembered(), 1U);
}

TEST_F(ConstraintCheckerTest, ForgetsWhatWasNotUsedForLongest) {
  for (size_t i = 0; i <= ConstraintChecker::kRememberedMax; ++i) {
    check("a" + std::to_string(i));
    run();
    check("a0");
    run();
  }
  EXPECT_EQ(checker_.remembered(), ConstraintChecker::kRememberedMax);
  EXPECT_EQ(good_, 2 * static_cast<int>(ConstraintChecker::kRememberedMax) + 2);
}

TEST_F(ConstraintCheckerTest, OnlySoManyWait) {
  for (size_t i = 0; i < ConstraintChecker::kWaitingMax + 3; ++i) check("a{" + std::to_string(i) + "}");
  run();
  EXPECT_EQ(good_, static_cast<int>(ConstraintChecker::kWaitingMax));
  EXPECT_EQ(refused_[503], 3);
  check("b");
  run();
  EXPECT_EQ(good_, static_cast<int>(ConstraintChecker::kWaitingMax) + 1) << "there is room again";
}

}  // namespace
}  // namespace bellwether::gateway
