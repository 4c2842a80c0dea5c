#!/usr/bin/env bash
# readme.sh runs the commands that README.md tells newcomers to try, with no
# other program in reach than Go's own.
set -euo pipefail
cd "$(dirname "$0")/.."

# The lines of the sh block under the heading "Try it".
commands=$(awk '
	/^```/ { code = !code && $0 == "```sh"; next }
	/^#/ && !code { section = $0 ~ /^#+ Try it$/ }
	section && code && NF
' README.md)
if (($(wc -l <<<"$commands") < 2)); then
	echo "readme.sh: README.md has no two commands under Try it" >&2
	exit 1
fi

go=$(go env GOROOT)/bin
while IFS= read -r command; do
	printf '$ %s\n' "$command"
	PATH=$go "$BASH" -euo pipefail -c "$command" </dev/null
done <<<"$commands"
