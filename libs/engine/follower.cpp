#include "engine/follower.h"

#include <atomic>
#include <utility>
#include <vector>

#include "engine/engine_loop.h"
#include "engine/kv_blocks.h"
#include "engine/load_forward.h"
#include "engine/ranks/fewest_blocks.h"
#include "engine/ranks/plan_message.h"
#include "weights/safetensors.h"
#include "weights/synthetic.h"

namespace bellwether::engine {

class Follower::Impl {
 public:
  Impl(const ModelConfig& config, const EngineOptions& options, std::unique_ptr<weights::TensorSource> source,
       const std::function<void(double)>& progress)
      : options_(resolve(options, config)),
        limits_{.vocab_size = config.vocab_size,
                .batch_tokens_max = options_.batch_tokens_max,
                .draft_tokens_max = options_.draft_tokens},
        forward_(load_forward(config, options_, std::move(source), progress)) {}

  void follow(Collective& group) {
    forward_->join(group);
    limits_.kv_blocks = fewest_blocks(group, forward_->kv_blocks());
    int64_t rows = 0;  // of the last batch
    for (;;) {
      const std::vector<int32_t> words = receive_plan(group, words_max());
      const RankPlan plan = decode(words, limits_, rows);
      if (plan.kind == RankPlan::Kind::kEnd) return;
      if (plan.kind == RankPlan::Kind::kDraft) {
        (void)forward_->draft(plan.drafts);
        continue;
      }
      (void)forward_->compute(plan.batch);
      rows = 0;
      for (const BatchSegment& segment : plan.batch) rows += std::ssize(segment.ids);
      steps_.fetch_add(1, std::memory_order_relaxed);
    }
  }

  [[nodiscard]] uint64_t steps() const { return steps_.load(std::memory_order_relaxed); }

 private:
  // Every token of a batch on its own, with as many blocks as there are, is the longest that makes sense.
  [[nodiscard]] int64_t words_max() const {
    constexpr int64_t kSegmentWords = 8;
    return std::min<int64_t>(limits_.batch_tokens_max * (kSegmentWords + limits_.kv_blocks), int64_t{1} << 28);
  }

  EngineOptions options_;
  RankPlanLimits limits_;
  std::unique_ptr<RankForward> forward_;
  std::atomic<uint64_t> steps_ = 0;
};

std::unique_ptr<Follower> Follower::load(const std::filesystem::path& folder, const EngineOptions& options,
                                         const std::function<void(double)>& progress) {
  return std::unique_ptr<Follower>(
      new Follower(std::make_unique<Impl>(load_config(folder), options, weights::open_safetensors(folder), progress)));
}

std::unique_ptr<Follower> Follower::synthetic(const ModelConfig& config, const EngineOptions& options) {
  return std::unique_ptr<Follower>(new Follower(std::make_unique<Impl>(
      config, options, weights::make_synthetic_source(config.fp8_weights), std::function<void(double)>())));
}

Follower::Follower(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Follower::~Follower() = default;

void Follower::follow(Collective& group) {
  impl_->follow(group);
}
uint64_t Follower::steps() const {
  return impl_->steps();
}

}  // namespace bellwether::engine
