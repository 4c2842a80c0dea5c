#!/usr/bin/env bash
# deps.sh checks that whatever the module's packages need is in the module
# itself or in the standard library, on each kind of system.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly module=github.com/tidewire/websocket
for system in linux/amd64 windows/amd64 darwin/arm64 js/wasm; do
	export GOOS=${system%/*} GOARCH=${system#*/}
	d=$(go list -deps -f '{{if not .Standard}}{{.Module.Path}}{{end}}' ./...) || exit 1
	modules=$(sort -u <<<"$d" | grep .)
	printf '%s: %s\n' "$system" "$modules"
	test "$modules" = "$module" || exit 1
done
