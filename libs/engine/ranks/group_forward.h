// The head's forward pass when the model is cut over ranks: it has its followers compute what it computes.
#pragma once

#include <memory>

#include "engine/forward.h"
#include "engine/ranks/collective.h"

namespace bellwether::engine {

class GroupForward final : public Forward {
 public:
  // `own`: this rank's part.
  explicit GroupForward(std::unique_ptr<RankForward> own) : own_(std::move(own)) {}
  // Ends the group in order.
  ~GroupForward() override;

  // Ends the group there was and makes `group` the one that computes. Returns how many KV blocks all of its ranks have.
  // REQUIRES: this is its rank 0.
  [[nodiscard]] int64_t join(std::unique_ptr<Collective> group);

  // REQUIRES: join() came before.
  [[nodiscard]] std::span<const float> compute(std::span<const BatchSegment> segments) override;
  [[nodiscard]] std::span<const int32_t> draft(std::span<const DraftSegment> segments) override;
  [[nodiscard]] bool has_drafts() const override { return own_->has_drafts(); }
  [[nodiscard]] WeightWork work() const override { return own_->work(); }

 private:
  void end_group() noexcept;

  std::unique_ptr<Collective> group_;
  std::unique_ptr<RankForward> own_;
};

}  // namespace bellwether::engine
