#!/usr/bin/env bash
# start.sh runs peer.py with the websockets of requirements.txt.
set -euo pipefail
unset PYTHONPATH PYTHONHOME
here=$(cd "$(dirname "$0")" && pwd)
name=websockets-$(python3 -c 'import platform; print(platform.python_version())')
install='python3 -m venv venv && venv/bin/python -m pip install --quiet --requirement requirements.txt'
folder=$("$here/../cached.sh" "$name" "$here/requirements.txt" -- bash -c "$install")
exec "$folder/venv/bin/python" "$here/peer.py" "$@"
