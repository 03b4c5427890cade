#include "engine/cuda/load_cuda_forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/cuda/cuda_forward.h"
#include "engine/cuda/model_weights.h"

namespace bellwether::engine::cuda {
namespace {

void take_gpu(int device) {
  int count = 0;
  const cudaError_t counted = cudaGetDeviceCount(&count);
  if (counted != cudaSuccess) {
    throw ConfigError(
        fmt::format("device is cuda:{}, but no GPU can be used: {}", device, cudaGetErrorString(counted)));
  }
  if (device >= count) throw ConfigError(fmt::format("device is cuda:{}, but there are {} GPUs", device, count));
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  if (major != 9) {
    throw ConfigError(
        fmt::format("device is cuda:{}, of compute capability {}: the kernels need 9.0 (Hopper)", device, major));
  }
  check(cudaSetDevice(device), "cudaSetDevice");
}

}  // namespace

std::unique_ptr<RankForward> load_cuda_forward(const ModelConfig& config, const EngineOptions& options,
                                               weights::TensorSource& source,
                                               const std::function<void(double)>& progress) {
  const int device = options.gpu.value();
  take_gpu(device);
  const WeightsWanted wanted{.rank = options.rank, .ranks = options.ranks, .draft = options.draft_tokens > 0};
  int64_t weights_bytes = 0;
  try {
    ModelWeights weights = load_weights(config, wanted, source, progress);
    weights_bytes = weights.bytes;
    return std::make_unique<CudaForward>(
        config, std::move(weights),
        CudaOptions{.device = device,
                    .kv_blocks = options.kv_blocks,
                    .rows_max = options.batch_tokens_max,
                    .context_max = options.context_tokens_max + options.draft_tokens + 1,
                    .is_deterministic = options.deterministic});
  } catch (const CudaError& error) {
    throw ConfigError(fmt::format("cuda:{}: {} (weights on it {:.2f} GB, kv_blocks {}, batch_tokens_max {})", device,
                                  error.what(), static_cast<double>(weights_bytes) / 1e9, options.kv_blocks,
                                  options.batch_tokens_max));
  }
}

}  // namespace bellwether::engine::cuda
