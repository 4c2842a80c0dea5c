#!/usr/bin/env bash
# fuzz.sh runs each fuzz target for $FUZZTIME (5s). An input that fails is left
# under testdata/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
output=$(mktemp)
trap 'rm -f "$output"' EXIT

targets=$(grep -rE '^func Fuzz\w*\(' --include='*_test.go' . |
	sed -E 's|^(.*)/[^/]*:func (Fuzz\w*)\(.*|\1 \2|') || {
	echo "fuzz.sh: there is no fuzz target" >&2
	exit 1
}
while read -r dir target; do
	# To make an interesting input smaller may take a minute, in which nothing is tried.
	set -x
	(cd "$dir" && go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-5s}" -fuzzminimizetime 10x . </dev/null) 2>&1 |
		tee "$output" || {
		set +x
		# The engine may take the end of the time for a failure of the target's. A
		# real one leaves its input.
		if grep -q '^ *context deadline exceeded$' "$output" && ! grep -qE 'Failing input|failing input' "$output"; then
			echo "fuzz.sh: $target was interrupted, without a finding"
			continue
		fi
		exit 1
	}
	{ set +x; } 2>/dev/null
done <<<"$targets"
