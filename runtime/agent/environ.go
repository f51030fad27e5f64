package agent

import (
	"bufio"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// passwdPath is the container's list of users.
const passwdPath = "/etc/passwd"

// maxPasswd bounds what is read of a list of users, in bytes.
const maxPasswd = 1 << 20

// environ returns the environment of a program as runc does: of what is given
// twice the last counts, and without HOME it is the directory that passwd has
// for the user, or "/".
func environ(env []string, passwd string, uid uint32) []string {
	var result []string
	given := map[string]bool{}
	for _, kv := range slices.Backward(env) {
		key, value, _ := strings.Cut(kv, "=")
		if given[key] || key == "HOME" && value == "" {
			continue
		}
		given[key] = true
		result = append(result, kv)
	}
	slices.Reverse(result)
	if !given["HOME"] {
		result = append(result, "HOME="+home(passwd, uid))
	}
	return result
}

// home looks a user's directory up in a file of the session, which may be
// anything.
func home(passwd string, uid uint32) string {
	const none = "/"
	f, err := os.OpenFile(passwd, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return none
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return none
	}
	lines := bufio.NewScanner(io.LimitReader(f, maxPasswd))
	for lines.Scan() {
		// name:password:uid:gid:comment:home:shell, see passwd(5)
		fields := strings.Split(lines.Text(), ":")
		if len(fields) > 5 && fields[2] == strconv.FormatUint(uint64(uid), 10) && strings.IndexByte(fields[5], 0) < 0 {
			return fields[5]
		}
	}
	return none
}
