#!/bin/sh
# Makes a virtual machine one that serves: it installs the server, lets it listen
# where a forwarded port arrives, and starts it, or starts it anew.
set -eu
cd "$(dirname "$0")/.."

packaging/install.sh >/dev/null
# A port that is forwarded to the machine arrives at its network card, not at its
# loopback. Who reaches that card is for the host to say.
sed -i 's/^listen = .*/listen = "0.0.0.0:5000"/' /etc/codebeaker/codebeaker.toml
systemctl enable --quiet codebeaker.service
systemctl restart codebeaker.service || {
	journalctl --unit codebeaker.service --lines 40 --no-pager >&2
	echo 'provision: the server does not start (see above)' >&2
	exit 1
}
codebeaker --version
