#!/usr/bin/env bash
# boot.sh [--accel tcg|kvm] [--boot-seconds N] [--seconds N] ROOT JOB [IMAGES]
# boots the machine in directory ROOT (see root.sh) with the job disk JOB and,
# where it is given, the disk IMAGES, streams the job's output and exits with its
# status: 125 where it has none. The disks are not changed.
#
# The machine gets 2 CPUs and 2 GiB, and no network. It ends with this script,
# however that ends.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

accel=tcg boot_seconds=180 seconds=1800
while [ $# -gt 0 ]; do
  case $1 in
    --accel) accel=$2 ;;
    --boot-seconds) boot_seconds=$2 ;;
    --seconds) seconds=$2 ;;
    *) break ;;
  esac
  shift 2
done
root=$1 job=$2 images=${3:-}

work_dir "${TMPDIR:-/tmp}"
end_signal=KILL

# nvme SERIAL FILE prints the options of a disk. Debian's cloud kernels have this
# driver built in.
nvme() {
  printf '%s\n' -drive "if=none,id=$1,file=$2,format=raw,snapshot=on,cache=unsafe" -device "nvme,serial=$1,drive=$1"
}

options=(
  -name codebeaker-vm -machine q35 -smp 2 -m 2048
  -nodefaults -no-user-config -display none -no-reboot
  # Debian's console, the job's output, the job's state.
  -chardev "file,id=console,path=$work/console,append=on" -serial chardev:console
  -chardev file,id=output,path=/dev/fd/3 -serial chardev:output
  -chardev file,id=state,path=/dev/fd/4 -serial chardev:state
  -kernel "$root/vmlinuz"
  -append "root=PARTUUID=$root_signature-01 rootwait rw console=ttyS0 cgroup_no_v1=all mitigations=off tsc=reliable random.trust_cpu=on audit=0 quiet panic=-1 oops=panic systemd.show_status=auto"
)
case $accel in
  # More CPUs than 2, or fewer, are slower; -cpu max is faster than any other.
  tcg) options+=(-accel tcg,thread=multi,tb-size=512 -cpu max) ;;
  kvm) options+=(-accel kvm -cpu host) ;;
  *) die "--accel is tcg or kvm, not $accel" ;;
esac
mapfile -t -O ${#options[@]} options < <(
  nvme root "$root/disk"
  nvme job "$job"
  [ -z "$images" ] || nvme images "$images"
)

# no_status REASON ends without a status from the job.
no_status() {
  say "$1; the end of the machine's console:"
  tail -n 40 "$work/console" 2>/dev/null | tr -d '\r' | sed 's/^/  /' >&2 || true
  exit 125
}

: >"$work/console"
mkfifo "$work/output" "$work/state"
start cat "$work/output"
stream=$!
# machine becomes QEMU. It opens the pipes, which blocks until they are read, so
# it is not given to start, for which this shell would open them. What the guest
# writes to its disks goes to files without a name in TMPDIR.
machine() {
  exec setpriv --pdeathsig KILL -- env TMPDIR="$work" qemu-system-x86_64 "${options[@]}" \
    </dev/null >>"$work/console" 2>&1 3>"$work/output" 4>"$work/state"
}
machine &
qemu=$!
children[$qemu]=running
exec {state}<"$work/state"

# next_state SECONDS reads the next line of the job's state.
next_state() {
  line=''
  read -r -t "$1" -u "$state" line && return
  if [ $? -gt 128 ]; then
    no_status "the machine took more than $1 s to $2"
  fi
  no_status "the machine ended before it could $2"
}
next_state "$boot_seconds" 'start the job'
[ "$line" = START ] || no_status "the machine said '$line' before START"
next_state "$seconds" 'end the job'
status=${line#EXIT }
[[ $status =~ ^[0-9]+$ ]] || no_status "the machine said '$line' instead of EXIT and a status"
# It powers itself off now, having said all that it had to say. What comes after
# the last line is the end of the file.
read -r -t 30 -u "$state" line || true
kill -KILL "$qemu" 2>/dev/null || true
finished "$qemu" 2>/dev/null || true
finished "$stream"
exit "$status"
