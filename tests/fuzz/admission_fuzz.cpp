// Any bytes as a GenerateRequest: refused with a reason, or turned into a sequence that the engine can take.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "worker/admission.h"

namespace {

using namespace bellwether;

const worker::AdmissionFacts kHead = {.model = "m",
                                      .phase = v1::REPLICA_PHASE_READY,
                                      .limits = {.vocab_size = 2048,
                                                 .eos_ids = {1},
                                                 .sequences_max = 1,
                                                 .waiting_max = 1,
                                                 .kv_blocks_total = 8,
                                                 .kv_block_tokens = 64,
                                                 .context_tokens_max = 512}};

void require(bool holds) {
  if (!holds) std::abort();
}

void require_in_vocabulary(const std::vector<int32_t>& ids) {
  for (const int32_t id : ids) require(id >= 0 && id < kHead.limits.vocab_size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  v1::GenerateRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  request.set_model(kHead.model);
  if (const auto refused = worker::refuse(kHead, request)) {
    require(!refused->message().empty());
    return 0;
  }
  const auto sequences = worker::sequences_of(request, 1, kHead.limits);
  require(!sequences.empty());
  for (const engine::SequenceRequest& sequence : sequences) {
    require(!sequence.prompt_ids.empty());
    require_in_vocabulary(sequence.prompt_ids);
    require_in_vocabulary(sequence.output_ids);
    require_in_vocabulary(sequence.stop_ids);
    require(sequence.max_tokens > static_cast<int64_t>(sequence.output_ids.size()));
    require(static_cast<int64_t>(sequence.prompt_ids.size()) + sequence.max_tokens <= kHead.limits.context_tokens_max);
    require(engine::check(sequence.sampling).empty());
    require(sequence.min_tokens <= sequence.max_tokens);
    for (const auto& [id, bias] : sequence.sampling.logit_bias) require_in_vocabulary({id});
  }
  return 0;
}
