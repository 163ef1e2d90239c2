#!/usr/bin/env bash
# The Debian package that the benchmark measures against: QEMU, for its gdbstub.
# Root, or sudo that asks for no password, gets it installed; anyone else is told in one line, and the
# benchmark then says "peer not there" in those rows.
set -eu

package=qemu-system-x86
program=qemu-system-x86_64

there() { command -v "$program" >/dev/null; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$package" </dev/null >/dev/null 2>&1
}

there && exit 0

if command -v apt-get >/dev/null && as_root true 2>/dev/null; then
  echo "kvmdbg: installing the Debian package that the benchmark compares with: $package"
  install || { as_root apt-get update -qq >/dev/null 2>&1 && install; } || true
fi

there || echo "kvmdbg: no $program to compare with; on Debian or Ubuntu: apt install $package"
