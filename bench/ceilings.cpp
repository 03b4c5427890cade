#include "ceilings.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

// clang-format off
#include "engine/cpu/simd_targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "ceilings.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace bellwether::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::CappedTag<float, 16>;
using Words = hn::CappedTag<uint64_t, 8>;

// The words of `bytes` bytes, or-ed together. REQUIRES: bytes is a multiple of 256.
uint64_t ReadAll(const uint8_t* from, int64_t bytes) {
  const Words d;
  const auto words = static_cast<int64_t>(hn::Lanes(d));
  const auto* at = reinterpret_cast<const uint64_t*>(from);
  auto a = hn::Zero(d);
  auto b = hn::Zero(d);
  for (int64_t i = 0; i < bytes / 8; i += 2 * words) {
    a = hn::Or(a, hn::LoadU(d, at + i));
    b = hn::Or(b, hn::LoadU(d, at + i + words));
  }
  return hn::GetLane(hn::Or(a, b));
}

// Fused multiply-adds in twelve independent chains; returns how many floating-point operations they were.
double FusedMultiplyAdds(int64_t rounds, const float* operands, float* result) {
  const Floats d;
  const auto x = hn::Set(d, operands[0]);
  const auto y = hn::Set(d, operands[1]);
  auto a = y, b = y, c = y, e = y, f = y, g = y, h = y, i = y, j = y, k = y, l = y, m = y;
  for (int64_t round = 0; round < rounds; ++round) {
    a = hn::MulAdd(a, x, y), b = hn::MulAdd(b, x, y), c = hn::MulAdd(c, x, y), e = hn::MulAdd(e, x, y);
    f = hn::MulAdd(f, x, y), g = hn::MulAdd(g, x, y), h = hn::MulAdd(h, x, y), i = hn::MulAdd(i, x, y);
    j = hn::MulAdd(j, x, y), k = hn::MulAdd(k, x, y), l = hn::MulAdd(l, x, y), m = hn::MulAdd(m, x, y);
  }
  const auto sum = hn::Add(hn::Add(hn::Add(a, b), hn::Add(c, e)), hn::Add(hn::Add(f, g), hn::Add(h, i)));
  *result = hn::GetLane(hn::Add(sum, hn::Add(hn::Add(j, k), hn::Add(l, m))));
  return 2.0 * 12 * static_cast<double>(hn::Lanes(d)) * static_cast<double>(rounds);
}

const char* Name() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace HWY_NAMESPACE
}  // namespace bellwether::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <fmt/format.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine/invariant.h"

namespace bellwether::bench {

HWY_EXPORT(ReadAll);
HWY_EXPORT(FusedMultiplyAdds);
HWY_EXPORT(Name);

namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 22;
constexpr int kRepeats = 5;
constexpr int64_t kRounds = 4'000'000;

// Seconds of the quickest of some repeats of work(thread), on every thread at once.
template <class Work>
double quickest(engine::cpu::ThreadPool& pool, int64_t tasks, Work&& work) {
  double best = 1e30;
  for (int i = 0; i < kRepeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    pool.run(tasks, [&](int64_t task, int) { work(task); });
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bf16"))) double bf16_dot_products(int64_t rounds, float* result) {
  __m512 sums[16] = {};
  auto ones = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3F803F80));
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+v"(ones));  // so that the compiler does not foresee the sums
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, ones, ones);
  }
  for (int i = 1; i < 16; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  *result = _mm512_cvtss_f32(sums[0]);
  return 2.0 * 16 * 32 * static_cast<double>(rounds);
}

bool has_bf16_dot_product() {
  return __builtin_cpu_supports("avx512bf16") != 0;
}
#else
double bf16_dot_products(int64_t, float*) {
  return 0;
}

bool has_bf16_dot_product() {
  return false;
}
#endif

// `compute` returns how many operations it did, and something to show for it.
template <class Compute>
double flops(engine::cpu::ThreadPool& pool, Compute&& compute) {
  std::atomic<double> operations = 0;
  const double seconds = quickest(pool, pool.threads(), [&](int64_t) {
    float result = 0;
    operations = compute(&result);
    engine::require(result != 0, "nothing was multiplied");
  });
  return operations * pool.threads() / seconds;
}

}  // namespace

double read_bytes_per_second(engine::cpu::ThreadPool& pool) {
  // Large pages, where the system has them, as for a model's weights.
  void* memory = mmap(nullptr, kReadBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  engine::require(memory != MAP_FAILED, "no memory for the measure of its speed");
  madvise(memory, kReadBytes, MADV_HUGEPAGE);
  auto* bytes = static_cast<uint8_t*>(memory);
  const int64_t share = kReadBytes / pool.threads() / kPieceBytes * kPieceBytes;
  std::memset(bytes, 1, kReadBytes);
  std::atomic<uint64_t> found = 0;
  const double seconds = quickest(
      pool, pool.threads(), [&](int64_t task) { found |= HWY_DYNAMIC_DISPATCH(ReadAll)(bytes + task * share, share); });
  engine::require(found != 0, "memory was not read");
  munmap(memory, kReadBytes);
  return static_cast<double>(share * pool.threads()) / seconds;
}

DotPeak dot_peak(engine::cpu::ThreadPool& pool) {
  const float operands[] = {0.5F, 0.25F};
  return {.instruction = fmt::format("float32 fused multiply-add, {}", HWY_DYNAMIC_DISPATCH(Name)()),
          .flops = flops(
              pool, [&](float* result) { return HWY_DYNAMIC_DISPATCH(FusedMultiplyAdds)(kRounds, operands, result); })};
}

std::optional<DotPeak> bf16_peak(engine::cpu::ThreadPool& pool) {
  if (!has_bf16_dot_product()) return std::nullopt;
  return DotPeak{.instruction = "bf16 dot product, AVX-512 (not used)",
                 .flops = flops(pool, [](float* result) { return bf16_dot_products(kRounds, result); })};
}

}  // namespace bellwether::bench
#endif  // HWY_ONCE
