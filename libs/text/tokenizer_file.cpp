#include "text/tokenizer_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <boost/unordered/unordered_flat_map.hpp>

#include "text/byte_alphabet.h"

namespace bellwether::text {
namespace {

namespace json = boost::json;

constexpr size_t kFileBytesMax = size_t{128} << 20;  // DeepSeek-R1's is 7.8 MB
constexpr TokenId kIdMax = (1 << 20) - 1;            // the largest vocabularies have a quarter of this
constexpr size_t kAddedTokenBytesMax = 1024;

using IdsByText = boost::unordered_flat_map<std::string_view, TokenId, BytesHash, std::equal_to<>>;

const json::value& member(const json::object& object, std::string_view where, std::string_view name) {
  const json::value* const value = object.if_contains(name);
  if (value == nullptr) throw TextError(fmt::format("{}: no {:?}", where, name));
  return *value;
}

const json::object& object_member(const json::object& object, std::string_view where, std::string_view name) {
  const json::value& value = member(object, where, name);
  if (!value.is_object()) throw TextError(fmt::format("{}: {:?} is not an object", where, name));
  return value.get_object();
}

std::string_view string_member(const json::object& object, std::string_view where, std::string_view name) {
  const json::value& value = member(object, where, name);
  if (!value.is_string()) throw TextError(fmt::format("{}: {:?} is not a string", where, name));
  return value.get_string();
}

// A missing flag or null is false.
bool flag(const json::object& object, std::string_view where, std::string_view name) {
  const json::value* const value = object.if_contains(name);
  if (value == nullptr || value->is_null()) return false;
  if (!value->is_bool()) throw TextError(fmt::format("{}: {:?} is not a boolean", where, name));
  return value->get_bool();
}

void refuse_flag(const json::object& object, std::string_view where, std::string_view name) {
  if (flag(object, where, name)) throw TextError(fmt::format("{}: {:?} is not supported", where, name));
}

// Absent, null, "" and zero ask for nothing.
void refuse_setting(const json::object& object, std::string_view where, std::string_view name) {
  const json::value* const value = object.if_contains(name);
  if (value == nullptr || value->is_null()) return;
  if (value->is_string() && value->get_string().empty()) return;
  if (value->is_double() && value->get_double() == 0) return;
  throw TextError(fmt::format("{}: {:?} is not supported", where, name));
}

TokenId checked_id(const json::value& value, std::string_view where, std::string_view token) {
  if (!value.is_int64() || value.get_int64() < 0 || value.get_int64() > kIdMax) {
    throw TextError(fmt::format("{}: the id of {:?} is not a whole number from 0 to {}", where, token, kIdMax));
  }
  return static_cast<TokenId>(value.get_int64());
}

class Reader {
 public:
  explicit Reader(const json::object& root) : root_(root), model_(object_member(root, "tokenizer.json", "model")) {}

  TokenizerFile read() {
    check_kind();
    read_vocabulary();
    check_bytes();
    read_merges();
    file_.ignore_merges = flag(model_, "model", "ignore_merges");
    read_added_tokens();
    return std::move(file_);
  }

 private:
  void check_kind() const {
    if (const auto type = string_member(model_, "model", "type"); type != "BPE") {
      throw TextError(fmt::format("model: the type {:?} is not supported", type));
    }
    for (const char* const name : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
      refuse_setting(model_, "model", name);
    }
    refuse_flag(model_, "model", "byte_fallback");
    refuse_setting(root_, "tokenizer.json", "normalizer");
    if (const auto decoder = string_member(object_member(root_, "tokenizer.json", "decoder"), "decoder", "type");
        decoder != "ByteLevel") {
      throw TextError(fmt::format("decoder: the type {:?} is not supported", decoder));
    }
  }

  // Claims an id for a token.
  void claim(TokenId id, std::string_view token) {
    const auto index = static_cast<size_t>(id);
    if (index >= taken_.size()) taken_.resize(index + 1);
    if (taken_[index]) throw TextError(fmt::format("tokenizer.json: the id {} of {:?} is another's too", id, token));
    taken_[index] = true;
    file_.id_limit = std::max(file_.id_limit, id + 1);
  }

  void read_vocabulary() {
    const json::object& vocabulary = object_member(model_, "model", "vocab");
    ids_.reserve(vocabulary.size());
    file_.vocabulary.reserve(vocabulary.size());
    for (const auto& entry : vocabulary) {
      const std::string_view token = entry.key();
      const TokenId id = checked_id(entry.value(), "vocab", token);
      claim(id, token);
      ids_.emplace(token, id);
      if (auto bytes = bytes_of_token(token)) {
        file_.vocabulary.emplace(std::move(*bytes), id);
      } else {
        file_.opaque.emplace_back(token, id);
      }
    }
  }

  // Hugging Face leaves out a byte that the vocabulary does not have; a text would lose it unnoticed.
  void check_bytes() const {
    for (int byte = 0; byte < 256; ++byte) {
      const bool in_utf8 = byte < 0xC0 || (byte >= 0xC2 && byte <= 0xF4);
      if (in_utf8 && !file_.vocabulary.contains(std::string(1, static_cast<char>(byte)))) {
        throw TextError(fmt::format("vocab: no token for the byte {:#04x}", byte));
      }
    }
  }

  // Both spellings: "a b" and ["a", "b"].
  static std::pair<std::string_view, std::string_view> merge_sides(const json::value& merge, size_t index) {
    if (merge.is_string()) {
      const std::string_view text = merge.get_string();
      const size_t space = text.find(' ');
      if (space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos) {
        return {text.substr(0, space), text.substr(space + 1)};
      }
    } else if (merge.is_array() && merge.get_array().size() == 2) {
      const json::array& sides = merge.get_array();
      if (sides[0].is_string() && sides[1].is_string()) return {sides[0].get_string(), sides[1].get_string()};
    }
    throw TextError(fmt::format("merges: number {} is not two tokens", index));
  }

  TokenId known_id(std::string_view token, size_t merge_index) const {
    const auto found = ids_.find(token);
    if (found == ids_.end())
      throw TextError(fmt::format("merges: number {} needs {:?}, which is no token", merge_index, token));
    return found->second;
  }

  void read_merges() {
    const json::value& merges = member(model_, "model", "merges");
    if (!merges.is_array()) throw TextError("model: \"merges\" is not an array");
    file_.merges.reserve(merges.get_array().size());
    std::string merged;
    for (const json::value& merge : merges.get_array()) {
      const size_t index = file_.merges.size();
      const auto [left, right] = merge_sides(merge, index);
      merged.assign(left).append(right);
      file_.merges.push_back({known_id(left, index), known_id(right, index), known_id(merged, index)});
    }
  }

  void read_added_tokens() {
    const json::value* const tokens = root_.if_contains("added_tokens");
    if (tokens == nullptr || tokens->is_null()) return;
    if (!tokens->is_array()) throw TextError("tokenizer.json: \"added_tokens\" is not an array");
    IdsByText added;
    for (const json::value& token : tokens->get_array()) {
      if (!token.is_object()) throw TextError("added_tokens: not an object");
      read_added_token(token.get_object(), added);
    }
  }

  void read_added_token(const json::object& token, IdsByText& added) {
    const std::string_view content = string_member(token, "added_tokens", "content");
    const TokenId id = checked_id(member(token, "added_tokens", "id"), "added_tokens", content);
    for (const char* const name : {"single_word", "lstrip", "rstrip"}) {
      refuse_flag(token, fmt::format("added_tokens: {:?}", content), name);
    }
    if (content.empty() || content.size() > kAddedTokenBytesMax) {
      throw TextError(fmt::format("added_tokens: the content of {} has {} bytes", id, content.size()));
    }
    if (!added.emplace(content, id).second) throw TextError(fmt::format("added_tokens: {:?} twice", content));
    // The same token may stand in the vocabulary too.
    if (const auto known = ids_.find(content); known == ids_.end()) {
      claim(id, content);
    } else if (known->second != id) {
      throw TextError(fmt::format("added_tokens: {:?} has another id in the vocabulary", content));
    }
    file_.added_tokens.push_back(
        {std::string(content), id, flag(token, "added_tokens", "special"), flag(token, "added_tokens", "normalized")});
  }

  const json::object& root_;
  const json::object& model_;
  IdsByText ids_;  // of the vocabulary, by the tokens' texts in the file
  std::vector<bool> taken_;
  TokenizerFile file_{.vocabulary = {},
                      .opaque = {},
                      .merges = {},
                      .added_tokens = {},
                      .pretokenizer = PreTokenizer(member(root_, "tokenizer.json", "pre_tokenizer"))};
};

}  // namespace

TokenizerFile read_tokenizer_file(std::string_view tokenizer_json) {
  if (tokenizer_json.size() > kFileBytesMax) {
    throw TextError(fmt::format("tokenizer.json: more than {} bytes", kFileBytesMax));
  }
  json::monotonic_resource memory;
  json::error_code error;
  const json::value root = json::parse(tokenizer_json, error, &memory);
  if (error) throw TextError(fmt::format("tokenizer.json: {}", error.message()));
  if (!root.is_object()) throw TextError("tokenizer.json: not an object");
  return Reader(root.get_object()).read();
}

}  // namespace bellwether::text
