#!/usr/bin/env bash
# coverage.sh prints how many of the package's statements its tests execute, and which
# functions have others. It fails below 95 %, and if the tests print anything.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=$(mktemp)
trap 'rm -f "$profile"' EXIT

echo "go test -short -coverprofile $profile"
output=$(go test -count=1 -short -coverprofile "$profile") || {
	echo "$output"
	exit 1
}
echo "$output"
if grep -vE '^(PASS|coverage: .*|ok\s.*)$' <<<"$output"; then
	echo "coverage.sh: the tests print more than their result" >&2
	exit 1
fi

functions=$(go tool cover -func "$profile" | grep -v '100.0%$' || true)
printf '%s\n' "$functions"
percent=$(go tool cover -func "$profile" | awk '/^total:/ { print $NF + 0 }')
awk -v percent="$percent" 'BEGIN { exit !(percent >= 95) }' || {
	echo "coverage.sh: $percent % is less than 95 %" >&2
	exit 1
}
