#include "text/bpe.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace bellwether::text {
namespace {

// A vocabulary grown by merges of what it has.
struct Grown {
  Bpe::Vocabulary vocabulary;
  std::vector<std::string> tokens;  // by id
  std::vector<BpeMerge> merges;
};

Grown grow(std::string_view letters, size_t merges, std::mt19937_64& random) {
  Grown grown;
  const auto id_of = [&](const std::string& token) {
    const auto [found, is_new] = grown.vocabulary.emplace(token, static_cast<TokenId>(grown.tokens.size()));
    if (is_new) grown.tokens.push_back(token);
    return found->second;
  };
  for (const char letter : letters) id_of(std::string(1, letter));
  while (grown.merges.size() < merges) {
    const auto left = static_cast<TokenId>(random() % grown.tokens.size());
    const auto right = static_cast<TokenId>(random() % grown.tokens.size());
    const std::string merged = grown.tokens[static_cast<size_t>(left)] + grown.tokens[static_cast<size_t>(right)];
    if (merged.size() <= 8) grown.merges.push_back({left, right, id_of(merged)});
  }
  return grown;
}

// By the definition: again and again, the leftmost of the pairs learned first.
std::vector<TokenId> encode_by_definition(const Grown& grown, std::string_view piece) {
  std::map<std::pair<TokenId, TokenId>, size_t> ranks;
  for (size_t rank = 0; rank < grown.merges.size(); ++rank) {
    ranks[{grown.merges[rank].left, grown.merges[rank].right}] = rank;
  }
  std::vector<TokenId> ids;
  for (const char letter : piece) ids.push_back(grown.vocabulary.find(std::string(1, letter))->second);
  while (true) {
    size_t best_rank = grown.merges.size();
    size_t best = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto rank = ranks.find({ids[i], ids[i + 1]});
      if (rank == ranks.end() || rank->second >= best_rank) continue;
      best_rank = rank->second;
      best = i;
    }
    if (best_rank == grown.merges.size()) return ids;
    ids[best] = grown.merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

TEST(Bpe, MergesAsTheDefinitionSays) {
  std::mt19937_64 random(5);
  Bpe::Workspace workspace;
  for (int round = 0; round < 300; ++round) {
    const Grown grown = grow("abc", 1 + random() % 60, random);
    const Bpe bpe(grown.vocabulary, grown.merges, false);
    for (int i = 0; i < 50; ++i) {
      std::string piece;
      for (uint64_t length = 1 + random() % 40; length > 0; --length) piece.push_back("abc"[random() % 3]);
      std::vector<TokenId> ids;
      bpe.encode(piece, workspace, ids);
      ASSERT_EQ(ids, encode_by_definition(grown, piece)) << piece;
    }
  }
}

TEST(Bpe, IgnoringMergesTakesAWholePieceFromTheVocabulary) {
  Bpe::Vocabulary vocabulary = {{"a", 0}, {"b", 1}, {"ab", 2}, {"aba", 3}};
  Bpe::Workspace workspace;
  std::vector<TokenId> ids;
  Bpe(vocabulary, {{0, 1, 2}}, true).encode("aba", workspace, ids);
  EXPECT_EQ(ids, std::vector<TokenId>{3});
  ids.clear();
  Bpe(vocabulary, {{0, 1, 2}}, false).encode("aba", workspace, ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{2, 0}));
}

// A merge queue that looked at every pair for every merge would need hours for this.
TEST(Bpe, AMegabyteInOnePieceIsMergedInTime) {
  std::mt19937_64 random(6);
  const Grown grown = grow("ab", 400, random);
  const Bpe bpe(grown.vocabulary, grown.merges, false);
  std::string piece;
  while (piece.size() < 1'000'000) piece.push_back("ab"[random() % 2]);
  Bpe::Workspace workspace;
  std::vector<TokenId> ids;
  bpe.encode(piece, workspace, ids);
  std::string decoded;
  for (const TokenId id : ids) decoded += grown.tokens[static_cast<size_t>(id)];
  EXPECT_EQ(decoded, piece);
  EXPECT_LT(ids.size(), piece.size() / 2);
}

}  // namespace
}  // namespace bellwether::text
