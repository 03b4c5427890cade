#!/usr/bin/env bash
# tools/pack-programs.sh BIN_FOLDER OUT.tar.xz PROGRAM...
#
# Programs of a build, and nats-server, with the shared libraries that they need, for a machine that has none of our
# packages (a GPU box): unpack, set LD_LIBRARY_PATH to lib/, run from bin/. The C library and its like are that machine's
# own, which must not be older than this one's; so is the GPU's driver.
set -euo pipefail

bin=$1
out=$(realpath -m "$2")
shift 2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin" "$folder/lib"
for program in "$@"; do
  strip -o "$folder/bin/$program" "$bin/$program"
done
cp "$(PATH=$PATH:/usr/sbin command -v nats-server)" "$folder/bin/"
for program in "$@"; do ldd "$bin/$program"; done |
  awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
  grep -vE '/(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libstdc\+\+|libgcc_s|libcuda)[.-]' |
  xargs -I{} cp {} "$folder/lib/"
XZ_OPT="-T2 -3" tar -C "$folder" -cJf "$out" bin lib
ls -lh "$out"
