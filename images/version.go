package images

import (
	"bytes"
	"regexp"
	"strings"
)

// repacked is what Debian adds to the version of a source that it left something
// out of.
var repacked = regexp.MustCompile(`[+~](dfsg|ds)[0-9.]*$`)

// packageVersion returns the upstream version of a package, "3.13.5" for
// Debian's "1:3.13.5-1" and "20.19.2" for "20.19.2+dfsg-1", from dpkg's status
// file. It returns an empty text where the package is not there.
func packageVersion(status []byte, name string) string {
	for stanza := range bytes.SplitSeq(status, []byte("\n\n")) {
		f := fields(stanza)
		if f["Package"] != name {
			continue
		}
		version := f["Version"]
		if _, v, ok := strings.Cut(version, ":"); ok {
			version = v
		}
		if i := strings.LastIndexByte(version, '-'); i >= 0 {
			version = version[:i]
		}
		return repacked.ReplaceAllString(version, "")
	}
	return ""
}
