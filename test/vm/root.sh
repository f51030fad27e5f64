#!/usr/bin/env bash
# root.sh SUITE prints the directory with the kernel (vmlinuz) and the disk
# (disk) of a Debian that runs the script of a job disk (see guest/run-job) and
# powers itself off. It is made where the cache does not have it, from the
# release's current packages; without a network, from those of the last time.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$vm/mirror.sh"

# What sessions and tests need of the guest, and no more: each package costs
# time at every change of the mirror.
packages=systemd-sysv,udev,dbus,kmod,iproute2,procps,busybox-static
kernel=linux-image-cloud-amd64

# make_root SUITE DIRECTORY installs Debian and the kernel into DIRECTORY/root,
# as pid 1 of namespaces, and writes vmlinuz and disk to DIRECTORY/new.
make_root() {
  local suite=$1 dir=$2 root=$2/scratch/root new=$2/new
  scratch "$dir/scratch"
  mkdir "$new"
  apt_options >"$dir/apt.conf"
  sources "$suite" | TMPDIR=$dir/scratch mmdebstrap --quiet --mode=root --variant=essential --include="$packages" \
    --aptopt="$dir/apt.conf" --dpkgopt=force-unsafe-io \
    --skip=cleanup/apt,cleanup/mmdebstrap \
    --include=usr-is-merged --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
    --setup-hook='mkdir -p "$1/kernel"' \
    --customize-hook="cd \"\$1/kernel\" && apt-get -qq -o APT::Sandbox::User=root download \$(apt-cache depends $kernel | sed -n 's/.*Depends: \\(linux-image-[^ ]*\\)\$/\\1/p')" \
    "$suite" "$root" - >&2
  # Excluded by dpkg's options, they would go through a filter in Python, which
  # is started for each package and takes twice as long as all the rest.
  rm -rf "$root"/usr/share/{doc,info,locale,man}/* "$root"/var/{cache,lib}/apt "$root"/etc/apt \
    "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
  unpack_kernel "$root" "$new/vmlinuz"
  "$vm/guest/configure" "$root"
  disk "$root" "$new/disk"
}

# unpack_kernel ROOT VMLINUZ puts the modules of the kernel's package in their
# place. The package is not installed: that would make an initial RAM disk, which
# nobody needs. Drivers of hardware, and what is for one processor, are left out,
# because udev would load what fits the emulated one, which takes seconds.
unpack_kernel() {
  local root=$1 version
  dpkg-deb --fsys-tarfile "$root"/kernel/*.deb | tar -x -C "$root/kernel" \
    --exclude=./lib/modules/*/kernel/arch --exclude=./lib/modules/*/kernel/drivers ./boot ./lib
  version=$(basename "$root"/kernel/lib/modules/*)
  mkdir -p "$root/usr/lib/modules"
  mv "$root/kernel/lib/modules/$version" "$root/usr/lib/modules/$version"
  cp "$root/kernel/boot/vmlinuz-$version" "$2"
  rm -rf "$root/kernel"
  depmod -b "$root" "$version"
}

# disk ROOT FILE writes a disk with a DOS label of one partition, written by
# hand since no loop device is needed for it: the signature at 440, one entry of
# type 83 from sector 2048 at 446, 55aa at 510.
disk() {
  local mib=3072 start=2048 sectors
  sectors=$((mib * 2048))
  filesystem root "${mib}M" "$1" "$2" $((start * 512))
  truncate -s $(((start + sectors) * 512)) "$2"
  {
    le32 $((16#$root_signature))
    printf '\0\0\0\0\0\0\x83\0\0\0'
    le32 "$start"
    le32 "$sectors"
  } | dd of="$2" bs=1 seek=440 conv=notrunc status=none
  printf '\x55\xaa' | dd of="$2" bs=1 seek=510 conv=notrunc status=none
}

# le32 NUMBER prints it as four bytes, the least first.
le32() {
  local i
  for i in 0 8 16 24; do
    printf "\\x$(printf %02x $(($1 >> i & 255)))"
  done
}

if [ "$1" = --make ]; then
  make_root "$2" "$3"
  exit
fi

suite=$1
work_dir "$cache"
scripts=$(digest_files "$vm"/{lib,mirror,root}.sh "$vm"/guest/*)
if ! state=$(release_state "$suite"); then
  name=$(cd "$cache" && ls -dt "root-$suite-$scripts-"* 2>/dev/null | head -n 1) || true
  [ -n "$name" ] || die "Debian's mirror cannot be reached (apt-get update says more), and no image of $suite was made before"
  say "Debian's mirror cannot be reached: using the image of $suite that was made last"
  use "$name"
  exit
fi
name=root-$suite-$scripts-$state
if ! use "$name"; then
  say "making a disk of Debian $suite"
  in_namespaces "$0" --make "$suite" "$work" || die "making the image of Debian $suite failed (see above)"
  publish "$name"
  use "$name"
fi
prune "root-$suite-"
