#!/usr/bin/env bash
# external.sh runs the tests that need programs of others, such as a browser, with
# fewer messages than they exchange without -short.
set -euo pipefail
cd "$(dirname "$0")/.."

dirs=$(grep -rlE '^//go:build external$' --include='*_test.go' . | sed 's|/[^/]*$||' | sort -u) || {
	echo "external.sh: there is no test for it" >&2
	exit 1
}
while read -r dir; do
	(
		cd "$dir"
		set -x
		go test -count=1 -short -v -tags external . </dev/null
	)
done <<<"$dirs"
