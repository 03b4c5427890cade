#!/usr/bin/env bash
# Runs every libFuzzer target in a folder of programs for some seconds each; the first crash ends it.
#   tests/fuzz/run.sh BIN_FOLDER SECONDS
set -euo pipefail
bin=$1 seconds=$2
corpora=$(mktemp -d)
trap 'rm -rf "$corpora"' EXIT
for fuzzer in "$bin"/fuzz_*; do
  name=$(basename "$fuzzer")
  mkdir -p "$corpora/$name"
  echo "== $name, $seconds s"
  "$fuzzer" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$corpora/" "$corpora/$name" 2>&1 | grep -E 'stat::number_of_executed|ERROR|SUMMARY|Test unit' || true
  [ "${PIPESTATUS[0]}" -eq 0 ] || { echo "$name failed; input:"; base64 "$corpora"/crash-* | head -c 4000; exit 1; }
done
