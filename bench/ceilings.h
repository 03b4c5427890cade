// What this machine can do at most, measured: beside these an engine's figures mean something.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/cpu/thread_pool.h"

namespace bellwether::bench {

inline constexpr int64_t kReadBytes = int64_t{1} << 30;

// Bytes a second that all threads of the pool read together from a buffer of kReadBytes, which no cache holds.
[[nodiscard]] double read_bytes_per_second(engine::cpu::ThreadPool& pool);

// Floating-point operations a second of all threads together in the best instruction that the engine multiplies weights
// with, operands in registers; an addition and a multiplication count one each.
struct DotPeak {
  std::string instruction;
  double flops = 0;
};
[[nodiscard]] DotPeak dot_peak(engine::cpu::ThreadPool& pool);

// The same of AVX-512's dot products of bf16, where the CPU has them.
[[nodiscard]] std::optional<DotPeak> bf16_peak(engine::cpu::ThreadPool& pool);

}  // namespace bellwether::bench
