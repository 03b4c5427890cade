#include <memory>

#include "api-gateway/gateway.h"
#include "api-gateway/settings.h"
#include "mesh/service.h"
#include "mesh/settings.h"

int main(int argc, char** argv) {
  using namespace bellwether;
  gateway::GatewaySettings settings;
  mesh::Settings declared("bellwether-api-gateway", "api_gateway",
                          "Answers OpenAI's REST API with the models of the mesh.");
  settings.declare(declared);
  mesh::ServiceSettings common;
  common.http_address = "127.0.0.1:8000";
  common.declare(declared);
  if (const auto status = declared.parse_main(argc, argv)) return *status;
  common.http_limits = settings.http_limits();
  return mesh::run_service("api-gateway", common, [&](mesh::Service& service) {
    return std::make_unique<gateway::Gateway>(service, settings);
  });
}
