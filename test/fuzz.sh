#!/usr/bin/env bash
# Runs every fuzz target of the module, one after another, for FUZZTIME each.
# An input that fails is kept by go in testdata/fuzz of its package: commit it
# with the repair, and it is a unit test from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

go=${GO:-go}
found=0
while IFS=: read -r file func; do
  found=1
  package=./$(dirname "$file")
  target=${func#func }
  echo "fuzz: $package $target"
  "$go" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" "$package"
done < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' -- * | sort)

if [ "$found" -eq 0 ]; then
  echo 'fuzz: the module has no fuzz targets' >&2
  exit 1
fi
