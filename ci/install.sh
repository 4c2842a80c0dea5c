#!/usr/bin/env bash
# install.sh installs what the other steps need besides Go, on Debian and its
# relatives. It needs no root if everything is there.
set -euo pipefail

needs() {
	local command=$1
	shift
	command -v "$command" >/dev/null || packages+=("$@")
}
packages=()
needs gcc gcc libc6-dev # for the race detector
needs chromium chromium
needs qemu-s390x-static qemu-user-static
needs node nodejs
needs npm npm
needs cargo cargo
needs python3 python3 python3-venv
needs tinyproxy tinyproxy-bin
needs squid squid
needs danted dante-server
needs microsocks microsocks
needs redis-server redis-server
needs tmux tmux
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)

if ((${#packages[@]} == 0)); then
	echo "all there"
	exit
fi
export DEBIAN_FRONTEND=noninteractive
set -x
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends "${packages[@]}"
