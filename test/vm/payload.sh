#!/usr/bin/env bash
# payload.sh SLOWDOWN DISK [ARGUMENT...] writes the job disk: what make build and
# make test-binary made, what packaging holds, and job.sh as its script. SLOWDOWN
# is by how much programs are slower in the machine than on a host; the
# arguments, if any, go to the tests instead of those that job.sh gives them.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

slowdown=$1 disk=$2
shift 2
work_dir "$(dirname "$disk")"
payload=$work/payload

mkdir -p "$payload/test"
cp -R "$tree/bin" "$tree/packaging" "$payload"
install -m 0755 "$vm/job.sh" "$payload/run"
{
  printf 'slowdown=%q\n' "$slowdown"
  printf 'arguments=('
  [ $# -eq 0 ] || printf ' %q' "$@"
  printf ' )\n'
} >"$payload/settings"
filesystem job 512M "$payload" "$disk"
