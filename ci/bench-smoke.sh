#!/usr/bin/env bash
# bench-smoke.sh runs each benchmark once, to see that it can be run.
set -euo pipefail
cd "$(dirname "$0")/.."
output=$(mktemp)
trap 'rm -f "$output"' EXIT

(set -x && go test -run - -bench . -benchtime 1x ./...) | tee "$output"
grep -q '^Benchmark.* 1	' "$output" || {
	echo "bench-smoke.sh: no benchmark was run" >&2
	exit 1
}
