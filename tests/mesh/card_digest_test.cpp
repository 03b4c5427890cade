#include "mesh/card_digest.h"

#include <gtest/gtest.h>

namespace bellwether::mesh {
namespace {

TEST(CardDigest, IsSha256OfLengthsAndFields) {
  // Computed with Python: hashlib.sha256 over struct.pack("<Q", ...) of lengths and numbers, and the fields.
  v1::ModelCard card;
  EXPECT_EQ(card_digest(card), "17b0761f87b081d5cf10757ccc89f12be355c70e2e29df288b65b30710dcbcd1");
  card.set_config_json("ab");
  card.set_context_tokens_max(258);
  EXPECT_EQ(card_digest(card), "dbf5aa2a7f785cdfc864bbcc27a008c1b6f1301e5fee4b03b9fb75ec961ac3e2");
}

TEST(CardDigest, ChangesWithEveryFieldAfterItAndNotWithTheName) {
  const v1::ModelCard card = v1::ModelCard();
  const std::string digest = card_digest(card);
  const auto changed = [&](auto change) {
    v1::ModelCard other = card;
    change(other);
    return card_digest(other) != digest;
  };
  EXPECT_TRUE(changed([](v1::ModelCard& c) { c.set_config_json("{ }"); }));
  EXPECT_TRUE(changed([](v1::ModelCard& c) { c.set_generation_config_json("{}"); }));
  EXPECT_TRUE(changed([](v1::ModelCard& c) { c.set_tokenizer_json("t"); }));
  EXPECT_TRUE(changed([](v1::ModelCard& c) { c.set_tokenizer_config_json("{}"); }));
  EXPECT_TRUE(changed([](v1::ModelCard& c) { c.set_chat_format("x"); }));
  EXPECT_TRUE(changed([](v1::ModelCard& c) { c.set_context_tokens_max(1); }));
  EXPECT_FALSE(changed([](v1::ModelCard& c) { c.set_model("n"); }));
  EXPECT_FALSE(changed([](v1::ModelCard& c) { c.set_digest("n"); }));
}

TEST(CardDigest, TellsFieldsApartThatJoinToTheSameBytes) {
  v1::ModelCard one;
  one.set_config_json("ab");
  v1::ModelCard other;
  other.set_config_json("a");
  other.set_generation_config_json("b");
  EXPECT_NE(card_digest(one), card_digest(other));
}

}  // namespace
}  // namespace bellwether::mesh
