#!/usr/bin/env bash
# race.sh runs the tests under the race detector.
set -euxo pipefail
cd "$(dirname "$0")/.."
go test -race ./...
