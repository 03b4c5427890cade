#include "api-gateway/model_card_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/card_digest.h"
#include "mesh/clock.h"
#include "mesh/error.h"
#include "mesh/log.h"
#include "mesh/subjects.h"

namespace bellwether::gateway {

namespace asio = boost::asio;
using mesh::Error;
using mesh::ErrorCode;

namespace {

constexpr int kTriesMax = 8;  // heads with another card may answer first, while a model is being replaced

// Waits until somebody cancels the timer.
asio::awaitable<void> wait_for_cancel(asio::steady_timer& timer) {
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

}  // namespace

struct ModelCardClient::Fetch {
  explicit Fetch(const asio::any_io_executor& executor) : done(executor, mesh::TimePoint::max()) {}

  asio::steady_timer done;  // cancelled when one of the following is set
  std::shared_ptr<const ServedModel> model;
  std::optional<Error> error;
};

ModelCardClient::ModelCardClient(asio::any_io_executor executor, mesh::Bus& bus, CardLimits limits)
    : executor_(std::move(executor)), bus_(bus), limits_(limits) {}

bool ModelCardClient::holds(const std::string& digest) const {
  return std::any_of(kept_.begin(), kept_.end(), [&](const auto& kept) { return kept.first == digest; });
}

asio::awaitable<std::shared_ptr<const ServedModel>> ModelCardClient::get(std::string model, std::string digest) {
  const auto found = std::find_if(kept_.begin(), kept_.end(), [&](const auto& kept) { return kept.first == digest; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    co_return kept_.front().second;
  }
  std::shared_ptr<Fetch>& entry = fetching_[digest];
  if (entry == nullptr) {
    entry = std::make_shared<Fetch>(executor_);
    ++fetches_;
    asio::co_spawn(executor_, fetch(entry, model, digest), asio::detached);
  }
  const std::shared_ptr<Fetch> shared = entry;
  while (shared->model == nullptr && !shared->error) co_await wait_for_cancel(shared->done);
  if (shared->error) throw *shared->error;
  co_return shared->model;
}

asio::awaitable<void> ModelCardClient::fetch(std::shared_ptr<Fetch> fetch, std::string model, std::string digest) {
  const mesh::TimePoint begin = mesh::steady_now();
  try {
    v1::ModelCard card = co_await download(model, digest);
    fetch->model = co_await build(std::move(card));
  } catch (const Error& error) {
    fetch->error = error;
  } catch (const std::exception& error) {
    fetch->error = Error(ErrorCode::kInternal, error.what());
  }
  const double took_ms = std::chrono::duration<double, std::milli>(mesh::steady_now() - begin).count();
  if (fetch->error) {
    mesh::log::warning("model card not fetched",
                       {{"model", model}, {"digest", digest}, {"error", fetch->error->what()}});
  } else {
    mesh::log::info("model card fetched", {{"model", model}, {"digest", digest}, {"took_ms", took_ms}});
    keep(digest, fetch->model);
  }
  fetching_.erase(digest);
  fetch->done.cancel();
}

asio::awaitable<v1::ModelCard> ModelCardClient::download(const std::string& model, const std::string& digest) {
  const mesh::TimePoint deadline = mesh::steady_now() + limits_.fetch_time_max;
  const std::string subject = mesh::subjects::card(model);
  for (int tries = 0; tries < kTriesMax; ++tries) {
    std::string data;
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - mesh::steady_now());
      if (left.count() <= 0) throw Error(ErrorCode::kDeadlineExceeded, "the model's card did not arrive in time");
      v1::CardRequest request;
      if (!data.empty()) request.set_digest(digest);
      request.set_offset(data.size());
      const auto chunk = co_await bus_.request<v1::CardChunk>(subject, request, left);
      if (!chunk.error().empty() || chunk.digest() != digest || chunk.offset() != data.size() || chunk.data().empty()) {
        break;
      }
      if (chunk.bytes_total() > limits_.card_bytes_max || data.size() + chunk.data().size() > chunk.bytes_total()) {
        throw Error(ErrorCode::kInternal,
                    fmt::format("the model's card is larger than {} bytes or than it says", limits_.card_bytes_max));
      }
      data += chunk.data();
      if (data.size() < chunk.bytes_total()) continue;
      v1::ModelCard card;
      if (!card.ParseFromString(data)) throw Error(ErrorCode::kInternal, "the model's card does not parse");
      if (mesh::card_digest(card) != digest)
        throw Error(ErrorCode::kInternal, "the model's card does not have its digest");
      co_return card;
    }
  }
  throw Error(ErrorCode::kUnavailable, "no head sent the model's card");
}

asio::awaitable<std::shared_ptr<const ServedModel>> ModelCardClient::build(v1::ModelCard card) {
  struct Job {
    v1::ModelCard card;
    std::shared_ptr<const ServedModel> model;
    std::exception_ptr error;
    bool done = false;  // on the executor's thread
  };
  const auto job = std::make_shared<Job>();
  job->card = std::move(card);
  const auto timer = std::make_shared<asio::steady_timer>(executor_, mesh::TimePoint::max());
  asio::post(builder_, [job, timer, executor = executor_, templates = limits_.templates] {
    try {
      job->model = std::make_shared<const ServedModel>(make_served_model(job->card, templates));
    } catch (...) {
      job->error = std::current_exception();
    }
    asio::post(executor, [job, timer] {
      job->done = true;
      timer->cancel();
    });
  });
  while (!job->done) co_await wait_for_cancel(*timer);
  if (job->error) std::rethrow_exception(job->error);
  co_return job->model;
}

void ModelCardClient::keep(const std::string& digest, std::shared_ptr<const ServedModel> model) {
  kept_.emplace_front(digest, std::move(model));
  if (kept_.size() > limits_.cards_max) kept_.pop_back();
}

}  // namespace bellwether::gateway
