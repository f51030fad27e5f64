package compare

import (
	"bufio"
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/cgroup"
)

// Machine is what a run was made on.
type Machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	MemoryMiB  int    `json:"memoryMiB"`
	Kernel     string `json:"kernel"`
	System     string `json:"system"`
	Cgroups    string `json:"cgroups"`
	// LoadBefore and LoadAfter are the load averages of a minute before and
	// after the run; what is much before it was not the run's.
	LoadBefore float64 `json:"loadBefore"`
	LoadAfter  float64 `json:"loadAfter"`
}

func examineMachine() (Machine, error) {
	m := Machine{Processors: goruntime.NumCPU(), Processor: firstValue("/proc/cpuinfo", "model name", ":"), System: strings.Trim(firstValue("/etc/os-release", "PRETTY_NAME", "="), `"`)}
	kib, err := meminfo("MemTotal")
	if err != nil {
		return m, err
	}
	m.MemoryMiB = int(kib) >> 10
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return m, fmt.Errorf("ask the kernel for its version: %w", err)
	}
	m.Kernel = "Linux " + unix.ByteSliceToString(u.Release[:]) + " " + unix.ByteSliceToString(u.Machine[:])
	host, err := cgroup.Detect()
	if err != nil {
		return m, err
	}
	m.Cgroups = host.Mode()
	m.LoadBefore, err = load()
	return m, err
}

// firstValue returns what stands behind the first line's name, empty where
// there is none.
func firstValue(path, name, separator string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), separator)
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func load() (float64, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), " ")
	return strconv.ParseFloat(first, 64)
}
