#!/usr/bin/env bash
# 386.sh runs the tests where an int has 32 bits.
set -euxo pipefail
cd "$(dirname "$0")/.."
env GOARCH=386 go test -short ./...
