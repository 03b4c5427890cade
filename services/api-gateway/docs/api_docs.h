// The API described: /openapi.json, and /docs, a page that renders it with nothing from elsewhere.
#pragma once

#include <string>

#include "mesh/http_server.h"

namespace bellwether::gateway {

// openapi.json, with this version in it.
[[nodiscard]] const std::string& openapi_json();

[[nodiscard]] mesh::HttpResponse openapi_response();
[[nodiscard]] mesh::HttpResponse docs_response();

}  // namespace bellwether::gateway
