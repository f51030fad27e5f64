#!/bin/bash
# What the machine is booted for: it installs the payload as a user would, starts
# the service, and runs the tests against it. It runs on the job disk, which is
# read-only, and its status is that of the tests.
set -uo pipefail
. ./settings

# The tests of the machine: a pattern of go test. Those that need cgroup v2 or
# systemd are all here; of the others a choice, as each takes ten times as long
# as on the host, where make test runs them all.
tests=(-test.run '^Test(Cgroup2|Unit|CrashedUnit|SessionsLive|ServerWithout|PythonSession|ProgramsGet|Deadline|FileCommands|Planted|SandboxHasNo|SandboxSees|Network|SIGTERM|SessionsLeave|BackgroundExecution|OutputArrives|TerminalIs|UsageIs|ExitCodeThat)')

# step NAME COMMAND... shows the seconds since the boot, and ends the job where
# the command fails.
step() {
  printf "vm: %3.0f s: %s\n" "$(cut -d " " -f 1 /proc/uptime)" "$1"
  shift
  "$@" || fail $?
}

fail() {
  echo '--- systemctl status'
  systemctl status --no-pager --lines 0 codebeaker.service codebeaker-sessions.service
  systemctl --failed --no-pager --plain --no-legend
  echo '--- journal'
  journalctl --unit codebeaker.service --unit codebeaker-sessions.service --no-pager --output short-monotonic | tail -n 200
  echo '--- kernel'
  dmesg --level emerg,alert,crit,err,warn | tail -n 40
  exit "$1"
}

boot_ended() {
  local state
  state=$(systemctl is-system-running --wait)
  [ "$state" = running ] || { echo "vm: the system is $state" && systemctl --failed --no-pager; }
}

run_tests() {
  [ ${#arguments[@]} -eq 0 ] || tests=("${arguments[@]}")
  CODEBEAKER_TEST_SLOWDOWN=$slowdown packaging/test-installed.sh -test.v "${tests[@]}"
}

step 'the boot ends' boot_ended
step 'the images are mounted' mount "$(nvme_disk images)" /var/lib/codebeaker
step 'what was built is installed' packaging/install.sh
step 'the unit is started' systemctl enable --quiet --now codebeaker.service
step 'the unit is active' systemctl is-active --quiet codebeaker.service
step 'the tests run' run_tests
step 'the unit still runs' systemctl is-active --quiet codebeaker.service
step 'the end' true
