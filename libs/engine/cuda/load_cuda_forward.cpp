#include "engine/cuda/load_cuda_forward.h"

#include <fmt/format.h>

#include <string>
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

double gb(int64_t bytes) {
  return static_cast<double>(bytes) / 1e9;
}

ModelWeights load(const ModelConfig& config, const WeightsWanted& wanted, weights::TensorSource& source,
                  const std::function<void(double)>& progress, int device) {
  int64_t bytes = 0;  // as of the last progress
  double done = 0;
  try {
    return load_weights(config, wanted, source, [&](double now) {
      done = now;
      bytes = device_bytes_held;
      if (progress) progress(now);
    });
  } catch (const CudaError& error) {
    const std::string all = done > 0 ? fmt::format(", all would be about {:.1f} GB", gb(bytes) / done) : std::string();
    throw ConfigError(
        fmt::format("cuda:{}: the weights do not fit: {:.2f} GB of them are loaded{}: {}; more ranks need "
                    "less each",
                    device, gb(bytes), all, error.what()));
  }
}

}  // namespace

std::unique_ptr<RankForward> load_cuda_forward(const ModelConfig& config, const EngineOptions& options,
                                               weights::TensorSource& source,
                                               const std::function<void(double)>& progress) {
  const int device = options.gpu.value();
  take_gpu(device);
  const WeightsWanted wanted{.rank = options.rank, .ranks = options.ranks, .draft = options.draft_tokens > 0};
  ModelWeights weights = load(config, wanted, source, progress, device);
  const int64_t weights_bytes = weights.bytes;
  try {
    return std::make_unique<CudaForward>(
        config, std::move(weights),
        CudaOptions{.device = device,
                    .kv_blocks = options.kv_blocks,
                    .gpu_memory_utilization = options.gpu_memory_utilization,
                    .rows_max = options.batch_tokens_max,
                    .context_max = options.context_tokens_max + options.draft_tokens + 1,
                    .is_deterministic = options.deterministic});
  } catch (const CudaError& error) {
    throw ConfigError(
        fmt::format("cuda:{}: the workspace of batches of {} tokens does not fit beside weights of {:.2f} GB: {}; set "
                    "smaller batches (max_num_batched_tokens), or more ranks",
                    device, options.batch_tokens_max, gb(weights_bytes), error.what()));
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("cuda:{}: {}", device, error.what()));
  }
}

}  // namespace bellwether::engine::cuda
