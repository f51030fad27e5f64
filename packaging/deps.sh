#!/usr/bin/env bash
# Installs the Debian packages that are missing for the groups named as
# arguments, and checks that Go is new enough where build is among them. It asks
# for root only when there is something to install, and does nothing on a host
# that has everything.
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}

die() {
  printf 'deps: %s\n' "$*" >&2
  exit 1
}

# group_packages GROUP prints what a group needs, one package a line.
group_packages() {
  case $1 in
    # What compiles the three binaries. ca-certificates is for Go's module proxy.
    build) printf '%s\n' make gcc libc6-dev libseccomp-dev pkg-config ca-certificates ;;
    # What builds language images.
    run) printf '%s\n' mmdebstrap debian-archive-keyring ca-certificates ;;
    # What the tests speak to the server with, beside Go, what their small image
    # holds, and what they pull from. Node.js from elsewhere may bring its own npm.
    test)
      printf '%s\n' busybox-static chromium docker-registry nodejs python3-websockets
      command -v npm >/dev/null || printf 'npm\n'
      ;;
    # What the tests need in a virtual machine, where those that need more are
    # left out.
    guest) printf 'busybox-static\n' ;;
    # What makes and boots the virtual machine of make test-vm.
    vm) printf '%s\n' qemu-system-x86 mmdebstrap debian-archive-keyring e2fsprogs kmod ;;
    *) die "unknown group $1: it is one of build, run, test, guest, vm" ;;
  esac
}

check_host() {
  local ID='' VERSION_ID='' PRETTY_NAME='an unknown system'
  if [ -r /etc/os-release ]; then
    . /etc/os-release
  fi
  if [ "$ID" != debian ] || { [ -n "$VERSION_ID" ] && [ "${VERSION_ID%%.*}" -lt 12 ]; }; then
    die "this host runs $PRETTY_NAME, and only Debian 12 and 13 are supported"
  fi
}

check_go_present() {
  command -v "$go" >/dev/null ||
    die "$go is not in PATH: install Go $(go_wanted) or newer, see https://go.dev/dl"
}

go_wanted() {
  awk '$1 == "go" { print $2 }' go.mod
}

# check_go_version runs after the packages are there, because an older Go may
# fetch the toolchain that go.mod names, over TLS.
check_go_version() {
  local wanted have
  wanted=$(go_wanted)
  have=$("$go" version 2>&1) || die "$go version: $have"
  have=$(sed -nE 's/^go version go([0-9.]+).*/\1/p' <<<"$have")
  if [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
    die "Go is ${have:-of an unknown version}, and go.mod needs $wanted or newer: see https://go.dev/dl"
  fi
}

# missing_packages PACKAGE... prints those that are not installed.
missing_packages() {
  local package
  for package; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      printf '%s\n' "$package"
  done
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

apt() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}

# lists_know PACKAGE... tells whether apt's lists are there and name them all.
lists_know() {
  local package
  for package; do
    apt-cache show "$package" >/dev/null 2>&1 || return 1
  done
}

# without_service UNIT COMMAND... runs a command that installs the unit, and has
# systemd, where that runs, not start it now or later: the tests start their own,
# and docker-registry's would take the port of codebeaker serve.
without_service() {
  local unit=$1 failed=0
  shift
  if [ ! -d /run/systemd/system ]; then
    "$@"
    return
  fi
  as_root systemctl --quiet --runtime mask "$unit"
  ("$@") || failed=$? # a subshell, as it may exit
  as_root systemctl --quiet --runtime unmask "$unit"
  as_root systemctl --quiet disable "$unit"
  return "$failed"
}

# install PACKAGE... shows what apt and dpkg say only where they fail.
install() {
  local said command="apt-get install --no-install-recommends $*"
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    die "Debian packages are missing; as root, run: $command"
  fi
  echo "deps: installing $*"
  if ! lists_know "$@"; then
    said=$(apt update 2>&1) || die "$said"$'\n'"deps: apt-get update failed (see above): is the network up?"
  fi
  # Lists that are too old name versions that the mirror no longer has.
  said=$(apt install -y --no-install-recommends "$@" 2>&1) ||
    said=$(apt update 2>&1 && apt install -y --no-install-recommends "$@" 2>&1) ||
    die "$said"$'\n'"deps: could not install $* (see above): as root, try $command"
}

[ $# -gt 0 ] || die "usage: deps.sh GROUP...: one or more of build, run, test, guest, vm"
wanted=$(for group; do group_packages "$group"; done | sort -u)

# Only what builds needs Go.
builds=$(for group; do [ "$group" != build ] || echo yes; done)

check_host
if [ -n "$builds" ]; then
  check_go_present
fi
mapfile -t missing < <(missing_packages $wanted)
if [[ " ${missing[*]} " == *' docker-registry '* ]]; then
  without_service docker-registry.service install "${missing[@]}"
elif [ ${#missing[@]} -gt 0 ]; then
  install "${missing[@]}"
fi
if [ -n "$builds" ]; then
  check_go_version
fi
