// encode_lines TOKENIZER_JSON: for each text on standard input, ended by a zero byte, a line with its ids, or "refused"
// when it is not UTF-8. For tests that compare with another tokenizer.
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>

#include "text/tokenizer.h"

int main(int argc, char** argv) {
  using namespace bellwether::text;
  if (argc != 2) return 2;
  std::ostringstream file;
  file << std::ifstream(argv[1], std::ios::binary).rdbuf();
  const Tokenizer tokenizer = Tokenizer::from_json(file.str());
  for (std::string text; std::getline(std::cin, text, '\0');) {
    try {
      for (const TokenId id : tokenizer.encode(text)) std::cout << id << ' ';
    } catch (const TextError&) {
      std::cout << "refused";
    }
    std::cout << '\n';
  }
}
