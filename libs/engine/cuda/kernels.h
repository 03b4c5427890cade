// The kernels that take most of a step's time. Each call only launches: no allocation, no synchronisation, so that it
// can be captured into a graph; sizes that a graph must not fix are read on the device. Failures to launch throw
// CudaError. Pointers are to device memory; calls keep no state.
//
// Sums are taken in an order that depends on the matrices' sizes, never on the other rows of the batch, except where
// a function says otherwise.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "engine/cuda/layouts.h"

namespace bellwether::engine::cuda {

// ---- Layouts

// Codes (rows, cols) of a row-major matrix, `stride` bytes apart, as tiles at `tiles`, which is tile row after tile row
// and `tile_row_stride` tile rows apart (2 for gate and up, which alternate; 1 otherwise). Fills up with codes of 0.
void tile_codes(const uint8_t* codes, int64_t rows, int64_t cols, int64_t stride, uint8_t* tiles,
                int64_t tile_row_stride, cudaStream_t stream);

// w (rows, cols, row-major bf16) = the matrix unpacked.
void unpack_matrix(const Fp8Matrix& matrix, __nv_bfloat16* w, cudaStream_t stream);

// x (rows, x.cols), rows x_stride values apart, to FP8.
void quantise_rows(const __nv_bfloat16* x, int64_t rows, int64_t x_stride, const Fp8Rows& codes, cudaStream_t stream);

// ---- Products with FP8 weights

// y (rows, w.rows) = x (rows, w.cols) * w transposed: for each 128 columns a float32 product of codes times both
// scales, summed up in float32. Rows of y are y_stride values apart; y_stride and w.rows are multiples of 8. is_fixed:
// a row's sums do not depend on the number of rows, which costs time with more than 128 of them.
void fp8_gemm(const Fp8Rows& x, int64_t rows, const Fp8Matrix& w, __nv_bfloat16* y, int64_t y_stride, bool is_fixed,
              cudaStream_t stream);

// ---- Experts: y = sum over a row's experts of weight * down(silu(gate(x)) * up(x))

// Fills `plan` from the router's choices (plan.rows, plan.choices - every_row), and gives every row the last
// `every_row` experts as well, with weight 1: the shared ones. A dense MLP is one expert that every row takes
// (choices == nullptr).
void group_rows(const ExpertChoice* choices, int64_t every_row, const ExpertPlan& plan, cudaStream_t stream);

// inner (slots_max, experts.inner) = silu(gate(x)) * up(x) of every slot, in FP8. x: the batch's rows.
void experts_gate_up(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& x, const Fp8Rows& inner,
                     cudaStream_t stream);

// y (slots_max, experts.hidden) = the slot's weight * down(inner).
void experts_down(const Experts& experts, const ExpertPlan& plan, const Fp8Rows& inner, __nv_bfloat16* y,
                  cudaStream_t stream);

// out (plan.rows, hidden) = the sum of each row's slots in float32, in the order of its choices.
void experts_combine(const ExpertPlan& plan, const __nv_bfloat16* y, int64_t hidden, __nv_bfloat16* out,
                     cudaStream_t stream);

// ---- Attention. H heads of this rank; latent L (512), rope R (64), nope (128), v (128).

struct LatentShape {
  int64_t heads = 0;
  int64_t latent = 0;
  int64_t rope = 0;
  int64_t nope = 0;
  int64_t v = 0;
};
// kv_b: (H * (nope + v), L), bf16: for each head nope rows of keys (W_UK), then v of values (W_UV).
// keys (H, L, nope) = its keys, transposed.
void transpose_keys(const LatentShape& shape, const __nv_bfloat16* kv_b, __nv_bfloat16* keys, cudaStream_t stream);

// out (rows, H, L + R) = each head's query in the latent space, then its turned part: q[..nope] * W_UK, q[nope..].
// q: (rows, H, nope + R), turned. keys: as transpose_keys() makes them.
void absorb_queries(const LatentShape& shape, const __nv_bfloat16* q, int64_t rows, const __nv_bfloat16* keys,
                    __nv_bfloat16* out, cudaStream_t stream);

// out (rows, H, v) = W_UV * latents (rows, H, L).
void expand_outputs(const LatentShape& shape, const __nv_bfloat16* latents, int64_t rows, const __nv_bfloat16* kv_b,
                    __nv_bfloat16* out, cudaStream_t stream);

// How decode attention divides its work, made on the GPU from the rows' lengths, once for all layers of a step: pieces
// of consecutive pages of one row, each computed by one thread block, which takes several pieces one after another.
struct DecodePlan {
  int32_t* block_begin = nullptr;  // (blocks + 1): where each thread block's pieces begin
  int4* pieces = nullptr;        // (pieces_max): row, first page, end page, partial result or -1 if it is the whole row
  int32_t* row_begin = nullptr;  // (rows + 1): where each row's partial results begin
  int64_t rows = 0;
  int64_t pages_max = 0;        // of one row
  int64_t blocks = kBlocksMax;  // blocks_for(heads)
  // Pieces whose size depends on the row's length alone, so that its sums do not depend on the batch; otherwise all
  // thread blocks get about the same number of pages.
  bool is_fixed = false;

  static constexpr int64_t kBlocksMax = 132;   // thread blocks
  static constexpr int64_t kFixedPieces = 64;  // of a row, at most
  static constexpr int64_t kHeadsMax = 64;     // of a thread block; more heads: several blocks read the same pages
  static int64_t blocks_for(int64_t heads) { return std::max<int64_t>(1, kBlocksMax / ceil_div(heads, kHeadsMax)); }
  // Pages of a fixed piece of a row that has so many.
  BELLWETHER_HOST_DEVICE static int64_t fixed_pages(int64_t pages) {
    return pages <= 4 * kFixedPieces ? 4 : ceil_div(pages, kFixedPieces);
  }
  BELLWETHER_HOST_DEVICE int64_t pieces_max() const {
    const int64_t fixed = ceil_div(pages_max, int64_t{4});
    return is_fixed ? rows * (fixed < kFixedPieces ? fixed : kFixedPieces) : rows + blocks;
  }
};

// lengths: (rows), as DecodeInput has them. REQUIRES: at most 8192 rows.
void plan_decode(const int32_t* lengths, const DecodePlan& plan, cudaStream_t stream);

struct DecodeInput {
  const __nv_bfloat16* q = nullptr;     // (rows, H, L + R), absorbed
  KvPages pages;                        // of this layer; width L + R; the pages in use are finite in every token
  const int32_t* page_table = nullptr;  // (rows, table_stride)
  int64_t table_stride = 0;
  const int32_t* lengths = nullptr;  // (rows) tokens that the row sees, its own included; 0 = no such row, out = 0
  int64_t rows = 0;
  float scale = 1;
};

// out (rows, H, L) = softmax(scale * q * cache) * the cache's first L columns. plan: of the same lengths. workspace:
// decode_workspace_bytes().
void decode_attention(const LatentShape& shape, const DecodeInput& input, const DecodePlan& plan, void* workspace,
                      __nv_bfloat16* out, cudaStream_t stream);
[[nodiscard]] int64_t decode_workspace_bytes(const LatentShape& shape, const DecodePlan& plan);

// Attention of consecutive rows of one sequence over keys and values made from the latents, in one or more calls, each
// over the positions [kv_begin, kv_begin + kv_count), from the first to the last.
struct PrefillInput {
  const __nv_bfloat16* q = nullptr;  // (rows, H, nope + R), turned
  int64_t rows = 0;
  int64_t position = 0;                   // of the first row; row i sees positions up to position + i
  const __nv_bfloat16* kv = nullptr;      // (kv_count, H, nope + v): keys without their turned part, then values
  const __nv_bfloat16* k_rope = nullptr;  // (kv_count, R): the turned part, for all heads
  int64_t kv_begin = 0;
  int64_t kv_count = 0;
  bool is_first = true;
  bool is_last = true;
  float scale = 1;
};
// out: (rows, H, v), written by the last call. state: prefill_state_bytes(), unused if one call has all.
void prefill_attention(const LatentShape& shape, const PrefillInput& input, void* state, __nv_bfloat16* out,
                       cudaStream_t stream);
[[nodiscard]] int64_t prefill_state_bytes(const LatentShape& shape, int64_t rows);

// latents (count, L) and k_rope (count, R) of the positions [begin, begin + count) of one sequence, from its pages.
void gather_latents(const KvPages& pages, const int32_t* page_table, int64_t begin, int64_t count, int64_t latent,
                    __nv_bfloat16* latents, __nv_bfloat16* k_rope, cudaStream_t stream);

}  // namespace bellwether::engine::cuda
