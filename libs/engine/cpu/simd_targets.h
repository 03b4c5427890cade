// Which instruction sets kernels are compiled for; the best that the CPU has is chosen when the program runs.
// Include before any header of Highway.
#pragma once

#include <hwy/detect_targets.h>

// What differs from its neighbours in nothing that these kernels use, and vectors whose length the compiler does not
// know (on such CPUs NEON does).
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2)
