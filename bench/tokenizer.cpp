// Tokenizer throughput on one core beside what memory and a UTF-8 check allow.
// bench_tokenizer [tokenizer.json] [text file]: without them, a synthetic tokenizer of DeepSeek-R1's size and its text.
#include "text/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "text/synthetic_language.h"

namespace {

using bellwether::text::SyntheticLanguage;
using bellwether::text::Tokenizer;

constexpr size_t kWords = 90'000;
constexpr size_t kTokens = 128'000;
constexpr size_t kTextBytes = size_t{8} << 20;
constexpr int kRounds = 5;

std::string read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return std::move(bytes).str();
}

// The quickest of some rounds, in seconds of the processor, so that what else runs on the machine counts little.
template <typename Work>
double quickest(Work work) {
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const std::clock_t begin = std::clock();
    work();
    best = std::min(best, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
  }
  return best;
}

void print_rate(const char* what, size_t bytes, double seconds) {
  fmt::print("{:<22} {:>10.1f} MB/s\n", what, static_cast<double>(bytes) / 1e6 / seconds);
}

}  // namespace

int main(int argc, char** argv) {
  const SyntheticLanguage language(argc > 1 ? 1000 : kWords, 1);
  const std::string file = argc > 1 ? read_file(argv[1]) : language.tokenizer_json(kTokens);
  const std::string text = argc > 2 ? read_file(argv[2]) : language.text(kTextBytes, 2);

  const double load_s = quickest([&] { (void)Tokenizer::from_json(file); });
  const Tokenizer tokenizer = Tokenizer::from_json(file);
  std::vector<bellwether::text::TokenId> ids = tokenizer.encode(text);
  fmt::print("tokenizer of {:.1f} MB, {} tokens, loads in {:.0f} ms\n", static_cast<double>(file.size()) / 1e6,
             tokenizer.id_limit(), load_s * 1e3);
  fmt::print("text of {:.1f} MB, {} ids, {:.2f} bytes each\n", static_cast<double>(text.size()) / 1e6, ids.size(),
             static_cast<double>(text.size()) / static_cast<double>(ids.size()));

  bool right = true;
  std::string copy(text.size(), '\0');
  print_rate("encode", text.size(), quickest([&] { right = right && tokenizer.encode(text) == ids; }));
  print_rate("decode", text.size(), quickest([&] { right = right && tokenizer.decode(ids, false) == text; }));
  print_rate("limit: UTF-8 check", text.size(),
             quickest([&] { right = right && bellwether::text::is_valid_utf8(text); }));
  print_rate("limit: copy of memory", text.size(), quickest([&] {
               std::memcpy(copy.data(), text.data(), text.size());
               right = right && copy[copy.size() / 2] == text[text.size() / 2];
             }));
  if (!right) fmt::print("WRONG: decoding does not give the text back\n");
  return right ? 0 : 1;
}
