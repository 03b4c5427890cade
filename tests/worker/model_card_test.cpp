#include "worker/model_card.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "mesh/card_digest.h"
#include "mesh/error.h"
#include "mesh/ids.h"

namespace bellwether::worker {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ModelFolder : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) const { std::ofstream(folder_ / name) << content; }

  std::string refusal(bool tokenizer_required) const {
    try {
      (void)read_card_files(folder_, tokenizer_required);
    } catch (const mesh::Error& error) {
      EXPECT_EQ(error.code(), mesh::ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "";
  }

  fs::path folder_ = fs::temp_directory_path() / mesh::random_id("bellwether-card");
};

TEST_F(ModelFolder, IsReadAsItIs) {
  write("config.json", "{\"a\":1}");
  write("generation_config.json", "{}");
  write("tokenizer.json", "{\"model\":\"\\u00e9\"}\n");
  write("tokenizer_config.json", "{\"b\":2}");
  const v1::ModelCard card = read_card_files(folder_, true);
  EXPECT_EQ(card.config_json(), "{\"a\":1}");
  EXPECT_EQ(card.generation_config_json(), "{}");
  EXPECT_EQ(card.tokenizer_json(), "{\"model\":\"\\u00e9\"}\n");
  EXPECT_EQ(card.tokenizer_config_json(), "{\"b\":2}");
}

TEST_F(ModelFolder, AChatTemplateOfItsOwnFileGoesBeforeTheConfigs) {
  write("config.json", "{}");
  write("tokenizer_config.json", R"({"b":2,"chat_template":"old"})");
  write("chat_template.jinja", "{{ new }}\n");
  EXPECT_EQ(read_card_files(folder_, false).tokenizer_config_json(), R"({"b":2,"chat_template":"{{ new }}\n"})");
  write("tokenizer_config.json", "[]");
  EXPECT_THAT(refusal(false), HasSubstr("tokenizer_config.json is not a JSON object"));
}

TEST_F(ModelFolder, NeedsNoTokenizerForMadeUpWeights) {
  write("config.json", "{}");
  EXPECT_EQ(read_card_files(folder_, false).tokenizer_json(), "");
  EXPECT_THAT(refusal(true), HasSubstr("tokenizer.json"));
}

TEST_F(ModelFolder, WithoutConfigIsRefusedNamingTheFile) {
  EXPECT_THAT(refusal(false), HasSubstr("config.json"));
}

TEST_F(ModelFolder, WithAFileTooLargeIsRefusedWithoutReadingIt) {
  write("config.json", "{}");
  write("tokenizer_config.json", "");
  fs::resize_file(folder_ / "tokenizer_config.json", kConfigBytesMax + 1);
  EXPECT_THAT(refusal(false), HasSubstr("tokenizer_config.json"));
}

TEST_F(ModelFolder, WithAFolderForAFileIsRefused) {
  fs::create_directory(folder_ / "config.json");
  EXPECT_THAT(refusal(false), HasSubstr("config.json"));
}

v1::ModelCard card_of(size_t tokenizer_bytes) {
  v1::ModelCard card;
  card.set_model("m");
  card.set_config_json("{}");
  card.set_tokenizer_json(std::string(tokenizer_bytes, 't'));
  return card;
}

v1::CardRequest asking(const std::string& digest, uint64_t offset) {
  v1::CardRequest request;
  request.set_digest(digest);
  request.set_offset(offset);
  return request;
}

TEST(CardChunks, JoinToTheCard) {
  const SerializedCard card = serialize_card(card_of(kCardChunkBytesMax * 2));
  std::string bytes;
  std::string digest;
  int chunks = 0;
  do {
    const v1::CardChunk chunk = card_chunk(card, asking(digest, bytes.size()));
    ASSERT_EQ(chunk.error(), "");
    EXPECT_EQ(chunk.offset(), bytes.size());
    EXPECT_EQ(chunk.bytes_total(), card.bytes.size());
    EXPECT_LE(chunk.data().size(), kCardChunkBytesMax);
    digest = chunk.digest();
    bytes += chunk.data();
    ++chunks;
  } while (bytes.size() < card.bytes.size() && chunks < 10);
  EXPECT_EQ(chunks, 3);
  v1::ModelCard received;
  ASSERT_TRUE(received.ParseFromString(bytes));
  EXPECT_EQ(received.digest(), mesh::card_digest(received));
  EXPECT_EQ(received.tokenizer_json().size(), kCardChunkBytesMax * 2);
}

TEST(CardChunks, AnotherDigestIsAnErrorThatSaysToStartAgain) {
  const SerializedCard card = serialize_card(card_of(1));
  EXPECT_THAT(card_chunk(card, asking("other", 0)).error(), HasSubstr("start again"));
  EXPECT_THAT(card_chunk(card, asking("", 1)).error(), HasSubstr("start again"));
  EXPECT_EQ(card_chunk(card, asking(card.digest, 0)).error(), "");
}

TEST(CardChunks, AnOffsetBeyondTheEndIsAnError) {
  const SerializedCard card = serialize_card(card_of(1));
  EXPECT_THAT(card_chunk(card, asking(card.digest, card.bytes.size())).error(), HasSubstr("offset"));
  EXPECT_THAT(card_chunk(card, asking(card.digest, ~uint64_t{0})).error(), HasSubstr("offset"));
  EXPECT_EQ(card_chunk(card, asking(card.digest, card.bytes.size() - 1)).data().size(), 1u);
}

}  // namespace
}  // namespace bellwether::worker
