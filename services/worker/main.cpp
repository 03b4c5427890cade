#include "mesh/service.h"
#include "worker/replica.h"

int main(int argc, char** argv) {
  using namespace bellwether;
  worker::WorkerSettings settings;
  mesh::Settings declared("bellwether-worker", "worker", "Computes: one replica of a model, taking work from the bus.");
  worker::declare(declared, settings);
  mesh::ServiceSettings common;
  common.declare(declared);
  if (const auto status = declared.parse_main(argc, argv)) return *status;
  return mesh::run_service(
      "worker", common, [&](mesh::Service& service) { return std::make_unique<worker::Replica>(service, settings); });
}
