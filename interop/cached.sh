#!/usr/bin/env bash
# cached.sh NAME FILE... -- COMMAND... prints the path of a folder in which COMMAND was
# run beside copies of the FILEs. It is run once, and again when a FILE has changed.
# The folder lives outside the source tree, in the user's cache folder.
set -euo pipefail

readonly cache=${XDG_CACHE_HOME:-$HOME/.cache}/tidewire-websocket/interop
readonly folder=$cache/$1
shift
files=()
while [[ $1 != -- ]]; do
	files+=("$1")
	shift
done
shift

complete() {
	local file
	for file in "${files[@]}"; do
		cmp -s "$file" "$folder/${file##*/}" || return
	done
}

if ! complete; then
	mkdir -p "$cache"
	fresh=$(mktemp -d "$folder.XXXXXX")
	trap 'rm -rf "$fresh"' EXIT
	cp "${files[@]}" "$fresh"
	(cd "$fresh" && "$@") >&2
	# Only what is complete gets the name.
	rm -rf "$folder"
	mv "$fresh" "$folder"
fi
printf '%s\n' "$folder"
