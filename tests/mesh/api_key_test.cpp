#include "mesh/api_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mesh/error.h"
#include "mesh/sha256.h"

namespace bellwether::mesh {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const std::string kDigest(64, 'a');

std::string problem_of(const std::string& text) {
  try {
    (void)parse_api_keys(text, "keys.yaml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.field() + " | " + error.what();
  }
  return "";
}

std::string one_key(const std::string& more) {
  return "keys:\n- id: a\n  tenant: t\n  sha256: \"" + kDigest + "\"\n" + more;
}

TEST(Sha256, IsTheStandards) {
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 sha;
  sha.add("a");
  sha.add("bc");
  EXPECT_EQ(sha.hex(), sha256_hex("abc"));
}

TEST(ApiKey, Patterns) {
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("*", "deepseek-ai/DeepSeek-R1"));
  EXPECT_TRUE(matches("deepseek-*", "deepseek-r1"));
  EXPECT_TRUE(matches("*-r?", "deepseek-r1"));
  EXPECT_TRUE(matches("a*b*c", "aXbbYc"));
  EXPECT_TRUE(matches("r1", "r1"));
  EXPECT_FALSE(matches("r1", "r10"));
  EXPECT_FALSE(matches("r1", "xr1"));
  EXPECT_FALSE(matches("a*b*c", "aXbbY"));
  EXPECT_FALSE(matches("", "a"));
  EXPECT_FALSE(matches("?", ""));
  // Without backtracking over more than one star this would take for ever.
  EXPECT_FALSE(matches("*a*a*a*a*a*a*a*a*a*a*a*ab", std::string(5000, 'a')));
}

TEST(ApiKey, ReadsEveryProperty) {
  const auto keys = parse_api_keys(one_key("  models: [\"deepseek-*\", nano]\n  requests_per_minute: 60\n"
                                           "  tokens_per_minute: 1000\n  concurrency: 2\n  priority: -5\n") +
                                       "- {id: b, tenant: u, sha256: \"" + std::string(64, 'b') + "\"}\n",
                                   "keys.yaml");
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_EQ(keys[0], (ApiKey{.id = "a",
                             .sha256 = kDigest,
                             .tenant = "t",
                             .models = {"deepseek-*", "nano"},
                             .requests_per_minute = 60,
                             .tokens_per_minute = 1000,
                             .concurrency = 2,
                             .priority = -5}));
  EXPECT_TRUE(keys[0].may_use("deepseek-r1"));
  EXPECT_TRUE(keys[0].may_use("nano"));
  EXPECT_FALSE(keys[0].may_use("other"));
  EXPECT_TRUE(keys[1].may_use("other"));
  EXPECT_TRUE(parse_api_keys("keys: []", "k").empty());
  EXPECT_TRUE(parse_api_keys("keys:\n", "k").empty());
}

TEST(ApiKey, RenderedIsReadBack) {
  const ApiKey key{.id = "shop.1",
                   .sha256 = std::string(64, '0'),
                   .tenant = "shop",
                   .models = {"*", "a: b", "deepseek-ai/DeepSeek-R1", "- x"},
                   .tokens_per_minute = 7,
                   .priority = -1};
  EXPECT_THAT(parse_api_keys("keys:\n" + render_api_key(key), "k"), ElementsAre(key));
}

TEST(ApiKey, MistakesAreNamed) {
  EXPECT_THAT(problem_of(""), HasSubstr("must have a list `keys`"));
  EXPECT_THAT(problem_of("[]"), HasSubstr("must have a list `keys`"));
  EXPECT_THAT(problem_of("keys: 5"), HasSubstr("keys.yaml: keys | must be a list"));
  EXPECT_THAT(problem_of("keys: []\nothers: []"), HasSubstr("keys.yaml: others"));
  EXPECT_THAT(problem_of("keys: [5]"), HasSubstr("keys[0] | must be a map"));
  EXPECT_THAT(problem_of("keys: [{id: a, sha256: x}"), HasSubstr("is not YAML"));
  EXPECT_THAT(problem_of("keys: [{}]"), HasSubstr("keys[0].id"));
  EXPECT_THAT(problem_of("keys: [{id: a b}]"), HasSubstr("keys[0].id"));
  EXPECT_THAT(problem_of("keys: [{id: a}]"), HasSubstr("keys[0].tenant"));
  EXPECT_THAT(problem_of("keys: [{id: a, tenant: t}]"), HasSubstr("keys[0].sha256"));
  EXPECT_THAT(problem_of(one_key("  model: [x]\n")), AllOf(HasSubstr("keys[0].model |"), HasSubstr("models")));
  EXPECT_THAT(problem_of(one_key("  models: x\n")), HasSubstr("keys[0].models"));
  EXPECT_THAT(problem_of(one_key("  models: [\"\"]\n")), HasSubstr("keys[0].models"));
  EXPECT_THAT(problem_of(one_key("  requests_per_minute: -1\n")), HasSubstr("keys[0].requests_per_minute"));
  EXPECT_THAT(problem_of(one_key("  tokens_per_minute: many\n")), HasSubstr("keys[0].tokens_per_minute"));
  EXPECT_THAT(problem_of(one_key("  concurrency: 1e9\n")), HasSubstr("keys[0].concurrency"));
  EXPECT_THAT(problem_of(one_key("  priority: 1001\n")), HasSubstr("keys[0].priority"));
  const std::string same_id = one_key("- {id: a, tenant: t, sha256: \"" + std::string(64, 'b') + "\"}\n");
  EXPECT_THAT(problem_of(same_id), HasSubstr("keys[1].id"));
  EXPECT_THAT(problem_of(one_key("- {id: b, tenant: t, sha256: \"" + kDigest + "\"}\n")), HasSubstr("keys[1].sha256"));
}

TEST(ApiKey, AKeyWrittenInPlaceOfItsHashIsNotRepeated) {
  const std::string secret = new_api_key();
  EXPECT_THAT(problem_of("keys: [{id: a, tenant: t, sha256: " + secret + "}]"),
              AllOf(HasSubstr("keys[0].sha256"), Not(HasSubstr(secret))));
}

TEST(ApiKey, NewOnesDiffer) {
  EXPECT_THAT(new_api_key(), testing::MatchesRegex("bw-[0-9a-f]{40}"));
  EXPECT_NE(new_api_key(), new_api_key());
}

}  // namespace
}  // namespace bellwether::mesh
