#include "text/grammar/code_points.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

namespace bellwether::text::grammar {
namespace {

constexpr uint32_t kSurrogateFirst = 0xD800;
constexpr uint32_t kSurrogateLast = 0xDFFF;

constexpr uint8_t kContinuationFirst = 0x80;
constexpr uint8_t kContinuationLast = 0xBF;

struct Encoded {
  std::array<uint8_t, 4> bytes{};
  size_t size = 0;
};

Encoded encode(uint32_t c) {
  const auto continuation = [](uint32_t bits) { return static_cast<uint8_t>(0x80 | (bits & 0x3F)); };
  if (c < 0x80) return {{static_cast<uint8_t>(c)}, 1};
  if (c < 0x800) return {{static_cast<uint8_t>(0xC0 | c >> 6), continuation(c)}, 2};
  if (c < 0x10000) return {{static_cast<uint8_t>(0xE0 | c >> 12), continuation(c >> 6), continuation(c)}, 3};
  return {{static_cast<uint8_t>(0xF0 | c >> 18), continuation(c >> 12), continuation(c >> 6), continuation(c)}, 4};
}

// The last code point with encodings of so many bytes.
constexpr std::array<uint32_t, 5> kLastOfSize = {0, 0x7F, 0x7FF, 0xFFFF, CodePoints::kLast};

// Adds ranges of characters as bytes, from one state to another. Ways that end in any continuation bytes share them.
class Utf8Edges {
 public:
  Utf8Edges(Nfa& nfa, State from, State to) : nfa_(nfa), from_(from) { tails_[0] = to; }

  void add(CodePoints::Range range) {
    while (range.first <= range.last) {
      const Encoded first = encode(range.first);
      const uint32_t last = std::min(range.last, kLastOfSize[first.size]);
      split(from_, first.bytes.data(), encode(last).bytes.data(), first.size);
      range.first = last + 1;
    }
  }

 private:
  // Byte strings of `size` between two, both included, that differ in what UTF-8 allows only.
  void split(State from, const uint8_t* first, const uint8_t* last, size_t size) {
    if (size == 1) return nfa_.add_bytes(from, *first, *last, *tails_[0]);
    uint8_t low = *first;
    uint8_t high = *last;
    if (low == high) return split(step(from, low), first + 1, last + 1, size - 1);
    constexpr std::array<uint8_t, 3> kLowest = {0x80, 0x80, 0x80};
    constexpr std::array<uint8_t, 3> kHighest = {0xBF, 0xBF, 0xBF};
    const size_t rest = size - 1;
    if (!std::equal(first + 1, first + size, kLowest.begin())) {
      split(step(from, low), first + 1, kHighest.data(), rest);
      ++low;
    }
    if (!std::equal(last + 1, last + size, kHighest.begin())) {
      split(step(from, high), kLowest.data(), last + 1, rest);
      --high;
    }
    if (low <= high) nfa_.add_bytes(from, low, high, tail(rest));
  }

  State step(State from, uint8_t byte) {
    const State to = nfa_.add_state();
    nfa_.add_bytes(from, byte, byte, to);
    return to;
  }

  // A state from which so many continuation bytes lead to the end.
  State tail(size_t bytes) {
    if (!tails_[bytes]) {
      const State to = tail(bytes - 1);
      tails_[bytes] = nfa_.add_state();
      nfa_.add_bytes(*tails_[bytes], kContinuationFirst, kContinuationLast, to);
    }
    return *tails_[bytes];
  }

  Nfa& nfa_;
  const State from_;
  std::array<std::optional<State>, 4> tails_ = {};
};

std::string json_escape(uint32_t c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return fmt::format("\\u{:04x}", c);
  }
}

void add_escaped(Nfa& nfa, State from, const CodePoints& set, State to) {
  std::vector<std::pair<std::string, State>> prefixes;  // shared
  const auto state_after = [&](const std::string& prefix) {
    const auto known = std::ranges::find(prefixes, prefix, &std::pair<std::string, State>::first);
    return known == prefixes.end() ? std::nullopt : std::optional(known->second);
  };
  for (const CodePoints::Range& range : set.ranges()) {
    for (uint32_t c = range.first; c <= range.last; ++c) {
      const std::string escape = json_escape(c);
      State at = from;
      for (size_t i = 0; i + 1 < escape.size(); ++i) {
        const std::string prefix = escape.substr(0, i + 1);
        const auto known = state_after(prefix);
        const State next = known ? *known : nfa.append_bytes(at, escape.substr(i, 1));
        if (!known) prefixes.emplace_back(prefix, next);
        at = next;
      }
      const auto last = static_cast<uint8_t>(escape.back());
      nfa.add_bytes(at, last, last, to);
    }
  }
}

}  // namespace

CodePoints CodePoints::all() {
  CodePoints all;
  all.add(0, kLast);
  return all;
}

CodePoints CodePoints::of(uint32_t code_point) {
  CodePoints set;
  set.add(code_point, code_point);
  return set;
}

void CodePoints::add(uint32_t first, uint32_t last) {
  if (first < kSurrogateFirst && last >= kSurrogateFirst) {
    add(first, kSurrogateFirst - 1);
    if (last <= kSurrogateLast) return;
    first = kSurrogateLast + 1;
  } else if (first >= kSurrogateFirst && first <= kSurrogateLast) {
    if (last <= kSurrogateLast) return;
    first = kSurrogateLast + 1;
  }
  // Those that touch the new one become one with it.
  const auto begin = std::ranges::find_if(ranges_, [&](const Range& range) { return range.last + 1 >= first; });
  const auto end = std::find_if(begin, ranges_.end(), [&](const Range& range) { return range.first > last + 1; });
  if (begin != end) {
    first = std::min(first, begin->first);
    last = std::max(last, std::prev(end)->last);
  }
  ranges_.insert(ranges_.erase(begin, end), Range{first, last});
}

void CodePoints::add(const CodePoints& others) {
  for (const Range& range : others.ranges_) add(range.first, range.last);
}

CodePoints CodePoints::complement() const {
  CodePoints rest;
  uint32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.first > next) rest.add(next, range.first - 1);
    next = range.last + 1;
  }
  if (next <= kLast) rest.add(next, kLast);
  return rest;
}

CodePoints CodePoints::without(const CodePoints& others) const {
  CodePoints rest = complement();
  rest.add(others);
  return rest.complement();
}

CodePoints CodePoints::within(const CodePoints& others) const {
  return without(others.complement());
}

const CodePoints& json_escaped() {
  static const CodePoints escaped = [] {
    CodePoints set;
    set.add(0, 0x1F);
    set.add('"', '"');
    set.add('\\', '\\');
    return set;
  }();
  return escaped;
}

void add_character(Nfa& nfa, State from, const CodePoints& set, Writing writing, State to) {
  const bool escapes = writing == Writing::kJsonString;
  Utf8Edges edges(nfa, from, to);
  const CodePoints raw = escapes ? set.without(json_escaped()) : set;
  for (const CodePoints::Range& range : raw.ranges()) edges.add(range);
  if (escapes) add_escaped(nfa, from, set.within(json_escaped()), to);
}

}  // namespace bellwether::text::grammar
