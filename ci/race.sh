#!/usr/bin/env bash
# race.sh runs the tests under the race detector, of long tables a part.
set -euxo pipefail
cd "$(dirname "$0")/.."
go test -race -short ./...
