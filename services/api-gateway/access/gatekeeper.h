// Who asks, whether they may, and whether they have any left: API keys and their limits, applied to requests.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "api-gateway/access/api_key_file.h"
#include "api-gateway/access/key_limits.h"
#include "api-gateway/access/limits_link.h"
#include "bellwether/v1/generate.pb.h"
#include "mesh/bus.h"
#include "mesh/http_server.h"

namespace bellwether::gateway {

struct AccessSettings {
  std::string api_keys_file = {};  // empty = no keys: everybody may do everything
  bool allow_anonymous = false;    // without keys, also for other machines
  bool tenant_isolation = true;    // with keys
  int64_t output_tokens_assumed = 1024;
};

// Who sent a request; nobody in particular where there are no keys.
class Caller {
 public:
  Caller() = default;
  explicit Caller(std::shared_ptr<const mesh::ApiKey> key) : key_(std::move(key)) {}

  [[nodiscard]] const std::string& key_id() const;
  [[nodiscard]] const std::string& tenant() const;
  [[nodiscard]] bool may_use(std::string_view model) const { return key_ == nullptr || key_->may_use(model); }
  [[nodiscard]] const mesh::ApiKey* key() const { return key_.get(); }

 private:
  std::shared_ptr<const mesh::ApiKey> key_;
};

// A request that counts against its key's limits while this lives.
class Admitted {
 public:
  virtual ~Admitted() = default;
  // Tokens, prompt and output, that the key pays for at the end; 0 unless set.
  virtual void set_used(int64_t tokens) = 0;
};

// Lives on one single-threaded executor.
class Gatekeeper {
 public:
  // Throws mesh::Error{kInvalidArgument} when the key file cannot be used, or when other machines can reach
  // `http_address` and there are neither keys nor allow_anonymous. REQUIRES: `bus` outlives this.
  Gatekeeper(boost::asio::any_io_executor executor, mesh::Bus& bus, AccessSettings settings, std::string gateway_id,
             const std::string& http_address);
  ~Gatekeeper();

  // Throws RequestFailed: 401 without a key that is known. Taken from `Authorization: Bearer KEY` or `x-api-key: KEY`.
  [[nodiscard]] Caller identify(const mesh::HttpRequest& request) const;

  // Throws RequestFailed: 403.
  void require_model(const Caller& caller, const std::string& model) const;

  // Writes tenant, priority and, for isolation, the cache salt of a request. A client may ask for a priority behind its
  // key's, not before it.
  void label(const Caller& caller, v1::GenerateRequest& request) const;

  // Reserves the prompts and what may be generated after them; they count as one request. `limits_output`: the client
  // gave max_tokens. nullptr where there are no keys. Throws RequestFailed: 429.
  [[nodiscard]] std::unique_ptr<Admitted> admit(const Caller& caller, std::span<const v1::GenerateRequest> requests,
                                                bool limits_output);

  // OpenAI's x-ratelimit-* headers; none where the key has no limit.
  [[nodiscard]] mesh::HttpHeaders headers(const Caller& caller) const;

  void stop();

 private:
  class Reservation;

  [[nodiscard]] int64_t tokens_of(const v1::GenerateRequest& request, bool limits_output) const;
  void arm_refresh();

  mesh::Bus& bus_;
  const AccessSettings settings_;
  std::optional<ApiKeyFile> file_;  // nothing = no keys
  KeyLimits limits_;
  std::optional<LimitsLink> link_;
  boost::asio::steady_timer refresh_timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // gone with this object
};

}  // namespace bellwether::gateway
