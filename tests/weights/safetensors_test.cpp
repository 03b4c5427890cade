#include "weights/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>

namespace bellwether::weights {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A safetensors file: the header's length, the header, `data_bytes` bytes of 0, 1, 2...
std::string file_of(const std::string& header, size_t data_bytes) {
  std::string file(8, '\0');
  for (size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
  file += header;
  for (size_t i = 0; i < data_bytes; ++i) file += static_cast<char>(i);
  return file;
}

std::vector<SafetensorsEntry> parse(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), file.size(), "x.safetensors");
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const WeightsError& error) {
    return error.what();
  }
  return "no error";
}

std::string parse_error(const std::string& header, size_t data_bytes) {
  return error_of([&] { (void)parse(file_of(header, data_bytes)); });
}

const std::string kTwo = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
                         R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )";

TEST(SafetensorsHeader, GivesEveryTensorAndItsPlaceInTheFile) {
  const auto entries = parse(file_of(kTwo, 16));
  ASSERT_EQ(entries.size(), 2U);
  const auto& b = entries[0].name == "b" ? entries[0] : entries[1];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.dtype, DType::kBF16);
  EXPECT_EQ(b.shape, (Shape{2, 3}));
  EXPECT_EQ(b.begin, 8 + kTwo.size() + 4);
  EXPECT_EQ(b.end, 8 + kTwo.size() + 16);
}

TEST(SafetensorsHeader, RefusesAFileThatEndsEarly) {
  const std::string whole = file_of(kTwo, 16);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW((void)parse(whole.substr(0, size)), WeightsError) << size;
  }
  EXPECT_NO_THROW((void)parse(whole));
}

TEST(SafetensorsHeader, RefusesALengthBeyondTheFileOrTheLimit) {
  std::string file = file_of(kTwo, 16);
  std::memset(file.data(), 0xFF, 8);
  EXPECT_THAT(error_of([&] { (void)parse(file); }), HasSubstr("too long"));
  std::memset(file.data(), 0, 8);
  file[3] = 1;
  EXPECT_THAT(error_of([&] { (void)parse(file); }), HasSubstr("ends before its header"));
}

TEST(SafetensorsHeader, RefusesWhatIsNoHeader) {
  EXPECT_THAT(parse_error("[]", 0), HasSubstr("no JSON object"));
  EXPECT_THAT(parse_error("{", 0), HasSubstr("no JSON"));
  EXPECT_THAT(parse_error(R"({"a":1})", 0), AllOf(HasSubstr("x.safetensors"), HasSubstr("tensor a")));
  EXPECT_THAT(parse_error(R"({"a":{"shape":[],"data_offsets":[0,4]}})", 4), HasSubstr("dtype"));
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"F33","shape":[],"data_offsets":[0,4]}})", 4), HasSubstr("F33"));
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), HasSubstr("shape"));
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), HasSubstr("shape"));
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4), HasSubstr("shape"));
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4), HasSubstr("data_offsets"));
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), HasSubstr("data_offsets"));
}

TEST(SafetensorsHeader, RefusesShapesThatDoNotMatchTheirBytes) {
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4), HasSubstr("needs 8"));
  // 2^32 * 2^32 elements: their number is 0 in 64 bits.
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
              HasSubstr("too large"));
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"U8","shape":[0,18446744073709551615],"data_offsets":[0,0]}})", 0),
              HasSubstr("too large"));
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", 1),
              HasSubstr("too many"));
}

TEST(SafetensorsHeader, RefusesOffsetsBeyondTheFile) {
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4), HasSubstr("leave the file"));
  EXPECT_THAT(parse_error(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[18446744073709551615,3]}})", 4),
              HasSubstr("leave the file"));
}

TEST(SafetensorsHeader, RefusesOverlapsAndGaps) {
  const auto two = [](int begin, int end) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[)" +
           std::to_string(end - begin) + R"(],"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) +
           "]}}";
  };
  EXPECT_EQ(parse_error(two(4, 8), 8), "no error");
  EXPECT_THAT(parse_error(two(3, 8), 8), AllOf(HasSubstr("tensor b"), HasSubstr("overlaps")));
  EXPECT_THAT(parse_error(two(0, 4), 4), HasSubstr("overlaps"));
  EXPECT_THAT(parse_error(two(5, 8), 8), AllOf(HasSubstr("tensor b"), HasSubstr("gap")));
  EXPECT_THAT(parse_error(two(4, 8), 9), HasSubstr("belong to no tensor"));
}

class SafetensorsFolder : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "safetensors-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  void write_tensor(const std::string& file, const std::string& tensor) {
    write(file, file_of(R"({")" + tensor + R"(":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]}})", 4));
  }
  std::string open_error() {
    return error_of([&] { (void)open_safetensors(folder_); });
  }

  std::filesystem::path folder_;
};

TEST_F(SafetensorsFolder, OneFile) {
  write_tensor("model.safetensors", "a");
  for (const auto& path : {folder_, folder_ / "model.safetensors"}) {
    const auto source = open_safetensors(path);
    EXPECT_TRUE(source->has("a"));
    EXPECT_FALSE(source->has("b"));
    const Tensor tensor = source->get("a", {2, 2});
    EXPECT_EQ(tensor.dtype, DType::kU8);
    ASSERT_EQ(tensor.data.size(), 4U);
    EXPECT_EQ(tensor.data[3], std::byte{3});
    EXPECT_THAT(error_of([&] { (void)source->get("b", {2, 2}); }), AllOf(HasSubstr("tensor b"), HasSubstr("missing")));
    EXPECT_THAT(error_of([&] { (void)source->get("a", {4}); }),
                AllOf(HasSubstr("tensor a"), HasSubstr("[2, 2]"), HasSubstr("[4]")));
  }
}

TEST_F(SafetensorsFolder, ShardsAndAnIndex) {
  write_tensor("1.safetensors", "a");
  write_tensor("2.safetensors", "b");
  write("model.safetensors.index.json", R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  const auto source = open_safetensors(folder_);
  EXPECT_EQ(source->get("a", {2, 2}).data.size(), 4U);
  EXPECT_EQ(source->get("b", {2, 2}).data.size(), 4U);
}

TEST_F(SafetensorsFolder, AnEmptyFolderOrFile) {
  EXPECT_THAT(open_error(), HasSubstr("model.safetensors: cannot be opened"));
  write("model.safetensors", "");
  EXPECT_THAT(open_error(), HasSubstr("too short"));
}

TEST_F(SafetensorsFolder, AMissingShard) {
  write_tensor("1.safetensors", "a");
  write("model.safetensors.index.json", R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  EXPECT_THAT(open_error(), HasSubstr("2.safetensors: cannot be opened"));
}

TEST_F(SafetensorsFolder, ATensorInAnotherShardThanTheIndexSays) {
  write_tensor("1.safetensors", "a");
  write_tensor("2.safetensors", "b");
  write("model.safetensors.index.json", R"({"weight_map":{"a":"2.safetensors","b":"1.safetensors"}})");
  EXPECT_THAT(open_error(), AllOf(HasSubstr(".safetensors: tensor "), HasSubstr("missing")));
}

TEST_F(SafetensorsFolder, ATensorInTwoShards) {
  write_tensor("1.safetensors", "a");
  write_tensor("2.safetensors", "a");
  write("model.safetensors.index.json", R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  EXPECT_THAT(open_error(), AllOf(HasSubstr("2.safetensors: tensor a"), HasSubstr("1.safetensors")));
}

TEST_F(SafetensorsFolder, AnIndexThatIsNone) {
  write("model.safetensors.index.json", "{");
  EXPECT_THAT(open_error(), HasSubstr("no JSON"));
  write("model.safetensors.index.json", R"({"weight_map":[]})");
  EXPECT_THAT(open_error(), HasSubstr("weight_map is missing"));
}

TEST_F(SafetensorsFolder, FileNamesThatLeaveTheFolder) {
  write_tensor("1.safetensors", "a");
  std::filesystem::create_directory(folder_ / "sub");
  write_tensor("sub/1.safetensors", "a");
  for (const char* name : {"../1.safetensors", "sub/1.safetensors", "/etc/1.safetensors", "..", "", ".safetensors",
                           "1.bin", R"(a\\b.safetensors)", R"(1\u0000.safetensors)"}) {
    write("model.safetensors.index.json", R"({"weight_map":{"a":")" + std::string(name) + R"("}})");
    EXPECT_THAT(open_error(), AllOf(HasSubstr("tensor a"), HasSubstr("beside the index"))) << name;
  }
}

TEST_F(SafetensorsFolder, TheDemoModelOpens) {
  const auto source = open_safetensors(BELLWETHER_DEMO_MODEL);
  EXPECT_EQ(source->get("model.embed_tokens.weight", {2048, 256}).dtype, DType::kBF16);
  EXPECT_EQ(source->get("model.layers.5.self_attn.kv_b_proj.weight", {1024, 512}).dtype, DType::kF8E4M3);
  EXPECT_EQ(source->get("model.layers.5.self_attn.kv_b_proj.weight_scale_inv", {8, 4}).dtype, DType::kF32);
}

}  // namespace
}  // namespace bellwether::weights
