// The model card: everything a gateway needs of the model folder, and how it travels in pieces.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "bellwether/v1/mesh.pb.h"

namespace bellwether::worker {

inline constexpr size_t kCardChunkBytesMax = size_t{256} * 1024;
inline constexpr size_t kConfigBytesMax = size_t{4} * 1024 * 1024;      // each of the three config files
inline constexpr size_t kTokenizerBytesMax = size_t{64} * 1024 * 1024;  // DeepSeek-V3's has 8 MB

// Reads the folder's files into a card without name, chat format, context length or digest. config.json must be there,
// and tokenizer.json if `tokenizer_required`. A chat_template.jinja becomes the tokenizer_config's chat_template.
// Throws mesh::Error{kInvalidArgument} naming the file. Blocks.
[[nodiscard]] v1::ModelCard read_card_files(const std::filesystem::path& folder, bool tokenizer_required);

// A card ready to be sent.
struct SerializedCard {
  std::string digest;
  std::string bytes;
};

// Sets the card's digest and serializes it.
[[nodiscard]] SerializedCard serialize_card(v1::ModelCard card);

// The piece that was asked for, or one with `error` set.
[[nodiscard]] v1::CardChunk card_chunk(const SerializedCard& card, const v1::CardRequest& request);

}  // namespace bellwether::worker
