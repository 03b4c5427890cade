#include "api-gateway/request_id.h"

#include <algorithm>

#include "mesh/ids.h"

namespace bellwether::gateway {

namespace {

constexpr size_t kOfferedMax = 64;
constexpr int kDigits = 16;

bool is_usable(std::string_view offered) {
  return !offered.empty() && offered.size() <= kOfferedMax && std::all_of(offered.begin(), offered.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  });
}

}  // namespace

RequestId make_request_id(std::string_view offered) {
  if (!is_usable(offered)) {
    const std::string id = mesh::random_id("req", kDigits);
    return {id, id};
  }
  return {std::string(offered), mesh::random_id(offered, kDigits)};
}

}  // namespace bellwether::gateway
