#include "text/grammar/ebnf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "text/grammar/support.h"

namespace bellwether::text::grammar {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Case {
  std::string grammar;
  std::vector<std::string> matches;
  std::vector<std::string> others;
};

TEST(Ebnf, ReadsTextsByRules) {
  const std::vector<Case> cases = {
      {"root ::= \"yes\" | 'no'", {"yes", "no"}, {"", "yesno"}},
      {"root ::= greeting \" \" name # a comment\n# another\ngreeting ::= \"hi\" |\n  \"hello\"\n\nname ::= "
       "[A-Z][a-z]{1,3}",
       {"hi Bob", "hello Anne"},
       {"hi bob", "hi Roberta", "hi"}},
      {"root ::= (\"a\" | \"b\" \"c\")* \"\\n\\x41\\u00e9\\\"\" .?",
       {"a\nAé\"", "abca\nAé\"😀"},
       {"ac\nAé\"", "a\nAé\"xx"}},
      {"root ::= \"\"", {""}, {"a"}},
      // Left-recursive.
      {"root ::= sum\nsum ::= sum \"+\" product | product\nproduct ::= product \"*\" atom | atom\n"
       "atom ::= [0-9]+ | \"(\" sum \")\"",
       {"1", "1+2*3", "((1+2)*3)+4", "12*34"},
       {"", "1+", "(1", "1)", "()"}},
      // Ambiguous, and with rules that may be empty.
      {"root ::= s\ns ::= s s | \"a\" | \"\"", {"", "a", "aaaa"}, {"b", "ab"}},
      {"root ::= a b a\na ::= \"x\"*\nb ::= a | \"y\"", {"", "x", "xxx", "xyx", "y"}, {"yy", "xyxy"}},
      // Recursive on both sides, and in circles that read nothing.
      {"root ::= p\np ::= \"a\" p \"a\" | \"b\"", {"b", "aba", "aabaa"}, {"ab", "aab", "a"}},
      {"root ::= a\na ::= b | \"x\"\nb ::= a | \"y\"", {"x", "y"}, {"xy"}},
      // A rule that never ends is left out.
      {"root ::= \"a\" | endless\nendless ::= \"b\" endless", {"a"}, {"b", "bb"}},
      {"root ::= list\nlist ::= item rest\nrest ::= \",\" list | \"\"\nitem ::= \"a\" | \"[\" list \"]\"",
       {"a", "a,a,a", "[a,[a],a],a"},
       {"a,", "[a", "", "[]"}},
  };
  for (const Case& each : cases) {
    const auto automaton = compiled({Ebnf{each.grammar}});
    for (const std::string& text : each.matches) EXPECT_TRUE(accepts(*automaton, text)) << each.grammar << "\n" << text;
    for (const std::string& text : each.others) EXPECT_FALSE(accepts(*automaton, text)) << each.grammar << "\n" << text;
  }
}

TEST(Ebnf, ListsByMutualRecursionDoNotPileUp) {
  const auto automaton = compiled({Ebnf{"root ::= a\na ::= \"x\" b\nb ::= \"y\" a | \"y\""}});
  Recognizer recognizer(*automaton);
  recognizer.begin();
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(recognizer.read('x'));
    ASSERT_TRUE(recognizer.read('y'));
    ASSERT_LE(recognizer.items().size(), 4U);
  }
  EXPECT_TRUE(recognizer.may_end());
}

TEST(Ebnf, RefusesWhatItCannotRead) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "has no rule `root`"},
      {"start ::= \"a\"", "has no rule `root`"},
      {"root ::= other", "character 10: there is no rule `other`"},
      {"root ::= \"a\"\nroot ::= \"b\"", "character 14: the rule is defined twice"},
      {"root: \"a\"", "Lark's form is not supported"},
      {"?start: \"a\"", "stands where a rule begins"},
      {"root = \"a\"", "`::=` must follow"},
      {"root ::= \"a", "character 10: the text is not closed"},
      {"root ::= (\"a\"", "the group is not closed"},
      {"root ::= \"a\")", "closes a group"},
      {"root ::= [a", "bracket is not closed"},
      {"root ::= \"a\"{x}", "is no count"},
      {"root ::= \"a\"{1,20000}", "more than 10000"},
      {"root ::= $", "'$' is no part of an expression"},
      {"root ::= \"\\q\"", "\\q is not supported"},
      {"root ::= root \"a\"", "no text can satisfy it"},
      {"root ::= " + std::string(100, '(') + "\"a\"" + std::string(100, ')'), "nested more than 64 deep"},
  };
  for (const auto& [grammar, complaint] : cases) {
    EXPECT_THAT(refusal({Ebnf{grammar}}), HasSubstr(complaint)) << grammar;
  }
}

TEST(Ebnf, SizeHasLimits) {
  std::string doubling = "root ::= r0\n";
  for (int i = 0; i < 60; ++i) {
    doubling += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + " r" + std::to_string(i + 1) + "\n";
  }
  EXPECT_EQ(refusal({Ebnf{doubling + "r60 ::= \"a\""}}), "") << "rules are written once, not once for each use";
  EXPECT_THAT(refusal({Ebnf{"root ::= ((\"a\"{1000}){1000}){1000}"}}), StartsWith("is too large"));
  GrammarLimits limits;
  limits.rules_max = 10;
  EXPECT_THAT(refusal({Ebnf{doubling + "r60 ::= \"a\""}}, limits),
              StartsWith("is too large: it needs more than 10 rules"));
}

}  // namespace
}  // namespace bellwether::text::grammar
