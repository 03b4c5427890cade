// Which requests a head takes. Pure.
//
// A head answers at once, without waiting for the step that is being computed, which on a large model can take longer
// than a scheduler is willing to wait. It can, because everything the engine's own verdict depends on is known outside
// its thread: sizes that never change, and the number of live sequences, which only this side raises and which here is
// never less than the engine's. So what is taken here the engine takes, too. (The reverse does not hold for one token:
// where the KV cache is smaller than the context, the engine finds room for prompt and output of one token more.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bellwether/v1/generate.pb.h"
#include "bellwether/v1/mesh.pb.h"
#include "engine/engine.h"
#include "worker/model_loading.h"

namespace bellwether::worker {

inline constexpr size_t kIdBytesMax = 256;  // of request_id and gateway_id
inline constexpr size_t kCacheSaltBytesMax = 256;
inline constexpr int kStopIdsMax = 1024;
inline constexpr int kLogitBiasesMax = 1024;
inline constexpr int kChoicesMax = 128;
inline constexpr uint32_t kRetryAfterMs = 1000;

struct AdmissionFacts {
  std::string model = {};  // the name served
  v1::ReplicaPhase phase = v1::REPLICA_PHASE_READY;
  ModelFacts limits = {};
  int64_t sequences_live = 0;  // taken and not yet out of the engine
  uint64_t now_unix_ms = 0;
};

// Why the request is refused, or nothing. Every field is untrusted; the message names the one at fault.
[[nodiscard]] std::optional<v1::Refused> refuse(const AdmissionFacts& facts, const v1::GenerateRequest& request);

// One for each choice, in their order, with the ids from `first_id` on. REQUIRES: refuse() has nothing against it.
[[nodiscard]] std::vector<engine::SequenceRequest> sequences_of(const v1::GenerateRequest& request,
                                                                engine::SequenceId first_id, const ModelFacts& facts);

}  // namespace bellwether::worker
