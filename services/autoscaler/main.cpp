#include <memory>

#include "autoscaler/autoscaler.h"
#include "autoscaler/settings.h"
#include "mesh/service.h"
#include "mesh/settings.h"

int main(int argc, char** argv) {
  using namespace bellwether;
  autoscaler::AutoscalerSettings settings;
  mesh::ServiceSettings common;
  mesh::Settings declared("bellwether-autoscaler", "autoscaler", "Decides how many replicas there should be.");
  autoscaler::declare(declared, settings);
  common.declare(declared);
  if (const auto status = declared.parse_main(argc, argv)) return *status;
  return mesh::run_service("autoscaler", common, [&](mesh::Service& service) {
    autoscaler::validate(settings);
    std::unique_ptr<autoscaler::ReplicaSet> replicas;
    if (settings.supervise) {
      replicas = std::make_unique<autoscaler::LocalSupervisor>(
          service.io().get_executor(), autoscaler::supervisor_options(settings, common), mesh::steady_now);
    }
    return std::make_unique<autoscaler::Autoscaler>(service.io(), service.bus(), service.registry(),
                                                    autoscaler::options_of(settings), std::move(replicas),
                                                    [&service] { service.set_ready(true); });
  });
}
