#!/usr/bin/env bash
# start.sh builds main.rs with the tungstenite of Cargo.lock, and runs it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:$HOME/.cargo/bin
folder=$("$here/../cached.sh" tungstenite "$here"/{Cargo.toml,Cargo.lock,main.rs} -- cargo build --quiet --locked)
exec "$folder/target/debug/peer" "$@"
