# What the scripts of this directory share. It is sourced.

vm=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "$vm/../.." && pwd)

# Disks that can be made again, below one name each. Nothing in it changes once
# it has its name.
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/codebeaker-vm

# The signature of the root disk's label, by which the kernel finds its root.
root_signature=0c0debea

die() {
  printf 'test-vm: %s\n' "$*" >&2
  exit 1
}

say() {
  printf 'test-vm: %s\n' "$*" >&2
}

# digest prints a short digest of its input.
digest() {
  sha256sum | cut -c 1-16
}

# digest_files FILE... prints one of the files' names and content.
digest_files() {
  (cd "$tree" && sha256sum -- "${@#"$tree"/}") | digest
}

# The children that run, and the signal that ends them.
children=()
end_signal=TERM

# run COMMAND... runs a program in a way that can be interrupted. In the
# foreground, bash would act on a signal only when the program has ended.
run() {
  start "$@"
  finished "$!"
}

# start COMMAND... starts a program, which finished waits for. It is told when
# this shell is killed.
start() {
  setpriv --pdeathsig "$end_signal" -- "$@" &
  children[$!]=running
}

# finished PID waits for a program that was started and returns its status.
finished() {
  local status=0
  wait "$1" || status=$?
  unset "children[$1]"
  return "$status"
}

# clean_up ends what was started and removes the working directory.
clean_up() {
  local child
  for child in "${!children[@]}"; do
    kill "-$end_signal" "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true # bash would say that it was killed
  done
  rm -rf "$work"
}

# work_dir PARENT makes a directory in PARENT and sets $work to it. It is locked
# for as long as this shell or a program that it started lives, and removed when
# the shell exits. Those that a killed run left, whose lock is free, are removed
# first.
work_dir() {
  local parent=$1 all old
  mkdir -p "$parent"
  exec {all}>"$parent/.codebeaker-vm.lock"
  flock "$all"
  for old in "$parent"/.codebeaker-vm.*/; do
    [ -e "$old" ] || continue
    if flock --nonblock "$old" true; then
      rm -rf "$old"
    fi
  done
  work=$(mktemp -d "$parent/.codebeaker-vm.XXXXXXXX")
  exec {work_lock}<"$work"
  flock "$work_lock"
  exec {all}>&-
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# publish NAME moves $work/new into the cache under NAME, if nobody was faster.
publish() {
  mv -T "$work/new" "$cache/$1" 2>/dev/null || [ -d "$cache/$1" ] || die "cannot make $cache/$1"
}

# use NAME prints the directory of an entry of the cache, and fails if there is
# none. Its time tells prune when it was last used.
use() {
  [ -d "$cache/$1" ] || return 1
  touch "$cache/$1"
  printf '%s\n' "$cache/$1"
}

# prune PREFIX removes the entries of a kind but the two that were used last,
# and spares what another run may just have started with.
prune() {
  find "$cache" -maxdepth 1 -name "$1*" -printf '%T@ %p\n' | sort -rn | tail -n +3 | cut -d ' ' -f 2- |
    while read -r entry; do
      find "$entry" -maxdepth 0 -mmin +60 -exec rm -rf {} +
    done
}

# in_namespaces COMMAND... runs a command in mount and process namespaces of its
# own, all of which end with it, and it with this shell. What it says is shown
# only where it fails.
in_namespaces() {
  end_signal=KILL # unshare waits for its child when it gets another
  run unshare --mount --pid --fork --kill-child -- "$@" >"$work/log" 2>&1 || {
    tail -n 40 "$work/log" >&2
    return 1
  }
}

# scratch DIRECTORY makes a directory for what is thrown away, in memory where
# that has room. It is called in namespaces, which take the mount with them.
scratch() {
  mkdir -p "$1"
  if [ "$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)" -ge $((4 << 20)) ]; then
    mount -t tmpfs -o mode=0755,size=3g codebeaker-vm "$1"
  fi
}

# filesystem LABEL SIZE DIRECTORY IMAGE [OFFSET] writes an ext4 file system that
# holds what the directory does. It is neither checked nor recovered: its user
# throws away what it wrote.
filesystem() {
  local options=lazy_itable_init=1,root_owner=0:0
  [ -z "${5:-}" ] || options=$options,offset=$5
  : >"$4"
  mke2fs -q -F -t ext4 -m 0 -L "$1" -O ^has_journal,^metadata_csum -E "$options" -d "$3" "$4" "$2"
}
