// The fast products against the plain ones of simple_kernels.h, over R1's shapes at several ranks, the demo model's,
// and odd ones: fresh random codes, outputs poisoned before.
#include "engine/cuda/kernels.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "engine/cuda/on_device.h"
#include "engine/cuda/simple_kernels.h"

namespace bellwether::engine::cuda {
namespace {

TEST(CudaKernels, FewRowsEqualThePlainProduct) {
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{2112, 7168}, {1536, 1536}, {7168, 1024}, {7168, 2048},
                                                           {832, 256},   {200, 256},   {136, 384},   {8, 128}};
  for (const auto& [outputs, cols] : shapes) {
    Fp8Matrix w{.rows = outputs, .cols = cols};
    const OnDevice<uint8_t> tiles(random_codes(w.tiles_bytes()));
    const OnDevice<float> of_tiles(random_scales(w.row_tiles() * w.col_tiles()));
    w.tiles = tiles.get();
    w.scales = of_tiles.get();
    for (const int64_t rows : {1, 5, 8, 9, 16, 24, 33, 64, 65, 128, 200, 256, 300}) {
      const RandomRows x(rows, cols);
      const OnDevice<__nv_bfloat16> y(rows * outputs);
      const OnDevice<__nv_bfloat16> wanted(rows * outputs);
      simple::fp8_gemm(x.codes_of, rows, w, wanted.get(), outputs, nullptr);
      for (const bool is_fixed : {false, true}) {
        y.poison();
        fp8_gemm(x.codes_of, rows, w, y.get(), outputs, is_fixed, nullptr);
        EXPECT_LT(relative_error(y.read(), wanted.read()), 5e-3) << outputs << "x" << cols << ", rows " << rows;
      }
    }
  }
}

TEST(CudaKernels, ExpertsEqualThePlainOnes) {
  struct Case {
    int64_t experts, hidden, inner, top_k;
  };
  for (const Case& of :
       {Case{17, 256, 128, 4}, Case{33, 7168, 256, 8}, Case{9, 1024, 128, 8}, Case{1, 7168, 1152, 0}}) {
    Experts experts{.experts = of.experts, .hidden = of.hidden, .inner = of.inner};
    const int64_t tiles = of.experts * experts.inner_tiles() * ceil_div(of.hidden, kTile);
    const OnDevice<uint8_t> gate_up(random_codes(2 * tiles * kTileBytes));
    const OnDevice<uint8_t> down(random_codes(tiles * kTileBytes));
    const OnDevice<float> gate_up_scales(random_scales(2 * tiles));
    const OnDevice<float> down_scales(random_scales(tiles));
    experts.gate_up = gate_up.get();
    experts.gate_up_scales = gate_up_scales.get();
    experts.down = down.get();
    experts.down_scales = down_scales.get();
    for (const int64_t rows : {1, 7, 32, 33, 128, 300}) {
      ExpertPlan plan{.rows = rows, .choices = of.top_k + 1, .experts = of.experts};
      std::vector<ExpertChoice> choices(1);
      for (int64_t i = 0; i < rows * of.top_k; ++i) {
        choices.resize(rows * of.top_k);
        // Distinct for each row, uneven over the experts.
        const int64_t row = i / of.top_k;
        const int64_t expert = (row * row + i % of.top_k) % (of.experts - 1);
        choices[static_cast<size_t>(i)] = {static_cast<int32_t>(expert), 0.1F * static_cast<float>(i % 5 + 1)};
      }
      const OnDevice<ExpertChoice> chosen(choices);
      const OnDevice<int32_t> count(1);
      const OnDevice<ExpertTile> of_experts(plan.tiles_max());
      const OnDevice<int32_t> slot_row(plan.slots_max());
      const OnDevice<float> slot_weight(plan.slots_max());
      const OnDevice<int32_t> choice_slot(rows * plan.choices);
      plan.tile_count = count.get();
      plan.tiles = of_experts.get();
      plan.slot_row = slot_row.get();
      plan.slot_weight = slot_weight.get();
      plan.choice_slot = choice_slot.get();
      group_rows(chosen.get(), 1, plan, nullptr);
      const RandomRows x(rows, of.hidden);
      Fp8Rows inner{.rows_padded = plan.slots_max(), .cols = of.inner};
      OnDevice<uint8_t> inner_codes(inner.codes_bytes());
      OnDevice<float> inner_scales(inner.scales_count());
      inner.codes = inner_codes.get();
      inner.scales = inner_scales.get();
      const OnDevice<__nv_bfloat16> y(plan.slots_max() * of.hidden);
      const OnDevice<__nv_bfloat16> out(rows * of.hidden);
      const OnDevice<__nv_bfloat16> wanted(rows * of.hidden);
      simple::experts_gate_up(experts, plan, x.codes_of, inner, nullptr);
      simple::experts_down(experts, plan, inner, y.get(), nullptr);
      experts_combine(plan, y.get(), of.hidden, wanted.get(), nullptr);
      check(cudaDeviceSynchronize(), "plain experts");
      inner_codes.poison();
      inner_scales.poison();
      experts_gate_up(experts, plan, x.codes_of, inner, nullptr);
      experts_down(experts, plan, inner, y.get(), nullptr);
      experts_combine(plan, y.get(), of.hidden, out.get(), nullptr);
      // An inner value at the border of two codes may fall to either side.
      EXPECT_LT(relative_error(out.read(), wanted.read()), 1.5e-2) << "inner " << of.inner << ", rows " << rows;
    }
  }
}

// A cache of random pages and rows that see it through shuffled tables.
class DecodeRows {
 public:
  DecodeRows(int64_t heads, std::vector<int32_t> lengths)
      : shape_{.heads = heads, .latent = 512, .rope = 64, .nope = 128, .v = 128},
        lengths_(std::move(lengths)),
        pages_each_(ceil_div(std::ranges::max(lengths_), kPageTokens)),
        pages_{.width = 576},
        cache_(random_bf16(rows() * pages_each_ * pages_.page_bytes() / 2)),
        q_(random_bf16(rows() * heads * 576)) {
    for (int32_t i = 0; i < rows() * pages_each_; ++i) table_.push_back(i);
    std::ranges::shuffle(table_, random_bits());
    pages_.data = reinterpret_cast<uint8_t*>(cache_.get());
  }

  [[nodiscard]] int64_t rows() const { return std::ssize(lengths_); }

  using Result = std::vector<__nv_bfloat16>;
  [[nodiscard]] Result plain() const {
    return run(0, rows(), [&](const DecodeInput& input, __nv_bfloat16* out) {
      simple::decode_attention(shape_, input, out, nullptr);
    });
  }
  // Of the rows [begin, end).
  [[nodiscard]] Result fast(int64_t begin, int64_t end, bool is_fixed) const {
    return run(begin, end, [&](const DecodeInput& input, __nv_bfloat16* out) {
      DecodePlan plan{.rows = input.rows, .pages_max = pages_each_, .is_fixed = is_fixed};
      plan.blocks = DecodePlan::blocks_for(shape_.heads);
      const OnDevice<int32_t> block_begin(plan.blocks + 1);
      const OnDevice<int4> pieces(plan.pieces_max());
      const OnDevice<int32_t> row_begin(plan.rows + 1);
      plan.block_begin = block_begin.get();
      plan.pieces = pieces.get();
      plan.row_begin = row_begin.get();
      const OnDevice<uint8_t> workspace(decode_workspace_bytes(shape_, plan));
      plan_decode(input.lengths, plan, nullptr);
      decode_attention(shape_, input, plan, workspace.get(), out, nullptr);
      check(cudaDeviceSynchronize(), "decode_attention");
    });
  }

 private:
  template <class Run>
  Result run(int64_t begin, int64_t end, const Run& compute) const {
    const OnDevice<int32_t> table(std::vector(table_.begin() + begin * pages_each_, table_.end()));
    const OnDevice<int32_t> lengths(std::vector(lengths_.begin() + begin, lengths_.begin() + end));
    const OnDevice<__nv_bfloat16> out((end - begin) * shape_.heads * shape_.latent);
    const DecodeInput input{.q = q_.get() + begin * shape_.heads * 576,
                            .pages = pages_,
                            .page_table = table.get(),
                            .table_stride = pages_each_,
                            .lengths = lengths.get(),
                            .rows = end - begin,
                            .scale = 0.06F};
    compute(input, out.get());
    return out.read();
  }

  LatentShape shape_;
  std::vector<int32_t> lengths_;
  int64_t pages_each_;
  KvPages pages_;
  OnDevice<__nv_bfloat16> cache_;
  OnDevice<__nv_bfloat16> q_;
  std::vector<int32_t> table_;
};

TEST(CudaKernels, DecodeAttentionEqualsThePlainOne) {
  const std::vector<int32_t> uneven = {0, 1, 63, 64, 65, 300, 0, 1000, 128, 17, 0};
  for (const int64_t heads : {1, 13, 16, 32, 40, 100}) {
    for (const std::vector<int32_t>& lengths : {uneven, {1500}, std::vector<int32_t>(150, 70)}) {
      const DecodeRows rows(heads, lengths);
      const auto expected = rows.plain();
      for (const bool is_fixed : {false, true}) {
        const auto actual = rows.fast(0, rows.rows(), is_fixed);
        EXPECT_LT(relative_error(actual, expected), 6e-3) << heads << " heads, " << lengths.size() << " rows";
        const auto row = static_cast<int64_t>(heads * 512);
        EXPECT_EQ(std::ranges::any_of(std::span(actual).first(row), [](auto x) { return __bfloat162float(x) != 0; }),
                  lengths[0] > 0);
      }
    }
  }
}

TEST(CudaKernels, FixedPiecesMakeARowIndependentOfItsBatch) {
  const DecodeRows rows(16, {900, 2500, 64, 1, 4000, 1500});
  const auto together = rows.fast(0, rows.rows(), true);
  for (int64_t row = 0; row < rows.rows(); ++row) {
    const auto alone = rows.fast(row, row + 1, true);
    EXPECT_EQ(std::memcmp(alone.data(), together.data() + row * std::ssize(alone), alone.size() * 2), 0) << row;
  }
}

// A row in batches of every size that has a kernel of its own.
TEST(CudaKernels, FixedProductsMakeARowIndependentOfItsBatch) {
  Fp8Matrix w{.rows = 2112, .cols = 7168};
  const OnDevice<uint8_t> tiles(random_codes(w.tiles_bytes()));
  const OnDevice<float> of_tiles(random_scales(w.row_tiles() * w.col_tiles()));
  w.tiles = tiles.get();
  w.scales = of_tiles.get();
  const OnDevice<__nv_bfloat16> x(random_bf16(300 * w.cols));
  std::vector<__nv_bfloat16> first;
  for (const int64_t rows : {1, 12, 30, 64, 128, 200, 300}) {
    const RandomRows codes(rows, w.cols);
    quantise_rows(x.get(), rows, w.cols, codes.codes_of, nullptr);
    const OnDevice<__nv_bfloat16> y(rows * w.rows);
    fp8_gemm(codes.codes_of, rows, w, y.get(), w.rows, true, nullptr);
    std::vector<__nv_bfloat16> row = y.read();
    row.resize(static_cast<size_t>(w.rows));
    if (rows == 1) first = row;
    EXPECT_EQ(std::memcmp(row.data(), first.data(), row.size() * sizeof(__nv_bfloat16)), 0) << rows << " rows";
  }
}

TEST(CudaKernels, LatentProductsEqualThePlainOnes) {
  for (const LatentShape& shape : {LatentShape{.heads = 8, .latent = 512, .rope = 64, .nope = 128, .v = 128},
                                   LatentShape{.heads = 3, .latent = 36, .rope = 8, .nope = 12, .v = 20},
                                   LatentShape{.heads = 4, .latent = 192, .rope = 48, .nope = 40, .v = 56}}) {
    const OnDevice<__nv_bfloat16> kv_b(random_bf16(shape.heads * (shape.nope + shape.v) * shape.latent));
    const OnDevice<__nv_bfloat16> keys(shape.heads * shape.latent * shape.nope);
    transpose_keys(shape, kv_b.get(), keys.get(), nullptr);
    for (const int64_t rows : {1, 7, 16, 17, 100}) {
      const OnDevice<__nv_bfloat16> q(random_bf16(rows * shape.heads * (shape.nope + shape.rope)));
      const OnDevice<__nv_bfloat16> latents(random_bf16(rows * shape.heads * shape.latent));
      const int64_t width = shape.latent + shape.rope;
      const OnDevice<__nv_bfloat16> absorbed(rows * shape.heads * width);
      const OnDevice<__nv_bfloat16> absorbed_plainly(rows * shape.heads * width);
      const OnDevice<__nv_bfloat16> expanded(rows * shape.heads * shape.v);
      const OnDevice<__nv_bfloat16> expanded_plainly(rows * shape.heads * shape.v);
      absorb_queries(shape, q.get(), rows, keys.get(), absorbed.get(), nullptr);
      simple::absorb_queries(shape, q.get(), rows, kv_b.get(), absorbed_plainly.get(), nullptr);
      EXPECT_LT(relative_error(absorbed.read(), absorbed_plainly.read()), 3e-3) << shape.latent << ", rows " << rows;
      expand_outputs(shape, latents.get(), rows, kv_b.get(), expanded.get(), nullptr);
      simple::expand_outputs(shape, latents.get(), rows, kv_b.get(), expanded_plainly.get(), nullptr);
      EXPECT_LT(relative_error(expanded.read(), expanded_plainly.read()), 3e-3) << shape.latent << ", rows " << rows;
    }
  }
}

}  // namespace
}  // namespace bellwether::engine::cuda
