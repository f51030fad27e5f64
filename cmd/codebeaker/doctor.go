package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/semver"
	"golang.org/x/sys/unix"

	"codebeaker/runtime"
	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/engine"
	"codebeaker/runtime/shim"
)

func newDoctorCommand() *cobra.Command {
	cfg := &config{}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host can and cannot enforce",
		Long: `Say what this host can and cannot enforce, a line for each thing. "ok" holds,
"warn" works with a loss that the line names, "fail" keeps sessions from
running. The exit code is 1 where anything fails.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.load(cmd); err != nil {
				return err
			}
			failed := false
			for _, c := range examine(cmd.Context(), cfg) {
				failed = failed || c.level == levelFail
				if err := c.print(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			if failed {
				return exitError(1)
			}
			return nil
		},
	}
	cfg.bindHost(cmd.Flags())
	cfg.bindSandboxes(cmd.Flags())
	return cmd
}

const (
	levelOK   = "ok"
	levelWarn = "warn"
	levelFail = "fail"
)

// finding is one thing that a host can or cannot do.
type finding struct{ level, subject, text string }

func (f finding) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%-4s  %-16s %s\n", f.level, f.subject, f.text)
	return err
}

func ok(subject, format string, args ...any) finding {
	return finding{levelOK, subject, fmt.Sprintf(format, args...)}
}

func warn(subject, format string, args ...any) finding {
	return finding{levelWarn, subject, fmt.Sprintf(format, args...)}
}

func fail(subject, format string, args ...any) finding {
	return finding{levelFail, subject, fmt.Sprintf(format, args...)}
}

// examine looks at the host. It changes nothing but the root directory, where
// it tries a file.
func examine(ctx context.Context, cfg *config) []finding {
	findings := []finding{examineUser(), examineKernel()}
	findings = append(findings, examineCgroups(cfg.CgroupParent)...)
	return append(findings,
		examineNamespaces(), examineOverlay(), examineSeccomp(), examineRoot(cfg.Root),
		examineRuntime(cfg), examineRunc(ctx, cfg), examineProgram("agent", cfg.Agent, "codebeaker-agent"), examineMmdebstrap())
}

func examineUser() finding {
	if os.Geteuid() != 0 {
		return fail("user", "not root: sessions need root to be made")
	}
	return ok("user", "root")
}

func examineKernel() finding {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return fail("kernel", "ask the kernel: %v", err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	number, _, _ := strings.Cut(release, "-")
	if semver.Compare("v"+number, "v5.19") < 0 {
		return fail("kernel", "Linux %s: 5.19 or later is needed, for overlay mounts with mapped ids", release)
	}
	return ok("kernel", "Linux %s", release)
}

func examineCgroups(parent string) []finding {
	host, err := cgroup.Detect()
	if err != nil {
		return []finding{fail("cgroups", "%v", err)}
	}
	var all []finding
	switch mode := host.Mode(); mode {
	case "v2":
		all = append(all, ok("cgroups", "v2"))
	case "hybrid":
		all = append(all, ok("cgroups", "hybrid: limits through v1, kill and CPU accounts through v2"))
	default:
		all = append(all, warn("cgroups", "%s: executions are killed process by process and have no CPU account", mode))
	}
	if missing := host.MissingControllers(parent); len(missing) > 0 {
		all = append(all, fail("limits", "cgroup %s has no %s controller: the limits of sessions would not hold", parent, strings.Join(missing, ", ")))
	} else {
		all = append(all, ok("limits", "memory, pids and CPU are enforced by the kernel"))
	}
	if host.SwapLimit() {
		return append(all, ok("swap", "sessions get none"))
	}
	if swapIsOff() {
		return append(all, ok("swap", "the host has none"))
	}
	return append(all, warn("swap", "the kernel does not account swap: sessions may use it beside their memory (boot with swapaccount=1)"))
}

func swapIsOff() bool {
	text, err := os.ReadFile("/proc/swaps")
	return err == nil && strings.Count(strings.TrimSpace(string(text)), "\n") == 0
}

func examineNamespaces() finding {
	for _, ns := range []string{"user", "pid", "net", "ipc", "uts", "mnt", "cgroup"} {
		if _, err := os.Stat(filepath.Join("/proc/self/ns", ns)); err != nil {
			return fail("namespaces", "the kernel has no %s namespaces", ns)
		}
	}
	text, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err == nil && strings.TrimSpace(string(text)) == "0" {
		return fail("namespaces", "user namespaces are switched off (sysctl user.max_user_namespaces)")
	}
	return ok("namespaces", "user, pid, net, ipc, uts, mount, cgroup")
}

func examineOverlay() finding {
	text, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return fail("overlay", "%v", err)
	}
	if strings.Contains(string(text), "\toverlay\n") {
		return ok("overlay", "the kernel has it")
	}
	return warn("overlay", "not loaded yet: modprobe overlay (the server needs it)")
}

func examineSeccomp() finding {
	text, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil {
		return fail("seccomp", "the kernel has none: system calls of sessions would not be filtered")
	}
	return ok("seccomp", "%s", strings.TrimSpace(string(text)))
}

// examineRoot finds the directory, or the nearest above it, that holds the
// root, and what room there is.
func examineRoot(root string) finding {
	dir := root
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" {
			break
		}
		dir = filepath.Dir(dir)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fail("root", "%s: %v", dir, err)
	}
	free := fs.Bavail * uint64(fs.Bsize) >> 20
	switch {
	case fs.Flags&unix.ST_RDONLY != 0:
		return fail("root", "%s is on a read-only filesystem", root)
	case fs.Type == unix.OVERLAYFS_SUPER_MAGIC:
		return fail("root", "%s is itself on an overlay, which cannot hold another: use a volume of another filesystem", root)
	case free < 2<<10:
		return warn("root", "%s has %d MiB free: an image takes up to 1 GiB", root, free)
	}
	return ok("root", "%s, %d GiB free", root, free>>10)
}

func examineRuntime(cfg *config) finding {
	switch {
	case !cfg.builtIn():
		return ok("runtime", "%s, by configuration", cfg.Runtime)
	case cfg.Runtime == shim.StockName:
		return ok("runtime", "%s, by configuration: runc starts each program", cfg.Runtime)
	default:
		return ok("runtime", "%s: a session's first process starts its programs", shim.Name)
	}
}

func examineRunc(ctx context.Context, cfg *config) finding {
	if !cfg.builtIn() {
		return ok("runc", "not used by runtime %s", cfg.Runtime)
	}
	path, err := findProgram(cfg.Runc, "runc")
	if err != nil {
		return fail("runc", "%v", err)
	}
	v, err := runtime.RuncVersion(ctx, path)
	if err != nil {
		return fail("runc", "%v", err)
	}
	if err := engine.CheckVersion("runc", v); err != nil {
		return fail("runc", "%v", err)
	}
	features, err := exec.CommandContext(ctx, path, "features").Output()
	if err != nil || !strings.Contains(string(features), "SCMP_ACT_ERRNO") {
		return fail("runc", "%s %s was built without seccomp", path, v)
	}
	return ok("runc", "%s %s, with seccomp", path, v)
}

func examineProgram(subject, given, name string) finding {
	path, err := findProgram(given, name)
	if err != nil {
		return fail(subject, "%v", err)
	}
	return ok(subject, "%s", path)
}

func examineMmdebstrap() finding {
	path, err := exec.LookPath("mmdebstrap")
	if err != nil {
		return warn("images", "mmdebstrap is not installed: images can be pulled and imported, not built")
	}
	return ok("images", "can be built with %s", path)
}
