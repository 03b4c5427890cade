#include "engine/cuda/layer_pass.h"

#include <algorithm>
#include <utility>

#include "engine/cpu/rope.h"
#include "engine/cuda/bf16_experts.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int64_t kKvChunk = 2048;                       // positions whose keys and values prefill makes at once
constexpr int64_t kDecodeRowsMax = 256;                  // whose attention takes the decode form at once ...
constexpr int64_t kDecodeBytesMax = int64_t{512} << 20;  // ... or fewer, by the memory of their partial results

// The router's product has few outputs: its columns are divided so that more of the GPU takes part.
int64_t router_splits(int64_t hidden) {
  return std::clamp<int64_t>(hidden / 448, 1, 16);
}

int64_t slots_max(int64_t rows, int64_t choices, int64_t experts) {
  return ExpertPlan{.rows = rows, .choices = choices, .experts = experts}.slots_max();
}

// The largest of size(mlp) over the layers with experts, or those without; 0 without any.
template <class Size>
int64_t largest(const ModelWeights& weights, bool of_experts, const Size& size) {
  int64_t most = 0;
  const auto look = [&](const LayerWeights& layer) {
    if ((layer.router.rows > 0) == of_experts) most = std::max<int64_t>(most, size(layer.mlp));
  };
  for (const LayerWeights& layer : weights.layers) look(layer);
  if (weights.draft) look(weights.draft->layer);
  return most;
}

int64_t inner_bytes_of_slot(const MlpWeights& mlp) {
  return mlp.is_fp8() ? mlp.fp8.inner_tiles() * kTile : mlp.inner() * 2;
}

LatentShape shape_of(const ModelConfig& config, const RankSlices& slices) {
  return {.heads = slices.heads.size(),
          .latent = config.kv_lora_rank,
          .rope = config.qk_rope_head_dim,
          .nope = config.qk_nope_head_dim,
          .v = config.v_head_dim};
}

}  // namespace

Activations::Activations(int64_t rows_max, int64_t width)
    : codes(Fp8Rows{.rows_padded = Fp8Rows::padded(std::max<int64_t>(rows_max, 129)), .cols = width}.codes_bytes()),
      scales(Fp8Rows{.rows_padded = Fp8Rows::padded(std::max<int64_t>(rows_max, 129)), .cols = width}.scales_count()),
      values(rows_max * width),
      width(width) {}

Fp8Rows Activations::fp8(int64_t rows) const {
  return {.codes = codes.get(), .scales = scales.get(), .rows_padded = Fp8Rows::padded(rows), .cols = width};
}

LayerPass::PlanMemory::PlanMemory(int64_t rows_max, int64_t choices, int64_t experts)
    : choices(choices), experts(experts) {
  if (experts == 0) return;
  const ExpertPlan plan{.rows = rows_max, .choices = choices, .experts = experts};
  tile_count = DeviceArray<int32_t>(1);
  tiles = DeviceArray<ExpertTile>(plan.tiles_max());
  slot_row = DeviceArray<int32_t>(plan.slots_max());
  slot_weight = DeviceArray<float>(plan.slots_max());
  choice_slot = DeviceArray<int32_t>(rows_max * choices);
}

ExpertPlan LayerPass::PlanMemory::plan(int64_t rows) const {
  return {.tile_count = tile_count.get(),
          .tiles = tiles.get(),
          .slot_row = slot_row.get(),
          .slot_weight = slot_weight.get(),
          .choice_slot = choice_slot.get(),
          .rows = rows,
          .choices = choices,
          .experts = experts};
}

LayerPass::LayerPass(const ModelConfig& config, const ModelWeights& weights, const Limits& limits)
    : config_(config),
      weights_(weights),
      limits_(limits),
      shape_(shape_of(config, weights.slices)),
      router_({.experts = config.n_routed_experts,
               .chosen = config.num_experts_per_tok,
               .groups = config.n_group,
               .groups_chosen = config.topk_group,
               .norms_weights = config.norm_topk_prob,
               .scaling = static_cast<float>(config.routed_scaling_factor)}),
      epsilon_(static_cast<float>(config.rms_norm_eps)),
      scale_(cpu::softmax_scale(config)),
      magnitude_(cpu::Rope(config).magnitude()),
      frequencies_(config.qk_rope_head_dim / 2),
      cosine_(limits.rows_max * config.qk_rope_head_dim / 2),
      sine_(limits.rows_max * config.qk_rope_head_dim / 2),
      x_(limits.rows_max * config.hidden_size),
      delta_(limits.rows_max * config.hidden_size),
      normed_(limits.rows_max, config.hidden_size),
      qkv_(limits.rows_max * (config.q_lora_rank + config.latent_dim())),
      q_latent_(limits.rows_max, config.q_lora_rank),
      q_(limits.rows_max * shape_.heads * config.qk_head_dim()),
      absorbed_(decode_chunk() * shape_.heads * config.latent_dim()),
      latents_(std::max(decode_chunk() * shape_.heads, kKvChunk) * config.kv_lora_rank),
      attended_(limits.rows_max, shape_.heads * config.v_head_dim),
      kv_(kKvChunk * shape_.heads * (shape_.nope + shape_.v)),
      k_rope_(kKvChunk * shape_.rope),
      prefill_state_(prefill_state_bytes(shape_, limits.rows_max)),
      router_logits_(router_splits(config.hidden_size) * limits.rows_max * config.n_routed_experts),
      choices_(limits.rows_max * config.num_experts_per_tok),
      dense_plan_(limits.rows_max, 1, largest(weights, false, [](const auto&) { return 1; })),
      expert_plan_(limits.rows_max, config.num_experts_per_tok + config.n_shared_experts,
                   largest(weights, true, [](const auto& mlp) { return mlp.experts(); })),
      draft_input_(weights.draft ? limits.rows_max * 2 * config.hidden_size : 0) {
  const DecodePlan plan = decode_plan(decode_chunk());
  plan_starts_ = DeviceArray<int32_t>(plan.blocks + 1 + decode_chunk() + 1);
  plan_pieces_ = DeviceArray<int4>(plan.pieces_max());
  decode_workspace_ = DeviceArray<uint8_t>(decode_workspace_bytes(shape_, plan));
  const int64_t dense_slots = dense_plan_.experts > 0 ? slots_max(limits.rows_max, 1, 1) : 0;
  const int64_t expert_slots =
      expert_plan_.experts > 0 ? slots_max(limits.rows_max, expert_plan_.choices, expert_plan_.experts) : 0;
  const int64_t inner_bytes = std::max(dense_slots * largest(weights, false, inner_bytes_of_slot),
                                       expert_slots * largest(weights, true, inner_bytes_of_slot));
  inner_ = DeviceArray<uint8_t>(inner_bytes);
  inner_scales_ = DeviceArray<float>(inner_bytes / kTile);
  expert_out_ = DeviceArray<__nv_bfloat16>(std::max(dense_slots, expert_slots) * config.hidden_size);
  const std::vector<float> frequencies = cpu::Rope(config).frequencies();
  check(cudaMemcpy(frequencies_.get(), frequencies.data(), frequencies.size() * sizeof(float), cudaMemcpyHostToDevice),
        "cudaMemcpy");
}

int64_t LayerPass::decode_chunk() const {
  const DecodePlan one{.rows = 1, .pages_max = limits_.pages_max, .is_fixed = limits_.is_deterministic};
  const int64_t of_row = decode_workspace_bytes(shape_, one);
  const int64_t rows = limits_.is_deterministic ? std::max<int64_t>(1, kDecodeBytesMax / of_row) : kDecodeRowsMax;
  return std::min({rows, kDecodeRowsMax, limits_.rows_max});
}

DecodePlan LayerPass::decode_plan(int64_t rows) const {
  DecodePlan plan{.rows = rows, .pages_max = limits_.pages_max, .is_fixed = limits_.is_deterministic};
  plan.blocks = DecodePlan::blocks_for(shape_.heads);
  plan.block_begin = plan_starts_.get();
  plan.row_begin = plan_starts_.get() + plan.blocks + 1;
  plan.pieces = plan_pieces_.get();
  return plan;
}

void LayerPass::begin(const StepInputs& inputs, Stream& stream) {
  inputs_ = inputs;
  rows_ = inputs.step.rows;
  stream_ = &stream;
  launch_ = stream.get();
  pending_ = nullptr;
  make_angles(inputs_.step, frequencies_.get(), magnitude_, shape_.rope / 2, cosine_.get(), sine_.get(), launch_);
  // One plan serves all layers, if there is but one.
  if (inputs_.decode_rows > 0 && inputs_.decode_rows <= decode_chunk()) {
    plan_decode(inputs_.lengths, decode_plan(inputs_.decode_rows), launch_);
  }
  if (dense_plan_.experts > 0) group_rows(nullptr, 1, dense_plan_.plan(rows_), launch_);
}

void LayerPass::embed() {
  embed_rows(inputs_.step, weights_.embedding, config_.hidden_size, x_.get(), launch_);
}

void LayerPass::embed_draft(const DraftWeights& draft, const __nv_bfloat16* hidden_states) {
  const int64_t hidden = config_.hidden_size;
  norm_draft_input(inputs_.step, weights_.embedding, draft.embedding_norm, hidden_states, draft.hidden_norm, hidden,
                   epsilon_, draft_input_.get(), launch_);
  bf16_gemm({.x = draft_input_.get() + weights_.slices.draft_input.begin,
             .x_stride = 2 * hidden,
             .rows = rows_,
             .w = draft.input.values,
             .n = hidden,
             .k = draft.input.cols,
             .y_bf16 = delta_.get(),
             .y_stride = hidden},
            launch_);
  sum_over_ranks(delta_.get());
  widen(delta_.get(), rows_ * hidden, x_.get(), launch_);
}

// y (rows, w.rows) = x * w.
void LayerPass::multiply(const Linear& w, const Activations& x, __nv_bfloat16* y) {
  if (w.is_fp8()) {
    return fp8_gemm(x.fp8(rows_), rows_, w.fp8, y, w.rows, limits_.is_deterministic, launch_);
  }
  bf16_gemm({.x = x.values.get(),
             .x_stride = w.cols,
             .rows = rows_,
             .w = w.values,
             .n = w.rows,
             .k = w.cols,
             .y_bf16 = y,
             .y_stride = w.rows},
            launch_);
}

NormOutput LayerPass::output_of(const Activations& activations, bool codes, bool values) const {
  NormOutput out;
  if (codes) out.codes = activations.fp8(rows_);
  if (values) {
    out.values = activations.values.get();
    out.values_stride = activations.width;
  }
  return out;
}

// Adds what is pending to x; out = the norm of x.
void LayerPass::norm(const float* weight, const Activations& out, bool codes, bool values) {
  add_and_norm(x_.get(), std::exchange(pending_, nullptr), weight, rows_, config_.hidden_size, epsilon_,
               output_of(out, codes, values), launch_);
}

void LayerPass::run(const LayerWeights& layer, const KvPages& pages) {
  const AttentionWeights& attention = layer.attention;
  const bool q_reads_x = config_.q_lora_rank == 0;
  norm(layer.input_norm, normed_, attention.qkv.is_fp8() || (q_reads_x && attention.q.is_fp8()),
       !attention.qkv.is_fp8() || (q_reads_x && !attention.q.is_fp8()));
  attend(attention, pages);
  sum_over_ranks(delta_.get());
  pending_ = delta_.get();
  norm(layer.post_attention_norm, normed_, layer.mlp.is_fp8(), layer.router.rows > 0 || !layer.mlp.is_fp8());
  feed_forward(layer);
  sum_over_ranks(delta_.get());
  pending_ = delta_.get();
}

// delta = attention of normed.
void LayerPass::attend(const AttentionWeights& weights, const KvPages& pages) {
  const int64_t q_rank = config_.q_lora_rank;
  multiply(weights.qkv, normed_, qkv_.get());
  const LatentInput input{.qkv = qkv_.get(),
                          .stride = weights.qkv.rows,
                          .q_rank = q_rank,
                          .latent = shape_.latent,
                          .rope = shape_.rope,
                          .q_norm = weights.q_norm,
                          .kv_norm = weights.kv_norm,
                          .cosine = cosine_.get(),
                          .sine = sine_.get(),
                          .epsilon = epsilon_};
  norm_and_store(input, inputs_.step, output_of(q_latent_, q_rank > 0 && weights.q.is_fp8(), !weights.q.is_fp8()),
                 pages, launch_);
  multiply(weights.q, q_rank > 0 ? q_latent_ : normed_, q_.get());
  turn_queries(inputs_.step, cosine_.get(), sine_.get(), shape_.heads, shape_.nope, shape_.rope, q_.get(), launch_);
  decode(weights, pages);
  for (const StepInputs::Prefill& run : inputs_.prefill) prefill(weights, pages, run);
  if (weights.o.is_fp8()) {
    quantise_rows(attended_.values.get(), rows_, attended_.width, attended_.fp8(rows_), launch_);
  }
  multiply(weights.o, attended_, delta_.get());
}

void LayerPass::decode(const AttentionWeights& weights, const KvPages& pages) {
  for (int64_t first = 0; first < inputs_.decode_rows; first += decode_chunk()) {
    const int64_t rows = std::min(decode_chunk(), inputs_.decode_rows - first);
    const DecodePlan plan = decode_plan(rows);
    if (inputs_.decode_rows > decode_chunk()) plan_decode(inputs_.lengths + first, plan, launch_);
    absorb_queries(shape_, q_.get() + first * shape_.heads * config_.qk_head_dim(), rows, weights.keys, absorbed_.get(),
                   launch_);
    const DecodeInput input{.q = absorbed_.get(),
                            .pages = pages,
                            .page_table = inputs_.page_table + first * inputs_.table_stride,
                            .table_stride = inputs_.table_stride,
                            .lengths = inputs_.lengths + first,
                            .rows = rows,
                            .scale = scale_};
    decode_attention(shape_, input, plan, decode_workspace_.get(), latents_.get(), launch_);
    expand_outputs(shape_, latents_.get(), rows, weights.kv_b, attended_.values.get() + first * attended_.width,
                   launch_);
  }
}

// Keys and values of all positions up to the run's last, some at a time.
void LayerPass::prefill(const AttentionWeights& weights, const KvPages& pages, const StepInputs::Prefill& run) {
  const int64_t width = shape_.heads * (shape_.nope + shape_.v);
  const int64_t end = run.position + run.rows;
  for (int64_t begin = 0; begin < end; begin += kKvChunk) {
    const int64_t count = std::min(kKvChunk, end - begin);
    gather_latents(pages, run.page_table, begin, count, shape_.latent, latents_.get(), k_rope_.get(), launch_);
    bf16_gemm({.x = latents_.get(),
               .x_stride = shape_.latent,
               .rows = count,
               .w = weights.kv_b,
               .n = width,
               .k = shape_.latent,
               .y_bf16 = kv_.get(),
               .y_stride = width},
              launch_);
    const PrefillInput input{.q = q_.get() + run.row_begin * shape_.heads * config_.qk_head_dim(),
                             .rows = run.rows,
                             .position = run.position,
                             .kv = kv_.get(),
                             .k_rope = k_rope_.get(),
                             .kv_begin = begin,
                             .kv_count = count,
                             .is_first = begin == 0,
                             .is_last = begin + count == end,
                             .scale = scale_};
    prefill_attention(shape_, input, prefill_state_.get(), attended_.values.get() + run.row_begin * attended_.width,
                      launch_);
  }
}

// delta = the layer's MLPs of normed.
void LayerPass::feed_forward(const LayerWeights& layer) {
  const MlpWeights& mlp = layer.mlp;
  const bool has_router = layer.router.rows > 0;
  const ExpertPlan plan = (has_router ? expert_plan_ : dense_plan_).plan(rows_);
  if (has_router) {
    const int64_t splits = router_splits(config_.hidden_size);
    bf16_gemm({.x = normed_.values.get(),
               .x_stride = config_.hidden_size,
               .rows = rows_,
               .w = layer.router.values,
               .n = layer.router.rows,
               .k = config_.hidden_size,
               .y_float = router_logits_.get(),
               .y_stride = layer.router.rows,
               .splits = splits},
              launch_);
    choose_experts(router_, router_logits_.get(), splits, layer.router_bias, rows_, choices_.get(), launch_);
    group_rows(choices_.get(), mlp.every_row, plan, launch_);
  }
  if (mlp.is_fp8()) {
    const Fp8Rows inner{
        .codes = inner_.get(), .scales = inner_scales_.get(), .rows_padded = plan.slots_max(), .cols = mlp.inner()};
    experts_gate_up(mlp.fp8, plan, normed_.fp8(rows_), inner, launch_);
    experts_down(mlp.fp8, plan, inner, expert_out_.get(), launch_);
  } else {
    auto* inner = reinterpret_cast<__nv_bfloat16*>(inner_.get());
    experts_gate_up(mlp.values, plan, normed_.values.get(), inner, launch_);
    experts_down(mlp.values, plan, inner, expert_out_.get(), launch_);
  }
  experts_combine(plan, expert_out_.get(), config_.hidden_size, delta_.get(), launch_);
}

void LayerPass::finish(const float* weight, __nv_bfloat16* out) {
  const NormOutput output{.codes = {}, .values = out, .values_stride = config_.hidden_size};
  add_and_norm(x_.get(), std::exchange(pending_, nullptr), weight, rows_, config_.hidden_size, epsilon_, output,
               launch_);
}

void LayerPass::sum_over_ranks(__nv_bfloat16* delta) {
  if (group_->ranks() == 1) return;
  staged_.resize(static_cast<size_t>(rows_ * config_.hidden_size));
  const size_t bytes = staged_.size() * sizeof(uint16_t);
  check(cudaMemcpyAsync(staged_.data(), delta, bytes, cudaMemcpyDeviceToHost, launch_), "cudaMemcpyAsync");
  stream_->wait();
  group_->all_reduce_bf16(staged_);
  check(cudaMemcpyAsync(delta, staged_.data(), bytes, cudaMemcpyHostToDevice, launch_), "cudaMemcpyAsync");
}

}  // namespace bellwether::engine::cuda
