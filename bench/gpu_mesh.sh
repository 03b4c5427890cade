#!/usr/bin/env bash
# bench/gpu_mesh.sh [BIN_FOLDER]: the mesh with workers on the GPU cuda:0, from a build with CUDA (docs/engine.md).
# First the tests: the article's request, all reference answers, two ranks that share the GPU, a cache that does not fit;
# then tokens per second of the demo model, on the GPU and on this machine's CPU.
set -uo pipefail

bin=${1:-build/cuda-mesh/bin}
"$bin/test_gpu_mesh" || status=1
for device in cpu cuda:0; do
  printf '\n%s\n' "$device"
  "$bin/bench_mesh" "${ANSWERS:-10}" --ranks 1 --device "$device" || status=1
done
exit ${status:-0}
