#include <memory>

#include "mesh/service.h"
#include "mesh/settings.h"
#include "scheduler/scheduler.h"

int main(int argc, char** argv) {
  using namespace bellwether;
  scheduler::SchedulerSettings settings;
  mesh::ServiceSettings common;
  mesh::Settings declared("bellwether-scheduler", "scheduler", "Decides which replica gets which request.");
  declare(declared, settings);
  common.declare(declared);
  if (const auto status = declared.parse_main(argc, argv)) return *status;
  return mesh::run_service("scheduler", common, [&](mesh::Service& service) {
    return std::make_unique<scheduler::Scheduler>(service.io(), service.bus(), service.registry(), service.tracer(),
                                                  settings, [&service] { service.set_ready(true); });
  });
}
