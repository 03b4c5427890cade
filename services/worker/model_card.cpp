#include "worker/model_card.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string_view>

#include "mesh/error.h"

namespace bellwether::worker {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& file, std::string_view why) {
  throw mesh::Error(mesh::ErrorCode::kInvalidArgument, fmt::format("{}: {}", file.string(), why),
                    file.filename().string());
}

std::string read_file(const fs::path& file, size_t bytes_max, bool required) {
  std::error_code error;
  const uint64_t size = fs::file_size(file, error);
  if (error) {
    if (!required && error == std::errc::no_such_file_or_directory) return {};
    refuse(file, error.message());
  }
  if (size > bytes_max) refuse(file, fmt::format("{} bytes, more than the {} a card may hold", size, bytes_max));
  std::string content(size, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(content.data(), static_cast<std::streamsize>(size));
  if (!stream) refuse(file, "cannot be read");
  return content;
}

uint64_t changed_unix_s(const fs::path& folder) {
  fs::file_time_type latest = fs::last_write_time(folder);
  for (const auto& entry : fs::directory_iterator(folder)) latest = std::max(latest, entry.last_write_time());
  const auto since_epoch = std::chrono::file_clock::to_sys(latest).time_since_epoch();
  return static_cast<uint64_t>(
      std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count()));
}

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) fail();
  }

  void add(std::string_view bytes) {
    add(bytes.size());
    if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) fail();
  }

  void add(uint64_t number) {
    std::array<unsigned char, 8> bytes{};
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<unsigned char>(number >> (8 * i));
    if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) fail();
  }

  [[nodiscard]] std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned length = 0;
    if (EVP_DigestFinal_ex(context_.get(), digest.data(), &length) != 1) fail();
    std::string text;
    for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  [[noreturn]] static void fail() { throw mesh::Error(mesh::ErrorCode::kInternal, "SHA-256 is not available"); }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

v1::ModelCard read_card_files(const fs::path& folder, bool tokenizer_required) {
  v1::ModelCard card;
  card.set_config_json(read_file(folder / "config.json", kConfigBytesMax, true));
  card.set_generation_config_json(read_file(folder / "generation_config.json", kConfigBytesMax, false));
  card.set_tokenizer_json(read_file(folder / "tokenizer.json", kTokenizerBytesMax, tokenizer_required));
  card.set_tokenizer_config_json(read_file(folder / "tokenizer_config.json", kConfigBytesMax, false));
  card.set_created_unix_s(changed_unix_s(folder));
  return card;
}

std::string card_digest(const v1::ModelCard& card) {
  Sha256 sha;
  sha.add(card.config_json());
  sha.add(card.generation_config_json());
  sha.add(card.tokenizer_json());
  sha.add(card.tokenizer_config_json());
  sha.add(card.chat_format());
  sha.add(uint64_t{card.context_tokens_max()});
  sha.add(card.created_unix_s());
  return sha.hex();
}

SerializedCard serialize_card(v1::ModelCard card) {
  card.set_digest(card_digest(card));
  return {.digest = card.digest(), .bytes = card.SerializeAsString()};
}

v1::CardChunk card_chunk(const SerializedCard& card, const v1::CardRequest& request) {
  v1::CardChunk chunk;
  chunk.set_digest(card.digest);
  chunk.set_offset(request.offset());
  chunk.set_bytes_total(card.bytes.size());
  const bool asks_for_another = request.digest() != card.digest && !(request.digest().empty() && request.offset() == 0);
  if (asks_for_another) {
    chunk.set_error("this head has no card of that digest; start again at offset 0 without one");
  } else if (request.offset() >= card.bytes.size()) {
    chunk.set_error(fmt::format("offset {} is beyond the card's {} bytes", request.offset(), card.bytes.size()));
  } else {
    chunk.set_data(card.bytes.substr(request.offset(), kCardChunkBytesMax));
  }
  return chunk;
}

}  // namespace bellwether::worker
