#include "mesh/card_digest.h"

#include <array>
#include <cstdint>
#include <string_view>

#include "mesh/sha256.h"

namespace bellwether::mesh {
namespace {

void add(Sha256& sha, uint64_t number) {
  std::array<char, 8> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(number >> (8 * i));
  sha.add({bytes.data(), bytes.size()});
}

void add(Sha256& sha, std::string_view bytes) {
  add(sha, uint64_t{bytes.size()});
  sha.add(bytes);
}

}  // namespace

std::string card_digest(const v1::ModelCard& card) {
  Sha256 sha;
  add(sha, card.config_json());
  add(sha, card.generation_config_json());
  add(sha, card.tokenizer_json());
  add(sha, card.tokenizer_config_json());
  add(sha, card.chat_format());
  add(sha, uint64_t{card.context_tokens_max()});
  return sha.hex();
}

}  // namespace bellwether::mesh
