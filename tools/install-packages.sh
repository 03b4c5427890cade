#!/usr/bin/env bash
# Installs what building and testing need, from Debian 12 (bookworm) or 13 (trixie) main. Does nothing when all is there.
set -euo pipefail

packages=(
  ca-certificates clang-19 clang-format-19 clang-tidy-19 cmake curl libclang-rt-19-dev libcurl4-openssl-dev libfmt-dev libgmock-dev
  libgrpc++-dev libgtest-dev libhwy-dev libnats-dev libpcre2-dev libprotobuf-dev libssl-dev libucx-dev libyaml-cpp-dev lld-19 llvm-19
  nats-server ninja-build nodejs npm pkg-config prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc
)
. /etc/os-release
case "${VERSION_CODENAME:-}" in
  bookworm) packages+=(libboost1.81-dev libboost-json1.81-dev libboost-url1.81-dev) ;;
  trixie) packages+=(libboost1.83-dev libboost-json1.83-dev libboost-url1.83-dev) ;;
  *)
    echo "Bellwether builds on Debian 12 (bookworm) and 13 (trixie); this is ${PRETTY_NAME:-unknown}." >&2
    echo "Install the equivalents of these and run make with PACKAGES=skip: ${packages[*]}" >&2
    exit 1
    ;;
esac
# A node from elsewhere (NodeSource, nvm) brings its own npm and conflicts with Debian's.
if command -v node >/dev/null && command -v npm >/dev/null; then
  packages=("${packages[@]/#nodejs/}")
  packages=("${packages[@]/#npm/}")
fi

missing=()
for package in "${packages[@]}"; do
  [ -n "$package" ] || continue
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "Run as root, or install sudo, to install: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "Installing ${#missing[@]} packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q
"${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}"
