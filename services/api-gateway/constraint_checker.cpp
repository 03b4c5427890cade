#include "api-gateway/constraint_checker.h"

#include <exception>
#include <functional>
#include <string>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/clock.h"

namespace bellwether::gateway {

namespace asio = boost::asio;

ConstraintChecker::~ConstraintChecker() {
  compiler_.stop();
  compiler_.join();
}

asio::awaitable<void> ConstraintChecker::check(AnswerConstraint constraint, std::shared_ptr<const ServedModel> model) {
  const size_t hash = std::hash<std::string>()(model->digest + constraint.message.SerializeAsString());
  if (is_known(hash)) co_return;
  if (waiting_ >= kWaitingMax) {
    throw RequestFailed(
        {503, "too_many_constraints",
         "too many answers' forms are being compiled; try again, or ask for a form that was used before", "",
         kRetryAfterMin});
  }
  struct Compilation {
    AnswerConstraint constraint;
    std::shared_ptr<const ServedModel> model;
    std::exception_ptr error = {};
    bool done = false;  // on the executor's thread
  };
  const auto job = std::make_shared<Compilation>(Compilation{std::move(constraint), std::move(model)});
  const auto executor = co_await asio::this_coro::executor;
  const auto timer = std::make_shared<asio::steady_timer>(executor, mesh::TimePoint::max());
  ++waiting_;
  asio::post(compiler_, [job, timer, executor] {
    try {
      compile_for_complaints(job->constraint, *job->model);
    } catch (...) {
      job->error = std::current_exception();
    }
    asio::post(executor, [job, timer] {
      job->done = true;
      timer->cancel();
    });
  });
  while (!job->done) co_await timer->async_wait(asio::as_tuple(asio::use_awaitable));
  --waiting_;
  if (job->error) std::rethrow_exception(job->error);
  remember(hash);
}

bool ConstraintChecker::is_known(size_t hash) {
  const auto known = by_hash_.find(hash);
  if (known == by_hash_.end()) return false;
  good_.splice(good_.begin(), good_, known->second);
  return true;
}

void ConstraintChecker::remember(size_t hash) {
  if (is_known(hash)) return;  // by another request, meanwhile
  good_.push_front(hash);
  by_hash_[hash] = good_.begin();
  if (good_.size() <= kRememberedMax) return;
  by_hash_.erase(good_.back());
  good_.pop_back();
}

}  // namespace bellwether::gateway
