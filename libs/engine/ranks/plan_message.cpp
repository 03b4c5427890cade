#include "engine/ranks/plan_message.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "engine/kv_blocks.h"

namespace bellwether::engine {
namespace {

// A message begins with the number of its words. Decodes of some tens of sequences fit the first part.
constexpr size_t kFirstWords = 512;
using FirstPart = std::array<int32_t, kFirstWords>;

constexpr int64_t kWordMax = std::numeric_limits<int32_t>::max();

void require_plan(bool condition, const char* problem) {
  if (!condition) throw GroupBroken(std::string("a plan from the head cannot be computed: ") + problem);
}

void append(std::vector<int32_t>& words, std::initializer_list<int64_t> values) {
  for (const int64_t value : values) words.push_back(static_cast<int32_t>(value));
}

void append(std::vector<int32_t>& words, std::span<const int32_t> values) {
  append(words, {std::ssize(values)});
  words.insert(words.end(), values.begin(), values.end());
}

class Reader {
 public:
  Reader(std::span<const int32_t> words, const RankPlanLimits& limits) : words_(words), limits_(limits) {}

  [[nodiscard]] int64_t number(int64_t min, int64_t max) {
    require_plan(!words_.empty(), "it ends early");
    const int64_t value = words_.front();
    require_plan(value >= min && value <= max, "a number is out of range");
    words_ = words_.subspan(1);
    return value;
  }

  // Numbers from 0 to below `end`; one at least.
  [[nodiscard]] std::span<const int32_t> numbers(int64_t end) {
    const auto count = static_cast<size_t>(number(1, std::ssize(words_) - 1));
    const auto values = words_.first(count);
    require_plan(std::ranges::all_of(values, [&](int32_t value) { return value >= 0 && value < end; }),
                 "an id or a block is out of range");
    words_ = words_.subspan(count);
    return values;
  }

  [[nodiscard]] std::span<const int32_t> ids() { return numbers(limits_.vocab_size); }

  // They must hold `tokens` tokens.
  [[nodiscard]] std::span<const int32_t> blocks(int64_t tokens) {
    const auto blocks = numbers(limits_.kv_blocks);
    require_plan(tokens <= std::ssize(blocks) * kBlockTokens, "its blocks do not hold its tokens");
    return blocks;
  }

  [[nodiscard]] int64_t position() { return number(0, limits_.kv_blocks * kBlockTokens); }
  [[nodiscard]] bool is_done() const { return words_.empty(); }

 private:
  std::span<const int32_t> words_;
  const RankPlanLimits& limits_;
};

BatchSegment read_batch_segment(Reader& reader) {
  BatchSegment segment;
  segment.position = reader.position();
  segment.prompt_tokens = reader.number(0, kWordMax);
  segment.ids = reader.ids();
  segment.logits_begin = reader.number(0, std::ssize(segment.ids));
  segment.blocks = reader.blocks(segment.position + std::ssize(segment.ids));
  return segment;
}

DraftSegment read_draft_segment(Reader& reader, const RankPlanLimits& limits, int64_t rows) {
  DraftSegment segment;
  segment.position = reader.position();
  segment.prompt_tokens = reader.number(0, kWordMax);
  segment.next_ids = reader.ids();
  const int64_t count = std::ssize(segment.next_ids);
  require_plan(count <= rows, "a draft reads more than was computed");
  segment.row_begin = reader.number(0, rows - count);
  segment.drafts = reader.number(0, limits.draft_tokens_max);
  segment.blocks = reader.blocks(segment.position + count + std::max<int64_t>(0, segment.drafts - 1));
  return segment;
}

std::span<std::byte> bytes_of(std::span<int32_t> words) {
  return std::as_writable_bytes(words);
}

}  // namespace

std::vector<int32_t> encode(std::span<const BatchSegment> segments) {
  std::vector<int32_t> words;
  append(words, {static_cast<int64_t>(RankPlan::Kind::kCompute), std::ssize(segments)});
  for (const BatchSegment& segment : segments) {
    append(words, {segment.position, segment.prompt_tokens});
    append(words, segment.ids);
    append(words, {segment.logits_begin});
    append(words, segment.blocks);
  }
  return words;
}

std::vector<int32_t> encode(std::span<const DraftSegment> segments) {
  std::vector<int32_t> words;
  append(words, {static_cast<int64_t>(RankPlan::Kind::kDraft), std::ssize(segments)});
  for (const DraftSegment& segment : segments) {
    append(words, {segment.position, segment.prompt_tokens});
    append(words, segment.next_ids);
    append(words, {segment.row_begin, segment.drafts});
    append(words, segment.blocks);
  }
  return words;
}

std::vector<int32_t> encode_end() {
  return {static_cast<int32_t>(RankPlan::Kind::kEnd), 0};
}

RankPlan decode(std::span<const int32_t> words, const RankPlanLimits& limits, int64_t rows) {
  Reader reader(words, limits);
  RankPlan plan;
  plan.kind = static_cast<RankPlan::Kind>(reader.number(1, static_cast<int64_t>(RankPlan::Kind::kEnd)));
  const int64_t segments = reader.number(0, limits.batch_tokens_max);
  int64_t tokens = 0;
  for (int64_t i = 0; i < segments; ++i) {
    if (plan.kind == RankPlan::Kind::kCompute) {
      plan.batch.push_back(read_batch_segment(reader));
      tokens += std::ssize(plan.batch.back().ids);
    } else {
      plan.drafts.push_back(read_draft_segment(reader, limits, rows));
      tokens += std::ssize(plan.drafts.back().next_ids);
    }
    require_plan(tokens <= limits.batch_tokens_max, "it has too many tokens");
  }
  require_plan(reader.is_done(), "it is too long");
  require_plan(plan.kind == RankPlan::Kind::kEnd || segments > 0, "it has no segments");
  return plan;
}

void send_plan(Collective& group, std::span<const int32_t> words) {
  FirstPart first{};
  first[0] = static_cast<int32_t>(words.size());
  const size_t count = std::min(words.size(), kFirstWords - 1);
  std::ranges::copy(words.first(count), first.begin() + 1);
  group.broadcast(bytes_of(first), 0);
  if (count == words.size()) return;
  std::vector<int32_t> rest(words.begin() + static_cast<ptrdiff_t>(count), words.end());
  group.broadcast(bytes_of(rest), 0);
}

std::vector<int32_t> receive_plan(Collective& group, int64_t words_max) {
  FirstPart first;
  group.broadcast(bytes_of(first), 0);
  require_plan(first[0] > 0 && first[0] <= words_max, "its length is out of range");
  std::vector<int32_t> words(static_cast<size_t>(first[0]));
  const size_t count = std::min(words.size(), kFirstWords - 1);
  std::copy_n(first.begin() + 1, count, words.begin());
  if (count < words.size()) group.broadcast(bytes_of(std::span(words).subspan(count)), 0);
  return words;
}

}  // namespace bellwether::engine
