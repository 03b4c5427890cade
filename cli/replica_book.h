// The replicas of a mesh as their heads describe them.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "bellwether/v1/mesh.pb.h"
#include "mesh/clock.h"

namespace bellwether::cli {

class ReplicaBook {
 public:
  // A head that is silent for longer than this is gone.
  static constexpr std::chrono::milliseconds kSilenceMax{1000};

  // States may come out of order: an older one than the last is ignored. The last state of a head that leaves in order
  // removes it.
  void hear(const v1::ReplicaState& state, mesh::TimePoint now);

  // Forgets heads that have been silent for longer than kSilenceMax.
  void forget_silent(mesh::TimePoint now);

  [[nodiscard]] size_t ready() const;

  // The mean over `expected` replicas of how far each is: 1 when ready, its loading progress before, 0 when not heard.
  [[nodiscard]] double loading_progress(size_t expected) const;

  // By replica id.
  [[nodiscard]] std::vector<v1::ReplicaState> states() const;

 private:
  struct Heard {
    v1::ReplicaState state;
    mesh::TimePoint at;
  };
  std::map<std::string, Heard> heard_;
};

}  // namespace bellwether::cli
