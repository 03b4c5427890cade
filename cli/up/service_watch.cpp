#include "cli/up/service_watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "cli/chat/reply_event.h"
#include "cli/http_client.h"
#include "cli/up/children.h"
#include "cli/up/readiness.h"
#include "mesh/error.h"

namespace bellwether::cli {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::milliseconds kReplyTimeout{1000};
constexpr int kLogLinesSearched = 1000;

// A reply with status 0 when there is none.
asio::awaitable<HttpReply> get(asio::thread_pool& blocking, std::string url) {
  auto ask = [url = std::move(url)]() -> asio::awaitable<HttpReply> {
    try {
      co_return http_get(url, "", kReplyTimeout);
    } catch (const mesh::Error&) {
      co_return HttpReply{};
    }
  };
  co_return co_await asio::co_spawn(blocking, std::move(ask), asio::use_awaitable);
}

}  // namespace

void ServiceWatch::add(const PlannedProcess& planned, pid_t pid) {
  services_.push_back({planned.role, pid, planned.command.log_file});
}

void ServiceWatch::look_for_addresses() {
  for (Watched& service : services_) {
    if (!service.address.empty()) continue;
    const auto address = find_http_address(last_lines(service.log_file, kLogLinesSearched), service.pid);
    if (address) service.address = *address;
  }
}

std::optional<std::string> ServiceWatch::address_of(Role role) const {
  for (const Watched& service : services_) {
    if (service.role == role && !service.address.empty()) return service.address;
  }
  return std::nullopt;
}

asio::awaitable<bool> ServiceWatch::all_ready() {
  for (Watched& service : services_) {
    if (service.ready) continue;
    if (service.address.empty()) co_return false;
    const char* const path = service.role == Role::kGateway ? "/health" : "/ready";
    const HttpReply reply = co_await get(blocking_, client_url(service.address) + path);
    service.ready = reply.status == 200;
    if (!service.ready) co_return false;
  }
  co_return true;
}

asio::awaitable<bool> ServiceWatch::gateway_lists(std::string model) {
  const auto address = address_of(Role::kGateway);
  if (!address) co_return false;
  const HttpReply reply = co_await get(blocking_, client_url(*address) + "/v1/models");
  if (reply.status != 200) co_return false;
  const std::vector<std::string> ids = model_ids(reply.body);
  co_return std::find(ids.begin(), ids.end(), model) != ids.end();
}

}  // namespace bellwether::cli
