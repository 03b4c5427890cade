// Attention of single rows over the cache of latents (kernels.h). The time is that of reading the cache once.
//
// A block has up to 64 heads of one row, which are the 64-row side of the tensor cores' products, and goes through its
// pages one by one: scores of a page's 64 tokens, their exponentials, sums of the latents weighted by them. One warp
// keeps copies of the pages' chunks under way in a ring; two warpgroups compute. Both compute all scores, which costs
// less than passing them on, and each has one half of the sums' columns.
#include <algorithm>

#include "engine/cuda/device.cuh"
#include "engine/cuda/hopper.cuh"
#include "engine/cuda/kernels.h"
#include "engine/cuda/launch.h"
#include "engine/cuda/simple_kernels.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int64_t kRowsMax = 8192;  // of a plan

// ---- The plan

// before (rows + 1) = the sums of value(row) over the rows before. By one warp.
template <class Value>
__device__ void sum_before(int64_t rows, int32_t* before, const Value& value) {
  const int lane = static_cast<int>(threadIdx.x);
  int32_t total = 0;
  for (int64_t begin = 0; begin < rows; begin += 32) {
    const int64_t row = begin + lane;
    const int32_t own = row < rows ? value(row) : 0;
    int32_t sum = own;
    for (int step = 1; step < 32; step *= 2) {
      const int32_t lower = __shfl_up_sync(~0U, sum, step);
      if (lane >= step) sum += lower;
    }
    if (row < rows) before[row] = total + sum - own;
    total += __shfl_sync(~0U, sum, 31);
  }
  if (lane == 0) before[rows] = total;
}

// One block.
__global__ void plan_kernel(const int32_t* lengths, DecodePlan plan) {
  extern __shared__ int32_t shared[];
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  int32_t* pages_before = shared;                   // (rows + 1)
  int32_t* pieces_before = shared + plan.rows + 1;  // (rows + 1)
  const auto pages_of = [&](int64_t row) { return static_cast<int32_t>(ceil_div(lengths[row], kPageTokens)); };
  if (threadIdx.x < 32) sum_before(plan.rows, pages_before, pages_of);
  __syncthreads();
  const int64_t pages = pages_before[plan.rows];
  const int64_t share = pages < plan.blocks ? 1 : ceil_div(pages, plan.blocks);  // of a block
  const auto pieces_of = [&](int64_t row) -> int32_t {
    const int64_t begin = pages_before[row];
    const int64_t end = pages_before[row + 1];
    if (begin == end) return 0;
    if (plan.is_fixed) return static_cast<int32_t>(ceil_div(end - begin, DecodePlan::fixed_pages(end - begin)));
    return static_cast<int32_t>((end - 1) / share - begin / share + 1);
  };
  if (threadIdx.x < 32) {
    sum_before(plan.rows, pieces_before, pieces_of);
    sum_before(plan.rows, plan.row_begin, [&](int64_t row) {
      const int32_t pieces = pieces_of(row);
      return pieces > 1 ? pieces : 0;
    });
  }
  __syncthreads();
  const int64_t all = pieces_before[plan.rows];
  for (int64_t block = threadIdx.x; block <= plan.blocks; block += blockDim.x) {
    plan.block_begin[block] = static_cast<int32_t>(plan.is_fixed ? all * block / plan.blocks : all);
  }
  __syncthreads();
  for (int64_t row = threadIdx.x; row < plan.rows; row += blockDim.x) {
    const int32_t pieces = pieces_before[row + 1] - pieces_before[row];
    const int64_t begin = pages_before[row];
    const int64_t count = pages_before[row + 1] - begin;
    for (int32_t i = 0; i < pieces; ++i) {
      const int64_t block = begin / share + i;  // which has the piece, unless pieces are fixed
      const int64_t fixed = DecodePlan::fixed_pages(count);
      const int64_t first = plan.is_fixed ? i * fixed : block * share - begin;
      const int64_t end = first + (plan.is_fixed ? fixed : share);
      plan.pieces[pieces_before[row] + i] = {static_cast<int32_t>(row), static_cast<int32_t>(first > 0 ? first : 0),
                                             static_cast<int32_t>(end < count ? end : count),
                                             pieces > 1 ? plan.row_begin[row] + i : -1};
      if (!plan.is_fixed && begin + (first > 0 ? first : 0) == block * share) {
        plan.block_begin[block] = pieces_before[row] + i;
      }
    }
  }
}

// ---- The sums

constexpr int kWarpgroup = 128;
constexpr int kThreads = 3 * kWarpgroup;
constexpr int64_t kLatent = 512;
constexpr int64_t kWidth = 576;
constexpr int kHalfChunks = 4;                         // of each half of the latent, one for each warpgroup
constexpr int kHalfBytes = kHalfChunks * kChunkBytes;  // of a page
constexpr int kSharedMax = 232448;

// kGroups: of 8 heads. A product reads 64 rows of queries; those beyond the groups are whatever lies behind them, and
// nobody reads what comes of them.
template <int kGroups>
struct Decode {
  static constexpr int kHalves = kGroups == 8 ? 4 : 5;
  static constexpr int kTails = kGroups == 8 ? 2 : 3;
  struct alignas(1024) Shared {
    uint8_t halves[kHalves][kHalfBytes];  // the first and second half of a page's latents, one after another
    uint8_t tails[kTails][kChunkBytes];   // a page's turned keys
    uint8_t q[(9 * kGroups + 8 - kGroups) * 1024];
    uint64_t half_full[kHalves];
    uint64_t half_empty[kHalves];
    uint64_t tail_full[kTails];
    uint64_t tail_empty[kTails];
  };
  static_assert(sizeof(Shared) <= kSharedMax);
};

struct Partials {
  float* sums;   // (pieces, heads, kLatent), divided by their weights' sum
  float* scale;  // (pieces, heads): the logarithm, to base 2, of that sum
};

// A place in a ring of `kPlaces`, and which time it is used.
template <int kPlaces>
struct Place {
  int index = 0;
  uint32_t pass = 0;

  __device__ void next() {
    if (++index < kPlaces) return;
    index = 0;
    pass ^= 1;
  }
};

__device__ inline void sync_both_warpgroups() {
  asm volatile("bar.sync 1, 256;" ::: "memory");
}

// The copying thread.
template <int kGroups>
__device__ void copy_pages(typename Decode<kGroups>::Shared& shared, const DecodeInput& input, const DecodePlan& plan) {
  Place<Decode<kGroups>::kHalves> half;
  Place<Decode<kGroups>::kTails> tail;
  for (int32_t i = plan.block_begin[blockIdx.x]; i < plan.block_begin[blockIdx.x + 1]; ++i) {
    const int4 piece = plan.pieces[i];
    const int32_t* table = input.page_table + piece.x * input.table_stride;
    for (int32_t page = piece.y; page < piece.z; ++page) {
      const uint8_t* from = input.pages.data + table[page] * input.pages.page_bytes();
      for (int k = 0; k < 2; ++k) {
        barrier_wait(&shared.half_empty[half.index], half.pass ^ 1);
        barrier_arrive_expecting(&shared.half_full[half.index], kHalfBytes);
        copy_bulk(shared.halves[half.index], from + k * kHalfBytes, kHalfBytes, &shared.half_full[half.index]);
        half.next();
      }
      barrier_wait(&shared.tail_empty[tail.index], tail.pass ^ 1);
      barrier_arrive_expecting(&shared.tail_full[tail.index], kChunkBytes);
      copy_bulk(shared.tails[tail.index], from + 2 * kHalfBytes, kChunkBytes, &shared.tail_full[tail.index]);
      tail.next();
    }
  }
}

// Puts a row's queries where products read them.
template <int kGroups>
__device__ void load_queries(const __nv_bfloat16* q, int heads, uint8_t* to) {
  constexpr int kLineGroups = kWidth * 2 / 16;  // of 16 bytes
  for (int i = static_cast<int>(threadIdx.x); i < kGroups * 8 * kLineGroups; i += 2 * kWarpgroup) {
    const int head = i / kLineGroups;
    const int group = i % kLineGroups;
    const uint4 values = head < heads ? reinterpret_cast<const uint4*>(q + head * kWidth)[group] : uint4{};
    *reinterpret_cast<uint4*>(to + group / 8 * kGroups * 1024 + swizzled(head, group % 8 * 16)) = values;
  }
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ inline uint32_t pack(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&both);
}

// What each thread keeps of its two heads: 16 * (warp of the warpgroup) + lane / 4 + {0, 8}.
struct Running {
  float largest[2] = {-INFINITY, -INFINITY};  // score, unscaled
  float total[2] = {};                        // of the weights that this thread has had
};

// Scores of a page to weights; factor: what the sums so far are to be multiplied by.
__device__ inline void weigh(float (&scores)[32], int tokens, float scale, Running& running, float (&factor)[2]) {
  const int lane_column = static_cast<int>(threadIdx.x) % 4 * 2;
  if (tokens < kPageTokens) {
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      if (i / 4 * 8 + lane_column + i % 2 >= tokens) scores[i] = -INFINITY;
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = running.largest[half];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      largest = fmaxf(largest, fmaxf(scores[4 * j + 2 * half], scores[4 * j + 2 * half + 1]));
    }
    largest = fmaxf(largest, __shfl_xor_sync(~0U, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(~0U, largest, 2));
    factor[half] = exp2f((running.largest[half] - largest) * scale);
    running.largest[half] = largest;
    float total = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      for (int i = 4 * j + 2 * half; i < 4 * j + 2 * half + 2; ++i) {
        scores[i] = exp2f(scores[i] * scale - largest * scale);
        total += scores[i];
      }
    }
    running.total[half] = running.total[half] * factor[half] + total;
  }
}

// scores += queries * keys, for kCount chunks of each.
template <int kGroups, int kCount>
__device__ inline void add_scores(float (&scores)[32], uint64_t queries, const uint8_t* keys, bool is_first) {
  const uint64_t b = line_operand(keys);
  product_begin();
#pragma unroll
  for (int chunk = 0; chunk < kCount; ++chunk) {
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      bf16_product(scores, queries + chunk * kGroups * 64 + 2 * step, b + chunk * (kChunkBytes / 16) + 2 * step,
                   !is_first || chunk + step > 0);
    }
  }
}

// One of the two warpgroups, over all of the block's pieces.
template <int kGroups>
__device__ void attend(typename Decode<kGroups>::Shared& shared, int64_t heads_all, const DecodeInput& input,
                       const DecodePlan& plan, const Partials& partials, __nv_bfloat16* out) {
  constexpr uint64_t kHalfQueries = kHalfChunks * kGroups * 64;
  const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
  const int group = static_cast<int>(threadIdx.x) / kWarpgroup;
  const int64_t first_head = int64_t{blockIdx.y} * DecodePlan::kHeadsMax;
  const int heads = static_cast<int>(min(heads_all - first_head, DecodePlan::kHeadsMax));
  const float scale = input.scale * 1.4426950409F;  // to base 2
  const uint64_t queries = line_operand(shared.q);
  Place<Decode<kGroups>::kHalves> half;
  Place<Decode<kGroups>::kTails> tail;
  for (int32_t i = plan.block_begin[blockIdx.x]; i < plan.block_begin[blockIdx.x + 1]; ++i) {
    const int4 piece = plan.pieces[i];
    const int32_t length = input.lengths[piece.x];
    sync_both_warpgroups();  // nobody reads the last queries any more
    load_queries<kGroups>(input.q + (piece.x * heads_all + first_head) * kWidth, heads, shared.q);
    sync_both_warpgroups();
    float sums[2 * 64] = {};
    Running running;
    for (int32_t page = piece.y; page < piece.z; ++page) {
      float scores[32];
      int own = 0;  // the half whose columns this warpgroup sums up
      for (int k = 0; k < 2; ++k) {
        barrier_wait(&shared.half_full[half.index], half.pass);
        add_scores<kGroups, kHalfChunks>(scores, queries + k * kHalfQueries, shared.halves[half.index], k == 0);
        if (k == group) own = half.index;
        half.next();
      }
      barrier_wait(&shared.tail_full[tail.index], tail.pass);
      add_scores<kGroups, 1>(scores, queries + 2 * kHalfQueries, shared.tails[tail.index], false);
      product_end();
      float factor[2];
      weigh(scores, static_cast<int>(length - page * kPageTokens), scale, running, factor);
#pragma unroll
      for (int j = 0; j < 128; ++j) sums[j] *= factor[j / 2 % 2];
      uint32_t weights[4][4];
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        for (int k = 0; k < 4; ++k) {
          const int at = 4 * (2 * step + k / 2) + k % 2 * 2;
          weights[step][k] = pack(scores[at], scores[at + 1]);
        }
      }
      const uint64_t values = chunk_operand(shared.halves[own]);
      product_begin();
#pragma unroll
      for (int step = 0; step < 4; ++step) bf16_product_add(sums, weights[step], values + 128 * step);
      product_end();
      asm volatile("bar.sync %0, 128;" ::"r"(2 + group) : "memory");
      if (thread == 0) {
        const int other = group == 0 ? (own + 1) % Decode<kGroups>::kHalves
                                     : (own + Decode<kGroups>::kHalves - 1) % Decode<kGroups>::kHalves;
        barrier_arrive(&shared.half_empty[own]);
        barrier_arrive(&shared.half_empty[other]);
        barrier_arrive(&shared.tail_empty[tail.index]);
      }
      tail.next();
    }
#pragma unroll
    for (int row_half = 0; row_half < 2; ++row_half) {
      float total = running.total[row_half];
      total += __shfl_xor_sync(~0U, total, 1);
      total += __shfl_xor_sync(~0U, total, 2);
      const int head = thread / 32 * 16 + thread % 32 / 4 + 8 * row_half;
      if (head >= heads) continue;
      const int64_t row = (piece.w < 0 ? piece.x : piece.w) * heads_all + first_head + head;
      const int64_t first = row * kLatent + group * (kLatent / 2) + thread % 4 * 2;
      const float factor = 1 / total;
#pragma unroll
      for (int j = 0; j < 32; ++j) {
        const float low = sums[4 * j + 2 * row_half] * factor;
        const float high = sums[4 * j + 2 * row_half + 1] * factor;
        if (piece.w < 0)
          *reinterpret_cast<uint32_t*>(out + first + 8 * j) = pack(low, high);
        else
          *reinterpret_cast<float2*>(partials.sums + first + 8 * j) = {low, high};
      }
      if (piece.w >= 0 && group == 0 && thread % 4 == 0) {
        partials.scale[row] = running.largest[row_half] * scale + log2f(total);
      }
    }
  }
}

template <int kGroups>
__global__ void __launch_bounds__(kThreads, 1)
    decode_kernel(int64_t heads, DecodeInput input, DecodePlan plan, Partials partials, __nv_bfloat16* out) {
  extern __shared__ __align__(1024) uint8_t memory[];
  auto& shared = *reinterpret_cast<typename Decode<kGroups>::Shared*>(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < Decode<kGroups>::kHalves; ++i) {
      barrier_init(&shared.half_full[i], 1);
      barrier_init(&shared.half_empty[i], 2);
    }
    for (int i = 0; i < Decode<kGroups>::kTails; ++i) {
      barrier_init(&shared.tail_full[i], 1);
      barrier_init(&shared.tail_empty[i], 2);
    }
    barrier_init_done();
  }
  __syncthreads();
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  if (threadIdx.x < 2 * kWarpgroup) {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
    attend<kGroups>(shared, heads, input, plan, partials, out);
  } else {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
    if (threadIdx.x == 2 * kWarpgroup) copy_pages<kGroups>(shared, input, plan);
  }
}

// One block for each row and head: the partial results of the row, in the order of its pages. Rows without any are
// complete, or empty.
__global__ void merge_kernel(const int32_t* lengths, DecodePlan plan, Partials partials, __nv_bfloat16* out) {
  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  const int64_t row = blockIdx.x;
  const int64_t heads = gridDim.y;
  const int64_t head = blockIdx.y;
  const int32_t begin = plan.row_begin[row];
  const int32_t end = plan.row_begin[row + 1];
  if (begin == end && lengths[row] > 0) return;
  float largest = -INFINITY;
  for (int32_t i = begin; i < end; ++i) largest = fmaxf(largest, partials.scale[i * heads + head]);
  float4 sums = {0, 0, 0, 0};
  float total = 0;
#pragma unroll 8
  for (int32_t i = begin; i < end; ++i) {
    const float weight = exp2f(partials.scale[i * heads + head] - largest);
    const float4 values = reinterpret_cast<const float4*>(partials.sums + (i * heads + head) * kLatent)[threadIdx.x];
    total += weight;
    sums.x += weight * values.x, sums.y += weight * values.y;
    sums.z += weight * values.z, sums.w += weight * values.w;
  }
  const float factor = total > 0 ? 1 / total : 0;
  const uint2 packed = {pack(sums.x * factor, sums.y * factor), pack(sums.z * factor, sums.w * factor)};
  reinterpret_cast<uint2*>(out + (row * heads + head) * kLatent)[threadIdx.x] = packed;
}

template <int kGroups>
void launch_decode(int64_t heads, const DecodeInput& input, const DecodePlan& plan, const Partials& partials,
                   __nv_bfloat16* out, cudaStream_t stream) {
  constexpr size_t kShared = sizeof(typename Decode<kGroups>::Shared);
  static const cudaError_t prepared =
      cudaFuncSetAttribute(decode_kernel<kGroups>, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
  check(prepared, "shared memory of decode_kernel");
  const dim3 grid(static_cast<unsigned>(plan.blocks), static_cast<unsigned>(ceil_div(heads, DecodePlan::kHeadsMax)));
  launch(decode_kernel<kGroups>, {.grid = grid, .block = kThreads, .shared_bytes = kShared}, stream, heads, input, plan,
         partials, out);
}

}  // namespace

void plan_decode(const int32_t* lengths, const DecodePlan& plan, cudaStream_t stream) {
  if (plan.rows > kRowsMax) throw CudaError("plan_decode: more than 8192 rows");
  static const cudaError_t prepared = cudaFuncSetAttribute(plan_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                           static_cast<int>(2 * (kRowsMax + 1) * sizeof(int32_t)));
  check(prepared, "shared memory of plan_kernel");
  const size_t shared = static_cast<size_t>(2 * (plan.rows + 1)) * sizeof(int32_t);
  launch(plan_kernel, {.grid = 1, .block = 256, .shared_bytes = shared}, stream, lengths, plan);
}

int64_t decode_workspace_bytes(const LatentShape& shape, const DecodePlan& plan) {
  return plan.pieces_max() * shape.heads * (shape.latent + 1) * int64_t{sizeof(float)};
}

void decode_attention(const LatentShape& shape, const DecodeInput& input, const DecodePlan& plan, void* workspace,
                      __nv_bfloat16* out, cudaStream_t stream) {
  if (input.rows == 0) return;
  if (shape.latent != kLatent || shape.latent + shape.rope != kWidth) {
    return simple::decode_attention(shape, input, out, stream);
  }
  Partials partials{.sums = static_cast<float*>(workspace)};
  partials.scale = partials.sums + plan.pieces_max() * shape.heads * kLatent;
  if (shape.heads <= 8)
    launch_decode<1>(shape.heads, input, plan, partials, out, stream);
  else if (shape.heads <= 16)
    launch_decode<2>(shape.heads, input, plan, partials, out, stream);
  else if (shape.heads <= 32)
    launch_decode<4>(shape.heads, input, plan, partials, out, stream);
  else
    launch_decode<8>(shape.heads, input, plan, partials, out, stream);
  const dim3 grid(static_cast<unsigned>(input.rows), static_cast<unsigned>(shape.heads));
  launch(merge_kernel, {.grid = grid, .block = kLatent / 4}, stream, input.lengths, plan, partials, out);
}

}  // namespace bellwether::engine::cuda
