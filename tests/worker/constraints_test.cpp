#include "worker/constraints.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace bellwether::worker {
namespace {

namespace grammar = text::grammar;

// Bytes are tokens; then the end, the two of reasoning, and one token more.
constexpr int32_t kEnd = 256;
constexpr int32_t kThink = 257;
constexpr int32_t kThinkEnd = 258;
constexpr int32_t kAb = 259;

std::shared_ptr<const grammar::Vocabulary> vocabulary() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  for (const char* token : {"\xFF<end>", "\xFF<think>", "\xFF</think>", "ab"}) tokens.emplace_back(token);
  return std::make_shared<const grammar::Vocabulary>(std::move(tokens));
}

std::vector<int32_t> allowed_by(engine::TokenConstraint& constraint) {
  std::vector<uint64_t> mask((kAb + 64) / 64);
  EXPECT_TRUE(constraint.fill_allowed(mask));
  std::vector<int32_t> ids;
  for (int32_t id = 0; id <= kAb; ++id) {
    if ((mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0) ids.push_back(id);
  }
  return ids;
}

v1::Constraint regex(const std::string& pattern) {
  v1::Constraint constraint;
  constraint.set_regex(pattern);
  return constraint;
}

class ConstraintsTest : public testing::Test {
 protected:
  std::shared_ptr<engine::TokenConstraint> make(const v1::Constraint& constraint,
                                                const std::vector<int32_t>& stop = {}) {
    return constraints_.make(constraint, constraints_.masks_of(constraint), stop);
  }

  Constraints constraints_{vocabulary(), {kEnd}};
};

TEST_F(ConstraintsTest, OnlyWhatTheGrammarAllowsAndTheEndAtItsEnd) {
  const auto constraint = make(regex("ab|x"), {kEnd, 'q'});
  EXPECT_EQ(allowed_by(*constraint), (std::vector<int32_t>{'a', 'x', kAb}));
  constraint->accept('a');
  EXPECT_EQ(allowed_by(*constraint), (std::vector<int32_t>{'b'}));
  constraint->accept('b');
  EXPECT_EQ(allowed_by(*constraint), (std::vector<int32_t>{'q', kEnd}));
}

TEST_F(ConstraintsTest, BeginsAfterTheReasoning) {
  v1::Constraint message = regex("ab");
  message.set_reasoning_end_id(kThinkEnd);
  const auto constraint = make(message);
  std::vector<int32_t> reasoning = allowed_by(*constraint);
  EXPECT_EQ(reasoning.size(), static_cast<size_t>(kAb)) << "everything but the end";
  EXPECT_EQ(std::ranges::count(reasoning, kEnd), 0);
  constraint->accept('z');
  constraint->accept(kAb);
  EXPECT_EQ(allowed_by(*constraint), reasoning);
  constraint->accept(kThinkEnd);
  EXPECT_EQ(allowed_by(*constraint), (std::vector<int32_t>{'\n', 'a', kAb}));
  constraint->accept('\n');
  constraint->accept('\n');
  EXPECT_EQ(allowed_by(*constraint), (std::vector<int32_t>{'a', kAb}));
  constraint->accept(kAb);
  EXPECT_EQ(allowed_by(*constraint), (std::vector<int32_t>{kEnd}));
}

TEST_F(ConstraintsTest, ReasoningMayBeLeftOut) {
  v1::Constraint message = regex("ab");
  message.set_reasoning_end_id(kThinkEnd);
  message.set_reasoning_begin_id(kThink);
  const auto thinking = make(message);
  EXPECT_EQ(allowed_by(*thinking), (std::vector<int32_t>{'a', kThink, kAb}));
  thinking->accept(kThink);
  EXPECT_EQ(allowed_by(*thinking).size(), static_cast<size_t>(kAb));
  thinking->accept('z');
  thinking->accept(kThinkEnd);
  EXPECT_EQ(allowed_by(*thinking), (std::vector<int32_t>{'a', kAb}));
  const auto other = make(message);
  other->accept('a');
  EXPECT_EQ(allowed_by(*other), (std::vector<int32_t>{'b'})) << "too late to think";
}

TEST_F(ConstraintsTest, SequencesOfARequestAreApart) {
  const v1::Constraint message = regex("ab|ac");
  const auto first = make(message);
  const auto second = make(message);
  first->accept('a');
  EXPECT_EQ(allowed_by(*first), (std::vector<int32_t>{'b', 'c'}));
  EXPECT_EQ(allowed_by(*second), (std::vector<int32_t>{'a', kAb}));
  EXPECT_EQ(constraints_.kept(), 1U);
}

TEST_F(ConstraintsTest, TheLastOnesUsedAreKept) {
  const auto first = constraints_.masks_of(regex("a0"));
  for (size_t i = 1; i < Constraints::kKeptMax; ++i) (void)constraints_.masks_of(regex("a" + std::to_string(i)));
  EXPECT_EQ(constraints_.masks_of(regex("a0")), first);
  (void)constraints_.masks_of(regex("b"));
  EXPECT_EQ(constraints_.kept(), Constraints::kKeptMax);
  EXPECT_EQ(constraints_.masks_of(regex("a0")), first);
  const auto again = constraints_.masks_of(regex("a1"));
  EXPECT_EQ(again->computed(), 0U) << "it was the one that had not been used for longest";
}

TEST_F(ConstraintsTest, MasksAreComputedBeforeTheyAreNeeded) {
  const v1::Constraint message = regex("[ab]+-[cd]+");
  const auto masks = constraints_.masks_of(message);
  const auto constraint = constraints_.make(message, masks, {});
  constraints_.wait_for_masks();
  EXPECT_EQ(masks->computed(), 1U) << "that of the beginning";
  EXPECT_EQ(allowed_by(*constraint), (std::vector<int32_t>{'a', 'b', kAb}));
  constraint->accept('a');
  constraints_.wait_for_masks();
  const uint64_t computed = masks->computed();
  EXPECT_GT(computed, 1U);
  EXPECT_EQ(allowed_by(*constraint), (std::vector<int32_t>{'-', 'a', 'b', kAb}));
  EXPECT_EQ(masks->computed(), computed) << "nothing was left to compute";
}

TEST_F(ConstraintsTest, EveryKindOfMessageIsUnderstood) {
  const auto accepts = [&](const v1::Constraint& message, const std::string& text) {
    const auto constraint = make(message);
    for (const char byte : text) constraint->accept(static_cast<uint8_t>(byte));
    return std::ranges::count(allowed_by(*constraint), kEnd) > 0;
  };
  v1::Constraint message;
  message.mutable_any_json_object();
  EXPECT_TRUE(accepts(message, R"({"a":1})"));
  EXPECT_FALSE(accepts(message, R"({"a":)"));
  message.set_json_schema(R"({"type":"null"})");
  EXPECT_TRUE(accepts(message, "null"));
  message.mutable_choice()->add_texts("yes");
  EXPECT_TRUE(accepts(message, "yes"));
  message.set_ebnf("root ::= \"x\"+");
  EXPECT_TRUE(accepts(message, "xxx"));
  message.mutable_any_text();
  EXPECT_TRUE(accepts(message, "any"));
  message.mutable_calls()->set_form(v1::Constraint::CALL_FORM_PLAIN);
  message.mutable_calls()->add_functions()->set_name("f");
  EXPECT_TRUE(
      accepts(message,
              "any<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"))
      << "with markers as text, which are no tokens here";
  message.clear_text();
  EXPECT_FALSE(accepts(message, ""));
  EXPECT_TRUE(accepts(
      message, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"));
}

TEST_F(ConstraintsTest, WhatCannotBeHonouredIsRefused) {
  using grammar::GrammarError;
  EXPECT_THROW((void)constraints_.masks_of(regex("(")), GrammarError);
  EXPECT_THROW((void)constraints_.masks_of({}), GrammarError);
  v1::Constraint message = regex("a");
  message.set_reasoning_end_id(260);
  EXPECT_THROW((void)constraints_.masks_of(message), GrammarError);
  message.clear_reasoning_end_id();
  message.mutable_calls();
  EXPECT_THROW((void)constraints_.masks_of(message), GrammarError) << "no functions";
  message.mutable_calls()->add_functions()->set_name("f");
  EXPECT_THROW((void)constraints_.masks_of(message), GrammarError) << "no form";
  Constraints none(nullptr, {kEnd});
  EXPECT_THROW((void)none.masks_of(regex("a")), GrammarError);
}

}  // namespace
}  // namespace bellwether::worker
