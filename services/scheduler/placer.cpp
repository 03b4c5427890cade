#include "scheduler/placer.h"

#include <algorithm>

#include "engine/block_hash.h"
#include "mesh/cache_salt.h"

namespace bellwether::scheduler {
namespace {

constexpr size_t kModelsMax = 256;
constexpr double kOutputUnknown = 256;   // tokens
constexpr double kOutputNewPart = 0.05;  // of the running mean, that a new answer makes
constexpr uint32_t kChoicesMax = 128;

}  // namespace

Candidate candidate_of(const v1::GenerateRequest& request) {
  const auto& ids = request.prompt_ids();
  // Ids are read as the engine reads them; signed and unsigned of one size may alias.
  const std::span<const int32_t> prompt(reinterpret_cast<const int32_t*>(ids.data()), static_cast<size_t>(ids.size()));
  return {.key = {request.request_id(), request.attempt()},
          .model = request.model(),
          .tenant = request.tenant(),
          .session_id = request.session_id(),
          .prompt_tokens = prompt.size(),
          .max_tokens = request.max_tokens(),
          .choices = static_cast<uint32_t>(std::max(1, request.choices_size())),
          .block_hashes = engine::prompt_block_hashes(prompt, mesh::cache_salt_of(request.cache_salt()))};
}

Placer::Placer(PlacerOptions options, mesh::Clock clock)
    : options_(std::move(options)),
      clock_(std::move(clock)),
      table_(options_.scheduler_id, clock_),
      mirror_(options_.kv_index_blocks_max, clock_),
      random_(options_.random_seed) {
  table_.set_slow_start(options_.slow_start);
  table_.set_head_waiting_max(options_.head_waiting_max);
}

StateEffect Placer::apply(const v1::ReplicaState& state) {
  const StateEffect effect = table_.apply(state);
  if (effect == StateEffect::kLeft) mirror_.left(state.replica_id());
  const bool takes_work = effect == StateEffect::kJoined || effect == StateEffect::kUpdated;
  if (takes_work && state.phase() == v1::REPLICA_PHASE_READY) {
    mirror_.joined(state.replica_id(), state.epoch());
    update_slot(state.replica_id());
  }
  return effect;
}

bool Placer::apply(const v1::Dispatch& event) {
  const mesh::TimePoint now = clock_();
  const bool ended = table_.apply(event, work_of(event));
  if (event.kind() == v1::Dispatch::RESERVE && event.scheduler_id() != options_.scheduler_id) {
    tenants_.read(event.tenant(), event.prompt_tokens(), now);
    mirror_.expect(event.replica_id(),
                   std::span(event.block_hashes().data(), static_cast<size_t>(event.block_hashes_size())));
  }
  // A request that was reserved: a scheduler's canary is none, and teaches nothing.
  if (ended && event.completion_tokens() > 0) {
    tenants_.written(event.tenant(), event.completion_tokens(), now);
    const auto found = output_mean_.find(event.model());
    if (found != output_mean_.end()) {
      const double each = static_cast<double>(event.completion_tokens()) / std::max(1U, event.choices());
      found->second += kOutputNewPart * (each - found->second);
    } else if (output_mean_.size() < kModelsMax && table_.knows_model(event.model())) {
      output_mean_[event.model()] = kOutputUnknown;
    }
  }
  return ended;
}

void Placer::apply(const v1::KvEvents& events) {
  mirror_.apply(events);
  update_slot(events.replica_id());
}

v1::KvDumpRequest Placer::begin_dump(const std::string& replica_id) {
  return mirror_.begin_dump(replica_id);
}

std::optional<v1::KvDumpRequest> Placer::apply(const std::string& replica_id, const v1::KvDumpChunk& chunk) {
  auto next = mirror_.apply(replica_id, chunk);
  update_slot(replica_id);
  return next;
}

std::optional<PlacedOn> Placer::place(const Candidate& request, Strategy strategy, TieOrder schedulers,
                                      std::span<const std::string> excluded) {
  const mesh::TimePoint now = clock_();
  std::vector<ReplicaView> heads =
      table_.view(request.model, strategy == &place_fair ? std::string_view(request.tenant) : std::string_view());
  assume_rates(heads);
  const std::vector<size_t> eligible = eligible_heads(heads, excluded);
  if (eligible.empty()) return std::nullopt;
  mirror_.index().match(request.block_hashes, matched_);
  for (ReplicaView& head : heads) {
    if (head.slot < matched_.size()) head.cached_tokens = matched_[head.slot] * uint64_t{engine::kBlockTokens};
  }
  const uint64_t output = expected_output(request.model, request.max_tokens) * request.choices;
  const size_t chosen = strategy({.heads = heads,
                                  .eligible = eligible,
                                  .request = {.prompt_tokens = request.prompt_tokens,
                                              .output_tokens = output,
                                              .session_id = request.session_id,
                                              .tenant_share = tenants_.share(request.tenant, now)},
                                  .order = schedulers,
                                  .random = random_(),
                                  .turn = turn_++});
  const ReplicaView& head = heads[chosen];
  // The last token is always computed.
  const uint64_t cached =
      std::min(head.cached_tokens, request.prompt_tokens - std::min<uint64_t>(request.prompt_tokens, 1));
  const std::span<const uint64_t> blocks(request.block_hashes);
  PlacedOn placed{.replica_id = std::string(head.replica_id),
                  .epoch = head.epoch,
                  .cached_tokens = cached,
                  .blocks_to_come = blocks.subspan(std::min(blocks.size(), head.cached_tokens / engine::kBlockTokens))};
  table_.reserve(request.key, placed.replica_id,
                 {.sequences = request.choices,
                  .prefill_tokens = request.prompt_tokens - cached,
                  .decode_tokens = output,
                  .tenant = request.tenant});
  mirror_.expect(placed.replica_id, placed.blocks_to_come);
  tenants_.read(request.tenant, request.prompt_tokens, now);
  return placed;
}

v1::Dispatch Placer::reservation(const Candidate& request, const PlacedOn& placed) const {
  v1::Dispatch event;
  event.set_kind(v1::Dispatch::RESERVE);
  event.set_request_id(request.key.request_id);
  event.set_attempt(request.key.attempt);
  event.set_replica_id(placed.replica_id);
  event.set_epoch(placed.epoch);
  event.set_model(request.model);
  event.set_prompt_tokens(static_cast<uint32_t>(request.prompt_tokens));
  event.set_max_tokens(request.max_tokens);
  event.set_scheduler_id(options_.scheduler_id);
  event.set_tenant(request.tenant);
  event.set_cached_tokens(static_cast<uint32_t>(placed.cached_tokens));
  event.set_choices(request.choices);
  const auto told = placed.blocks_to_come.first(std::min<size_t>(placed.blocks_to_come.size(), kHashesToldMax));
  event.mutable_block_hashes()->Add(told.begin(), told.end());
  return event;
}

ReservedWork Placer::work_of(const v1::Dispatch& event) const {
  if (event.kind() != v1::Dispatch::RESERVE) return {};
  const uint32_t choices = std::clamp<uint32_t>(event.choices(), 1, kChoicesMax);
  return {.sequences = choices,
          .prefill_tokens = event.prompt_tokens() - std::min(event.prompt_tokens(), event.cached_tokens()),
          .decode_tokens = expected_output(event.model(), event.max_tokens()) * choices,
          .tenant = event.tenant().size() <= kNameBytesMax ? event.tenant() : std::string()};
}

uint64_t Placer::expected_output(const std::string& model, uint32_t max_tokens) const {
  const auto found = output_mean_.find(model);
  const double mean = found == output_mean_.end() ? kOutputUnknown : found->second;
  return std::min<uint64_t>(max_tokens, static_cast<uint64_t>(mean));
}

void Placer::update_slot(const std::string& replica_id) {
  table_.set_slot(replica_id, mirror_.slot(replica_id).value_or(kNoSlot));
}

std::vector<std::string> Placer::maintain() {
  std::vector<std::string> gone = table_.expire();
  for (const std::string& id : gone) mirror_.left(id);
  mirror_.maintain();
  tenants_.forget_idle(clock_());
  return gone;
}

}  // namespace bellwether::scheduler
