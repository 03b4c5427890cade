#include "text/grammar/matcher.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>

#include "text/grammar/support.h"

namespace bellwether::text::grammar {
namespace {

constexpr TokenId kEnd = 1;

std::shared_ptr<TokenMasks> masks_of(const Constraint& constraint, const GrammarLimits& limits = {}) {
  return std::make_shared<TokenMasks>(compiled(constraint, limits), demo_vocabulary());
}

// By reading every token's bytes after the text, one by one.
std::vector<TokenId> expected_after(const Automaton& automaton, std::string_view text) {
  Recognizer recognizer(automaton);
  recognizer.begin();
  for (const char byte : text) EXPECT_TRUE(recognizer.read(static_cast<uint8_t>(byte))) << text;
  std::vector<TokenId> ids;
  const size_t sets = recognizer.set_count();
  for (TokenId id = 0; id < static_cast<TokenId>(demo_vocabulary()->size()); ++id) {
    const std::string_view bytes = demo_vocabulary()->bytes(id);
    const bool fits = !bytes.empty() && std::ranges::all_of(bytes, [&](char byte) {
      return recognizer.read(static_cast<uint8_t>(byte));
    });
    recognizer.pop_to(sets);
    if (fits || (id == kEnd && recognizer.may_end())) ids.push_back(id);
  }
  return ids;
}

const std::vector<Constraint>& constraints() {
  static const std::vector<Constraint> constraints = {
      {AnyJsonObject{}},
      {.text = AnyJsonObject{}, .follows_reasoning = true},
      {Regex{"(abc|[^x\\n]{2,30}|\\d+)*"}},
      {Choice{{"yes", "no", "not at all", ""}}},
      {Ebnf{"root ::= sum\nsum ::= sum \"+\" product | product\nproduct ::= product \" * \" atom | atom\n"
            "atom ::= [a-z0-9]+ | \"(\" sum \")\""}},
      {Ebnf{"root ::= s\ns ::= s s | [a-z] | \"\""}},
      {JsonSchema{R"({"properties":{"name":{"type":"string"},"tags":{"items":{"type":"string","maxLength":9}},
                      "self":{"$ref":"#"},"more":{}}})"}},
      {JsonSchema{R"({"items":{"anyOf":[{"$ref":"#"},{"type":"number","minimum":-2.5},{"format":"date"}]}})"}},
      {JsonSchema{R"({"items":{"type":"string","maxLength":40}})"}},
      {.calls = ToolCallGrammar{.functions = {{"get_weather", R"({"properties":{"city":{"type":"string"}}})"},
                                              {"get", ""}}}},
      {.text = AnyText{}, .calls = ToolCallGrammar{.functions = {{"f", ""}}, .form = ToolCallForm::kPlain}},
      {.text = JsonSchema{R"({"type":"integer"})"}, .calls = ToolCallGrammar{.functions = {{"f", ""}}}},
  };
  return constraints;
}

TEST(Matcher, MasksAreWhatReadingEveryTokenSays) {
  std::mt19937_64 random(5);
  for (size_t i = 0; i < constraints().size(); ++i) {
    const auto masks = masks_of(constraints()[i]);
    for (int walk = 0; walk < 3; ++walk) {
      Matcher matcher(masks, {kEnd});
      std::string text;
      for (int step = 0; step < 20; ++step) {
        const std::vector<TokenId> allowed = allowed_of(matcher, demo_vocabulary()->mask_words());
        ASSERT_FALSE(allowed.empty()) << i << ": " << text;
        ASSERT_EQ(allowed, expected_after(masks->automaton(), text)) << i << ": " << text;
        const TokenId id = allowed[random() % allowed.size()];
        matcher.accept(id);
        if (id == kEnd) break;
        text += demo_vocabulary()->bytes(id);
      }
    }
  }
}

TEST(Matcher, MasksThatAreComputedAgainAreTheSame) {
  GrammarLimits limits;
  limits.mask_bytes_max = 0;  // every mask throws out the others
  const auto kept = masks_of(constraints()[6]);
  const auto forgotten = masks_of(constraints()[6], limits);
  Matcher a(kept, {kEnd});
  Matcher b(forgotten, {kEnd});
  std::mt19937_64 random(6);
  for (int step = 0; step < 60; ++step) {
    const std::vector<TokenId> allowed = allowed_of(a, demo_vocabulary()->mask_words());
    ASSERT_EQ(allowed, allowed_of(b, demo_vocabulary()->mask_words()));
    const TokenId id = allowed[random() % allowed.size()];
    a.accept(id);
    b.accept(id);
    if (id == kEnd) break;
  }
  EXPECT_GT(forgotten->computed(), kept->computed());
}

TEST(Matcher, ThreadsShareMasks) {
  for (const size_t bytes_max : {size_t{0}, GrammarLimits().mask_bytes_max}) {
    GrammarLimits limits;
    limits.mask_bytes_max = bytes_max;
    const auto shared = masks_of(constraints()[6], limits);
    std::vector<std::jthread> threads;
    for (uint64_t seed = 0; seed < 3; ++seed) {
      threads.emplace_back([&, seed] {
        Matcher own(masks_of(constraints()[6]), {kEnd});
        Matcher matcher(shared, {kEnd});
        std::mt19937_64 random(seed);
        for (int step = 0; step < 30; ++step) {
          const std::vector<TokenId> allowed = allowed_of(own, demo_vocabulary()->mask_words());
          for (const State state : matcher.missing_masks()) EXPECT_NE(shared->of(state), nullptr);
          ASSERT_EQ(allowed_of(matcher, demo_vocabulary()->mask_words()), allowed);
          const TokenId id = allowed[random() % allowed.size()];
          own.accept(id);
          matcher.accept(id);
          if (id == kEnd) break;
        }
      });
    }
  }
}

TEST(Matcher, MissingMasksAreThoseThatWouldBeComputed) {
  const auto masks = masks_of({Regex{"[ab]+-[cd]+"}});
  Matcher matcher(masks, {kEnd});
  ASSERT_EQ(matcher.missing_masks().size(), 1U);
  (void)masks->of(matcher.missing_masks()[0]);
  EXPECT_TRUE(matcher.missing_masks().empty());
  EXPECT_EQ(masks->computed(), 1U);
  (void)allowed_of(matcher, demo_vocabulary()->mask_words());
  EXPECT_EQ(masks->computed(), 1U);
}

TEST(Matcher, CharactersFarFromAStringsEndShareAMask) {
  const auto masks = masks_of({JsonSchema{R"({"maxLength":500})"}});
  Matcher matcher(masks, {kEnd});
  for (const TokenId id : demo_tokenizer().encode("\"Once there was a sheep that led the flock, and it wore a bell.")) {
    (void)allowed_of(matcher, demo_vocabulary()->mask_words());
    matcher.accept(id);
  }
  ASSERT_FALSE(matcher.is_broken());
  EXPECT_LE(masks->computed(), 3U);
}

TEST(Matcher, TheEndMayComeWhereTheTextMayEndAndOnlyThere) {
  const auto masks = masks_of({Choice{{"a", "ab"}}});
  const auto id_of = [](std::string_view bytes) {
    for (TokenId id = 0; id < 2048; ++id) {
      if (demo_vocabulary()->bytes(id) == bytes) return id;
    }
    return TokenId{-1};
  };
  Matcher matcher(masks, {kEnd, 2});
  EXPECT_EQ(allowed_of(matcher, 32), (std::vector<TokenId>{id_of("a"), id_of("ab")}));
  EXPECT_FALSE(matcher.may_end());
  matcher.accept(id_of("a"));
  EXPECT_EQ(allowed_of(matcher, 32), (std::vector<TokenId>{kEnd, 2, id_of("b")}));
  matcher.accept(id_of("b"));
  EXPECT_EQ(allowed_of(matcher, 32), (std::vector<TokenId>{kEnd, 2}));
  matcher.accept(2);
  EXPECT_EQ(allowed_of(matcher, 32), (std::vector<TokenId>{kEnd, 2})) << "nothing but an end follows an end";
  matcher.accept(id_of("a"));
  EXPECT_FALSE(matcher.is_broken()) << "what stands behind the end is not looked at";
}

TEST(Matcher, ATokenThatMayNotComeEndsTheText) {
  Matcher matcher(masks_of({Choice{{"abc"}}}), {kEnd});
  matcher.accept(-5);
  EXPECT_TRUE(matcher.is_broken());
  EXPECT_EQ(allowed_of(matcher, 32), (std::vector<TokenId>{kEnd}));
  Matcher other(masks_of({Choice{{"abc"}}}), {kEnd});
  other.accept(kEnd);
  EXPECT_TRUE(other.is_broken()) << "the end came too early";
}

TEST(Matcher, LongTextsTakeNoMoreMemoryOrTime) {
  const auto masks = masks_of({AnyJsonObject{}});
  Matcher matcher(masks, {kEnd});
  const auto accept_text = [&](std::string_view text) {
    for (const TokenId id : demo_tokenizer().encode(text)) matcher.accept(id);
    ASSERT_FALSE(matcher.is_broken());
  };
  accept_text(R"({"a": [)");
  for (int i = 0; i < 5000; ++i) accept_text(R"({"name": "a text", "list": [1, 2, {"x": null}]}, )");
  accept_text("1]}");
  EXPECT_EQ(allowed_of(matcher, 32), (std::vector<TokenId>{kEnd}));
}

TEST(Matcher, TextsOfTooManyReadingsBreak) {
  GrammarLimits limits;
  limits.items_max = 20;
  Matcher matcher(masks_of({Ebnf{"root ::= s\ns ::= \"a\" s \"a\" | \"a\""}}, limits), {kEnd});
  int tokens = 0;
  for (; tokens < 200 && !matcher.is_broken(); ++tokens) matcher.accept(demo_tokenizer().encode("a")[0]);
  EXPECT_GT(tokens, 5);
  EXPECT_LT(tokens, 100);
  EXPECT_EQ(allowed_of(matcher, 32), (std::vector<TokenId>{kEnd}));
}

TEST(Vocabulary, KnowsMarkersAndRefusesATokenizerWithoutBytes) {
  const auto& vocabulary = *demo_vocabulary();
  EXPECT_TRUE(vocabulary.has_marker("<｜tool▁calls▁begin｜>"));
  EXPECT_FALSE(vocabulary.has_marker("hello"));
  EXPECT_EQ(vocabulary.bytes(1).front(), kMarkerByte);
  EXPECT_EQ(Vocabulary(demo_tokenizer(), 2100).bytes(2099), "") << "stands for nothing";
  EXPECT_THROW(Vocabulary({"a", "b"}), TextError);
}

TEST(ToolCallGrammar, WritesDeepSeeksForms) {
  const auto marked = [](std::string text) {  // markers as the automaton reads them
    for (size_t at = 0; (at = text.find("<｜", at)) != std::string::npos; at += 2) text.insert(at, 1, kMarkerByte);
    return text;
  };
  const std::string weather = R"({"properties":{"city":{"type":"string"}},"required":["city"]})";
  ToolCallGrammar grammar{.functions = {{"get_weather", weather}, {"stop", ""}}};
  const std::string call =
      "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{\"city\": \"Bonn\"}\n```<｜tool▁call▁end｜>";
  const std::string stop = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>stop\n```json\n{}\n```<｜tool▁call▁end｜>";
  const std::string begin = "<｜tool▁calls▁begin｜>";
  const std::string end = "<｜tool▁calls▁end｜>";
  const auto reads = [&](const std::string& text, bool follows_reasoning = false) {
    return accepts(Constraint{.calls = grammar, .follows_reasoning = follows_reasoning}, text);
  };
  EXPECT_TRUE(reads(marked(begin + call + end)));
  EXPECT_TRUE(reads(marked(begin + call + "\n" + stop + "\n" + call + end)));
  EXPECT_FALSE(reads(marked(begin + call + stop + end)));
  EXPECT_FALSE(reads(marked(begin + end)));
  EXPECT_FALSE(reads(marked("Hello. " + begin + call + end)));
  EXPECT_FALSE(reads(begin + call + end)) << "markers are tokens, not text";
  EXPECT_FALSE(reads("Hello."));
  EXPECT_FALSE(reads(marked(
      begin + "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{}\n```<｜tool▁call▁end｜>" + end)));
  EXPECT_TRUE(reads(marked("\n\n" + begin + call + end), true));
  EXPECT_TRUE(reads(marked(begin + call + end), true));
  EXPECT_FALSE(reads(marked("\n\n\n" + begin + call + end), true));
  grammar.is_parallel = false;
  EXPECT_TRUE(reads(marked(begin + call + end)));
  EXPECT_FALSE(reads(marked(begin + call + "\n" + stop + end)));
  const Constraint after_text{.text = AnyText{}, .calls = grammar};
  EXPECT_TRUE(accepts(after_text, marked("Hello. " + begin + call + end)));
  EXPECT_TRUE(accepts(after_text, "Hello."));
  EXPECT_TRUE(accepts(after_text, ""));
  EXPECT_FALSE(accepts(after_text, marked(begin + call + end + "more")));
  const Constraint or_number{.text = JsonSchema{R"({"type":"integer"})"}, .calls = grammar};
  EXPECT_TRUE(accepts(or_number, "12"));
  EXPECT_TRUE(accepts(or_number, marked(begin + stop + end)));
  EXPECT_FALSE(accepts(or_number, marked("12" + begin + stop + end)));
  grammar.form = ToolCallForm::kPlain;
  grammar.is_parallel = true;
  const std::string plain = "<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\":\"Bonn\"}<｜tool▁call▁end｜>";
  EXPECT_TRUE(reads(marked(begin + plain + plain + end)));
  EXPECT_FALSE(reads(marked(begin + plain + "\n" + plain + end)));
  grammar.functions = {{"f", "{}"}, {"g", R"({"properties":{"a":{"not":{}}}})"}};
  EXPECT_EQ(refusal({.calls = grammar}), "/functions/1/parameters/properties/a/not: is not supported");
  grammar.functions = {{"f", R"({"type":"string"})"}};
  EXPECT_EQ(refusal({.calls = grammar}), "no text can satisfy it") << "arguments are objects";
}

}  // namespace
}  // namespace bellwether::text::grammar
