// Replica states as a table for people and as JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "bellwether/v1/mesh.pb.h"

namespace bellwether::cli {

// A heading and one line a replica, then the same for the ranks of those that have several, then why replicas failed;
// what others sent is made printable. REQUIRES: not empty.
[[nodiscard]] std::string status_table(const std::vector<v1::ReplicaState>& replicas);

// {"replicas":[{"replica_id":...,"phase":"ready",...}]} in one line.
[[nodiscard]] std::string status_json(const std::vector<v1::ReplicaState>& replicas);

}  // namespace bellwether::cli
