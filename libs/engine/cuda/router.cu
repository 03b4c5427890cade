// step_kernels.h: which experts each row goes to, and each row's most likely token.
#include "engine/cuda/device.cuh"
#include "engine/cuda/launch.h"
#include "engine/cuda/step_kernels.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int kExpertsMax = 1024;
constexpr int kGroupsMax = 64;
constexpr int kChosenMax = 32;
constexpr int kRouterThreads = 256;
constexpr float kTaken = -INFINITY;  // loses against every candidate

struct Best {
  float value;
  int32_t index;
};

// The larger value, the lower index among equals.
__device__ Best better(Best a, Best b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

__device__ Best warp_best(Best best) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    best = better(best, {__shfl_xor_sync(~0U, best.value, lanes), __shfl_xor_sync(~0U, best.index, lanes)});
  }
  return best;
}

// Whether a comes before b: the larger value, the lower index among equals.
__device__ bool is_before(Best a, Best b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}

// How many of values [0, count), in shared memory, come before values[index].
__device__ int rank_of(const float* values, int count, int index) {
  const Best own{values[index], index};
  int before = 0;
#pragma unroll 8
  for (int i = 0; i < count; ++i) before += is_before({values[i], i}, own) ? 1 : 0;
  return before;
}

// Takes the candidates of all but the best groups out of the race. One warp for each group, in turn.
__device__ void limit_to_groups(const RouterShape& shape, float* candidates) {
  __shared__ float scores[kGroupsMax];
  const int groups = static_cast<int>(shape.groups);
  const int each = static_cast<int>(shape.experts) / groups;
  const int warps = static_cast<int>(blockDim.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int g = static_cast<int>(threadIdx.x) / 32; g < groups; g += warps) {
    float first = kTaken;
    float second = kTaken;
    for (int e = g * each + lane; e < (g + 1) * each; e += 32) {
      second = fmaxf(second, fminf(first, candidates[e]));
      first = fmaxf(first, candidates[e]);
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) {
      const float other_first = __shfl_xor_sync(~0U, first, lanes);
      const float other_second = __shfl_xor_sync(~0U, second, lanes);
      second = fmaxf(fminf(first, other_first), fmaxf(second, other_second));
      first = fmaxf(first, other_first);
    }
    if (lane == 0) scores[g] = first + second;
  }
  __syncthreads();
  for (int e = static_cast<int>(threadIdx.x); e < shape.experts; e += static_cast<int>(blockDim.x)) {
    if (rank_of(scores, groups, e / each) >= shape.groups_chosen) candidates[e] = kTaken;
  }
  __syncthreads();
}

// One block for each row, one thread for each expert, in turn.
__global__ void __launch_bounds__(kRouterThreads)
    router_kernel(RouterShape shape, const float* logits, int64_t splits, const float* bias, ExpertChoice* choices) {
  __shared__ float scores[kExpertsMax];
  __shared__ __align__(16) float candidates[kExpertsMax];
  __shared__ int ranked[kChosenMax];  // the chosen, from the best on
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int thread = static_cast<int>(threadIdx.x);
  const int experts = static_cast<int>(shape.experts);
  const int chosen = static_cast<int>(shape.chosen);
  const int64_t row = blockIdx.x;
  for (int e = thread; e < experts; e += kRouterThreads) {
    float logit = 0;
#pragma unroll 16
    for (int64_t split = 0; split < splits; ++split) logit += logits[(split * gridDim.x + row) * experts + e];
    scores[e] = 1 / (1 + expf(-logit));
    candidates[e] = scores[e] + bias[e];
  }
  __syncthreads();
  if (shape.groups_chosen < shape.groups) limit_to_groups(shape, candidates);
  for (int e = thread; e < experts; e += kRouterThreads) {
    if (candidates[e] == kTaken) continue;
    const int rank = rank_of(candidates, experts, e);
    if (rank < chosen) ranked[rank] = e;
  }
  __syncthreads();
  if (thread >= 32) return;
  const int mine = thread < chosen ? ranked[thread] : INT32_MAX;
  const float weight = thread < chosen ? scores[mine] : 0;
  int place = 0;  // in order of expert
  for (int i = 0; i < chosen; ++i) place += __shfl_sync(~0U, mine, i) < mine ? 1 : 0;
  float sum = 0;
  for (int i = 0; i < chosen; ++i) {  // in that order
    const unsigned at = __ballot_sync(~0U, thread < chosen && place == i);
    sum += __shfl_sync(~0U, weight, __ffs(static_cast<int>(at)) - 1);
  }
  if (thread >= chosen) return;
  const float normed = shape.norms_weights ? weight / (sum + 1e-20F) : weight;
  choices[row * chosen + place] = {mine, normed * shape.scaling};
}

// One block for each row.
__global__ void most_likely_kernel(const float* logits, int64_t width, int64_t stride, int64_t first_id,
                                   LikelyToken* out) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  __shared__ Best of_warps[32];
  const float* row = logits + blockIdx.x * stride;
  Best best{kTaken, INT32_MAX};
  for (int64_t i = threadIdx.x; i < width; i += blockDim.x) best = better(best, {row[i], static_cast<int32_t>(i)});
  best = warp_best(best);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  best = threadIdx.x < blockDim.x / 32 ? of_warps[threadIdx.x] : Best{kTaken, INT32_MAX};
  best = warp_best(best);
  if (threadIdx.x == 0) out[blockIdx.x] = {best.value, static_cast<int32_t>(first_id + best.index)};
}

}  // namespace

void choose_experts(const RouterShape& shape, const float* logits, int64_t splits, const float* bias, int64_t rows,
                    ExpertChoice* choices, cudaStream_t stream) {
  if (shape.experts > kExpertsMax || shape.chosen > kChosenMax || shape.groups > kGroupsMax) {
    throw CudaError("choose_experts: more than 1024 experts, 64 groups, or 32 experts for each row");
  }
  launch(router_kernel, {.grid = static_cast<unsigned>(rows), .block = kRouterThreads}, stream, shape, logits, splits,
         bias, choices);
}

void most_likely(const float* logits, int64_t rows, int64_t width, int64_t stride, int64_t first_id, LikelyToken* out,
                 cudaStream_t stream) {
  if (rows == 0) return;
  launch(most_likely_kernel, {.grid = static_cast<unsigned>(rows), .block = 1024}, stream, logits, width, stride,
         first_id, out);
}

}  // namespace bellwether::engine::cuda
