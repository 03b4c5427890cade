// Models by the digest of their card: fetched from the heads over the bus, once, and kept.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "api-gateway/served_model.h"
#include "mesh/bus.h"

namespace bellwether::gateway {

struct CardLimits {
  std::chrono::milliseconds fetch_time_max{10000};
  uint64_t card_bytes_max = 256ull * 1024 * 1024;
  text::jinja::Limits templates = {};  // of chat templates
  size_t cards_max = 32;               // kept; beyond it the one used least recently is forgotten
};

// Lives on one single-threaded executor.
class ModelCardClient {
 public:
  // REQUIRES: `bus` outlives this. The executor runs nothing any more when this is destroyed.
  ModelCardClient(boost::asio::any_io_executor executor, mesh::Bus& bus, CardLimits limits);
  ~ModelCardClient() { builder_.join(); }
  ModelCardClient(const ModelCardClient&) = delete;
  ModelCardClient& operator=(const ModelCardClient&) = delete;

  // The model whose card has this digest, from any head that serves `model`. Requests for one digest that come
  // together share one fetch; a failure is not kept. Throws Error: kUnavailable, kDeadlineExceeded, kInternal (a card
  // that cannot be used).
  boost::asio::awaitable<std::shared_ptr<const ServedModel>> get(std::string model, std::string digest);

  // Whether get() needs no head.
  [[nodiscard]] bool holds(const std::string& digest) const;

  [[nodiscard]] uint64_t fetches() const { return fetches_; }

 private:
  struct Fetch;  // one in progress, shared by those who wait for it

  boost::asio::awaitable<void> fetch(std::shared_ptr<Fetch> fetch, std::string model, std::string digest);
  boost::asio::awaitable<v1::ModelCard> download(const std::string& model, const std::string& digest);
  boost::asio::awaitable<std::shared_ptr<const ServedModel>> build(v1::ModelCard card);
  void keep(const std::string& digest, std::shared_ptr<const ServedModel> model);

  boost::asio::any_io_executor executor_;
  mesh::Bus& bus_;
  CardLimits limits_;
  boost::asio::thread_pool builder_{1};  // tokenizers of real models take seconds to build
  std::map<std::string, std::shared_ptr<Fetch>> fetching_;
  std::list<std::pair<std::string, std::shared_ptr<const ServedModel>>> kept_;  // least recently used last
  uint64_t fetches_ = 0;
};

}  // namespace bellwether::gateway
