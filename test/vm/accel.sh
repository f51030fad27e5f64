#!/usr/bin/env bash
# accel.sh ROOT prints kvm where KVM boots the machine in directory ROOT, and tcg
# elsewhere. /dev/kvm says little: a nested or a foreign hypervisor may offer it
# and yet boot no stock kernel. So it is tried, once for each boot of the host,
# version of QEMU and kernel.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

root=$1
if ! { [ -r /dev/kvm ] && [ -w /dev/kvm ]; }; then
  echo tcg
  exit
fi
work_dir "$cache"
name=accel-$({
  cat /proc/sys/kernel/random/boot_id "$root/vmlinuz"
  qemu-system-x86_64 --version
} | digest)
if ! use "$name" >/dev/null; then
  mkdir "$work/job" "$work/new"
  printf '#!/bin/sh\nexit 42\n' >"$work/job/run"
  chmod +x "$work/job/run"
  filesystem job 8M "$work/job" "$work/disk"
  status=0
  run "$vm/boot.sh" --accel kvm --boot-seconds 20 --seconds 10 "$root" "$work/disk" >"$work/log" 2>&1 || status=$?
  if [ "$status" -eq 42 ]; then
    echo kvm >"$work/new/accel"
  else
    say 'KVM is here, but does not boot the machine: emulating the processor'
    echo tcg >"$work/new/accel"
  fi
  publish "$name"
fi
cat "$(use "$name")/accel"
prune accel-
