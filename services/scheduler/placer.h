// Places requests: joins what is known of the heads, their caches and the tenants into the view that a strategy chooses
// by, and reserves what it has chosen, in one step. The scheduler puts it on the bus; bench/routing drives the same
// code with simulated replicas.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bellwether/v1/generate.pb.h"
#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"
#include "scheduler/kv_mirror.h"
#include "scheduler/placement.h"
#include "scheduler/replica_table.h"
#include "scheduler/tenant_work.h"

namespace bellwether::scheduler {

struct PlacerOptions {
  std::string scheduler_id;
  size_t kv_index_blocks_max = 1 << 23;
  std::chrono::milliseconds slow_start{0};
  uint64_t head_waiting_max = UINT64_MAX;  // requests beyond those that a head can run at once
  uint64_t random_seed = 1;
};

// A request as placements need it, computed once: naming the blocks of a long prompt takes a while.
struct Candidate {
  RequestKey key;
  std::string model;
  std::string tenant;
  std::string session_id;
  uint64_t prompt_tokens = 0;
  uint32_t max_tokens = 0;
  uint32_t choices = 1;
  std::vector<uint64_t> block_hashes;  // of the prompt's full blocks
};

[[nodiscard]] Candidate candidate_of(const v1::GenerateRequest& request);

struct PlacedOn {
  std::string replica_id;
  uint64_t epoch = 0;
  uint64_t cached_tokens = 0;                // of the prompt, that the head is thought to have
  std::span<const uint64_t> blocks_to_come;  // of the candidate, that it is thought not to have
};

class Placer {
 public:
  static constexpr int kHashesToldMax = 1024;  // of a Dispatch event

  Placer(PlacerOptions options, mesh::Clock clock);

  // What the bus brings. Heartbeats and KV events may say that a dump is to be fetched: kv().wants_dump().
  StateEffect apply(const v1::ReplicaState& state);
  bool apply(const v1::Dispatch& event);  // true when it ended a reservation
  void apply(const v1::KvEvents& events);
  [[nodiscard]] v1::KvDumpRequest begin_dump(const std::string& replica_id);
  [[nodiscard]] std::optional<v1::KvDumpRequest> apply(const std::string& replica_id, const v1::KvDumpChunk& chunk);
  void dump_failed(const std::string& replica_id) { mirror_.dump_failed(replica_id); }

  // Chooses the head and reserves the place there; nothing when no head can take it. `schedulers`: see TieOrder.
  std::optional<PlacedOn> place(const Candidate& request, Strategy strategy, TieOrder schedulers,
                                std::span<const std::string> excluded = {});
  // The place was not taken. False when it was not held any more.
  bool release(const RequestKey& key, std::string_view replica_id) { return table_.release(key, replica_id); }

  // The event that tells the other schedulers of a placement.
  [[nodiscard]] v1::Dispatch reservation(const Candidate& request, const PlacedOn& placed) const;

  void set_open(std::string_view replica_id, bool open) { table_.set_open(replica_id, open); }

  // Forgets what is too old; returns the replicas that were not heard in time.
  std::vector<std::string> maintain();

  [[nodiscard]] const ReplicaTable& replicas() const { return table_; }
  [[nodiscard]] const KvMirror& kv() const { return mirror_; }
  [[nodiscard]] const TenantWork& tenants() const { return tenants_; }
  // Output tokens that a request of this model is expected to have for each choice, at most `max_tokens`.
  [[nodiscard]] uint64_t expected_output(const std::string& model, uint32_t max_tokens) const;

 private:
  [[nodiscard]] ReservedWork work_of(const v1::Dispatch& event) const;
  void update_slot(const std::string& replica_id);

  PlacerOptions options_;
  mesh::Clock clock_;
  ReplicaTable table_;
  KvMirror mirror_;
  TenantWork tenants_;
  std::map<std::string, double> output_mean_;  // tokens, by model
  std::mt19937_64 random_;
  uint64_t turn_ = 0;
  std::vector<uint32_t> matched_;  // by slot; kept for its memory
};

}  // namespace bellwether::scheduler
