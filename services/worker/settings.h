// The worker's settings.
#pragma once

#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "mesh/settings.h"

namespace bellwether::worker {

// Names follow vLLM's where the meaning is the same.
struct WorkerSettings {
  std::string model = {};              // folder
  std::string served_model_name = {};  // empty = the folder's name
  std::string replica_id = {};         // empty = made up from the model's name
  std::string engine = "model";        // or "echo"
  double echo_tokens_per_s = 50;
  double echo_prefill_tokens_per_s = 10000;
  std::string device = "cpu";
  bool deterministic = true;
  double gpu_memory_utilization = 0.9;
  std::string load_format = "auto";
  std::string chat_format = "auto";
  int64_t threads = 0;
  int64_t max_num_seqs = 64;
  int64_t max_num_waiting = 256;
  int64_t kv_blocks = 0;
  int64_t max_num_batched_tokens = 2048;
  int64_t max_model_len = 0;
  int64_t draft_tokens = 1;
  int64_t rank = 0;       // 0 = the head
  int64_t ranks = 1;      // of the replica
  std::string head = {};  // HOST:PORT of its gRPC, for the other ranks
  int64_t rank_stall_ms = 1000;
};

void declare(mesh::Settings& declared, WorkerSettings& settings);

// The settings with the empty names filled in. Throws mesh::Error{kInvalidArgument} naming the flag when the
// model is not given or not there, or the ranks make no sense.
[[nodiscard]] WorkerSettings resolve(WorkerSettings settings);

[[nodiscard]] engine::EngineOptions engine_options(const WorkerSettings& settings);

[[nodiscard]] inline bool is_echo(const WorkerSettings& settings) {
  return settings.engine == "echo";
}

}  // namespace bellwether::worker
