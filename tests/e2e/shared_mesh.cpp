#include "e2e/shared_mesh.h"

#include <gtest/gtest.h>

#include <memory>

namespace bellwether::e2e {
namespace {

std::unique_ptr<MeshProcess>& mesh_slot() {
  static std::unique_ptr<MeshProcess> mesh;
  return mesh;
}

class SharedMeshEnvironment : public ::testing::Environment {
 public:
  void TearDown() override {
    if (!mesh_slot()) return;
    EXPECT_EQ(mesh_slot()->stop(), 0) << mesh_slot()->up().output();
    mesh_slot().reset();
  }
};

const ::testing::Environment* const kRegistered = ::testing::AddGlobalTestEnvironment(new SharedMeshEnvironment);

}  // namespace

MeshProcess& shared_mesh() {
  if (!mesh_slot()) mesh_slot() = std::make_unique<MeshProcess>();
  return *mesh_slot();
}

}  // namespace bellwether::e2e
