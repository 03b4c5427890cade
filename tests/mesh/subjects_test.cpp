#include "mesh/subjects.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "mesh/ids.h"

namespace bellwether::mesh {
namespace {

TEST(Subjects, NamesAreOneTokenAndNothingElse) {
  EXPECT_EQ(subjects::token("Abc-1_z"), "Abc-1_z");
  EXPECT_EQ(subjects::token("deepseek-ai/DeepSeek-R1"), "deepseek-ai=2FDeepSeek-R1");
  EXPECT_EQ(subjects::token("v3.1"), "v3=2E1");
  EXPECT_EQ(subjects::token("*"), "=2A");
  EXPECT_EQ(subjects::token(">"), "=3E");
  EXPECT_EQ(subjects::token("a b\r\n"), "a=20b=0D=0A");
  EXPECT_EQ(subjects::token("="), "=3D");
  EXPECT_EQ(subjects::token("\xC3\xA9"), "=C3=A9");
  EXPECT_EQ(subjects::token(std::string(1, '\0')), "=00");
  EXPECT_EQ(subjects::token(""), "=");
}

TEST(Subjects, AreThoseOfTheTable) {
  EXPECT_EQ(subjects::request("m.1"), "bw.v1.request.m=2E1");
  EXPECT_EQ(subjects::replica_work("r"), "bw.v1.replica.r.work");
  EXPECT_EQ(subjects::replica_cancel("r"), "bw.v1.replica.r.cancel");
  EXPECT_EQ(subjects::replica_kv_dump("r"), "bw.v1.replica.r.kv");
  EXPECT_EQ(subjects::replica_kv_events("r"), "bw.v1.event.replica.r.kv");
  EXPECT_EQ(subjects::replica_state("r"), "bw.v1.event.replica.r.state");
  EXPECT_EQ(subjects::gateway_tokens("g"), "bw.v1.gateway.g.tokens");
  EXPECT_EQ(subjects::scale("m"), "bw.v1.event.scale.m");
  EXPECT_EQ(subjects::card("m"), "bw.v1.model.m.card");
}

TEST(Ids, HaveTheirPrefixAndDigitsAndDiffer) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = random_id("req");
    EXPECT_EQ(id.size(), 16U);
    EXPECT_EQ(id.substr(0, 4), "req-");
    EXPECT_EQ(id.find_first_not_of("0123456789abcdef", 4), std::string::npos) << id;
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 1000U);
  EXPECT_EQ(random_id("x", 32).size(), 34U);
}

}  // namespace
}  // namespace bellwether::mesh
