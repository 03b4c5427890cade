// Token masks, computed while the engine computes.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "text/grammar/token_masks.h"

namespace bellwether::worker {

// A mask that nobody has asked for yet takes milliseconds; known as soon as a token is drawn, it is ready when the
// logits of the next one are. A thread of its own. Thread-safe.
class MaskThread {
 public:
  MaskThread();
  ~MaskThread();  // waits for one mask at most
  MaskThread(const MaskThread&) = delete;
  MaskThread& operator=(const MaskThread&) = delete;

  // Has these states' masks computed, in turn. Does nothing when too many wait: then whoever needs them computes them.
  void prepare(const std::shared_ptr<text::grammar::TokenMasks>& masks,
               const std::vector<text::grammar::State>& states);

  // Returns when all that was asked for so far is done.
  void wait();

  static constexpr size_t kWaitingMax = 256;

 private:
  struct Wanted {
    std::shared_ptr<text::grammar::TokenMasks> masks;
    text::grammar::State state;
  };

  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Wanted> waiting_;
  bool is_busy_ = false;
  bool is_stopped_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace bellwether::worker
