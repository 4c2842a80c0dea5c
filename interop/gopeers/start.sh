#!/usr/bin/env bash
# start.sh NAME builds the peers made with Go libraries, and runs the one with that name.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$("$here/../cached.sh" gopeers "$here"/{go.mod,go.sum,*.go} -- go build -o peer .)
exec "$folder/peer" "$@"
