#include "engine/cuda/cuda_forward.h"

#include <algorithm>
#include <array>
#include <utility>

#include "engine/cuda/kv_room.h"
#include "engine/cuda/weight_kernels.h"
#include "engine/kv_blocks.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int64_t kLogitsRows = 256;  // whose logits are computed together

// What batches of generated tokens are filled up to.
constexpr std::array<int64_t, 17> kGraphRows = {1, 2, 4, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256};

// The rows of the graph for `rows`; 0 = too many for any.
int64_t graph_rows(int64_t rows, int64_t rows_max) {
  const auto found = std::ranges::lower_bound(kGraphRows, rows);
  return found == kGraphRows.end() || *found > rows_max ? 0 : *found;
}

int64_t page_bytes(const ModelConfig& config) {
  return KvPages{.width = config.latent_dim()}.page_bytes();
}

int64_t layers_of(const ModelConfig& config, const ModelWeights& weights) {
  return config.num_hidden_layers + (weights.draft ? 1 : 0);
}

}  // namespace

CudaForward::CudaForward(ModelConfig config, ModelWeights weights, const CudaOptions& options)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      options_(options),
      inputs_(options.rows_max, blocks_for(options.context_max)),
      layers_(config_, weights_,
              {.rows_max = options.rows_max,
               .pages_max = blocks_for(options.context_max),
               .is_deterministic = options.is_deterministic}),
      final_(options.rows_max * config_.hidden_size),
      draft_hidden_(weights_.draft ? options.rows_max * config_.hidden_size : 0),
      draft_final_(draft_hidden_.count()),
      wanted_(kLogitsRows * config_.hidden_size),
      sources_(options.rows_max),
      likely_(kLogitsRows) {
  for (int rank = 0; rank < weights_.slices.ranks; ++rank) {
    vocabularies_.push_back(slices_of(config_, rank, weights_.slices.ranks).vocabulary);
    widest_ = std::max(widest_, vocabularies_.back().size());
  }
  logits_ = DeviceArray<float>(kLogitsRows * widest_);
  layers_.set_group(group_);
  make_cache();
}

// Last, of what everything else leaves.
void CudaForward::make_cache() {
  size_t free = 0;
  size_t total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const GpuRoom room{.total = static_cast<int64_t>(total),
                     .free = static_cast<int64_t>(free),
                     .weights = weights_.bytes,
                     .workspace = device_bytes_held - held_before_,
                     .block = layers_of(config_, weights_) * page_bytes(config_)};
  kv_blocks_ = options_.kv_blocks;
  if (kv_blocks_ == 0)
    kv_blocks_ = kv_blocks_for(room, options_.gpu_memory_utilization, blocks_for(options_.context_max));
  else
    require_room(room, kv_blocks_);
  cache_ = DeviceArray<uint8_t>(kv_blocks_ * room.block);
  memory_ = {.total = room.total, .weights = room.weights, .workspace = room.workspace, .kv_cache = cache_.count()};
  scribble(cache_.get(), cache_.count(), stream_.get());  // attention multiplies what it does not see by 0
  stream_.wait();
}

CudaForward::~CudaForward() {
  (void)cudaStreamSynchronize(stream_.get());
  for (const auto& [rows, graph] : graphs_) (void)cudaGraphExecDestroy(graph);
}

void CudaForward::join(Collective& group) {
  group_ = &group;
  layers_.set_group(group_);
}

KvPages CudaForward::pages(int64_t layer) const {
  return {.data = cache_.get() + layer * kv_blocks_ * page_bytes(config_), .width = config_.latent_dim()};
}

std::span<const float> CudaForward::compute(std::span<const BatchSegment> segments) {
  check(cudaSetDevice(options_.device), "cudaSetDevice");
  StepBatch batch = step_batch_of(segments);
  row_of_ = std::move(batch.row_of);
  std::vector<int32_t> wanted;
  size_t row = 0;
  for (const BatchSegment& segment : segments) {
    for (size_t i = 0; i < segment.ids.size(); ++i, ++row) {
      if (static_cast<int64_t>(i) >= segment.logits_begin) wanted.push_back(row_of_[row]);
    }
  }
  const bool can_be_graph = batch.prefill.empty() && group_->ranks() == 1;
  const int64_t filled = can_be_graph ? graph_rows(batch.rows, options_.rows_max) : 0;
  const StepInputs inputs = inputs_.send(batch, filled > 0 ? filled : batch.rows, wanted, stream_);
  if (filled > 0)
    run_graph(inputs);
  else
    run_model(inputs);
  return collect_logits(inputs, std::ssize(wanted));
}

// final_ = the batch's rows after the last norm.
void CudaForward::run_model(const StepInputs& inputs) {
  layers_.begin(inputs, stream_);
  layers_.embed();
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) layers_.run(weights_.layers[i], pages(i));
  layers_.finish(weights_.norm, final_.get());
}

// The same, by a graph if there is one for as many rows. What a first call sets up cannot be captured, so the first
// batch of a size is launched, and captured afterwards.
void CudaForward::run_graph(const StepInputs& inputs) {
  const auto found = graphs_.find(inputs.step.rows);
  if (found != graphs_.end()) {
    check(cudaGraphLaunch(found->second, stream_.get()), "cudaGraphLaunch");
    return;
  }
  run_model(inputs);
  cudaGraph_t graph = nullptr;
  check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  run_model(inputs);
  check(cudaStreamEndCapture(stream_.get(), &graph), "cudaStreamEndCapture");
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  graphs_.emplace(inputs.step.rows, executable);
}

// logits_ (rows, widest_) = this rank's part for x (rows, hidden).
void CudaForward::part_logits(const __nv_bfloat16* x, int64_t rows) {
  bf16_gemm({.x = x,
             .x_stride = config_.hidden_size,
             .rows = rows,
             .w = weights_.head.values,
             .n = weights_.head.rows,
             .k = config_.hidden_size,
             .y_float = logits_.get(),
             .y_stride = widest_},
            stream_.get());
}

std::span<const float> CudaForward::collect_logits(const StepInputs& inputs, int64_t rows) {
  if (rows == 0) return {};
  if (rows > host_rows_) {
    host_rows_ = std::max(rows, 2 * host_rows_);
    host_ = std::make_unique<PinnedArray<float>>(host_rows_ * widest_);
  }
  for (int64_t first = 0; first < rows; first += kLogitsRows) {
    const int64_t count = std::min(kLogitsRows, rows - first);
    gather_rows(final_.get(), inputs.wanted + first, count, config_.hidden_size, wanted_.get(), stream_.get());
    part_logits(wanted_.get(), count);
    check(cudaMemcpyAsync(host_->get() + first * widest_, logits_.get(),
                          static_cast<size_t>(count * widest_) * sizeof(float), cudaMemcpyDeviceToHost, stream_.get()),
          "cudaMemcpyAsync");
  }
  stream_.wait();
  const std::span part(host_->get(), static_cast<size_t>(rows * widest_));
  const auto ranks = std::ssize(vocabularies_);
  if (ranks == 1) return part;
  parts_.resize(static_cast<size_t>(ranks) * part.size());
  group_->all_gather(std::as_bytes(part), std::as_writable_bytes(std::span(parts_)));
  if (weights_.slices.rank != 0) return {};
  all_logits_.resize(static_cast<size_t>(rows * config_.vocab_size));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t rank = 0; rank < ranks; ++rank) {
      const Slice vocabulary = vocabularies_[rank];
      std::copy_n(parts_.data() + (rank * rows + row) * widest_, vocabulary.size(),
                  all_logits_.data() + row * config_.vocab_size + vocabulary.begin);
    }
  }
  return all_logits_;
}

std::span<const int32_t> CudaForward::draft(std::span<const DraftSegment> segments) {
  if (!weights_.draft) return {};
  check(cudaSetDevice(options_.device), "cudaSetDevice");
  int64_t drafts = 0;
  for (const DraftSegment& segment : segments) drafts += segment.drafts;
  guesses_.resize(static_cast<size_t>(drafts));
  int32_t* guesses = guesses_.data();
  std::vector<int32_t> sources;  // of each row that is read: a row of final_
  drafting_.clear();
  for (const DraftSegment& segment : segments) {
    drafting_.push_back({.segment = {.ids = segment.next_ids,
                                     .position = segment.position,
                                     .prompt_tokens = segment.prompt_tokens,
                                     .blocks = segment.blocks},
                         .left = segment.drafts,
                         .guess = guesses});
    guesses += segment.drafts;
    const auto first = row_of_.begin() + segment.row_begin;
    sources.insert(sources.end(), first, first + std::ssize(segment.next_ids));
  }
  guess_next(final_.get(), std::move(sources));
  return guesses_;
}

// Reads what drafting_ holds and guesses one token more of each sequence that wants one, which is read next, until none
// does. `sources`: of each row that is read, in the order of drafting_, its row of hidden_states. After the first time
// these are the draft layer's own outputs (cpu/cpu_forward.cpp says why).
void CudaForward::guess_next(const __nv_bfloat16* hidden_states, std::vector<int32_t> sources) {
  const DraftWeights& draft = *weights_.draft;
  while (!drafting_.empty()) {
    std::vector<BatchSegment> segments;
    for (const Drafting& sequence : drafting_) segments.push_back(sequence.segment);
    const StepBatch batch = step_batch_of(segments);
    std::vector<int32_t> wanted(sources.size());
    for (size_t i = 0; i < sources.size(); ++i) wanted[static_cast<size_t>(batch.row_of[i])] = sources[i];
    const StepInputs inputs = inputs_.send(batch, batch.rows, wanted, stream_);
    gather_rows(hidden_states, inputs.wanted, batch.rows, config_.hidden_size, draft_hidden_.get(), stream_.get());
    layers_.begin(inputs, stream_);
    layers_.embed_draft(draft, draft_hidden_.get());
    layers_.run(draft.layer, pages(config_.num_hidden_layers));
    layers_.finish(draft.norm, draft_final_.get());
    hidden_states = draft_final_.get();

    sources.clear();
    std::vector<int32_t> last_rows;
    std::vector<int32_t*> guesses;
    std::vector<Drafting> next;
    size_t row = 0;
    for (Drafting& sequence : drafting_) {
      row += sequence.segment.ids.size();
      if (sequence.left == 0) continue;
      last_rows.push_back(batch.row_of[row - 1]);
      guesses.push_back(sequence.guess);
      if (--sequence.left == 0) continue;
      sources.push_back(batch.row_of[row - 1]);
      sequence.segment.position += std::ssize(sequence.segment.ids);
      sequence.segment.ids = {sequence.guess++, 1};
      next.push_back(sequence);
    }
    std::vector<int32_t> ids(guesses.size());
    for (int64_t first = 0; first < std::ssize(ids); first += kLogitsRows) {
      const int64_t count = std::min(kLogitsRows, std::ssize(ids) - first);
      check(cudaMemcpyAsync(sources_.get(), last_rows.data() + first, static_cast<size_t>(count) * sizeof(int32_t),
                            cudaMemcpyHostToDevice, stream_.get()),
            "cudaMemcpyAsync");
      gather_rows(draft_final_.get(), sources_.get(), count, config_.hidden_size, wanted_.get(), stream_.get());
      part_logits(wanted_.get(), count);
      most_likely_ids(count, ids.data() + first);
    }
    stream_.wait();  // last_rows and the batch are gone after this
    for (size_t i = 0; i < ids.size(); ++i) *guesses[i] = ids[i];
    drafting_ = std::move(next);
  }
}

// ids (rows) = the most likely token of each row of logits_; on every rank.
void CudaForward::most_likely_ids(int64_t rows, int32_t* ids) {
  const Slice vocabulary = vocabularies_[weights_.slices.rank];
  most_likely(logits_.get(), rows, vocabulary.size(), widest_, vocabulary.begin, likely_.get(), stream_.get());
  std::vector<LikelyToken> own(static_cast<size_t>(rows));
  check(cudaMemcpyAsync(own.data(), likely_.get(), own.size() * sizeof(LikelyToken), cudaMemcpyDeviceToHost,
                        stream_.get()),
        "cudaMemcpyAsync");
  stream_.wait();
  std::vector<LikelyToken> all(vocabularies_.size() * own.size());
  group_->all_gather(std::as_bytes(std::span(own)), std::as_writable_bytes(std::span(all)));
  for (size_t row = 0; row < own.size(); ++row) {
    LikelyToken best = all[row];
    for (size_t i = row + own.size(); i < all.size(); i += own.size()) {
      if (all[i].logit > best.logit) best = all[i];
    }
    ids[row] = best.id;
  }
}

}  // namespace bellwether::engine::cuda
