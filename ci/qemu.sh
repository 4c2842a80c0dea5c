#!/usr/bin/env bash
# qemu.sh runs the tests on emulated machines of other kinds. The bytes of an s390x are
# the other way round. internal/idle starts itself anew, which an emulator can't, and
# measures the machine. Programs have nothing that depends on the kind of machine.
set -euxo pipefail
cd "$(dirname "$0")/.."
# Tests that start themselves as a program are not for an emulator.
skip='^TestProgram|^TestPanics$'
packages=$(go list ./... | grep -Ev '/internal/idle$|/cmd/|/examples/')
env GOARCH=arm64 go test -short -timeout 30m -skip "$skip" -exec qemu-aarch64-static $packages
env GOARCH=s390x go test -short -timeout 30m -skip "$skip" -exec qemu-s390x-static $packages
