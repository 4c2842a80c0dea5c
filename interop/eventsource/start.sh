#!/usr/bin/env bash
# start.sh runs peer.js with the eventsource and better-sse of package-lock.json.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$("$here/../cached.sh" eventsource "$here"/package{,-lock}.json -- npm ci --ignore-scripts --no-audit --no-fund)
NODE_PATH=$folder/node_modules exec node "$here/peer.js" "$@"
