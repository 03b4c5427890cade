#include "api-gateway/docs/api_docs.h"

#include <string_view>

// #embed is C23's; clang-19 has it in C++, too.
#pragma clang diagnostic ignored "-Wc23-extensions"

namespace bellwether::gateway {

namespace {

constexpr char kOpenApi[] = {
#embed "openapi.json"
};
constexpr char kDocs[] = {
#embed "docs.html"
};

std::string with_version(std::string text) {
  constexpr std::string_view kPlace = "BELLWETHER_VERSION";
  return text.replace(text.find(kPlace), kPlace.size(), BELLWETHER_VERSION);
}

}  // namespace

const std::string& openapi_json() {
  static const std::string text = with_version({kOpenApi, sizeof kOpenApi});
  return text;
}

mesh::HttpResponse openapi_response() {
  mesh::HttpResponse response;
  response.body = openapi_json();
  return response;
}

mesh::HttpResponse docs_response() {
  mesh::HttpResponse response;
  response.body.assign(kDocs, sizeof kDocs);
  response.content_type = "text/html; charset=utf-8";
  // The page has its own style and script, and asks this server only.
  response.headers.emplace_back(
      "Content-Security-Policy",
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'");
  return response;
}

}  // namespace bellwether::gateway
