#include "mesh/suggestion.h"

#include <algorithm>
#include <cstddef>

namespace bellwether::mesh {
namespace {

// A word longer than this is no mistyped command, and the table below stays small.
constexpr size_t kWordBytesMax = 64;

// The optimal string alignment distance.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::optional<std::string_view> closest_choice(std::string_view word, const std::vector<std::string_view>& choices) {
  if (word.size() > kWordBytesMax) return std::nullopt;
  std::optional<std::string_view> closest;
  size_t closest_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string_view choice : choices) {
    const size_t distance = edit_distance(word, choice);
    if (distance < closest_distance) {
      closest = choice;
      closest_distance = distance;
    }
  }
  return closest;
}

}  // namespace bellwether::mesh
