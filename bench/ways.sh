#!/usr/bin/env bash
# ways.sh measures ways to do the same, and prints medians: package hub beside a loop over connections, or
# package sse beside such a loop and other libraries. Each round measures everything once, one way after the other.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
	cat <<'EOF'
usage: bench/ways.sh hub|sse [flags]

  -quick      3 rounds with fewer connections, in two minutes
  -rounds N   so many rounds (10, in a quarter of an hour)
  -out FILE   where go test's own output goes, for benchstat (a temporary file)
EOF
}
die() {
	printf 'ways.sh: %s\n' "$*" >&2
	exit 1
}

case ${1-} in
hub)
	steps=('Hub$ 500ms' 'HubIdle$ 1x' 'HubStalled$ 1x') base=loop
	;;
sse)
	steps=('SSE$ 500ms' 'SSEIdle$ 1x' 'SSEStalled$ 1x' 'SSEDecoder$ 200ms') base='sse-loop ours'
	;;
-h | -help | --help) usage && exit ;;
*) usage >&2 && die "want hub or sse" ;;
esac
shift
rounds=10 scale=full out=
while (($# > 0)); do
	case $1 in
	-quick) rounds=3 scale=quick && shift && continue ;;
	-rounds) rounds=${2-} ;;
	-out) out=${2-} ;;
	-h | -help | --help) usage && exit ;;
	*) usage >&2 && die "unknown flag $1" ;;
	esac
	(($# > 1)) || die "$1 wants a value"
	shift 2
done
[[ $rounds =~ ^[1-9][0-9]*$ ]] || die "-rounds $rounds: want a number"

# The server has a processor, and the clients have another.
pin=()
if command -v taskset >/dev/null && (($(nproc) > 1)) && taskset --cpu-list 0,1 true 2>/dev/null; then
	pin=(taskset --cpu-list 1)
	export BENCH_CPU=0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${out:-$work/out}
go test -c -o "$work/bench.test" .
: >"$out"
for ((round = 0; round < rounds; round++)); do
	printf 'ways.sh: round %d of %d\n' $((round + 1)) "$rounds" >&2
	for step in "${steps[@]}"; do
		read -r name time <<<"$step"
		"${pin[@]}" "$work/bench.test" -test.run '^$' -test.bench "^Benchmark$name" -test.benchtime "$time" \
			-scale "$scale" -rotate "$round" >>"$out" || {
			cat "$out" >&2
			exit 1
		}
	done
done

# One line for each cell and unit: the median, and beside it how many times that of the way it is compared with.
awk '/^Benchmark/ {
	sub(/-[0-9]+$/, "", $1)
	for (i = 5; i < NF; i += 2) print $1, $(i + 1), $i
}' "$out" | sort -k1,1 -k2,2 -k3,3g | awk -v bases="$base" '
function flush() {
	if (n == 0) return
	medians[cell] = n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
	order[++cells] = cell
}
{
	if ($1 " " $2 != cell) { flush(); n = 0; cell = $1 " " $2 }
	values[++n] = $3
}
END {
	flush()
	count = split(bases, names, " ")
	for (i = 1; i <= cells; i++) {
		printf "%-64s %12.4g", order[i], medians[order[i]]
		for (k = 1; k <= count; k++) {
			base = order[i]
			sub(/way=[^\/ ]*/, "way=" names[k], base)
			if (base != order[i] && medians[base] > 0)
				printf "   %.2f times %s, %+.4g", medians[order[i]] / medians[base], names[k], medians[order[i]] - medians[base]
		}
		print ""
	}
}'
