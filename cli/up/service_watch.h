// Where the services of a starting mesh listen, and whether they are ready.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

#include "cli/up/plan.h"

namespace bellwether::cli {

class ServiceWatch {
 public:
  // A service that has just been started.
  void add(const PlannedProcess& planned, pid_t pid);

  // Reads the logs for addresses that are not known yet.
  void look_for_addresses();

  // HOST:PORT of the first service with this role; nullopt until it has said it.
  [[nodiscard]] std::optional<std::string> address_of(Role role) const;

  // Whether every service has said once that it is ready. Of the gateway it is enough that it is there: what makes it
  // ready is a model, which a mesh without replicas does not have.
  [[nodiscard]] boost::asio::awaitable<bool> all_ready();

  // Whether the gateway lists the model.
  [[nodiscard]] boost::asio::awaitable<bool> gateway_lists(std::string model);

 private:
  struct Watched {
    Role role;
    pid_t pid;
    std::string log_file;
    std::string address = {};  // empty until known
    bool ready = false;
  };

  std::vector<Watched> services_;
  boost::asio::thread_pool blocking_{1};  // for requests, so that the caller's thread never waits
};

}  // namespace bellwether::cli
