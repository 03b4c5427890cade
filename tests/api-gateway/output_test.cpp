// Tokens in, text out: order, stop strings, reasoning, tool calls, log-probabilities.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <boost/json/parse.hpp>

#include "api-gateway/failure.h"
#include "api-gateway/job.h"
#include "api-gateway/logprobs.h"
#include "api-gateway/output_text.h"
#include "api-gateway/stop_strings.h"
#include "api-gateway/token_order.h"
#include "mesh/error.h"
#include "scripted_mesh.h"
#include "text/template_format.h"

namespace bellwether::gateway {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

v1::TokenEvent event(uint32_t first_index, const std::vector<uint32_t>& ids,
                     v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED) {
  v1::TokenEvent made;
  made.set_first_index(first_index);
  made.mutable_ids()->Add(ids.begin(), ids.end());
  made.set_finish_reason(finish);
  return made;
}

TEST(TokenOrder, InOrderTokensAreReadyAtOnce) {
  TokenOrder order(false);
  order.push(event(0, {10}));
  order.push(event(1, {11, 12}));
  EXPECT_THAT(order.take().ids, ElementsAre(10, 11, 12));
  EXPECT_TRUE(order.take().empty());
  EXPECT_FALSE(order.has_gap());
}

TEST(TokenOrder, OvertakingTokensWait) {
  TokenOrder order(false);
  order.push(event(2, {12}, v1::FINISH_REASON_STOP));
  EXPECT_TRUE(order.ready().empty());
  EXPECT_TRUE(order.has_gap());
  order.push(event(1, {11}));
  order.push(event(0, {10}));
  const TokenPiece piece = order.take();
  EXPECT_THAT(piece.ids, ElementsAre(10, 11, 12));
  EXPECT_EQ(piece.finish_reason, v1::FINISH_REASON_STOP);
  EXPECT_FALSE(order.has_gap());
}

TEST(TokenOrder, DoubledTokensCountOnce) {
  TokenOrder order(false);
  order.push(event(0, {10, 11}));
  order.push(event(0, {10, 11}));
  order.push(event(1, {11, 12}));  // a part is new
  order.push(event(3, {}, v1::FINISH_REASON_LENGTH));
  order.push(event(3, {13}));  // after the end
  const TokenPiece piece = order.take();
  EXPECT_THAT(piece.ids, ElementsAre(10, 11, 12));
  EXPECT_EQ(piece.finish_reason, v1::FINISH_REASON_LENGTH);
}

TEST(TokenOrder, LogprobsAreCutWithTheirTokens) {
  TokenOrder order(true);
  const auto with_logprobs = [](v1::TokenEvent made) {
    for (const uint32_t id : made.ids()) {
      made.add_logprobs()->set_id(id);
      made.add_top_logprobs()->set_id(id);
      made.add_top_logprobs()->set_id(id + 100);
    }
    return made;
  };
  order.push(with_logprobs(event(0, {10})));
  order.push(with_logprobs(event(0, {10, 11})));
  order.push(event(2, {12}));  // without: it counts as lost
  const TokenPiece piece = order.take();
  EXPECT_THAT(piece.ids, ElementsAre(10, 11));
  ASSERT_EQ(piece.logprobs.size(), 2U);
  ASSERT_EQ(piece.top_logprobs.size(), 4U);
  EXPECT_EQ(piece.logprobs[1].id(), 11U);
  EXPECT_EQ(piece.top_logprobs[3].id(), 111U);
}

TEST(TokenOrder, LogprobsOfThePromptCountOnceAndNeverWait) {
  const auto prompt_event = [](uint32_t first_index, uint32_t count) {
    v1::TokenEvent made;
    made.set_prompt_first_index(first_index);
    for (uint32_t i = 0; i < count; ++i) {
      made.add_prompt_logprobs()->set_id(first_index + i);
      made.add_prompt_top_logprobs()->set_id(first_index + i);
    }
    return made;
  };
  TokenOrder order(false);
  order.push(prompt_event(1, 2));
  EXPECT_TRUE(order.ready().empty()) << "no token has come";
  order.push(prompt_event(1, 2));
  v1::TokenEvent contradiction = prompt_event(3, 2);
  contradiction.add_prompt_top_logprobs();
  order.push(contradiction);
  order.push(prompt_event(3, 1));
  order.push(prompt_event(9, 1));  // some are missing before it
  order.push(event(0, {10}));
  const TokenPiece piece = order.take();
  ASSERT_EQ(piece.prompt_logprobs.size(), 3U);
  EXPECT_EQ(piece.prompt_logprobs[2].id(), 3U);
  EXPECT_EQ(piece.prompt_top_logprobs.size(), 3U);
}

TEST(TokenOrder, WhatWaitsIsBounded) {
  TokenOrder order(false);
  for (uint32_t i = 0; i < 2 * TokenOrder::kHeldMax; ++i) order.push(event(1 + i, {i}));
  order.push(event(0, {0}));
  EXPECT_EQ(order.take().ids.size(), TokenOrder::kHeldMax + 1);
}

TEST(TokenOrder, AnyDeliveryOrderWithRepeatsGivesTheSameTokens) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<v1::TokenEvent> events;
    uint32_t index = 0;
    std::vector<text::TokenId> expected;
    while (index < 40) {
      std::vector<uint32_t> ids(random() % 4);
      for (uint32_t& id : ids) {
        id = 100 + index++;
        expected.push_back(static_cast<text::TokenId>(id));
      }
      if (!ids.empty()) events.push_back(event(index - static_cast<uint32_t>(ids.size()), ids));
    }
    events.push_back(event(index, {}, v1::FINISH_REASON_STOP));
    for (int repeats = 0; repeats < 10; ++repeats) events.push_back(events[random() % events.size()]);
    std::shuffle(events.begin(), events.end(), random);
    TokenOrder order(false);
    std::vector<text::TokenId> ids;
    bool finished = false;
    for (const v1::TokenEvent& each : events) {
      order.push(each);
      const TokenPiece piece = order.take();
      ids.insert(ids.end(), piece.ids.begin(), piece.ids.end());
      EXPECT_FALSE(finished && !piece.empty());
      finished = finished || piece.finished();
    }
    EXPECT_EQ(ids, expected);
    EXPECT_TRUE(finished);
  }
}

// The definition, without cuts: the text before the stop string that is complete first, the longest of those.
std::string cut_at_stop(const std::string& text, const std::vector<std::string>& stop) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t begin = std::string::npos;
    for (const std::string& candidate : stop) {
      if (text.substr(0, end).ends_with(candidate)) begin = std::min(begin, end - candidate.size());
    }
    if (begin != std::string::npos) return text.substr(0, begin);
  }
  return text;
}

TEST(StopStrings, CutTheSameWhereverTheTextIsCut) {
  std::mt19937 random(11);
  const auto random_text = [&](size_t size) {
    std::string text(size, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 2);
    return text;
  };
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::string> stop(1 + random() % 3);
    for (std::string& candidate : stop) candidate = random_text(1 + random() % 6);
    const std::string text = random_text(random() % 30);
    const std::string expected = cut_at_stop(text, stop);
    StopStrings strings(stop);
    std::string out;
    for (size_t begin = 0; begin < text.size();) {
      const size_t size = 1 + random() % 7;
      out += strings.push(text.substr(begin, size));
      // Nothing is let through that might turn out to belong to a stop string.
      EXPECT_TRUE(expected.starts_with(out)) << text;
      begin += size;
    }
    const bool stopped = strings.stopped();
    out += strings.finish();
    EXPECT_EQ(out, expected) << text << " stop " << stop[0];
    EXPECT_EQ(stopped, expected != text || std::any_of(stop.begin(), stop.end(), [&](const std::string& candidate) {
                         return text.find(candidate) != std::string::npos;
                       }));
  }
}

TEST(StopStrings, NothingIsHeldBackWithoutNeed) {
  StopStrings strings({"END"});
  EXPECT_EQ(strings.push("abc"), "abc");
  EXPECT_EQ(strings.push("E"), "");
  EXPECT_EQ(strings.push("N"), "");
  EXPECT_EQ(strings.push("O"), "ENO");
  EXPECT_EQ(strings.push("xEN"), "x");
  EXPECT_EQ(strings.finish(), "EN");
}

class OutputTextTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = std::make_shared<const ServedModel>(make_served_model(testing::demo_card()));
    const std::string text = testing::read_text_file(std::string(BELLWETHER_TEST_DATA) + "/nano/reference.json");
    reference_ = boost::json::parse(text);
  }
  static TokenPiece piece(const std::string& text, v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED) {
    TokenPiece made;
    made.ids = model_->tokenizer.encode(text);
    made.finish_reason = finish;
    return made;
  }
  static TokenPiece stop_piece() {
    TokenPiece made;
    made.ids = {static_cast<text::TokenId>(model_->eos_ids.at(0))};
    made.finish_reason = v1::FINISH_REASON_STOP;
    return made;
  }

  static inline std::shared_ptr<const ServedModel> model_;
  static inline boost::json::value reference_;
};

TEST_F(OutputTextTest, ServedModelOfTheDemo) {
  EXPECT_THAT(model_->eos_ids, ElementsAre(1U));
  EXPECT_EQ(model_->bos_id, 0);
  EXPECT_DOUBLE_EQ(model_->defaults.temperature, 0.6);
  EXPECT_DOUBLE_EQ(model_->defaults.top_p, 0.95);
  EXPECT_EQ(model_->defaults.top_k, 0U);
  EXPECT_EQ(model_->tool_marker_ids.size(), text::tool_call_markers().size());
  EXPECT_NE(model_->chat_format, nullptr);
}

ChatRequest one_message(const std::string& content) {
  ChatRequest chat;
  chat.conversation.messages = {{.role = text::Role::kUser, .content = content}};
  return chat;
}

v1::ModelCard card_with_template(const std::string& source) {
  v1::ModelCard card = testing::demo_card();
  card.set_chat_format("template");
  card.set_tokenizer_config_json(text::with_chat_template(card.tokenizer_config_json(), source));
  return card;
}

TEST(ServedModelTemplate, MakesThePromptOrRefusesTheMessages) {
  const ServedModel model = make_served_model(
      card_with_template("{% if messages[0].content == 'No' %}{{ raise_exception('Say yes.') }}{% endif %}"
                         "{{ bos_token + messages[0].content + '<think>' }}"));
  const PromptLimits limits{.context_tokens_max = 100, .prompt_tokens_max = 100};
  bool opens_reasoning = false;
  EXPECT_EQ(encode_conversation(one_message("Yes"), model, limits, "messages", opens_reasoning),
            model.tokenizer.encode("<｜begin▁of▁sentence｜>Yes<think>"));
  EXPECT_TRUE(opens_reasoning);
  try {
    (void)encode_conversation(one_message("No"), model, limits, "messages", opens_reasoning);
    FAIL();
  } catch (const RequestFailed& error) {
    EXPECT_EQ(error.failure().status, 400U);
    EXPECT_EQ(error.failure().message, "Say yes.");
    EXPECT_EQ(error.failure().param, "messages");
  }
}

TEST(ServedModelTemplate, IsHeldToItsLimitsAndRefusedWhereItCannotBeLoaded) {
  const v1::ModelCard card = card_with_template("{% for i in range(1000) %}{{ i }}{% endfor %}");
  const ServedModel model = make_served_model(card, {.steps_max = 1000});
  bool opens_reasoning = false;
  EXPECT_THROW(
      (void)encode_conversation(one_message("a"), model, {.context_tokens_max = 100'000, .prompt_tokens_max = 100'000},
                                "messages", opens_reasoning),
      RequestFailed);
  EXPECT_THROW((void)make_served_model(card_with_template("{% include 'x' %}")), mesh::Error);
}

TEST_F(OutputTextTest, ReferenceAnswersTokenByToken) {
  for (const auto& each : reference_.at("cases").as_array()) {
    OutputText output(model_, {.splits_reasoning = true,
                               .starts_in_reasoning = each.at("prompt").as_string().ends_with("<think>\n"),
                               .stop_ids = model_->eos_ids});
    OutputDelta whole;
    const auto& ids = each.at("greedy_ids").as_array();
    for (size_t i = 0; i < ids.size(); ++i) {
      TokenPiece one;
      one.ids = {static_cast<text::TokenId>(ids[i].as_int64())};
      if (i + 1 == ids.size()) one.finish_reason = v1::FINISH_REASON_STOP;
      const OutputDelta delta = output.push(one);
      whole.reasoning += delta.reasoning;
      whole.content += delta.content;
    }
    EXPECT_EQ(output.tokens(), ids.size());
    const std::string text(each.at("greedy_text").as_string());
    const size_t tag = text.find("\n</think>\n\n");
    if (tag == std::string::npos || whole.reasoning.empty()) continue;
    EXPECT_EQ(whole.reasoning, text.substr(0, tag));
    if (text.find("tool") == std::string::npos) {
      EXPECT_EQ(whole.content + "<｜end▁of▁sentence｜>", text.substr(tag + 11));
    }
  }
}

TEST_F(OutputTextTest, WithoutTheEndOfReasoningAllIsReasoning) {
  OutputText output(model_, {.splits_reasoning = true, .starts_in_reasoning = true, .stop_ids = {1}});
  OutputDelta delta = output.push(piece("I wonder"));
  const OutputDelta rest = output.push(stop_piece());
  EXPECT_EQ(delta.reasoning + rest.reasoning, "I wonder");
  EXPECT_EQ(delta.content + rest.content, "");
}

TEST_F(OutputTextTest, StopStringsEndTheTextAndCountTokens) {
  OutputText output(model_, {.stop = {"three"}});
  TokenPiece tokens = piece("one two three four");
  const OutputDelta delta = output.push(tokens);
  EXPECT_EQ(delta.content, "one two ");
  EXPECT_TRUE(output.ended_early());
  EXPECT_LT(output.tokens(), tokens.ids.size());
  EXPECT_TRUE(output.push(piece("more")).empty());
}

TEST_F(OutputTextTest, ToolCallsGetIds) {
  OutputText output(model_, {.parses_tool_calls = true, .stop_ids = {1}});
  OutputDelta whole = output.push(
      piece("Let me look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
            "{\"city\": \"Oslo\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"));
  const OutputDelta rest = output.push(stop_piece());
  whole.content += rest.content;
  EXPECT_THAT(rest.tool_calls, IsEmpty());
  ASSERT_EQ(whole.tool_calls.size(), 1U);
  EXPECT_EQ(whole.tool_calls[0].name, "get_weather");
  EXPECT_EQ(boost::json::parse(whole.tool_calls[0].arguments), (boost::json::value{{"city", "Oslo"}}));
  EXPECT_TRUE(whole.tool_calls[0].id.starts_with("call-"));
  EXPECT_EQ(whole.content, "Let me look.");
  EXPECT_TRUE(output.called_tools());
}

TEST_F(OutputTextTest, TheOnlyToolCallEndsTheText) {
  const std::string call = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{}\n```<｜tool▁call▁end｜>";
  OutputText output(model_, {.parses_tool_calls = true, .one_tool_call = true, .stop_ids = {1}});
  const OutputDelta delta = output.push(piece("<｜tool▁calls▁begin｜>" + call + "\n" + call + "<｜tool▁calls▁end｜>x"));
  EXPECT_TRUE(output.ended_early());
  ASSERT_EQ(delta.tool_calls.size(), 1U);
  EXPECT_EQ(delta.tool_calls[0].arguments, "{}");
  EXPECT_EQ(delta.content, "");
}

TEST_F(OutputTextTest, WhatEndedTheTextIsKeptWhenWanted) {
  OutputText by_string(model_, {.keeps_stop = true, .stop = {"three"}});
  EXPECT_EQ(by_string.push(piece("one two three four")).content, "one two three");
  EXPECT_EQ(std::get<std::string>(by_string.stop_reason()), "three");
  const text::TokenId word = model_->tokenizer.encode(" the").at(0);
  OutputText by_id(model_, {.keeps_stop = true, .stop_ids = {1, static_cast<uint32_t>(word)}});
  TokenPiece tokens = piece("one");
  tokens.ids.push_back(word);
  tokens.finish_reason = v1::FINISH_REASON_STOP;
  EXPECT_EQ(by_id.push(tokens).content, "one the");
  EXPECT_EQ(std::get<uint32_t>(by_id.stop_reason()), static_cast<uint32_t>(word));
  OutputText by_model(model_, {.stop_ids = {1}});
  (void)by_model.push(stop_piece());
  EXPECT_TRUE(std::holds_alternative<std::monostate>(by_model.stop_reason()));
}

TEST_F(OutputTextTest, StopStringsAreNoneBeforeTheFirstTokens) {
  const auto tokens = piece("one one one");
  OutputText output(model_, {.min_tokens = static_cast<uint32_t>(tokens.ids.size()), .stop = {"one"}});
  EXPECT_EQ(output.push(tokens).content, "one one one");
  EXPECT_FALSE(output.ended_early());
  EXPECT_EQ(output.push(piece(" one")).content, " ");
  EXPECT_TRUE(output.ended_early());
}

TEST_F(OutputTextTest, ReasoningIsCountedAndLeftOutWhenNotWanted) {
  OutputText output(model_,
                    {.splits_reasoning = true, .starts_in_reasoning = true, .keeps_reasoning = false, .stop_ids = {1}});
  const auto thought = piece("I wonder\n</think>");
  const OutputDelta delta = output.push(thought);
  EXPECT_EQ(delta.reasoning, "");
  const OutputDelta answer = output.push(piece("\n\nYes"));
  EXPECT_EQ(answer.content, "Yes");
  EXPECT_EQ(output.reasoning_tokens(), thought.ids.size());
  EXPECT_GT(output.tokens(), output.reasoning_tokens());
}

TEST_F(OutputTextTest, SpecialTokensAreKeptWhenWanted) {
  const auto tokens = piece("a<｜User｜>b");
  OutputText plain(model_, {});
  EXPECT_EQ(plain.push(tokens).content, "ab");
  OutputText kept(model_, {.keeps_special_tokens = true});
  EXPECT_EQ(kept.push(tokens).content, "a<｜User｜>b");
}

TEST_F(OutputTextTest, AnEndedTextLeavesItsStopIdOut) {
  const text::TokenId word = model_->tokenizer.encode(" the").at(0);
  OutputText output(model_, {.stop_ids = {static_cast<uint32_t>(word)}});
  TokenPiece tokens = piece("one");
  tokens.ids.push_back(word);
  tokens.finish_reason = v1::FINISH_REASON_STOP;
  EXPECT_EQ(output.push(tokens).content, "one");
  EXPECT_EQ(output.tokens(), tokens.ids.size());
}

TEST_F(OutputTextTest, LogprobsCarryTheTokensText) {
  TokenPiece tokens = piece(" the");
  tokens.logprobs.resize(tokens.ids.size());
  tokens.logprobs[0].set_id(static_cast<uint32_t>(tokens.ids[0]));
  tokens.logprobs[0].set_logprob(-std::numeric_limits<float>::infinity());
  const auto entries = token_logprobs(model_->tokenizer, tokens, 1);
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].chosen.bytes, " the");
  EXPECT_EQ(entries[0].chosen.logprob, -9999);
  EXPECT_THAT(token_logprobs(model_->tokenizer, tokens, 0), IsEmpty());
}

TEST(Printable, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(printable("a\xC3\xA9"), "a\xC3\xA9");
  EXPECT_EQ(printable("a\xC3"), "a\xEF\xBF\xBD");
}

}  // namespace
}  // namespace bellwether::gateway
