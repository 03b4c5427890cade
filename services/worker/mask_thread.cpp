#include "worker/mask_thread.h"

#include <utility>

namespace bellwether::worker {

MaskThread::MaskThread() : thread_([this] { run(); }) {}

MaskThread::~MaskThread() {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  thread_.join();
}

void MaskThread::prepare(const std::shared_ptr<text::grammar::TokenMasks>& masks,
                         const std::vector<text::grammar::State>& states) {
  {
    const std::lock_guard lock(mutex_);
    for (const text::grammar::State state : states) {
      if (waiting_.size() < kWaitingMax) waiting_.push_back({masks, state});
    }
  }
  changed_.notify_all();
}

void MaskThread::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.empty() && !is_busy_; });
}

void MaskThread::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return is_stopped_ || !waiting_.empty(); });
    if (is_stopped_) return;
    const Wanted wanted = std::move(waiting_.front());
    waiting_.pop_front();
    is_busy_ = true;
    lock.unlock();
    (void)wanted.masks->of(wanted.state);
    lock.lock();
    is_busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace bellwether::worker
