#!/usr/bin/env bash
# deflate.sh compares internal/deflate with compress/flate and klauspost/compress, and
# prints tables. Each round measures everything once, one codec after the other, so that
# what else the machine does falls on all of them.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
	cat <<'EOF'
usage: bench/deflate.sh [flags]

  -quick         3 rounds of 20 ms, in a minute, to see about where things stand
  -rounds N      so many rounds (10)
  -time TIME     for each cell of a round (100ms)
  -bench REGEXP  what to measure (Deflate|Inflate)
  -out FILE      where go test's own output goes, for benchstat (a temporary file)
EOF
}
die() {
	printf 'deflate.sh: %s\n' "$*" >&2
	exit 1
}

rounds=10 time=100ms bench='Deflate|Inflate' out=
while (($# > 0)); do
	case $1 in
	-quick) rounds=3 time=20ms && shift && continue ;;
	-rounds) rounds=${2-} ;;
	-time) time=${2-} ;;
	-bench) bench=${2-} ;;
	-out) out=${2-} ;;
	-h | -help | --help) usage && exit ;;
	*) usage >&2 && die "unknown flag $1" ;;
	esac
	(($# > 1)) || die "$1 wants a value"
	shift 2
done
[[ $rounds =~ ^[1-9][0-9]*$ ]] || die "-rounds $rounds: want a number"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${out:-$work/out}
go test -c -o "$work/bench.test" .
go build -o "$work/table" ./table
: >"$out"
for ((round = 1; round <= rounds; round++)); do
	printf 'deflate.sh: round %d of %d\n' "$round" "$rounds" >&2
	"$work/bench.test" -test.run '^$' -test.bench "$bench" -test.benchtime "$time" -test.cpu 1 >>"$out" || {
		cat "$out" >&2
		exit 1
	}
done
"$work/table" -base Deflate=ours-1-15,Inflate=ours-15 <"$out"
