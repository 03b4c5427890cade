#include "engine/ranks/group_forward.h"

#include <utility>

#include "engine/invariant.h"
#include "engine/ranks/fewest_blocks.h"
#include "engine/ranks/plan_message.h"

namespace bellwether::engine {

GroupForward::~GroupForward() {
  end_group();
}

int64_t GroupForward::join(std::unique_ptr<Collective> group) {
  require(group->rank() == 0, "the head joined a group as another rank");
  end_group();
  group_ = std::move(group);
  own_->join(*group_);
  return fewest_blocks(*group_, own_->kv_blocks());
}

void GroupForward::end_group() noexcept {
  if (group_ == nullptr) return;
  try {
    send_plan(*group_, encode_end());
  } catch (const GroupBroken&) {
    // Then the followers have noticed too, or will.
  }
}

std::span<const float> GroupForward::compute(std::span<const BatchSegment> segments) {
  require(group_ != nullptr, "a batch came before the ranks joined");
  send_plan(*group_, encode(segments));
  return own_->compute(segments);
}

std::span<const int32_t> GroupForward::draft(std::span<const DraftSegment> segments) {
  require(group_ != nullptr, "a draft came before the ranks joined");
  if (segments.empty() || !has_drafts()) return {};
  send_plan(*group_, encode(segments));
  return own_->draft(segments);
}

}  // namespace bellwether::engine
