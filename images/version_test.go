package images

import "testing"

func TestPackageVersion(t *testing.T) {
	status := []byte("Package: python3-pip\nVersion: 25.1\n\nPackage: python3\nStatus: install ok installed\nVersion: 3.13.5-1\n\n" +
		"Package: procps\nVersion: 2:4.0.4-9\n\nPackage: node\nVersion: 20.19.2+dfsg-1+deb13u1\n\nPackage: mono\nVersion: 6.12.0.199+dfsg1-6\n\n" +
		"Package: npm\nVersion: 9.2.0~ds1-3\n\nPackage: none\nVersion: 1.0.dsx-1\n")
	for name, want := range map[string]string{
		"python3": "3.13.5", "python3-pip": "25.1", "procps": "4.0.4",
		"node": "20.19.2", "mono": "6.12.0.199", "npm": "9.2.0", "none": "1.0.dsx", "python": "",
	} {
		if got := packageVersion(status, name); got != want {
			t.Errorf("version of %s is %q; want %q", name, got, want)
		}
	}
}
