#!/usr/bin/env bash
# images.sh prints the path of a disk that holds what the server keeps in
# /var/lib/codebeaker, with the image of Python made and unpacked: under
# emulation that would take minutes. It is made where the cache does not have
# it, by bin/codebeaker.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$vm/mirror.sh"

if [ "${1:-}" = --make ]; then
  dir=$2
  scratch "$dir/scratch"
  mkdir "$dir/new"
  # Sockets below it have to fit their address, so it is short. Nobody else sees
  # this mount.
  mount -t tmpfs codebeaker-vm /mnt
  TMPDIR=$dir/scratch "$tree/bin/codebeaker" images build python --root "$dir/scratch/root" --state /mnt/state >&2
  # Tests write to it as well: images and containers of their own.
  filesystem images 4096M "$dir/scratch/root" "$dir/new/disk"
  exit
fi

work_dir "$cache"
# What decides what an image holds and how it is kept, and what the mirror has.
mapfile -t files < <(find "$tree"/{images,runtime/engine} -maxdepth 1 -name '*.go' ! -name '*_test.go' | LC_ALL=C sort)
sources=$(digest_files "$vm"/{lib,mirror,images}.sh "$tree"/go.{mod,sum} "${files[@]}")
suite=$(sed -nE 's/^\t+Suite: +"([a-z]+)",$/\1/p' "$tree/images/recipe.go")
name=images-$sources
if state=$(release_state "$suite"); then
  name=$name-$state
else
  name=$(cd "$cache" && ls -dt "$name-"* 2>/dev/null | head -n 1) || true
fi
if [ -z "$name" ]; then
  die "Debian's mirror cannot be reached, and no image of Python was made before"
fi
if ! use "$name" >/dev/null; then
  say 'making a disk with the image of Python'
  in_namespaces "$0" --make "$work" || die "making the image of Python failed (see above)"
  publish "$name"
fi
printf '%s/disk\n' "$(use "$name")"
prune images-
