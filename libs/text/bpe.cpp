#include "text/bpe.h"

#include <algorithm>
#include <functional>
#include <limits>

namespace bellwether::text {
namespace {

constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();
constexpr uint32_t kNoPart = std::numeric_limits<uint32_t>::max();

uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

uint64_t queue_entry(uint32_t rank, uint32_t index) {
  return uint64_t{rank} << 32 | index;
}

// Both halves of the 128-bit product, folded.
uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide{a} * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

size_t BytesHash::operator()(std::string_view bytes) const {
  constexpr uint64_t kOdd1 = 0x9E3779B97F4A7C15;  // 2^64 over the golden ratio
  constexpr uint64_t kOdd2 = 0xD6E8FEB86659FD93;
  uint64_t hash = bytes.size() ^ kOdd2;
  uint64_t word = 0;
  while (bytes.size() > sizeof(word)) {
    std::memcpy(&word, bytes.data(), sizeof(word));
    hash = mix(hash ^ word, kOdd1);
    bytes.remove_prefix(sizeof(word));
  }
  word = 0;
  std::memcpy(&word, bytes.data(), bytes.size());
  return mix(hash ^ word, kOdd1);
}

Bpe::Bpe(const Vocabulary& vocabulary, const std::vector<BpeMerge>& merges, bool ignore_merges) {
  for (size_t byte = 0; byte < id_of_byte_.size(); ++byte) {
    const auto found = vocabulary.find(std::string(1, static_cast<char>(byte)));
    if (found != vocabulary.end()) id_of_byte_[byte] = found->second;
  }
  merges_.reserve(merges.size());
  for (uint32_t rank = 0; rank < merges.size(); ++rank) {
    const BpeMerge& merge = merges[rank];
    merges_.insert_or_assign(pair_key(merge.left, merge.right), Merge{rank, merge.merged});
  }
  if (ignore_merges) {
    whole_ = vocabulary;
    return;
  }
  Vocabulary whole;
  whole.reserve(vocabulary.size());
  Workspace workspace;
  for (const auto& [bytes, id] : vocabulary) {
    if (bytes.empty()) continue;
    merge_all(bytes, workspace);
    if (workspace.parts[0].next == kNoPart && workspace.parts[0].id == id) whole.emplace(bytes, id);
  }
  whole_ = std::move(whole);
}

void Bpe::encode(std::string_view piece, Workspace& workspace, std::vector<TokenId>& ids) const {
  if (const auto token = whole_.find(piece); token != whole_.end()) {
    ids.push_back(token->second);
    return;
  }
  merge_all(piece, workspace);
  for (uint32_t i = 0; i != kNoPart; i = workspace.parts[i].next) ids.push_back(workspace.parts[i].id);
}

// Of all pairs of neighbours, the one learned first is merged first, and of equal ones the leftmost.
void Bpe::merge_all(std::string_view piece, Workspace& workspace) const {
  auto& [parts, queue] = workspace;
  const auto size = static_cast<uint32_t>(piece.size());
  parts.resize(size);
  for (uint32_t i = 0; i < size; ++i) {
    parts[i] = {id_of_byte_[static_cast<uint8_t>(piece[i])], i - 1, i + 1, kNoRank, 0};
  }
  parts[size - 1].next = kNoPart;
  queue.clear();
  for (uint32_t i = 0; i < size; ++i) {
    look_up_merge(workspace, i);
    if (parts[i].rank != kNoRank) queue.push_back(queue_entry(parts[i].rank, i));
  }
  std::make_heap(queue.begin(), queue.end(), std::greater<>());
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), std::greater<>());
    const uint64_t entry = queue.back();
    queue.pop_back();
    const auto index = static_cast<uint32_t>(entry);
    // Either part may have been merged with another since this was queued.
    if (parts[index].rank == entry >> 32) join_with_next(workspace, index);
  }
}

void Bpe::join_with_next(Workspace& workspace, uint32_t index) const {
  auto& [parts, queue] = workspace;
  Part& part = parts[index];
  Part& next = parts[part.next];
  part.id = part.merged;
  part.next = next.next;
  next.rank = kNoRank;
  if (part.next != kNoPart) parts[part.next].previous = index;
  for (const uint32_t changed : {index, part.previous}) {
    if (changed == kNoPart) continue;
    look_up_merge(workspace, changed);
    if (parts[changed].rank == kNoRank) continue;
    queue.push_back(queue_entry(parts[changed].rank, changed));
    std::push_heap(queue.begin(), queue.end(), std::greater<>());
  }
}

void Bpe::look_up_merge(Workspace& workspace, uint32_t index) const {
  Part& part = workspace.parts[index];
  part.rank = kNoRank;
  if (part.next == kNoPart) return;
  const auto merge = merges_.find(pair_key(part.id, workspace.parts[part.next].id));
  if (merge == merges_.end()) return;
  part.rank = merge->second.rank;
  part.merged = merge->second.merged;
}

}  // namespace bellwether::text
