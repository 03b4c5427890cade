// Any bytes as text for the demo model's tokenizer: ids that give the text back, or a TextError if it is not UTF-8.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include "text/detokenizer.h"
#include "text/tokenizer.h"

namespace {

using namespace bellwether::text;

Tokenizer load() {
  std::ifstream file(BELLWETHER_DEMO_MODEL "/tokenizer.json", std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return Tokenizer::from_json(bytes.str());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer tokenizer = load();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const std::vector<TokenId> ids = tokenizer.encode(text);
    if (tokenizer.decode(ids, false) != text) std::abort();
    Detokenizer detokenizer(tokenizer);
    std::string pieces;
    for (const TokenId id : ids) pieces += detokenizer.push(id);
    if (pieces + detokenizer.finish() != tokenizer.decode(ids, true)) std::abort();
  } catch (const TextError&) {
    if (is_valid_utf8(text)) std::abort();
  }
  return 0;
}
