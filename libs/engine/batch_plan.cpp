#include "engine/batch_plan.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/kv_blocks.h"

namespace bellwether::engine {
namespace {

// A plan in the making. A value: a copy is a trial.
class Planner {
 public:
  Planner(std::span<const PlanSequence> sequences, const PlanLimits& limits, const PlanBlocks& blocks)
      : sequences_(sequences),
        planned_(sequences.size()),
        budget_(limits.batch_tokens_max),
        prompt_logits_left_(limits.prompt_logits_max),
        places_(limits.sequences_max),
        blocks_free_(blocks.free),
        holders_(blocks.holders.begin(), blocks.holders.end()) {
    for (size_t i = 0; i < sequences.size(); ++i) {
      planned_[i].runs = sequences[i].is_running;
      running_ += static_cast<int64_t>(sequences[i].is_running);
    }
  }

  std::vector<PlannedSequence> plan() {
    plan_decodes();
    plan_drafts();
    plan_prompts();
    return std::move(planned_);
  }

 private:
  [[nodiscard]] int64_t pending(size_t i) const { return sequences_[i].tokens_known - sequences_[i].tokens_computed; }
  [[nodiscard]] bool is_decode(size_t i) const { return planned_[i].runs && pending(i) == 1; }
  // Blocks that it lacks to hold so many tokens.
  [[nodiscard]] int64_t blocks_lacking(size_t i, int64_t tokens) const {
    return std::max<int64_t>(0, blocks_for(tokens) - std::ssize(sequences_[i].blocks) - planned_[i].blocks_new);
  }

  void plan_decodes() {
    for (size_t i = 0; i < sequences_.size(); ++i) {
      if (!is_decode(i)) continue;
      const int64_t lacking = blocks_lacking(i, sequences_[i].tokens_known);
      while (blocks_free_ < lacking && planned_[i].runs) {
        stop(*last_running());  // at last itself
      }
      if (!planned_[i].runs) continue;
      take(i, lacking);
      compute(i, 1);
    }
  }

  void plan_drafts() {
    bool is_prompt_left = false;
    for (size_t i = 0; i < sequences_.size(); ++i) is_prompt_left |= !is_decode(i);
    int64_t left = is_prompt_left ? budget_ / 2 : budget_;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      if (!is_decode(i)) continue;
      int64_t drafts = std::min(sequences_[i].drafts, left);
      while (blocks_lacking(i, sequences_[i].tokens_known + drafts) > blocks_free_) --drafts;
      take(i, blocks_lacking(i, sequences_[i].tokens_known + drafts));
      planned_[i].drafts = drafts;
      left -= drafts;
      budget_ -= drafts;
    }
  }

  void plan_prompts() {
    bool may_start = true;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      // One that was just stopped waits, and is overtaken by none.
      if (!planned_[i].runs) may_start = may_start && !sequences_[i].is_running && start(i);
      if (!planned_[i].runs || planned_[i].tokens > 0) continue;
      int64_t tokens = std::min(pending(i), budget_);
      if (sequences_[i].wants_prompt_logits) {
        tokens = std::min(tokens, prompt_logits_left_);
        prompt_logits_left_ -= tokens;
      }
      compute(i, tokens);
    }
  }

  // Lets a waiting sequence run, if need be in place of some of a worse priority. False when it cannot.
  bool start(size_t i) {
    if (budget_ == 0) return false;
    if (!has_room_for(i)) {
      if (!stoppable_for(i)) return false;
      Planner trial = *this;  // nobody is stopped in vain
      while (!trial.has_room_for(i)) {
        const std::optional<size_t> victim = trial.stoppable_for(i);
        if (!victim) return false;
        trial.stop(*victim);
      }
      *this = std::move(trial);
    }
    for (const int32_t block : sequences_[i].blocks) {
      if (holders_[block]++ == 0) --blocks_free_;
    }
    planned_[i].runs = true;
    ++running_;
    take(i, blocks_lacking(i, sequences_[i].tokens_known));
    return true;
  }

  [[nodiscard]] bool has_room_for(size_t i) const {
    int64_t blocks = blocks_lacking(i, sequences_[i].tokens_known) + running_;
    for (const int32_t block : sequences_[i].blocks) blocks += static_cast<int64_t>(holders_[block] == 0);
    return running_ < places_ && blocks <= blocks_free_;
  }

  [[nodiscard]] std::optional<size_t> stoppable_for(size_t i) const {
    const std::optional<size_t> last = last_running();
    return last && sequences_[*last].priority > sequences_[i].priority ? last : std::nullopt;
  }

  [[nodiscard]] std::optional<size_t> last_running() const {
    for (size_t i = planned_.size(); i-- > 0;) {
      if (planned_[i].runs) return i;
    }
    return std::nullopt;
  }

  void stop(size_t i) {
    for (const int32_t block : sequences_[i].blocks) {
      if (--holders_[block] == 0) ++blocks_free_;
    }
    blocks_free_ += planned_[i].blocks_new;
    budget_ += planned_[i].tokens + planned_[i].drafts;
    planned_[i] = {};
    --running_;
  }

  void take(size_t i, int64_t blocks) {
    planned_[i].blocks_new += blocks;
    blocks_free_ -= blocks;
  }

  void compute(size_t i, int64_t tokens) {
    planned_[i].tokens += tokens;
    budget_ -= tokens;
  }

  std::span<const PlanSequence> sequences_;
  std::vector<PlannedSequence> planned_;
  int64_t budget_;
  int64_t prompt_logits_left_;
  int64_t places_;
  int64_t running_ = 0;
  int64_t blocks_free_;
  std::vector<int32_t> holders_;
};

}  // namespace

std::vector<PlannedSequence> plan_batch(std::span<const PlanSequence> sequences, const PlanLimits& limits,
                                        const PlanBlocks& blocks) {
  return Planner(sequences, limits, blocks).plan();
}

}  // namespace bellwether::engine
