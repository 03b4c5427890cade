// From a request's Constraint to what the engine asks for each token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bellwether/v1/generate.pb.h"
#include "engine/engine.h"
#include "text/grammar/budget.h"
#include "text/grammar/constraint.h"
#include "text/grammar/matcher.h"
#include "worker/mask_thread.h"

namespace bellwether::worker {

// Throws GrammarError for what the message lacks.
[[nodiscard]] text::grammar::Constraint constraint_of(const v1::Constraint& message);

// A sequence's: free while the model reasons, then what the grammar allows.
class GrammarConstraint final : public engine::TokenConstraint {
 public:
  struct Reasoning {
    std::optional<int32_t> begin_id = {};  // Constraint.reasoning_begin_id
    std::optional<int32_t> end_id = {};
  };

  // `end_ids` may come where the text may end; `eos_ids`, the model's own, not in the reasoning.
  GrammarConstraint(std::shared_ptr<text::grammar::TokenMasks> masks, std::shared_ptr<MaskThread> mask_thread,
                    std::vector<int32_t> end_ids, std::vector<int32_t> eos_ids, Reasoning reasoning);

  [[nodiscard]] bool fill_allowed(std::span<uint64_t> allowed) override;
  void accept(int32_t id) override;

 private:
  enum class State { kStart, kReasoning, kAnswer };  // kStart: the first token may begin the reasoning

  void accept_answer(int32_t id);
  void prepare();

  const std::shared_ptr<text::grammar::TokenMasks> masks_;
  const std::shared_ptr<MaskThread> mask_thread_;
  text::grammar::Matcher matcher_;
  const std::vector<int32_t> eos_ids_;
  const Reasoning reasoning_;
  State state_;
};

// Compiled constraints, the last ones kept with their masks. Belongs to one thread; what it makes, to the engine's.
class Constraints {
 public:
  // `vocabulary` is nullptr where the model has no tokenizer: then there are no constraints.
  Constraints(std::shared_ptr<const text::grammar::Vocabulary> vocabulary, std::vector<int32_t> eos_ids,
              text::grammar::GrammarLimits limits = {});

  // The masks of the request's constraint. Throws GrammarError when it cannot be honoured. REQUIRES: it has one.
  [[nodiscard]] std::shared_ptr<text::grammar::TokenMasks> masks_of(const v1::Constraint& constraint);

  // One for each sequence. REQUIRES: `masks` are of this constraint.
  [[nodiscard]] std::shared_ptr<engine::TokenConstraint> make(const v1::Constraint& constraint,
                                                              std::shared_ptr<text::grammar::TokenMasks> masks,
                                                              const std::vector<int32_t>& stop_ids) const;

  // Returns when all masks that sequences have asked for are computed.
  void wait_for_masks() { mask_thread_->wait(); }

  static constexpr size_t kKeptMax = 32;
  [[nodiscard]] size_t kept() const { return kept_.size(); }

 private:
  struct Kept {
    std::string constraint;  // serialized
    std::shared_ptr<text::grammar::TokenMasks> masks;
  };

  std::shared_ptr<const text::grammar::Vocabulary> vocabulary_;
  std::vector<int32_t> eos_ids_;
  text::grammar::GrammarLimits limits_;
  std::shared_ptr<MaskThread> mask_thread_;  // nullptr without a vocabulary
  std::list<Kept> kept_;                     // the last used first
};

}  // namespace bellwether::worker
