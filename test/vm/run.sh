#!/usr/bin/env bash
# run.sh [ARGUMENT...] runs the integration and end-to-end tests against the
# installed server in a virtual machine of Debian $DEBIAN (12 or 13), with
# arguments for the test program, if any, instead of job.sh's. Its status is that
# of the tests. $VM_ACCEL is tcg or kvm, where it is not to be tried.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

case ${DEBIAN:-12} in
  12) suite=bookworm ;;
  13) suite=trixie ;;
  *) die "DEBIAN is 12 or 13, not $DEBIAN" ;;
esac
[ "$(uname -m)" = x86_64 ] || die "the machine is one of amd64, and this host is $(uname -m)"
[ "$(id -u)" -eq 0 ] || die 'images are made by root: start it as root'

# The disks and what the guest writes are best in memory.
parent=${TMPDIR:-/tmp}
if [ -z "${TMPDIR:-}" ] && [ "$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -ge $((3 << 20)) ] 2>/dev/null; then
  parent=/dev/shm
fi
work_dir "$parent"
export TMPDIR=$parent

# A stage's seconds are shown at the end, also where it failed.
stages=''
stage() {
  local name=$1 begun=$EPOCHREALTIME status=0
  shift
  "$@" || status=$?
  stages+=$(awk "BEGIN { printf \"$name %.1f s, \", $EPOCHREALTIME - $begun }")
  return "$status"
}
finish() {
  local status=$?
  clean_up
  say "${stages}in all $SECONDS s"
  exit "$status"
}
trap finish EXIT

# Neither makes much use of a second processor, so they are made at once.
make_disks() {
  local images root status=0
  start "$vm/images.sh" >"$work/images"
  images=$!
  start "$vm/root.sh" "$suite" >"$work/root"
  root=$!
  finished "$root" || status=$?
  finished "$images" || status=$?
  return "$status"
}

stage disks make_disks
root=$(cat "$work/root")
accel=${VM_ACCEL:-}
if [ -z "$accel" ]; then
  stage accelerator run "$vm/accel.sh" "$root" >"$work/accel"
  accel=$(cat "$work/accel")
fi
# Programs run 15 to 30 times slower under emulation. This is the one place that
# says by how much deadlines are longer there.
slowdown=1
[ "$accel" = kvm ] || slowdown=10
stage payload run "$vm/payload.sh" "$slowdown" "$work/job" "$@"
say "booting Debian ${DEBIAN:-12} ($accel)"
stage machine run "$vm/boot.sh" --accel "$accel" "$root" "$work/job" "$(cat "$work/images")"
