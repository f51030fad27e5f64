package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"codebeaker/runtime/cgroup"
)

func TestSandboxHasNoPrivileges(t *testing.T) {
	b := python(t).session(t, nil)
	if id := b.sh("id").Stdout; !strings.HasPrefix(id, "uid=1000(sandbox) gid=1000(sandbox) groups=1000(sandbox)") {
		t.Errorf("id is %q", id)
	}
	status := b.sh("cat /proc/self/status").Stdout
	for _, want := range []string{
		"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
		"CapBnd:\t0000000000000000", "CapAmb:\t0000000000000000", "Seccomp:\t2", "NoNewPrivs:\t1",
	} {
		if !strings.Contains(status, want+"\n") {
			t.Errorf("status has no %q:\n%s", want, status)
		}
	}
	ids := strings.Fields(b.sh("cat /proc/self/uid_map").Stdout)
	if len(ids) != 3 || ids[0] != "0" || ids[1] == "0" || ids[2] != "65536" {
		t.Errorf("uid_map is %q; want a range of its own", ids)
	}
	if got := b.sh("cat /proc/self/oom_score_adj; echo -1000 > /proc/self/oom_score_adj || cat /proc/self/oom_score_adj").Stdout; got != "500\n500\n" {
		t.Errorf("its score for the OOM killer is %q; the agent is to outlive it", got)
	}
	if got := b.sh("ulimit -c").Stdout; got != "0\n" {
		t.Errorf("core dumps of %q", got)
	}
}

func TestSessionsShareNoIDs(t *testing.T) {
	s := busybox(t)
	a, b := s.session(t, nil), s.session(t, nil)
	if x, y := a.sh("cat /proc/self/uid_map").Stdout, b.sh("cat /proc/self/uid_map").Stdout; x == y {
		t.Errorf("both sessions have the ids %q", x)
	}
}

func TestSandboxSeesNothingOfTheHost(t *testing.T) {
	b := python(t).session(t, nil)
	for name, script := range map[string]string{
		"write the system":         "echo x > /usr/bin/x",
		"write sysctls":            "echo 1 > /proc/sys/vm/drop_caches",
		"write cgroups":            "find /sys/fs/cgroup -writable -type f | grep . || exit 1",
		"make a cgroup":            "mkdir /sys/fs/cgroup/x || mkdir /sys/fs/cgroup/memory/x",
		"read the kernel's memory": "head -c 1 /proc/kcore | grep .",
		"read keys":                "grep . /proc/keys",
		"mount":                    "mount -t tmpfs none /mnt",
		"a user namespace":         "unshare -U true",
		"signal pid 1":             "kill -9 1",
		"read the agent":           "cat /.codebeaker/agent",
		"change the agent":         "echo x > /.codebeaker/agent || rm -f /.codebeaker/agent",
		"look into the agent":      "ls -l /proc/1/exe /proc/1/root /proc/1/fd",
		"make a device":            "mknod /workspace/sda b 8 0",
		"load a module":            "python3 -c 'import ctypes,sys; sys.exit(0 if ctypes.CDLL(None).syscall(175,0,0,0)==0 else 1)'",
		"use clone3":               "python3 -c 'import ctypes,sys; c=ctypes.CDLL(None,use_errno=True); c.syscall(435,0,0); sys.exit(0 if ctypes.get_errno()!=38 else 1)'",
		"use bpf":                  "python3 -c 'import ctypes,sys; sys.exit(0 if ctypes.CDLL(None).syscall(321,0,0,0)>=0 else 1)'",
	} {
		if r := b.sh(script); r.ExitCode == 0 {
			t.Errorf("%s: %q ended with 0: %s%s", name, script, r.Stdout, r.Stderr)
		}
	}
	ps := b.sh("ls -d /proc/[0-9]*").Stdout
	if n := strings.Count(ps, "\n"); n > 4 {
		t.Errorf("it sees %d processes:\n%s", n, ps)
	}
}

func TestProgramsHaveTheirStreamsAndNothingElse(t *testing.T) {
	b := busybox(t).session(t, nil)
	if got := b.sh("ls /proc/self/fd").Stdout; got != "0\n1\n2\n3\n" { // the last is ls's own
		t.Errorf("open are %q", got)
	}
	got := b.sh("for fd in 0 1 2; do readlink /proc/self/fd/$fd; done").Stdout
	for path := range strings.Lines(got) {
		if strings.Count(path, "/") > 1 {
			t.Errorf("a stream shows a path of the host: %q", path)
		}
	}
}

func TestProgramsStartInTheirCgroup(t *testing.T) {
	b := busybox(t).session(t, nil)
	first := b.sh("cat /proc/self/cgroup").Stdout
	where := func(text, controller string) string {
		for line := range strings.Lines(text) {
			if parts := strings.SplitN(strings.TrimSpace(line), ":", 3); parts[1] == controller {
				return parts[2]
			}
		}
		return ""
	}
	found := 0
	for _, controller := range []string{"memory", ""} { // version 1's, and version 2
		if group := where(first, controller); group == "/" {
			t.Errorf("the program is not in a cgroup of its own:\n%s", first)
		} else if group != "" {
			found++
			if again := where(b.sh("cat /proc/self/cgroup").Stdout, controller); again == group {
				t.Errorf("two programs share cgroup %s", group)
			}
		}
	}
	if found == 0 {
		t.Errorf("no cgroup in %q", first)
	}
}

func TestTerminalIsTheUsersOwn(t *testing.T) {
	b := busybox(t).session(t, nil)
	r := b.do(object{"type": "execute_shell", "commandName": "sh", "tty": true, "rows": 33, "cols": 77, "args": []string{
		"-c",
		"ls -ln /dev/pts/0; echo to the terminal > /dev/tty; echo by its name > $(ls -l /proc/self/fd/0 | grep -o '/dev/pts/.*')",
	}}).Result
	if !regexp.MustCompile(`(?m)^crw--w---- +1 1000 +5 .*/dev/pts/0\r$`).MatchString(r.Stdout) ||
		!strings.Contains(r.Stdout, "to the terminal\r\n") || !strings.Contains(r.Stdout, "by its name\r\n") {
		t.Errorf("printed %q", r.Stdout)
	}
}

func TestNetworkIsUnreachable(t *testing.T) {
	s := python(t)
	b := s.session(t, nil)
	// The server itself listens on the host's loopback.
	port := s.base[strings.LastIndex(s.base, ":")+1:]
	r := b.do(object{"type": "execute_shell", "commandName": "python3", "args": []string{"-c", `
import socket, sys
for address in [("127.0.0.1", int(sys.argv[1])), ("192.0.2.1", 80)]:
    try:
        socket.create_connection(address, 3)
        print("connected to", address)
    except OSError as e:
        print(e.errno)
print(sorted(name for _, name in socket.if_nameindex()))
`, port}}).Result
	// ECONNREFUSED on its own loopback, ENETUNREACH elsewhere.
	if r.Stdout != "111\n101\n['lo']\n" {
		t.Errorf("printed %q, %q", r.Stdout, r.Stderr)
	}
}

func TestMemoryLimitKillsAndSaysSo(t *testing.T) {
	b := python(t).session(t, object{"memoryLimitMB": 64})
	if got := b.info.Config.MemoryLimitMB; got != 64 {
		t.Errorf("limit in force is %d MB", got)
	}
	o := b.do(object{"type": "execute_shell", "commandName": "python3", "args": []string{"-c", "print('start', flush=True); x = b'x' * (256 << 20)"}})
	if r := o.Result; o.Success || r.EndReason != "oom" || r.ExitCode != 137 || r.Stdout != "start\n" || o.Error == nil || !strings.Contains(*o.Error, "memory") {
		t.Errorf("answer %+v", o)
	}
	// The session goes on: the agent is not what the kernel chose.
	if r := b.sh("echo alive"); r.Stdout != "alive\n" {
		t.Errorf("after it, echo printed %q", r.Stdout)
	}
	// What /tmp and /dev/shm hold counts too.
	const most = "python3 -c 'x = bytearray(40 << 20)'"
	if r := b.sh(most); r.ExitCode != 0 {
		t.Fatalf("40 MiB: %+v", r)
	}
	if r := b.sh("head -c 24000000 /dev/zero > /tmp/x; head -c 8000000 /dev/zero > /dev/shm/x; " + most); r.ExitCode != 137 {
		t.Errorf("72 MB in memory were allowed: %+v", r)
	}
}

func TestPidsLimitRefusesForkBomb(t *testing.T) {
	s := python(t)
	b := s.session(t, object{"pidsLimit": 32})
	o := b.do(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "bomb() { bomb | bomb & }; bomb; sleep 1; echo over"}, "timeout": scaled(5 * time.Second)})
	if !strings.Contains(o.Result.Stderr, "fork") {
		t.Errorf("no fork was refused: %+v", o)
	}
	// The kernel's own account: the limit was hit. On cgroup v2 it depends on the
	// kernel whose it is; TestCgroup2CountsAForkBomb knows.
	if host, err := cgroup.Detect(); err != nil {
		t.Error(err)
	} else if events := readCgroup(t, s, b, "pids", "pids.events"); host.Mode() != "v2" && !regexp.MustCompile(`max [1-9]`).MatchString(events) {
		t.Errorf("pids.events says %q", events)
	}
	if got := b.sh("echo alive").Stdout; got != "alive\n" {
		t.Errorf("after it, echo printed %q", got)
	}
	if max := strings.TrimSpace(readCgroup(t, s, b, "pids", "pids.max")); max != "32" {
		t.Errorf("pids.max is %q", max)
	}
	b.close()
}

// readCgroup reads a file of a session's cgroup, on either version.
func readCgroup(t *testing.T, s *server, b *sandbox, controller, file string) string {
	t.Helper()
	var text []byte
	var err error
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/" + controller} {
		if text, err = os.ReadFile(filepath.Join(root, s.parent, b.info.ContainerID, file)); err == nil {
			return string(text)
		}
	}
	t.Fatal(err)
	return ""
}

func TestCPULimitThrottles(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{"cpuLimit": 0.2})
	r := b.do(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "while true; do :; done"}, "timeout": 2 * scaled(time.Second)}).Result
	// At 0.2 cores; a period more may have begun.
	if most := int64(2 * scaled(time.Second) * 1000 * 0.5); r.Usage.CPUMs < 50 || r.Usage.CPUMs > most {
		t.Errorf("it used %d ms of CPU; at 0.2 cores it may not use %d", r.Usage.CPUMs, most)
	}
	if stat := readCgroup(t, s, b, "cpu", "cpu.stat"); !regexp.MustCompile(`nr_throttled [1-9]`).MatchString(stat) {
		t.Errorf("it was not throttled:\n%s", stat)
	}
}

func TestSessionsFilesAreItsOwn(t *testing.T) {
	s := busybox(t)
	a, b := s.session(t, nil), s.session(t, nil)
	a.do(object{"type": "write_file", "path": "secret", "content": "a"})
	_, err := b.try(object{"type": "read_file", "path": "secret"})
	refused(t, err, -32007, "not found")
}
