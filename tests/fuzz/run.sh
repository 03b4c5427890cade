#!/usr/bin/env bash
# Runs every libFuzzer target in a folder of programs for some seconds each; the first failure ends it.
#   tests/fuzz/run.sh BIN_FOLDER SECONDS
set -euo pipefail
bin=$1 seconds=$2
export UCX_MEM_MMAP_HOOK_MODE=none  # UCX and the sanitizers would both overwrite the beginning of mmap()
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for fuzzer in "$bin"/fuzz_*; do
  name=$(basename "$fuzzer")
  mkdir "$work/$name"
  if "$fuzzer" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$work/input-" "$work/$name" >"$work/$name.log" 2>&1; then
    echo "$name: $(awk '/stat::number_of_executed_units/ { print $2 }' "$work/$name.log") inputs in $seconds s, none fails"
  else
    tail -40 "$work/$name.log"
    echo "$name failed; its input, in base64:"
    cat "$work"/input-* 2>/dev/null | base64 | head -c 4000
    exit 1
  fi
done
