#!/usr/bin/env bash
# mutants.sh disables the rules of the protocol one by one: a test must fail each time.
set -euxo pipefail
cd "$(dirname "$0")/.."
go run ./ci/mutants
