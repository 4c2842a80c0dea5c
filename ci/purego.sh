#!/usr/bin/env bash
# purego.sh vets and tests what there is in Go for those who want no assembly.
set -euxo pipefail
cd "$(dirname "$0")/.."
go vet -tags purego ./...
go test -short -tags purego -run 'Mask|Frame|Conversations' .
