#include "cli/status/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "cli/terminal.h"

namespace bellwether::cli {
namespace {

namespace json = boost::json;

using Row = std::vector<std::string>;

std::string_view phase_name(v1::ReplicaPhase phase) {
  switch (phase) {
    case v1::REPLICA_PHASE_LOADING:
      return "loading";
    case v1::REPLICA_PHASE_READY:
      return "ready";
    case v1::REPLICA_PHASE_DRAINING:
      return "draining";
    case v1::REPLICA_PHASE_FAILED:
      return "failed";
    case v1::REPLICA_PHASE_STOPPED:
      return "stopped";
    default:
      return "unknown";
  }
}

size_t ranks_healthy(const v1::ReplicaState& replica) {
  return static_cast<size_t>(
      std::count_if(replica.ranks().begin(), replica.ranks().end(), [](const auto& rank) { return rank.healthy(); }));
}

double kv_use(const v1::ReplicaState& replica) {
  const uint32_t total = replica.capacity().kv_blocks_total();
  return total == 0 ? 0.0 : static_cast<double>(replica.load().kv_blocks_used()) / total;
}

// As Row's cells: one line without anything that a terminal would act on.
std::string cell(std::string_view text) {
  std::string safe = printable(text);
  std::replace(safe.begin(), safe.end(), '\n', ' ');
  return safe.empty() ? "-" : safe;
}

std::string phase_cell(const v1::ReplicaState& replica) {
  const std::string_view name = phase_name(replica.phase());
  if (replica.phase() == v1::REPLICA_PHASE_LOADING)
    return fmt::format("{} {:.0f}%", name, replica.loading_progress() * 100);
  return std::string(name);
}

Row row_of(const v1::ReplicaState& replica) {
  const double rate = replica.rates().decode_tokens_per_s();
  return {cell(replica.replica_id()),
          cell(replica.model()),
          phase_cell(replica),
          fmt::format("{}/{}", ranks_healthy(replica), replica.ranks_size()),
          fmt::to_string(replica.load().running()),
          fmt::to_string(replica.load().waiting()),
          fmt::format("{:.1f}%", kv_use(replica) * 100),
          rate > 0 ? fmt::format("{:.0f}", rate) : "-",
          cell(replica.version()),
          cell(replica.metrics_address())};
}

Row row_of(const v1::ReplicaState& replica, const v1::RankHealth& rank) {
  return {cell(replica.replica_id()), fmt::to_string(rank.rank()),    cell(rank.host()),
          cell(rank.device()),        rank.healthy() ? "ok" : "lost", fmt::to_string(rank.steps())};
}

// The columns of all rows, which have as many, one below the other.
std::string line_up(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string table;
  for (const Row& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) table += fmt::format("{:<{}}  ", row[i], widths[i]);
    table += row.back() + "\n";
  }
  return table;
}

// Of the replicas that have more than their head; "" when none has.
std::string rank_table(const std::vector<v1::ReplicaState>& replicas) {
  std::vector<Row> rows = {{"REPLICA", "RANK", "HOST", "DEVICE", "HEALTH", "STEPS"}};
  for (const v1::ReplicaState& replica : replicas) {
    if (replica.ranks_size() < 2) continue;
    for (const v1::RankHealth& rank : replica.ranks()) rows.push_back(row_of(replica, rank));
  }
  return rows.size() == 1 ? std::string() : "\n" + line_up(rows);
}

json::array ranks_json(const v1::ReplicaState& replica) {
  json::array ranks;
  for (const v1::RankHealth& rank : replica.ranks()) {
    ranks.push_back({{"rank", rank.rank()},
                     {"host", rank.host()},
                     {"device", rank.device()},
                     {"healthy", rank.healthy()},
                     {"steps", rank.steps()}});
  }
  return ranks;
}

json::object to_json(const v1::ReplicaState& replica) {
  json::object object;
  object["replica_id"] = replica.replica_id();
  object["model"] = replica.model();
  object["epoch"] = replica.epoch();
  object["phase"] = phase_name(replica.phase());
  object["loading_progress"] = replica.loading_progress();
  object["ranks_healthy"] = ranks_healthy(replica);
  object["ranks_total"] = replica.ranks_size();
  object["ranks"] = ranks_json(replica);
  object["running"] = replica.load().running();
  object["waiting"] = replica.load().waiting();
  object["kv_blocks_used"] = replica.load().kv_blocks_used();
  object["kv_blocks_total"] = replica.capacity().kv_blocks_total();
  object["kv_cache_use"] = kv_use(replica);
  object["prefill_tokens_per_s"] = replica.rates().prefill_tokens_per_s();
  object["decode_tokens_per_s"] = replica.rates().decode_tokens_per_s();
  object["version"] = replica.version();
  object["metrics_address"] = replica.metrics_address();
  object["failure"] = replica.failure();
  return object;
}

}  // namespace

std::string status_table(const std::vector<v1::ReplicaState>& replicas) {
  std::vector<Row> rows = {
      {"REPLICA", "MODEL", "PHASE", "RANKS", "RUNNING", "WAITING", "KV", "TOKENS/S", "VERSION", "METRICS"}};
  for (const v1::ReplicaState& replica : replicas) rows.push_back(row_of(replica));
  std::string table = line_up(rows) + rank_table(replicas);
  for (const v1::ReplicaState& replica : replicas) {
    if (!replica.failure().empty())
      table += fmt::format("{}: {}\n", cell(replica.replica_id()), cell(replica.failure()));
  }
  return table;
}

std::string status_json(const std::vector<v1::ReplicaState>& replicas) {
  json::array list;
  for (const v1::ReplicaState& replica : replicas) list.push_back(to_json(replica));
  return json::serialize(json::object{{"replicas", std::move(list)}}) + "\n";
}

}  // namespace bellwether::cli
