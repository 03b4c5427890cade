#include "text/grammar/json_schema.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "text/grammar/random_schema.h"
#include "text/grammar/schema_validator.h"
#include "text/grammar/support.h"

namespace bellwether::text::grammar {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Case {
  std::string schema;
  std::vector<std::string> valid;
  std::vector<std::string> invalid;
};

void expect_cases(const std::vector<Case>& cases) {
  for (const Case& each : cases) {
    const auto automaton = compiled({JsonSchema{each.schema}});
    for (const std::string& text : each.valid) EXPECT_TRUE(accepts(*automaton, text)) << each.schema << "\n" << text;
    for (const std::string& text : each.invalid) EXPECT_FALSE(accepts(*automaton, text)) << each.schema << "\n" << text;
  }
}

TEST(JsonText, HasOneRuleOfWhitespace) {
  const auto object = compiled({AnyJsonObject{}});
  for (const char* text : {"{}", R"({"a":1})", R"({"a": 1, "b": [1, 2]})", R"({ "a": 1 })",
                           "{\n  \"a\": [\n    1,\n    2\n  ]\n}", R"({"a":{"b":{"c":[[],[{}]]}}})"}) {
    EXPECT_TRUE(accepts(*object, text)) << text;
  }
  for (const char* text :
       {"", "[]", "1", " {}", "{} ", "{ }", R"({"a" :1})", R"({"a":  1})", R"({"a":1 ,"b":2})", "{\t\"a\":1}",
        "{\n\n\"a\":1}", R"({"a":1,})", R"({a:1})", R"({"a":1)", R"({"a":01})", R"({"a":+1})", R"({"a":1.})"}) {
    EXPECT_FALSE(accepts(*object, text)) << text;
  }
}

TEST(JsonText, StringsHaveEveryEscape) {
  expect_cases(
      {{R"({"type":"string"})",
        {R"("")", R"("aé😀")", R"("\"\\\/\b\f\n\r\t")", R"("\u00e9\uFFFF\ud83d\uDE00\ud7ff\ue000")", "\"\x7F\""},
        {R"("a)", R"(a)", R"("\x")", R"("\ud83d")", R"("\ud83d\u0041")", R"("\ude00")", "\"\n\"", R"("\u12")",
         R"("""")", "\"\xFF\"", "\"\xC3\""}}});
}

TEST(JsonText, NumbersAreBounded) {
  expect_cases(
      {{R"({"type":"number"})",
        {"0", "-0", "12", "-1.5", "1e5", "1E+10", "0.123456789012345", "123456789012345", "1.0e-99"},
        {"", "-", "00", "1.", ".1", "1e", "1e100", "1234567890123456", "0.1234567890123456", "+1", "0x1", "NaN"}},
       {R"({"type":"integer"})", {"0", "-5", "123456789012345678"}, {"-0", "1.0", "1e2", "1234567890123456789"}}});
}

TEST(JsonSchema, Types) {
  expect_cases({
      {R"({"type":"null"})", {"null"}, {"nul", "\"null\""}},
      {R"({"type":"boolean"})", {"true", "false"}, {"1", "True"}},
      {R"({"type":["integer","null"]})", {"1", "null"}, {"1.5", "\"\""}},
      {R"({"type":["integer","number"]})", {"1", "1.5"}, {"null"}},
      {"true", {"1", "\"a\"", "[1,{\"a\":null}]", "{}"}, {"", "a"}},
      {"{}", {"1", "[true]"}, {"]"}},
      {R"({"title":"t","description":"d","default":1,"examples":[1],"$comment":"c","x-own":1})", {"null", "{}"}, {"x"}},
  });
}

TEST(JsonSchema, EnumAndConst) {
  expect_cases({
      {R"({"enum":["a",1,1.5,2.0,null,[1,{"b":"c\n"}],1e300]})",
       {"\"a\"", "1", "1.5", "2.0", "null", R"([1,{"b":"c\n"}])", R"([1, {"b": "c\n"}])",
        "[\n1,\n{\n\"b\":\"c\\n\"\n}\n]", "1e+300"},
       {"\"b\"", "2", R"([1,{"b":"c"}])", "a"}},
      {R"({"const":"é\"\\/\u0001"})", {R"("é\"\\/\u0001")"}, {R"("é")", R"("\u00e9\"\\/\u0001")"}},
      {R"({"type":"string","enum":["a",1,"b"]})", {"\"a\"", "\"b\""}, {"1"}},
      {R"({"type":"integer","enum":[1.0,1.5,2]})", {"1.0", "2"}, {"1.5"}},
      {R"({"allOf":[{"enum":[1,2,3]},{"enum":[2,3,4]}],"const":3})", {"3"}, {"1", "2", "4"}},
  });
}

TEST(JsonSchema, Numbers) {
  expect_cases({
      {R"({"type":"integer","minimum":3,"maximum":12})", {"3", "9", "10", "12"}, {"2", "13", "1", "100", "3.0"}},
      {R"({"type":"integer","exclusiveMinimum":-2,"exclusiveMaximum":2.5})", {"-1", "0", "1", "2"}, {"-2", "3"}},
      {R"({"type":"number","minimum":0,"exclusiveMaximum":1})", {"0", "0.5", "0.999"}, {"1", "1.0", "-0.1", "1e-1"}},
      {R"({"minimum":5})", {"5", "5.5"}, {"4.9", "\"a\"", "null"}},
      {R"({"type":["number","string"],"minimum":5})", {"5", "\"a\""}, {"4"}},
      {R"({"allOf":[{"type":"integer","minimum":1},{"minimum":5,"maximum":7}]})", {"5", "7"}, {"1", "4", "8"}},
  });
}

TEST(JsonSchema, Strings) {
  expect_cases({
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", R"("é😀中")", R"("\"\\")", R"("\u0001\n")"},
       {R"("a")", R"("abcd")", R"("\u0041b")", R"("\/a")"}},
      {R"({"type":"string","maxLength":0})", {R"("")"}, {R"("a")"}},
      {R"({"pattern":"^[A-Z]+-\\d{2}$"})", {R"("AB-12")"}, {R"("ab-12")", R"("AB-12 ")", "1"}},
      {R"({"pattern":"b\"c"})", {R"("b\"c")", R"("xb\"cy\n")"}, {R"("bc")", R"("b"c")"}},
      {R"({"pattern":"^a|b$"})", {R"("abc")", R"("ccb")", R"("a")"}, {R"("ca")", R"("bc")"}},
      {R"({"pattern":"^\\w+$","maxLength":3,"minLength":2})",
       {R"("abc")", R"("ab")"},
       {R"("a")", R"("abcd")", R"("a-")"}},
      {R"({"allOf":[{"pattern":"a"},{"pattern":"b"},{"pattern":"c"}]})",
       {R"("cab")", R"("a-b-c")"},
       {R"("ab")", R"("ac")"}},
      {R"({"format":"ipv4","pattern":"^10\\."})", {R"("10.0.0.255")"}, {R"("11.0.0.1")", R"("10.0.0.256")"}},
      {R"({"type":["string","integer"],"maxLength":1})", {R"("a")", "12"}, {R"("ab")"}},
  });
}

TEST(JsonSchema, Formats) {
  const auto format = [](const std::string& name) { return R"({"type":"string","format":")" + name + "\"}"; };
  const auto quoted = [](std::vector<std::string> texts) {
    for (std::string& text : texts) text = "\"" + text + "\"";
    return texts;
  };
  expect_cases({
      {format("date"), quoted({"2024-02-29", "2000-02-29", "2023-12-31", "2023-04-30"}),
       quoted({"2023-02-29", "1900-02-29", "2023-13-01", "2023-04-31", "2023-00-10", "23-01-01", "2023-01-00"})},
      {format("time"), quoted({"23:59:59Z", "00:00:00.123+05:30"}),
       quoted({"24:00:00Z", "12:00:00", "12:60:00Z", "1:00:00Z"})},
      {format("date-time"), quoted({"2024-02-29T12:00:00Z"}), quoted({"2024-02-29", "2024-02-29 12:00:00Z"})},
      {format("duration"), quoted({"P1D", "PT5M", "P1Y2M3DT4H5M6S", "P3W", "PT1H"}),
       quoted({"P", "PT", "1D", "P1S", "PT1D"})},
      {format("email"), quoted({"a.b+c@example.com"}), quoted({"a@b", "@example.com", "a b@example.com", "a@-x.com"})},
      {format("hostname"), quoted({"example.com", "a"}), quoted({"-a", "a..b", "a-", ""})},
      {format("ipv4"), quoted({"0.0.0.0", "255.10.9.1"}), quoted({"256.1.1.1", "1.1.1", "01.1.1.1"})},
      {format("ipv6"), quoted({"::", "::1", "1::", "1:2:3:4:5:6:7:8", "fe80::1:2", "1:2:3:4:5:6:7::"}),
       quoted({"1:2:3:4:5:6:7", ":::", "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9"})},
      {format("uuid"), quoted({"123e4567-e89b-12d3-a456-426614174000"}),
       quoted({"123e4567-e89b-12d3-a456-42661417400", "x"})},
      {format("uri"), quoted({"https://example.com:80/a/b?c=d#e", "ftp://a"}),
       quoted({"example.com", "http:// a", "//a"})},
      {format("uri-reference"), quoted({"/a/b", "https://a/b"}), quoted({"a b"})},
  });
}

TEST(JsonSchema, Arrays) {
  expect_cases({
      {R"({"type":"array","items":{"type":"integer"}})", {"[]", "[1]", "[1,2, 3]"}, {"[1,]", "[,1]", "[\"a\"]", "[1"}},
      {R"({"type":"array"})", {"[]", "[1,\"a\",[]]"}, {"{}"}},
      {R"({"items":{"type":"null"},"minItems":1})", {"[null]", "[null,null,null]"}, {"[]"}},
      {R"({"items":{"type":"null"},"minItems":3})",
       {"[null,null,null]", "[null,null,null,null]"},
       {"[null,null]", "[]"}},
      {R"({"items":{"type":"null"},"maxItems":2})", {"[]", "[null]", "[null,null]"}, {"[null,null,null]"}},
      {R"({"items":{"type":"null"},"minItems":2,"maxItems":3})",
       {"[null,null]", "[null,null,null]"},
       {"[null]", "[null,null,null,null]"}},
      {R"({"items":{"type":"null"},"maxItems":0})", {"[]"}, {"[null]"}},
      {R"({"items":{"type":"object","properties":{"a":{"type":"integer"}}},"minItems":3,"maxItems":4})",
       {R"([{"a":1},{},{"a":2}])", R"([{},{},{},{}])"},
       {R"([{},{}])", R"([{},{},{},{},{}])"}},
      {R"({"prefixItems":[{"type":"integer"},{"type":"string"}]})",
       {"[]", "[1]", "[1,\"a\"]"},
       {"[1,\"a\",2]", "[\"a\"]"}},
      {R"({"prefixItems":[{"type":"integer"}],"items":{"type":"string"},"minItems":2})",
       {"[1,\"a\"]", "[1,\"a\",\"b\"]"},
       {"[1]", "[1,2]"}},
      {R"({"prefixItems":[{"type":"integer"},{"type":"integer"}],"items":true,"maxItems":1})",
       {"[]", "[1]"},
       {"[1,2]"}},
      {R"({"prefixItems":[{"type":"integer"}],"minItems":2})", {"[1,null]"}, {"[1]", "[1,null,null]"}},
      {R"({"items":false})", {"[]"}, {"[1]"}},
      {R"({"allOf":[{"items":{"minimum":1}},{"items":{"type":"integer"},"uniqueItems":false}]})",
       {"[1,2]"},
       {"[0]", "[1.5]"}},
  });
}

TEST(JsonSchema, Objects) {
  expect_cases({
      {R"({"type":"object"})", {"{}", R"({"a":[1]})"}, {"[]"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{"type":"null"}},"required":["b"]})",
       {R"({"b":"x"})", R"({"a":1,"b":"x"})", R"({"a":1, "b": "x", "c": null})", R"({"b":"x","c":null})",
        "{\n  \"b\": \"x\"\n}"},
       {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":"x","d":1})", R"({"b":"x",})", R"({"b":"x","b":"x"})",
        R"({,"b":"x"})"}},
      {R"({"properties":{"a":{"type":"integer"}},"additionalProperties":{"type":"string"}})",
       {"{}", R"({"a":1})", R"({"a":1,"b":"x","c":"y"})", R"({"b":"x"})", R"({"aa":"x"})", R"({"":"x"})"},
       {R"({"a":"x"})", R"({"b":1})", R"({"b":"x","a":1})", R"({"\u0061":"x"})"}},
      {R"({"properties":{"a":true},"additionalProperties":false})", {"{}", R"({"a":{"x":[]}})"}, {R"({"b":1})"}},
      {R"({"properties":{},"additionalProperties":false})", {"{}"}, {R"({"b":1})"}},
      {R"({"properties":{}})", {"{}"}, {R"({"b":1})"}},
      {R"({"required":["z"]})", {R"({"z":1})", R"({"z":1,"y":2})"}, {"{}", R"({"y":1})", R"({"y":2,"z":1})"}},
      {R"({"properties":{"a":false,"b":{"type":"null"}}})", {"{}", R"({"b":null})"}, {R"({"a":1})"}},
      {R"({"properties":{"k\"\n/~":{"type":"null"}},"required":["k\"\n/~"]})", {R"({"k\"\n/~":null})"}, {"{}"}},
      {R"({"additionalProperties":{"type":"integer"},"minProperties":0})",
       {"{}", R"({"x":1,"x":2})"},
       {R"({"x":null})"}},
  });
}

TEST(JsonSchema, ChoicesAndMerging) {
  expect_cases({
      {R"({"anyOf":[{"type":"string"},{"type":"integer"}]})", {"\"a\"", "1"}, {"null", "1.5"}},
      {R"({"oneOf":[{"const":1},{"const":2}]})", {"1", "2"}, {"3"}},
      {R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},"anyOf":[{"required":["a"]},{"required":["b"]}]})",
       {R"({"a":1})", R"({"b":1})", R"({"a":1,"b":1})"},
       {"{}"}},
      {R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"b":{"type":"null"}}}]})",
       {R"({"a":1})", R"({"a":1,"b":null})"},
       {R"({"b":null})", "{}"}},
      {R"({"allOf":[{"properties":{"a":{"type":"integer"}}},{"properties":{"a":{"maximum":3}}}]})",
       {R"({"a":3})"},
       {R"({"a":4})", R"({"a":1.5})"}},
      {R"({"allOf":[{"properties":{"a":true,"b":true}},{"properties":{"b":true,"c":true},"additionalProperties":false}]})",
       {R"({"b":1})", R"({"b":1,"c":2})"},
       {R"({"a":1})"}},
      {R"({"allOf":[{"properties":{"a":{"type":"integer"}},"allOf":[{"required":["a"]}],"additionalProperties":{"type":"null"}}]})",
       {R"({"a":1,"x":null})"},
       {R"({"a":null})"}},
      {R"({"anyOf":[{"type":"integer"},{"type":"string"}],"oneOf":[{"minimum":3},{"maxLength":1}]})",
       {"3", "\"a\""},
       {"1.5", "null"}},
      {R"({"anyOf":[false,{"type":"null"}]})", {"null"}, {"1"}},
      // What nothing can satisfy takes nothing else with it.
      {R"({"properties":{"a":{"anyOf":[{"pattern":"^a$","maxLength":0},{"pattern":"^a$","format":"date"},
                                       {"type":"number","minimum":2,"exclusiveMaximum":2},{"type":"null"}]}}})",
       {R"({"a":null})", "{}"},
       {R"({"a":2})", R"({"a":"a"})"}},
  });
}

TEST(JsonSchema, References) {
  expect_cases({
      {R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"integer"}}})", {"1"}, {"null"}},
      {R"({"properties":{"x":{"$ref":"#/definitions/a~1b%20c"}},"definitions":{"a/b c":{"type":"null"}}})",
       {R"({"x":null})"},
       {R"({"x":1})"}},
      {R"({"type":"object","properties":{"v":{"type":"integer"},"next":{"$ref":"#"}},"required":["v"]})",
       {R"({"v":1})", R"({"v":1,"next":{"v":2,"next":{"v":3}}})"},
       {R"({"v":1,"next":{}})", R"({"v":1,"next":null})"}},
      {R"({"$ref":"#/$defs/tree","$defs":{"tree":{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#/$defs/tree"},"maxItems":2}]}}})",
       {"null", "[]", "[[null,[]],null]"},
       {"[null,null,null]", "[1]"}},
      // Merged with what stands beside it, and recursive all the same.
      {R"({"$ref":"#/$defs/n","$defs":{"n":{"properties":{"v":{"type":"integer"},"n":{"allOf":[{"$ref":"#/$defs/n"}],"required":["v"]}}}}})",
       {"{}", R"({"n":{"v":1,"n":{"v":2}}})"},
       {R"({"n":{}})", R"({"n":{"v":1,"n":{}}})"}},
      {R"({"$ref":"#/$defs/a","maximum":5,"$defs":{"a":{"type":"integer"}}})", {"5"}, {"6", "1.5"}},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", {"null"}, {"1"}},
  });
}

TEST(JsonSchema, RefusesByName) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"type":"integer","multipleOf":5})", "/multipleOf: is not supported"},
      {R"({"properties":{"a":{"items":{"not":{}}}}})", "/properties/a/items/not: is not supported"},
      {R"({"properties":{"a/b~c":{"if":{}}}})", "/properties/a~1b~0c/if: is not supported"},
      {R"({"patternProperties":{}})", "/patternProperties: is not supported"},
      {R"({"uniqueItems":true})", "/uniqueItems: is not supported"},
      {R"({"minProperties":1})", "/minProperties: is not supported"},
      {R"({"items":[{}]})", "/items: is not supported as an array; write prefixItems"},
      {R"({"typ":"object"})", "/typ: is not supported"},
      {R"({"type":"int"})", "/type: must be one of null, boolean"},
      {R"({"type":5})", "/type: must be a type or an array"},
      {R"({"enum":5})", "/enum: must be an array"},
      {R"({"enum":[1],"minimum":0})", "/minimum: beside enum or const is not supported"},
      {R"({"format":"regex"})", "/format: must be one of date, date-time"},
      {R"_({"pattern":"a(?=b)"})_", "/pattern: character 2: look-around is not supported"},
      {R"({"pattern":5})", "/pattern: must be a string"},
      {R"({"minLength":-1})", "/minLength: must be a count"},
      {R"({"maxItems":1.5})", "/maxItems: must be a count"},
      {R"({"maxLength":100000})", "/maxLength: is more than 10000"},
      {R"({"minimum":"1"})", "/minimum: must be a number"},
      {R"({"exclusiveMinimum":true,"minimum":1})", "/exclusiveMinimum: must be a number"},
      {R"({"properties":[]})", "/properties: must be an object"},
      {R"({"required":[1]})", "/required: must be a string"},
      {R"({"anyOf":[]})", "/anyOf: must not be empty"},
      {R"({"anyOf":[{"type":"null"},5]})", "/anyOf/1: must be a schema"},
      {R"({"$ref":"other.json"})", "/$ref: must point into this schema"},
      {R"({"$ref":"#name"})", "/$ref: must be a JSON pointer"},
      {R"({"$ref":"#/$defs/x"})", "/$ref: there is no \"#/$defs/x\""},
      {R"({"$ref":"#"})", "no text can satisfy it"},
      {R"({"allOf":[{"$ref":"#"}]})", "refers to more than 64 schemas in a row, or to itself"},
      {"false", "no text can satisfy it"},
      {R"({"type":"integer","minimum":5,"maximum":4})", "no text can satisfy it"},
      {R"({"type":"string","minLength":5,"maxLength":4})", "no text can satisfy it"},
      {R"({"properties":{"a":false},"required":["a"]})", "no text can satisfy it"},
      {R"({"allOf":[{"pattern":"^a$"},{"pattern":"^b$"}]})", "no text can satisfy it"},
      {"5", "must be a schema"},
      {"{", "is no JSON"},
  };
  for (const auto& [schema, complaint] : cases)
    EXPECT_THAT(refusal({JsonSchema{schema}}), HasSubstr(complaint)) << schema;
}

TEST(JsonSchema, SizeHasLimits) {
  std::string deep = "{}";
  for (int i = 0; i < 70; ++i) deep = R"({"items":)" + deep + "}";
  EXPECT_THAT(refusal({JsonSchema{deep}}), HasSubstr("is nested more than 64 deep"));
  EXPECT_THAT(refusal({JsonSchema{std::string(300, '[') + std::string(300, ']')}}), HasSubstr("nested too deep"));
  EXPECT_THAT(refusal({JsonSchema{std::string(300'000, ' ') + "{}"}}), HasSubstr("at most 262144 are allowed"));
  // 2^20 ways to choose.
  std::string choices;
  for (int i = 0; i < 20; ++i) choices += R"({"anyOf":[{"minLength":1},{"maxLength":1}]},)";
  choices.pop_back();
  EXPECT_THAT(refusal({JsonSchema{R"({"allOf":[)" + choices + "]}"}}), StartsWith("is too large"));
  EXPECT_THAT(refusal({JsonSchema{R"({"items":{"maxLength":9999,"pattern":"a{99}"},"maxItems":9999})"}}),
              HasSubstr("is too"));
}

TEST(JsonSchema, LargeOnesFit) {
  std::string properties;
  for (int i = 0; i < 300; ++i) {
    properties +=
        fmt::format(R"("property_{}":{{"type":["string","null"],"description":"{}"}},)", i, std::string(40, 'd'));
  }
  properties.pop_back();
  const auto automaton = compiled({JsonSchema{R"({"properties":{)" + properties + "}}"}});
  EXPECT_TRUE(accepts(*automaton, R"({"property_3":"x","property_299":null})"));
  EXPECT_FALSE(accepts(*automaton, R"({"property_299":null,"property_3":"x"})"));
  EXPECT_EQ(refusal({JsonSchema{R"({"type":"string","maxLength":10000})"}}), "");
  EXPECT_EQ(refusal({JsonSchema{R"({"items":{"properties":{"a":{"maxLength":100}}},"maxItems":1000})"}}), "");
}

// A text by random tokens among those that the masks allow; after `tokens` of them, those that bring it to an end. ""
// when it does not end.
std::string random_text(Matcher& matcher, std::mt19937_64& random, int tokens) {
  const auto& vocabulary = *demo_vocabulary();
  constexpr TokenId kEnd = 1;
  std::string text;
  for (int i = 0; i < tokens + 400; ++i) {
    std::vector<TokenId> allowed = allowed_of(matcher, vocabulary.mask_words());
    if (allowed.empty()) {
      ADD_FAILURE() << "nothing may come after " << text;
      return "";
    }
    TokenId id = allowed[random() % allowed.size()];
    if (i >= tokens) {
      for (const std::string_view closing : {"]", "}", "\"", "0"}) {
        const auto closes =
            std::ranges::find_if(allowed, [&](TokenId each) { return vocabulary.bytes(each) == closing; });
        if (closes != allowed.end() && (closing != "0" || random() % 2 == 0)) id = *closes;
      }
      if (std::ranges::find(allowed, kEnd) != allowed.end()) id = kEnd;
    }
    matcher.accept(id);
    if (id == kEnd) return text;
    EXPECT_FALSE(matcher.is_broken()) << text;
    text += vocabulary.bytes(id);
  }
  return "";
}

TEST(JsonSchema, WhateverTokensTheMasksAllowTheTextIsValid) {
  std::mt19937_64 random(20251125);
  int schemas = 0;
  int texts = 0;
  for (int i = 0; i < 500; ++i) {
    const boost::json::value schema = random_schema(random);
    const std::string source = boost::json::serialize(schema);
    const std::string refused = refusal({JsonSchema{source}});
    if (!refused.empty()) {
      ASSERT_THAT(refused, testing::AnyOf(HasSubstr("no text can satisfy"), HasSubstr("beside enum or const")))
          << source;
      continue;
    }
    ++schemas;
    const auto masks = std::make_shared<TokenMasks>(compiled({JsonSchema{source}}), demo_vocabulary());
    for (int j = 0; j < 5; ++j) {
      Matcher matcher(masks, {1});
      const std::string text = random_text(matcher, random, 5 + 20 * j);
      if (text.empty()) continue;
      ++texts;
      boost::system::error_code error;
      const boost::json::value value = boost::json::parse(text, error, {}, {.max_depth = 1000});
      ASSERT_FALSE(error) << text << "\n" << source;
      ASSERT_TRUE(is_valid(value, schema, schema)) << text << "\n" << source;
    }
  }
  EXPECT_GT(schemas, 350);
  EXPECT_GT(texts, 4 * schemas);
}

}  // namespace
}  // namespace bellwether::text::grammar
