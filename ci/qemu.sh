#!/usr/bin/env bash
# qemu.sh runs the tests on emulated machines of other kinds, side by side. The bytes of
# an s390x are the other way round. internal/idle starts itself anew, which an emulator
# can't, and measures the machine. Programs have nothing that depends on the kind of
# machine.
set -euo pipefail
cd "$(dirname "$0")/.."

# Tests that start themselves as a program are not for an emulator.
skip='^TestProgram|^TestPanics$'
packages=$(go list ./... | grep -Ev '/internal/idle$|/cmd/|/examples/')

emulate() {
	(set -x && GOARCH=$1 go test -p 1 -short -timeout 30m -skip "$skip" -exec "$2" $packages)
}
emulate arm64 qemu-aarch64-static &
failed=0
emulate s390x qemu-s390x-static || failed=$?
wait $! || failed=$?
exit "$failed"
