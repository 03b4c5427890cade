#include "api-gateway/access/gatekeeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "api-gateway/access/limit_headers.h"
#include "api-gateway/failure.h"
#include "mesh/address.h"
#include "mesh/clock.h"
#include "mesh/error.h"
#include "mesh/log.h"
#include "mesh/sha256.h"

namespace bellwether::gateway {
namespace {

constexpr std::chrono::milliseconds kRefreshInterval{1000};

const std::string kNobody;

// "Bearer KEY" without its scheme, which any case may be used for; "" for another scheme.
std::string_view bearer_of(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() <= kScheme.size()) return {};
  const bool is_bearer = std::equal(kScheme.begin(), kScheme.end(), authorization.begin(), [](char a, char b) {
    return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
  });
  if (!is_bearer) return {};
  authorization.remove_prefix(kScheme.size());
  authorization.remove_prefix(std::min(authorization.find_first_not_of(' '), authorization.size()));
  return authorization;
}

void require_keys_for_others(const AccessSettings& settings, const std::string& http_address) {
  if (!settings.api_keys_file.empty() || settings.allow_anonymous) return;
  if (mesh::is_loopback(mesh::parse_address(http_address))) return;
  throw mesh::Error(mesh::ErrorCode::kInvalidArgument,
                    fmt::format("other machines can reach {}: give a file of keys (`bellwether key new` makes one), or "
                                "--allow-anonymous to serve everybody",
                                http_address),
                    "--api-keys-file");
}

}  // namespace

const std::string& Caller::key_id() const {
  return key_ == nullptr ? kNobody : key_->id;
}

const std::string& Caller::tenant() const {
  return key_ == nullptr ? kNobody : key_->tenant;
}

class Gatekeeper::Reservation final : public Admitted {
 public:
  Reservation(Gatekeeper& gatekeeper, std::string key_id, int64_t reserved)
      : gatekeeper_(gatekeeper), key_id_(std::move(key_id)), reserved_(reserved) {}
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation() override {
    gatekeeper_.limits_.end(key_id_, reserved_, used_, mesh::steady_now());
    gatekeeper_.link_->changed();
  }

  void set_used(int64_t tokens) override { used_ = tokens; }

 private:
  Gatekeeper& gatekeeper_;
  std::string key_id_;
  int64_t reserved_;
  int64_t used_ = 0;
};

Gatekeeper::Gatekeeper(boost::asio::any_io_executor executor, mesh::Bus& bus, AccessSettings settings,
                       std::string gateway_id, const std::string& http_address)
    : bus_(bus), settings_(std::move(settings)), limits_(std::move(gateway_id)), refresh_timer_(executor) {
  require_keys_for_others(settings_, http_address);
  if (settings_.api_keys_file.empty()) return;
  file_.emplace(settings_.api_keys_file);
  limits_.set_keys(file_->keys(), mesh::steady_now());
  mesh::log::info("API keys read", {{"file", settings_.api_keys_file}, {"keys", file_->keys().size()}});
  link_.emplace(executor, bus_, limits_);
  arm_refresh();
}

Gatekeeper::~Gatekeeper() = default;

void Gatekeeper::arm_refresh() {
  refresh_timer_.expires_after(kRefreshInterval);
  refresh_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired()) return;
    if (file_->refresh()) limits_.set_keys(file_->keys(), mesh::steady_now());
    arm_refresh();
  });
}

Caller Gatekeeper::identify(const mesh::HttpRequest& request) const {
  if (!file_) return {};
  std::string_view secret = bearer_of(request.header("authorization"));
  if (secret.empty()) secret = request.header("x-api-key");
  if (secret.empty()) {
    throw RequestFailed(
        {401, "no_key", "this server asks for an API key: send `Authorization: Bearer KEY`, or `x-api-key: KEY`"});
  }
  std::shared_ptr<const mesh::ApiKey> key = file_->find(secret);
  if (key == nullptr) throw RequestFailed({401, "unknown_key", "the API key is not one of this server's"});
  return Caller(std::move(key));
}

void Gatekeeper::require_model(const Caller& caller, const std::string& model) const {
  if (caller.may_use(model)) return;
  throw RequestFailed(
      {403, "model_not_allowed", fmt::format("this API key may not use the model `{}`", model), "model"});
}

void Gatekeeper::label(const Caller& caller, v1::GenerateRequest& request) const {
  if (caller.key() == nullptr) return;
  request.set_tenant(caller.tenant());
  request.set_priority(std::max(request.priority(), static_cast<int32_t>(caller.key()->priority)));
  if (!settings_.tenant_isolation) return;
  request.set_cache_salt(mesh::sha256_hex(caller.tenant() + '\0' + request.cache_salt()));
}

int64_t Gatekeeper::tokens_of(const v1::GenerateRequest& request, bool limits_output) const {
  const int64_t output =
      limits_output ? request.max_tokens() : std::min<int64_t>(request.max_tokens(), settings_.output_tokens_assumed);
  return request.prompt_ids_size() + output * request.choices_size();
}

std::unique_ptr<Admitted> Gatekeeper::admit(const Caller& caller, std::span<const v1::GenerateRequest> requests,
                                            bool limits_output) {
  if (caller.key() == nullptr) return nullptr;
  int64_t tokens = 0;
  for (const v1::GenerateRequest& request : requests) tokens += tokens_of(request, limits_output);
  const std::string& key_id = caller.key_id();
  if (const std::optional<Denial> denial = limits_.admit(key_id, tokens, mesh::steady_now())) {
    throw RequestFailed(failure_of(*denial, tokens));
  }
  link_->changed();
  return std::make_unique<Reservation>(*this, key_id, tokens);
}

mesh::HttpHeaders Gatekeeper::headers(const Caller& caller) const {
  if (caller.key() == nullptr) return {};
  return limit_headers(limits_.state(caller.key_id(), mesh::steady_now()));
}

void Gatekeeper::stop() {
  refresh_timer_.cancel();
  if (link_) link_->stop();
}

}  // namespace bellwether::gateway
