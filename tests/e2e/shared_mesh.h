// One mesh for all tests that leave it as they found it.
#pragma once

#include "e2e/mesh_process.h"

namespace bellwether::e2e {

// Started at first use, stopped after the last test: that it ends with status 0 is checked then.
// REQUIRES: called on the main thread.
[[nodiscard]] MeshProcess& shared_mesh();

}  // namespace bellwether::e2e
