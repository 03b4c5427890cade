// What the tests of libs/text share.
#pragma once

#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace bellwether::text {

inline std::string read_whole_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return std::move(bytes).str();
}

inline const Tokenizer& demo_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::from_json(read_whole_file(BELLWETHER_DEMO_MODEL "/tokenizer.json"));
  return tokenizer;
}

// Cuts a text at random places; some of the parts may be empty.
inline std::vector<std::string_view> cut_at_random(std::string_view text, std::mt19937_64& random) {
  std::vector<std::string_view> parts;
  const size_t part_bytes_max = std::uniform_int_distribution<size_t>(1, 24)(random);
  std::uniform_int_distribution<size_t> part_bytes(0, part_bytes_max);
  while (!text.empty()) {
    parts.push_back(text.substr(0, part_bytes(random)));
    text.remove_prefix(parts.back().size());
  }
  return parts;
}

}  // namespace bellwether::text
