#!/usr/bin/env bash
# The Debian packages whose files the tests read: real boot code as input, nasm as a second opinion,
# a C compiler for what `%vm export c` writes, a browser for what people see.
# Root on a Debian-like system gets what is missing installed; anyone else is told in one line.
set -eu

needs="
nasm /usr/bin/nasm
gcc /usr/bin/gcc
libc6-dev /usr/include/stdio.h
linux-libc-dev /usr/include/linux/kvm.h
seabios /usr/share/seabios/bios.bin
chromium /usr/bin/chromium
syslinux-common /usr/lib/syslinux/mbr/mbr.bin
"

missing() {
  echo "$needs" | while read -r package file; do
    [ -z "$package" ] || [ -e "$file" ] || printf '%s ' "$package"
  done
}

install() {
  # shellcheck disable=SC2086 # $packages is a list
  DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $packages </dev/null >/dev/null 2>&1
}

packages=$(missing)
[ -n "$packages" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "kvmdbg: installing Debian packages that the tests read: $packages"
  install || { apt-get update -qq >/dev/null 2>&1 && install; } || true
  packages=$(missing)
fi

[ -z "$packages" ] || echo "kvmdbg: some tests will skip; on Debian or Ubuntu: apt install $packages"
