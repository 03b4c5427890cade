#include "mesh/subjects.h"

#include <fmt/format.h>

namespace bellwether::mesh::subjects {
namespace {

bool is_plain(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

}  // namespace

std::string token(std::string_view name) {
  if (name.empty()) return "=";  // an empty token is no subject, and no other name becomes this
  std::string result;
  result.reserve(name.size());
  for (const char c : name) {
    if (is_plain(c)) {
      result += c;
    } else {
      result += fmt::format("={:02X}", static_cast<unsigned char>(c));
    }
  }
  return result;
}

std::string request(std::string_view model) {
  return "bw.v1.request." + token(model);
}
std::string replica_work(std::string_view replica) {
  return "bw.v1.replica." + token(replica) + ".work";
}
std::string replica_cancel(std::string_view replica) {
  return "bw.v1.replica." + token(replica) + ".cancel";
}
std::string replica_resend(std::string_view replica) {
  return "bw.v1.replica." + token(replica) + ".resend";
}
std::string replica_drain(std::string_view replica) {
  return "bw.v1.replica." + token(replica) + ".drain";
}
std::string replica_kv_dump(std::string_view replica) {
  return "bw.v1.replica." + token(replica) + ".kv";
}
std::string replica_kv_events(std::string_view replica) {
  return "bw.v1.event.replica." + token(replica) + ".kv";
}
std::string replica_state(std::string_view replica) {
  return "bw.v1.event.replica." + token(replica) + ".state";
}
std::string gateway_tokens(std::string_view gateway) {
  return "bw.v1.gateway." + token(gateway) + ".tokens";
}
std::string scheduler_poll(std::string_view scheduler) {
  return "bw.v1.scheduler." + token(scheduler) + ".poll";
}
std::string queue(std::string_view model) {
  return "bw.v1.event.queue." + token(model);
}
std::string scale(std::string_view model) {
  return "bw.v1.event.scale." + token(model);
}
std::string card(std::string_view model) {
  return "bw.v1.model." + token(model) + ".card";
}

}  // namespace bellwether::mesh::subjects
