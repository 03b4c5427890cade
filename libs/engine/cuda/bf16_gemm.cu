// step_kernels.h: products with bf16 weights, of few rows mostly: the router's, the vocabulary's, the draft layer's.
//
// One block has kCols outputs and kRows rows and goes through its part of the columns in steps of kStep, which arrive
// in shared memory kStages - 1 steps ahead. Each of its four warps has 16 outputs and all rows.
#include "engine/cuda/device.cuh"
#include "engine/cuda/launch.h"
#include "engine/cuda/step_kernels.h"

namespace bellwether::engine::cuda {
namespace {

constexpr int kCols = 64;
constexpr int kStep = 64;
constexpr int kStages = 4;
constexpr int kThreads = 128;
constexpr int kGroupValues = 8;  // 16 bytes

__device__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Where the 16 bytes `group` of line `line` are, of lines of kStep values.
__device__ int place(int line, int group) {
  return line * kStep + ((group ^ (line % 8)) * kGroupValues);
}

// lines [first, first + kLines) of a matrix (lines_all, k), columns [column, column + kStep), those beyond k_end as 0.
// Lines beyond the matrix repeat its last: nobody reads what comes of them.
template <int kLines, bool kAligned>
__device__ void load_lines(const __nv_bfloat16* from, int64_t stride, int64_t first, int64_t lines_all, int64_t column,
                           int64_t k_end, __nv_bfloat16* to) {
  constexpr int kGroups = kStep / kGroupValues;
  for (int i = static_cast<int>(threadIdx.x); i < kLines * kGroups; i += kThreads) {
    const int line = i / kGroups;
    const int group = i % kGroups;
    const int64_t source = first + line < lines_all ? first + line : lines_all - 1;
    const int64_t begin = column + group * kGroupValues;
    const __nv_bfloat16* values = from + source * stride + begin;
    __nv_bfloat16* target = to + place(line, group);
    if constexpr (kAligned) {
      const int bytes = begin < k_end ? 16 : 0;
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(target)),
                   "l"(bytes > 0 ? values : from), "r"(bytes));
    } else {
      for (int j = 0; j < kGroupValues; ++j) target[j] = begin + j < k_end ? values[j] : __nv_bfloat16(0);
    }
  }
}

__device__ void load_matrix(const __nv_bfloat16* at, uint32_t (&fragment)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(at)));
}

__device__ void multiply(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <int kRows, bool kAligned>
__global__ void __launch_bounds__(kThreads) gemm_kernel(Bf16Product product) {
  extern __shared__ __align__(128) __nv_bfloat16 shared[];
  constexpr int kStageValues = (kRows + kCols) * kStep;
  constexpr int kRowTiles = kRows / 16;
  const int64_t split = blockIdx.z % product.splits;
  const int64_t index = blockIdx.z / product.splits;
  product.x += index * product.x_step;
  product.w += index * product.w_step;
  const int64_t first_col = int64_t{blockIdx.x} * kCols;
  const int64_t first_row = int64_t{blockIdx.y} * kRows;
  const int64_t steps_all = ceil_div(product.k, kStep);
  const int64_t steps_each = ceil_div(steps_all, product.splits);
  const int64_t step_begin = split * steps_each;
  const int64_t step_end = min(steps_all, step_begin + steps_each);
  const auto load_step = [&](int64_t step) {
    if (step < step_end) {
      __nv_bfloat16* stage = shared + (step - step_begin) % kStages * kStageValues;
      const int64_t column = step * kStep;
      load_lines<kCols, kAligned>(product.w, product.k, first_col, product.n, column, product.k, stage + kRows * kStep);
      load_lines<kRows, kAligned>(product.x, product.x_stride, first_row, product.rows, column, product.k, stage);
    }
    asm volatile("cp.async.commit_group;");
  };

  cudaTriggerProgrammaticLaunchCompletion();
  cudaGridDependencySynchronize();
  for (int64_t i = 0; i < kStages - 1; ++i) load_step(step_begin + i);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  float sums[kRowTiles][2][4] = {};
  for (int64_t step = step_begin; step < step_end; ++step) {
    asm volatile("cp.async.wait_group %0;" ::"n"(kStages - 2));
    __syncthreads();  // the step has arrived for all, and the stage that is loaded next is no longer read
    load_step(step + kStages - 1);
    const __nv_bfloat16* x = shared + (step - step_begin) % kStages * kStageValues;
    const __nv_bfloat16* w = x + kRows * kStep;
#pragma unroll
    for (int k = 0; k < kStep / 16; ++k) {
      uint32_t b[4];  // lanes 0-7, 8-15: outputs 0-7; 16-31: outputs 8-15
      load_matrix(w + place(warp * 16 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2), b);
#pragma unroll
      for (int tile = 0; tile < kRowTiles; ++tile) {
        uint32_t a[4];
        load_matrix(x + place(tile * 16 + lane % 16, 2 * k + lane / 16), a);
        multiply(sums[tile][0], a, b[0], b[1]);
        multiply(sums[tile][1], a, b[2], b[3]);
      }
    }
  }
  asm volatile("cp.async.wait_all;");
#pragma unroll
  for (int tile = 0; tile < kRowTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int64_t row = first_row + tile * 16 + i / 2 % 2 * 8 + lane / 4;
      const int64_t col = first_col + warp * 16 + i / 4 * 8 + lane % 4 * 2 + i % 2;
      if (row >= product.rows || col >= product.n) continue;
      const int64_t at = index * product.y_step + (split * product.rows + row) * product.y_stride + col;
      const float sum = sums[tile][i / 4][i % 4];
      if (product.y_float != nullptr) {
        product.y_float[at] = sum;
      } else {
        product.y_bf16[at] = __float2bfloat16(sum);
      }
    }
  }
}

template <int kRows, bool kAligned>
void run(const Bf16Product& product, cudaStream_t stream) {
  constexpr size_t kSharedBytes = size_t{kStages} * (kRows + kCols) * kStep * sizeof(__nv_bfloat16);
  static const cudaError_t raised = cudaFuncSetAttribute(
      gemm_kernel<kRows, kAligned>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kSharedBytes));
  check(raised, "cudaFuncSetAttribute");
  const dim3 grid(static_cast<unsigned>(ceil_div(product.n, kCols)),
                  static_cast<unsigned>(ceil_div(product.rows, kRows)),
                  static_cast<unsigned>(product.splits * product.products));
  launch(gemm_kernel<kRows, kAligned>, LaunchShape{grid, kThreads, kSharedBytes}, stream, product);
}

}  // namespace

// A row's sums are the same whichever kernel computes them: all take the columns in the same order.
void bf16_gemm(const Bf16Product& product, cudaStream_t stream) {
  if (product.rows == 0 || product.n == 0) return;
  if (product.y_float == nullptr && product.splits != 1) throw CudaError("bf16_gemm: a bf16 result cannot be split");
  const auto address = reinterpret_cast<uintptr_t>(product.x) | reinterpret_cast<uintptr_t>(product.w);
  const int64_t steps = product.k | product.x_stride | product.x_step | product.w_step;
  const bool is_aligned = steps % kGroupValues == 0 && address % 16 == 0;
  if (!is_aligned) return run<64, false>(product, stream);
  if (product.rows <= 16) return run<16, true>(product, stream);
  run<64, true>(product, stream);
}

}  // namespace bellwether::engine::cuda
