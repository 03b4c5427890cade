#include "mesh/service.h"
#include "worker/follower.h"
#include "worker/replica.h"
#include "worker/ucx_rank_endpoint.h"

int main(int argc, char** argv) {
  using namespace bellwether;
  worker::WorkerSettings settings;
  mesh::Settings declared("bellwether-worker", "worker",
                          "Computes: a replica of a model, taking work from the bus, or one rank of a replica.");
  worker::declare(declared, settings);
  mesh::ServiceSettings common;
  common.declare(declared);
  if (const auto status = declared.parse_main(argc, argv)) return *status;
  if (!common.allow_remote) worker::keep_ucx_on_this_machine();
  const bool is_head = settings.rank == 0;
  common.uses_bus = is_head;
  return mesh::run_service("worker", common, [&](mesh::Service& service) -> std::unique_ptr<mesh::Component> {
    if (is_head) return std::make_unique<worker::Replica>(service, settings);
    return std::make_unique<worker::Follower>(service, settings);
  });
}
