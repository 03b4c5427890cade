// Whether a request's constraint can be honoured, found out before it costs the mesh anything.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <unordered_map>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

#include "api-gateway/answer_constraint.h"

namespace bellwether::gateway {

// Compiles constraints on a thread of its own, so that no client's grammar keeps the others waiting, and remembers
// those that were good, because the same ones come again and again. Belongs to one single-threaded executor.
class ConstraintChecker {
 public:
  ~ConstraintChecker();  // waits for one compilation at most

  // Throws as compile_for_complaints(), and RequestFailed (503) when too many wait.
  boost::asio::awaitable<void> check(AnswerConstraint constraint, std::shared_ptr<const ServedModel> model);

  static constexpr size_t kRememberedMax = 1024;
  static constexpr size_t kWaitingMax = 64;
  [[nodiscard]] size_t remembered() const { return good_.size(); }

 private:
  [[nodiscard]] bool is_known(size_t hash);
  void remember(size_t hash);

  boost::asio::thread_pool compiler_{1};
  size_t waiting_ = 0;
  std::list<size_t> good_;  // hashes, the last used first; a collision costs an error that names no field
  std::unordered_map<size_t, std::list<size_t>::iterator> by_hash_;
};

}  // namespace bellwether::gateway
