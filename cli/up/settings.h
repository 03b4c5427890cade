// What `bellwether up` can be told.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mesh/service.h"
#include "mesh/settings.h"

namespace bellwether::cli {

struct UpSettings {
  UpSettings();

  std::string model;  // directory; empty = the demo model
  int64_t replicas = 1;
  int64_t replicas_max = 0;          // 0 = replicas
  int64_t ranks = 0;                 // of each replica; 0 = default_ranks() (plan.h)
  int64_t threads = 0;               // of each rank; 0 = the CPUs shared among them
  std::vector<std::string> devices;  // that the workers take in turn; empty = what they take by themselves
  int64_t schedulers = 1;
  std::string log_folder;    // empty = a fresh one
  int64_t nats_port = 0;     // 0 = a free one
  int64_t restarts_max = 8;  // of one process in a row
  int64_t restart_wait_ms_max = 10000;
  std::string api_keys_file;  // empty = no keys
  bool allow_anonymous = false;
  mesh::ServiceSettings common;  // nats_url empty: a nats-server of our own; http_address: the gateway's

  void declare(mesh::Settings& declared);
};

// The file that --config names among main()'s arguments, else the environment's BELLWETHER_CONFIG, else "":
// mesh::Settings reads the file and does not tell, but the services are to read it too.
[[nodiscard]] std::string config_file(const std::vector<std::string>& arguments);

}  // namespace bellwether::cli
