#!/bin/sh
# Runs the integration tests, as make test-binary compiled them, against the
# service that install.sh installed. They stop it, kill it and end its sessions,
# so this is for a machine that serves nobody else. Arguments go to the test
# program.
set -eu
cd "$(dirname "$0")/.."

tests=$PWD/bin/integration.test
[ -x "$tests" ] || {
	echo 'test-installed: bin/integration.test is missing: run make test-binary first' >&2
	exit 1
}
# By how much programs are slower than on an ordinary machine, as under emulation.
: "${CODEBEAKER_TEST_SLOWDOWN:=1}"
export CODEBEAKER_TEST_SLOWDOWN
export CODEBEAKER_TEST_VM=1
export CODEBEAKER_TEST_BIN=/usr/local/lib/codebeaker
export CODEBEAKER_TEST_SERVER=ws://127.0.0.1:5000/ws/jsonrpc

cd test
# Left out: what needs clients that are not installed here, among them those of
# npm's registry, what needs a registry of images, and images of all languages.
exec "$tests" -test.timeout $((CODEBEAKER_TEST_SLOWDOWN * 2 + 10))m \
	-test.skip '^Test(SeedExampleWithNpmWs|SessionThroughWscat|StreamThrough.*|ExamplesOfTheAPIDocument|ConfiguredLanguage|Languages.*|Packages.*|Pull.*|RefusedPulls.*|BrokenDownload.*)$' "$@"
