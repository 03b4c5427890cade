// The GPU's kernels beside the GPU's limits and cuBLASLt; see --help.
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cuda/kernels.h"
#include "engine/cuda/launch.h"
#include "engine/cuda/on_device.h"
#include "engine/cuda/simple_kernels.h"

namespace {

using namespace bellwether::engine::cuda;
using bf16 = __nv_bfloat16;

constexpr const char* kHelp =
    R"(bench_cuda_kernels [gemm] [experts] [decode]
Times the GPU's kernels (all of them unless some are named) and prints for each shape
  error   norm of the difference from the plainest form of the kernel, over its norm
  us      median of 20 replays of a CUDA graph of many calls, for one call; weights rotate through more than the L2 cache
  GB/s    weights or cache once, inputs and outputs, over the time; and what part of this GPU's copy bandwidth that is
  TFLOP/s two for each weight and row
  lt us   cuBLASLt's product with the same scales (1x128 of rows, 128x128 of weights), where it takes the shape
)";

// A stream on which graphs of kernels are timed.
class Clock {
 public:
  Clock() {
    check(cudaStreamCreate(&stream_), "cudaStreamCreate");
    check(cudaEventCreate(&begin_), "cudaEventCreate");
    check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~Clock() {
    (void)cudaEventDestroy(begin_);
    (void)cudaEventDestroy(end_);
    (void)cudaStreamDestroy(stream_);
  }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

  [[nodiscard]] cudaStream_t stream() const { return stream_; }

  // Microseconds of one of `calls` calls run(0), run(1), ...
  template <class Run>
  double time(int calls, const Run& run) {
    constexpr int kReplays = 20;
    run(0);  // what is set up at the first call is not captured
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    for (int i = 0; i < calls; ++i) run(i);
    check(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    std::vector<float> times;
    for (int i = 0; i < kReplays + 2; ++i) {
      check(cudaEventRecord(begin_, stream_), "cudaEventRecord");
      check(cudaGraphLaunch(executable, stream_), "cudaGraphLaunch");
      check(cudaEventRecord(end_, stream_), "cudaEventRecord");
      check(cudaEventSynchronize(end_), "graph");
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
      if (i >= 2) times.push_back(milliseconds);
    }
    (void)cudaGraphExecDestroy(executable);
    (void)cudaGraphDestroy(graph);
    std::ranges::nth_element(times, times.begin() + kReplays / 2);
    return times[kReplays / 2] * 1e3 / calls;
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

// `count` random codes: a random piece again and again.
void fill_codes(OnDevice<uint8_t>& codes, int64_t count) {
  constexpr int64_t kPiece = int64_t{1} << 25;
  codes.write(random_codes(std::min(count, kPiece)), 0);
  for (int64_t begin = kPiece; begin < count; begin += kPiece) {
    check(cudaMemcpy(codes.get() + begin, codes.get(), static_cast<size_t>(std::min(kPiece, count - begin)),
                     cudaMemcpyDeviceToDevice),
          "cudaMemcpy");
  }
}

double copy_bytes_per_us(Clock& clock) {
  constexpr size_t kBytes = size_t{1} << 30;
  const OnDevice<uint8_t> from(kBytes);
  const OnDevice<uint8_t> to(kBytes);
  const double us = clock.time(4, [&](int) {
    check(cudaMemcpyAsync(to.get(), from.get(), kBytes, cudaMemcpyDeviceToDevice, clock.stream()), "cudaMemcpyAsync");
  });
  return 2 * static_cast<double>(kBytes) / us;
}

void check_lt(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw CudaError(fmt::format("{}: cuBLAS status {}", what, static_cast<int>(status)));
}

// cuBLASLt's product y (rows, outputs) = x (rows, cols) * w (outputs, cols) transposed of FP8 codes: with a scale for
// each 128 columns of a row and each 128 x 128 weights, or with one scale for each matrix.
class LtProduct {
 public:
  LtProduct(int64_t rows, int64_t outputs, int64_t cols, bool has_block_scales)
      : workspace_(kWorkspaceBytes), scales_(std::max(outputs, rows) * std::max<int64_t>(4, cols / kTile)) {
    scales_.write(random_scales(std::max(outputs, rows) * std::max<int64_t>(4, cols / kTile)), 0);
    check_lt(cublasLtCreate(&handle_), "cublasLtCreate");
    check_lt(cublasLtMatmulDescCreate(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
    if (has_block_scales) {
      set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F);
    } else {
      set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{1});
    }
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, scales_.get());
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, scales_.get());
    const auto layout = [](cudaDataType type, int64_t lines, int64_t count) {
      cublasLtMatrixLayout_t made = nullptr;
      check_lt(
          cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(lines), static_cast<uint64_t>(count), lines),
          "cublasLtMatrixLayoutCreate");
      return made;
    };
    w_ = layout(CUDA_R_8F_E4M3, cols, outputs);
    x_ = layout(CUDA_R_8F_E4M3, cols, rows);
    y_ = layout(CUDA_R_16BF, outputs, rows);
    cublasLtMatmulPreference_t preference = nullptr;
    check_lt(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
    const auto bytes = static_cast<size_t>(kWorkspaceBytes);
    check_lt(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes,
                                                  sizeof(bytes)),
             "cublasLtMatmulPreferenceSetAttribute");
    int found = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(handle_, product_, w_, x_, y_, y_, preference, 1, &algorithm_, &found);
    can_run_ = status == CUBLAS_STATUS_SUCCESS && found > 0;
    (void)cublasLtMatmulPreferenceDestroy(preference);
  }
  ~LtProduct() {
    for (const auto layout : {w_, x_, y_}) (void)cublasLtMatrixLayoutDestroy(layout);
    (void)cublasLtMatmulDescDestroy(product_);
    (void)cublasLtDestroy(handle_);
  }
  LtProduct(const LtProduct&) = delete;
  LtProduct& operator=(const LtProduct&) = delete;

  [[nodiscard]] bool can_run() const { return can_run_; }
  void run(const uint8_t* w, const uint8_t* x, bf16* y, cudaStream_t stream) {
    const float one = 1;
    const float zero = 0;
    check_lt(cublasLtMatmul(handle_, product_, &one, w, w_, x, x_, &zero, y, y_, y, y_, &algorithm_.algo,
                            workspace_.get(), static_cast<size_t>(kWorkspaceBytes), stream),
             "cublasLtMatmul");
  }

 private:
  static constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check_lt(cublasLtMatmulDescSetAttribute(product_, attribute, &value, sizeof(value)),
             "cublasLtMatmulDescSetAttribute");
  }

  OnDevice<uint8_t> workspace_;
  OnDevice<float> scales_;
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t w_ = nullptr;
  cublasLtMatrixLayout_t x_ = nullptr;
  cublasLtMatrixLayout_t y_ = nullptr;
  cublasLtMatmulHeuristicResult_t algorithm_{};
  bool can_run_ = false;
};

double fp8_flop_per_us(Clock& clock) {
  constexpr int64_t kSize = 8192;
  OnDevice<uint8_t> w(kSize * kSize);
  OnDevice<uint8_t> x(kSize * kSize);
  fill_codes(w, kSize * kSize);
  fill_codes(x, kSize * kSize);
  const OnDevice<bf16> y(kSize * kSize);
  LtProduct product(kSize, kSize, kSize, false);
  if (!product.can_run()) return 0;
  return 2.0 * kSize * kSize * kSize /
         clock.time(4, [&](int) { product.run(w.get(), x.get(), y.get(), clock.stream()); });
}

struct Limits {
  double copy = 0;      // bytes a microsecond, read and written
  double fp8_flop = 0;  // a microsecond, one scale for each matrix
};

void bench_gemm(Clock& clock, const Limits& limits) {
  fmt::print("\nFP8 products\n{:>6} {:>6} {:>5}  {:>8} {:>8} {:>6} {:>5} {:>8} {:>8}\n", "n", "k", "rows", "error",
             "us", "GB/s", "copy", "TFLOP/s", "lt us");
  constexpr int kCalls = 48;
  const std::vector<std::pair<int64_t, int64_t>> shapes = {
      {2112, 7168}, {24576, 1536}, {32768, 512}, {7168, 16384}, {4096, 7168}, {7168, 2048},  // R1
      {1536, 1536}, {7168, 1024},  {2304, 7168}, {7168, 1152}};                              // R1 over 16 ranks
  for (const auto& [outputs, cols] : shapes) {
    Fp8Matrix w{.rows = outputs, .cols = cols};
    const int64_t copies = std::clamp<int64_t>(200'000'000 / w.tiles_bytes(), 2, 24);
    OnDevice<uint8_t> tiles(copies * w.tiles_bytes());
    fill_codes(tiles, copies * w.tiles_bytes());
    const OnDevice<float> scales(random_scales(w.row_tiles() * w.col_tiles()));
    w.tiles = tiles.get();
    w.scales = scales.get();
    for (const int64_t rows : {1, 8, 16, 32, 64, 128, 256, 4096}) {
      const RandomRows x(rows, cols);
      const OnDevice<bf16> y(rows * outputs);
      const int64_t checked = std::min<int64_t>(rows, 256);
      const OnDevice<bf16> expected(checked * outputs);
      fp8_gemm(x.codes_of, rows, w, y.get(), outputs, false, clock.stream());
      simple::fp8_gemm(x.codes_of, checked, w, expected.get(), outputs, clock.stream());
      std::vector<bf16> actual = y.read();
      actual.resize(static_cast<size_t>(checked * outputs));
      const double error = relative_error(actual, expected.read());
      const double us = clock.time(rows > 128 ? 4 : kCalls, [&](int i) {
        Fp8Matrix other = w;
        other.tiles += i % copies * w.tiles_bytes();
        fp8_gemm(x.codes_of, rows, other, y.get(), outputs, false, clock.stream());
      });
      std::string lt = "-";
      if (rows % 4 == 0) {
        LtProduct product(rows, outputs, cols, true);
        if (product.can_run()) {
          lt = fmt::format("{:.2f}", clock.time(rows > 128 ? 4 : kCalls, [&](int i) {
            product.run(w.tiles + i % copies * w.tiles_bytes(), x.code.get(), y.get(), clock.stream());
          }));
        }
      }
      const auto bytes = static_cast<double>(outputs * cols + rows * cols + 2 * rows * outputs);
      const double flop = 2.0 * static_cast<double>(rows * outputs * cols);
      fmt::print("{:6} {:6} {:5}  {:8.1e} {:8.2f} {:6.0f} {:4.0f}% {:8.0f} {:>8}\n", outputs, cols, rows, error, us,
                 bytes / us * 1e-3, 100 * bytes / us / limits.copy, flop / us * 1e-6, lt);
    }
  }
}

// Random experts for each row, all different.
std::vector<ExpertChoice> random_choices(int64_t rows, int64_t experts, int64_t each) {
  std::vector<int32_t> ids(static_cast<size_t>(experts));
  std::iota(ids.begin(), ids.end(), 0);
  std::vector<ExpertChoice> choices;
  for (int64_t row = 0; row < rows; ++row) {
    std::ranges::shuffle(ids, random_bits());
    for (int64_t i = 0; i < each; ++i) {
      choices.push_back({ids[static_cast<size_t>(i)], 0.1F * static_cast<float>(i + 1)});
    }
  }
  return choices;
}

struct ExpertShape {
  int64_t experts;  // the shared one, which every row takes, included
  int64_t hidden;
  int64_t inner;
  int64_t top_k;
};

void bench_experts_of(Clock& clock, const Limits& limits, const ExpertShape& of) {
  Experts experts{.experts = of.experts, .hidden = of.hidden, .inner = of.inner};
  const int64_t tiles = of.experts * experts.inner_tiles() * ceil_div(of.hidden, kTile);
  OnDevice<uint8_t> gate_up(2 * tiles * kTileBytes);
  OnDevice<uint8_t> down(tiles * kTileBytes);
  fill_codes(gate_up, 2 * tiles * kTileBytes);
  fill_codes(down, tiles * kTileBytes);
  const OnDevice<float> gate_up_scales(random_scales(2 * tiles));
  const OnDevice<float> down_scales(random_scales(tiles));
  experts.gate_up = gate_up.get();
  experts.gate_up_scales = gate_up_scales.get();
  experts.down = down.get();
  experts.down_scales = down_scales.get();
  for (const int64_t rows : {1, 16, 64, 128, 1024}) {
    ExpertPlan plan{.rows = rows, .choices = of.top_k + 1, .experts = of.experts};
    std::vector<ExpertChoice> chosen = random_choices(rows, of.experts - 1, of.top_k);
    std::vector<bool> is_busy(static_cast<size_t>(of.experts));
    is_busy.back() = true;
    for (const ExpertChoice& choice : chosen) is_busy[static_cast<size_t>(choice.expert)] = true;
    const auto busy = static_cast<double>(std::ranges::count(is_busy, true));
    chosen.resize(std::max<size_t>(1, chosen.size()));
    const OnDevice<ExpertChoice> choices(chosen);
    const OnDevice<int32_t> tile_count(1);
    const OnDevice<ExpertTile> of_experts(plan.tiles_max());
    const OnDevice<int32_t> slot_row(plan.slots_max());
    const OnDevice<float> slot_weight(plan.slots_max());
    const OnDevice<int32_t> choice_slot(rows * plan.choices);
    plan.tile_count = tile_count.get();
    plan.tiles = of_experts.get();
    plan.slot_row = slot_row.get();
    plan.slot_weight = slot_weight.get();
    plan.choice_slot = choice_slot.get();
    group_rows(choices.get(), 1, plan, clock.stream());
    const RandomRows x(rows, of.hidden);
    Fp8Rows inner{.rows_padded = plan.slots_max(), .cols = of.inner};
    const OnDevice<uint8_t> inner_codes(inner.codes_bytes());
    const OnDevice<float> inner_scales(inner.scales_count());
    inner.codes = inner_codes.get();
    inner.scales = inner_scales.get();
    const OnDevice<bf16> y(plan.slots_max() * of.hidden);
    const OnDevice<bf16> out(rows * of.hidden);
    simple::experts_gate_up(experts, plan, x.codes_of, inner, clock.stream());
    simple::experts_down(experts, plan, inner, y.get(), clock.stream());
    experts_combine(plan, y.get(), of.hidden, out.get(), clock.stream());
    const auto expected = out.read();
    const auto up = [&](int) { experts_gate_up(experts, plan, x.codes_of, inner, clock.stream()); };
    const auto sum = [&](int) { experts_down(experts, plan, inner, y.get(), clock.stream()); };
    const auto all = [&](int i) {
      up(i);
      sum(i);
      experts_combine(plan, y.get(), of.hidden, out.get(), clock.stream());
    };
    all(0);
    const double error = relative_error(out.read(), expected);
    const double up_us = clock.time(4, up);
    const double down_us = clock.time(4, sum);
    const double us = clock.time(4, all);
    const double bytes = busy * 3 * static_cast<double>(of.hidden * experts.inner_tiles() * kTile);
    fmt::print("{:7} {:6} {:6} {:5}  {:8.1e} {:8.1f} {:8.1f} {:8.1f} {:6.0f} {:4.0f}%\n", of.experts, of.hidden,
               of.inner, rows, error, up_us, down_us, us, bytes / us * 1e-3, 100 * bytes / us / limits.copy);
  }
}

void bench_experts(Clock& clock, const Limits& limits) {
  fmt::print(
      "\nExperts: gate and up, down, and both with the rows' sums\n{:>7} {:>6} {:>6} {:>5}  {:>8} {:>8} {:>8} {:>8} "
      "{:>6} {:>5}\n",
      "experts", "hidden", "inner", "rows", "error", "up us", "down us", "us", "GB/s", "copy");
  for (const ExpertShape& of : {ExpertShape{257, 7168, 128, 8},    // R1 over 16 ranks
                                ExpertShape{257, 7168, 256, 8},    // over 8
                                ExpertShape{1, 7168, 1152, 0}}) {  // the dense layers, over 16
    bench_experts_of(clock, limits, of);
  }
}

struct DecodeShape {
  int64_t rows;
  int64_t heads;
  int64_t context;
};

void bench_decode_of(Clock& clock, const Limits& limits, const DecodeShape& of, bool is_fixed) {
  const LatentShape shape{.heads = of.heads, .latent = 512, .rope = 64, .nope = 128, .v = 128};
  const int64_t width = shape.latent + shape.rope;
  const int64_t pages_each = ceil_div(of.context, kPageTokens);
  const int64_t pages = of.rows * pages_each;
  // Small batches rotate through copies of the cache that the L2 cache does not hold.
  KvPages cache{.width = width};
  const int64_t copies = std::clamp<int64_t>(200'000'000 / (pages * cache.page_bytes()), 1, 32);
  OnDevice<uint8_t> data(copies * pages * cache.page_bytes());
  const std::vector<bf16> values = random_bf16(cache.page_bytes() / 2);
  std::vector<uint8_t> bytes(static_cast<size_t>(cache.page_bytes()));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  data.write(bytes, 0);
  for (int64_t page = 1; page < copies * pages; ++page) {
    // Another order of the same values: lines stay whole.
    const int64_t turn = page * 7919 * 128 % cache.page_bytes();
    const auto part = static_cast<size_t>(cache.page_bytes() - turn);
    uint8_t* to = data.get() + page * cache.page_bytes();
    check(cudaMemcpyAsync(to, data.get() + turn, part, cudaMemcpyDeviceToDevice, clock.stream()), "cudaMemcpyAsync");
    check(cudaMemcpyAsync(to + part, data.get(), static_cast<size_t>(turn), cudaMemcpyDeviceToDevice, clock.stream()),
          "cudaMemcpyAsync");
  }
  std::vector<int32_t> table(static_cast<size_t>(pages));
  std::iota(table.begin(), table.end(), 0);
  std::ranges::shuffle(table, random_bits());
  const OnDevice<int32_t> tables(table);
  const OnDevice<int32_t> lengths(std::vector<int32_t>(static_cast<size_t>(of.rows), static_cast<int32_t>(of.context)));
  const OnDevice<bf16> q(random_bf16(of.rows * of.heads * width));
  const OnDevice<bf16> out(of.rows * of.heads * shape.latent);
  DecodePlan plan{
      .rows = of.rows, .pages_max = pages_each, .blocks = DecodePlan::blocks_for(of.heads), .is_fixed = is_fixed};
  const OnDevice<int32_t> block_begin(DecodePlan::kBlocksMax + 1);
  const OnDevice<int4> pieces(plan.pieces_max());
  const OnDevice<int32_t> row_begin(of.rows + 1);
  plan.block_begin = block_begin.get();
  plan.pieces = pieces.get();
  plan.row_begin = row_begin.get();
  const OnDevice<uint8_t> workspace(decode_workspace_bytes(shape, plan));
  DecodeInput input{.q = q.get(),
                    .pages = cache,
                    .page_table = tables.get(),
                    .table_stride = pages_each,
                    .lengths = lengths.get(),
                    .rows = of.rows,
                    .scale = 0.04F};
  input.pages.data = data.get();
  plan_decode(lengths.get(), plan, clock.stream());
  simple::decode_attention(shape, input, out.get(), clock.stream());
  const auto expected = out.read();
  decode_attention(shape, input, plan, workspace.get(), out.get(), clock.stream());
  const double error = relative_error(out.read(), expected);
  const double us = clock.time(16, [&](int i) {
    DecodeInput other = input;
    other.pages.data += i % copies * pages * cache.page_bytes();
    decode_attention(shape, other, plan, workspace.get(), out.get(), clock.stream());
  });
  const auto read = static_cast<double>(2 * of.rows * (of.context * width + of.heads * (width + shape.latent)));
  const double flop = 2.0 * static_cast<double>(of.rows * of.heads * of.context * (width + shape.latent));
  fmt::print("{:5} {:6} {:8} {:>6}  {:8.1e} {:8.2f} {:6.0f} {:4.0f}% {:8.0f}\n", of.rows, of.heads, of.context,
             is_fixed ? "fixed" : "even", error, us, read / us * 1e-3, 100 * read / us / limits.copy, flop / us * 1e-6);
}

void bench_decode(Clock& clock, const Limits& limits) {
  fmt::print("\nDecode attention over the latents, bf16\n{:>5} {:>6} {:>8} {:>6}  {:>8} {:>8} {:>6} {:>5} {:>8}\n",
             "rows", "heads", "context", "pieces", "error", "us", "GB/s", "copy", "TFLOP/s");
  for (const DecodeShape& of :
       {DecodeShape{1, 8, 4096}, DecodeShape{16, 8, 4096}, DecodeShape{64, 8, 4096}, DecodeShape{128, 8, 4096},
        DecodeShape{128, 16, 4096}, DecodeShape{128, 16, 1024}, DecodeShape{128, 32, 4096}, DecodeShape{128, 64, 4096},
        DecodeShape{64, 128, 4096}, DecodeShape{1, 16, 32768}}) {
    for (const bool is_fixed : {false, true}) bench_decode_of(clock, limits, of, is_fixed);
  }
}

int run(int argc, char** argv) {
  using Bench = void (*)(Clock&, const Limits&);
  const std::vector<std::pair<std::string_view, Bench>> all = {
      {"gemm", bench_gemm}, {"experts", bench_experts}, {"decode", bench_decode}};
  std::vector<Bench> wanted;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--help") {
      fmt::print("{}", kHelp);
      return 0;
    }
    const auto found = std::ranges::find(all, name, &std::pair<std::string_view, Bench>::first);
    if (found == all.end()) {
      fmt::print(stderr, "\"{}\" is no benchmark of this program\n{}", name, kHelp);
      return 2;
    }
    wanted.push_back(found->second);
  }
  if (wanted.empty()) {
    for (const auto& [name, bench] : all) wanted.push_back(bench);
  }
  cudaDeviceProp device{};
  check(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
  Clock clock;
  const Limits limits{.copy = copy_bytes_per_us(clock), .fp8_flop = fp8_flop_per_us(clock)};
  fmt::print(
      "{}, {} multiprocessors; copy {:.0f} GB/s read and written; FP8 product of 8192^3 by cuBLASLt {:.0f} TFLOP/s\n",
      device.name, device.multiProcessorCount, limits.copy * 1e-3, limits.fp8_flop * 1e-6);
  for (const Bench bench : wanted) {
    bench(clock, limits);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_cuda_kernels: {}\n", error.what());
    return 1;
  }
}
