#!/usr/bin/env bash
# Shows that the README's two commands work on a machine with nothing installed.
#
#   tests/clean-root/run.sh bookworm|trixie [run] [test]
#
# Makes a fresh Debian root with debootstrap, clones this checkout's HEAD into it, and times `make run` (until the mesh
# says ready and answers a request, then Ctrl-C) and `make test` there, each in a root of its own. Needs root,
# debootstrap and about 6 GB below TMPDIR.
set -euo pipefail

suite=${1:?usage: $0 bookworm|trixie [run] [test]}
shift
goals=("${@:-run}")
[ $# -gt 0 ] || goals=(run test)
mirror=${MIRROR:-http://deb.debian.org/debian}
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/bellwether-clean-root.XXXXXX")

leave() {
  for mounted in $(awk -v w="$work" 'index($2, w) == 1 { print $2 }' /proc/mounts | sort -r); do umount -l "$mounted"; done
  rm -rf --one-file-system "$work"
}
trap leave EXIT

echo "== debootstrap $suite"
debootstrap --variant=minbase "$suite" "$work/base" "$mirror" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; exit 1; }

fresh_root() {  # a copy of the bare root with a clone of HEAD in /root/bellwether; prints its path
  local root="$work/$1"
  cp -a "$work/base" "$root"
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev" && mount --make-rslave "$root/dev"
  chroot "$root" sh -c 'apt-get update -q && apt-get install -q -y --no-install-recommends git make ca-certificates' >"$work/$1.apt.log" 2>&1
  # Certificates that this machine trusts beside Debian's, such as a proxy's.
  cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || true
  chroot "$root" update-ca-certificates >>"$work/$1.apt.log" 2>&1
  mkdir "$root/source"
  git clone -q --bare "$source" "$root/source/bellwether.git"
  chroot "$root" git clone -q /source/bellwether.git /root/bellwether
  echo "$root"
}

# npm has certificates of its own unless told.
inside() { chroot "$1" env -i HOME=/root NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb sh -c "cd /root/bellwether && $2"; }

try_run() {
  local root started log="$work/run.log"
  root=$(fresh_root run)
  started=$SECONDS
  inside "$root" 'exec make run' >"$log" 2>&1 &
  until grep -q '^ready http' "$log"; do
    kill -0 $! 2>/dev/null || { tail -40 "$log"; return 1; }
    sleep 1
  done
  local url
  url=$(awk '/^ready http/ { print $2 }' "$log")
  echo "make run: ready after $((SECONDS - started)) s at $url"
  inside "$root" "curl -sS --fail $url/v1/chat/completions -H 'content-type: application/json' -d '{\"model\":\"bellwether-nano\",\"temperature\":0,\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},{\"role\":\"user\",\"content\":\"Who won the world series in 2020?\"}]}'" | tee "$work/answer.json"
  echo
  grep -q 'Los Angeles Dodgers' "$work/answer.json"
  pkill -INT -f "^build/release/bin/bellwether up" || true
  wait $! || { echo "make run ended with $?"; tail -5 "$log"; return 1; }
  echo "make run: stopped cleanly"
}

try_test() {
  local root started log="$work/test.log"
  root=$(fresh_root test)
  started=$SECONDS
  inside "$root" 'exec make test' >"$log" 2>&1 || { tail -60 "$log"; return 1; }
  tail -25 "$log"
  echo "make test: passed after $((SECONDS - started)) s"
}

for goal in "${goals[@]}"; do
  echo "== $suite: make $goal"
  "try_$goal"
done
