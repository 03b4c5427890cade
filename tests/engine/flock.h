// A model cut over ranks that are threads of this process: a head's forward pass, and followers behind it.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "engine/follower.h"
#include "engine/ranks/group_forward.h"
#include "engine/thread_group.h"

namespace bellwether::engine {

class Flock final : public Forward {
 public:
  using MakeFollower = std::function<std::unique_ptr<Follower>(const EngineOptions&)>;

  // `head` is rank 0 of options.ranks.
  Flock(std::unique_ptr<RankForward> head, const EngineOptions& options, const MakeFollower& make_follower)
      : group_(options.ranks), head_(std::make_unique<GroupForward>(std::move(head))) {
    for (int rank = 1; rank < options.ranks; ++rank) {
      EngineOptions of_rank = options;
      of_rank.rank = rank;
      followers_.emplace_back(
          [follower = make_follower(of_rank), group = group_.member(rank)] { follower->follow(*group); });
    }
    (void)head_->join(group_.member(0));
  }
  ~Flock() override {
    head_.reset();
    for (std::thread& follower : followers_) follower.join();
  }

  [[nodiscard]] std::span<const float> compute(std::span<const BatchSegment> segments) override {
    return head_->compute(segments);
  }
  [[nodiscard]] std::span<const int32_t> draft(std::span<const DraftSegment> segments) override {
    return head_->draft(segments);
  }
  [[nodiscard]] bool has_drafts() const override { return head_->has_drafts(); }

 private:
  ThreadGroup group_;
  std::unique_ptr<GroupForward> head_;
  std::vector<std::thread> followers_;
};

}  // namespace bellwether::engine
