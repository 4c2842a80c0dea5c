#!/usr/bin/env bash
# modules.sh vets and tests the modules in folders of this one, and runs each of their
# benchmarks once.
set -euo pipefail
cd "$(dirname "$0")/.."

modules=$(find . -mindepth 2 -name go.mod -not -path '*/testdata/*' | sort)
[[ -n $modules ]] || {
	echo "modules.sh: there is no such module" >&2
	exit 1
}
while read -r module; do
	(
		cd "${module%/go.mod}"
		set -x
		go vet ./...
		go vet -tags external ./...
		go test ./...
		go test -run - -bench . -benchtime 1x ./...
	) </dev/null
done <<<"$modules"
