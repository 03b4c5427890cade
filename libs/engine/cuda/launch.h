// Launching kernels so that each may begin before the one before it has ended (programmatic dependent launch, CUDA
// programming guide 6.2.2.1): a kernel's blocks start when all blocks of the one before have called
// cudaTriggerProgrammaticLaunchCompletion() or ended, and must call cudaGridDependencySynchronize() before they read or
// overwrite what any earlier kernel of the stream touches. Works in captured graphs as well.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace bellwether::engine::cuda {

// A call into CUDA that failed: the environment, not the caller.
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw CudaError(std::string(what) + ": " + cudaGetErrorString(error));
}

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;  // dynamic
  unsigned cluster_y = 1;   // blocks of a cluster, along y; grid.y is a multiple of it
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream, Arguments... arguments) {
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {1, shape.cluster_y, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = shape.cluster_y > 1 ? 2 : 1;
  check(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...), "kernel launch");
}

}  // namespace bellwether::engine::cuda
