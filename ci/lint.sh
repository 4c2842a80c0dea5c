#!/usr/bin/env bash
# lint.sh checks the source without running it.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
	printf 'lint.sh: %s\n' "$*" >&2
	exit 1
}

echo 'gofmt -l .'
unformatted=$(gofmt -l .)
[[ -z $unformatted ]] || fail "not as gofmt wants it: $unformatted"

while IFS= read -r module; do
	(
		cd "$(dirname "$module")"
		set -x
		go mod tidy -diff
		go vet -tags external ./...
		go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 -tags external ./...
	) </dev/null
done < <(find . -name go.mod -not -path '*/testdata/*' | sort)

# A library leaves the standard streams, and the log, to the program. The one
# exception is the place where net/http would log itself.
echo 'no package prints or logs'
printing=$(find . -name '*.go' -not -name '*_test.go' \
	-not -path './internal/testnet/*' -not -path './internal/idle/*' -not -path './examples/*' \
	-not -path './interop/*' -not -path './cmd/*' -not -path './adapters/chat/*' -not -path './autobahn/*' -not -path './bench/*' -not -path './ci/*' \
	-exec grep -nE '^[^/]*(\<(fmt\.Print|log\.[A-Z]|slog\.|os\.Std)|(^|[^.[:alnum:]])println?\()' {} + |
	grep -vE '^\./server\.go:[0-9]+:\s*log\.Printf\(format, args\.\.\.\)$' || true)
[[ -z $printing ]] || fail "prints or logs: $printing"
