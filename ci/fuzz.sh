#!/usr/bin/env bash
# fuzz.sh runs each fuzz target for $FUZZTIME (20s). An input that fails is left
# under testdata/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=$(grep -rE '^func Fuzz\w*\(' --include='*_test.go' . |
	sed -E 's|^(.*)/[^/]*:func (Fuzz\w*)\(.*|\1 \2|') || {
	echo "fuzz.sh: there is no fuzz target" >&2
	exit 1
}
while read -r dir target; do
	(
		cd "$dir"
		set -x
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" . </dev/null
	)
done <<<"$targets"
