#!/usr/bin/env bash
# interop.sh takes programs made with other libraries through the exchanges of the matrix. What becomes
# of them must be what interop/RESULTS.md says.
set -euxo pipefail
cd "$(dirname "$0")/.."
go run ./interop/matrix -check
