#include "scheduler/canary.h"

#include <limits>
#include <utility>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "mesh/error.h"
#include "mesh/ids.h"
#include "mesh/log.h"
#include "mesh/subjects.h"

namespace bellwether::scheduler {
namespace {

namespace asio = boost::asio;
namespace subjects = mesh::subjects;

v1::GenerateRequest canary_request(const std::string& gateway_id, const std::string& model) {
  v1::GenerateRequest request;
  request.set_request_id(mesh::random_id("canary"));
  request.set_attempt(1);
  request.set_model(model);
  request.set_gateway_id(gateway_id);
  request.add_prompt_ids(0);
  request.mutable_sampling()->set_top_p(1);
  request.mutable_sampling()->set_repetition_penalty(1);
  request.set_max_tokens(1);
  request.set_priority(std::numeric_limits<int32_t>::min());  // it asks whether the head works, not whether it is busy
  request.add_choices();
  return request;
}

}  // namespace

Canary::Canary(asio::io_context& io, mesh::Bus& bus, std::string id) : io_(io), bus_(bus), id_(std::move(id)) {
  tokens_ = bus_.subscribe<v1::TokenBatch>(
      subjects::gateway_tokens(id_),
      [this](const v1::TokenBatch& batch, const mesh::BusMessage&) { on_tokens(batch); });
}

asio::awaitable<bool> Canary::send(std::string replica_id, std::string model, std::chrono::milliseconds timeout) {
  const v1::GenerateRequest request = canary_request(id_, model);
  Bird bird{.ended = asio::steady_timer(io_, timeout)};
  under_way_[request.request_id()] = &bird;
  const bool taken = co_await offer(replica_id, request, timeout);
  if (taken && !bird.came && !stopped_) {
    boost::system::error_code ended;
    co_await bird.ended.async_wait(asio::redirect_error(asio::use_awaitable, ended));
  }
  under_way_.erase(request.request_id());
  if (!bird.came) cancel(replica_id, request);
  co_return bird.came;
}

asio::awaitable<bool> Canary::offer(const std::string& replica_id, const v1::GenerateRequest& request,
                                    std::chrono::milliseconds timeout) {
  try {
    const auto reply = co_await bus_.request<v1::GenerateReply>(subjects::replica_work(replica_id), request, timeout);
    co_return reply.has_placed();
  } catch (const mesh::Error&) {
    co_return false;
  }
}

void Canary::cancel(const std::string& replica_id, const v1::GenerateRequest& request) {
  v1::CancelRequest order;
  order.set_request_id(request.request_id());
  order.set_attempt(request.attempt());
  try {
    bus_.publish(subjects::replica_cancel(replica_id), order);
  } catch (const mesh::Error& error) {
    mesh::log::warning("cancel not sent", {{"request_id", request.request_id()}, {"error", error.what()}});
  }
}

void Canary::on_tokens(const v1::TokenBatch& batch) {
  for (const v1::TokenEvent& event : batch.events()) {
    const auto found = under_way_.find(event.request_id());
    if (found == under_way_.end() || event.ids().empty()) continue;
    found->second->came = true;
    found->second->ended.cancel();
  }
}

void Canary::stop() {
  stopped_ = true;
  tokens_.reset();
  for (auto& [id, bird] : under_way_) bird->ended.cancel();
}

}  // namespace bellwether::scheduler
