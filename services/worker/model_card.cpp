#include "worker/model_card.h"

#include <fmt/format.h>

#include <cstdint>
#include <fstream>
#include <string_view>

#include "mesh/card_digest.h"
#include "mesh/error.h"
#include "text/template_format.h"

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

}  // namespace

v1::ModelCard read_card_files(const fs::path& folder, bool tokenizer_required) {
  v1::ModelCard card;
  card.set_config_json(read_file(folder / "config.json", kConfigBytesMax, true));
  card.set_generation_config_json(read_file(folder / "generation_config.json", kConfigBytesMax, false));
  card.set_tokenizer_json(read_file(folder / "tokenizer.json", kTokenizerBytesMax, tokenizer_required));
  card.set_tokenizer_config_json(read_file(folder / "tokenizer_config.json", kConfigBytesMax, false));
  const std::string chat_template = read_file(folder / "chat_template.jinja", kConfigBytesMax, false);
  if (chat_template.empty()) return card;
  try {
    card.set_tokenizer_config_json(text::with_chat_template(card.tokenizer_config_json(), chat_template));
  } catch (const text::TextError& error) {
    refuse(folder / "tokenizer_config.json", error.what());
  }
  return card;
}

SerializedCard serialize_card(v1::ModelCard card) {
  card.set_digest(mesh::card_digest(card));
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
