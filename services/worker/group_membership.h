// The group that a computing thread is in, as other threads see it: they can make it leave.
#pragma once

#include <cstdint>
#include <mutex>

#include "engine/ranks/collective.h"

namespace bellwether::worker {

// Thread-safe.
class GroupMembership {
 public:
  // From the computing thread, before it uses the group and after; the collective lives between.
  void joined(uint64_t epoch, engine::Collective& group) {
    const std::lock_guard lock(mutex_);
    group_ = &group;
    if (epoch <= abandoned_) group.abort();
  }
  void left() {
    const std::lock_guard lock(mutex_);
    group_ = nullptr;
  }

  // What is being computed in the groups up to `epoch` ends with engine::GroupBroken, now or as soon as it begins.
  void abandon(uint64_t epoch) {
    const std::lock_guard lock(mutex_);
    abandoned_ = epoch;
    if (group_ != nullptr) group_->abort();
  }

 private:
  std::mutex mutex_;
  engine::Collective* group_ = nullptr;
  uint64_t abandoned_ = 0;
};

}  // namespace bellwether::worker
