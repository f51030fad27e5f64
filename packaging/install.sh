#!/bin/sh
# Installs what make build made on this host, as a service of systemd: the
# programs, the units and, where there is none, a configuration. DESTDIR stands
# before every path; without it systemd is told of the units.
set -eu
cd "$(dirname "$0")/.."

lib=${DESTDIR:-}/usr/local/lib/codebeaker
units=${DESTDIR:-}/etc/systemd/system
conf=${DESTDIR:-}/etc/codebeaker

for program in codebeaker codebeaker-agent runc; do
	[ -x "bin/$program" ] || {
		echo "install: bin/$program is missing: run make build first" >&2
		exit 1
	}
done
# Not over a program that runs: install(1) unlinks the old file first.
install -D -m 0755 -t "$lib" bin/codebeaker bin/codebeaker-agent bin/runc packaging/hold-cgroup
mkdir -p "${DESTDIR:-}/usr/local/bin"
ln -sf ../lib/codebeaker/codebeaker "${DESTDIR:-}/usr/local/bin/codebeaker"
install -D -m 0644 -t "$units" packaging/codebeaker.service packaging/codebeaker-sessions.service packaging/codebeaker.slice
[ -e "$conf/codebeaker.toml" ] || install -D -m 0644 -t "$conf" packaging/codebeaker.toml
if [ -z "${DESTDIR:-}" ]; then
	systemctl daemon-reload
	echo 'installed; start it with: systemctl enable --now codebeaker'
fi
