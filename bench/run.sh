#!/usr/bin/env bash
# run.sh compares this library with others, and writes RESULTS.md and charts/. Each round
# measures everything once, one peer right after the other for the same cell, and in another
# order, so that what else the machine does falls on all of them.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
	cat <<'EOF'
usage: bench/run.sh [flags]

  -quick         3 rounds of a few cells, in less than five minutes, to see about where things stand
  -rounds N      so many rounds (10; that is what decides whether a cell is lost)
  -bench REGEXP  only these benchmarks, such as Echo or 'Idle|Upgrade' (all)
  -dir DIR       where RESULTS.md and charts/ go (this folder)
  -out FILE      where go test's own output goes, for benchstat (a temporary file)
  -profile DIR   CPU profiles of what is measured go there, one for each cell, with names like the cells'

A full run takes three quarters of an hour, on a machine that does nothing else.
EOF
}
die() {
	printf 'run.sh: %s\n' "$*" >&2
	exit 1
}

scale=full rounds='' only=. dir=. out='' profile=''
while (($# > 0)); do
	case $1 in
	-quick) scale=quick && shift && continue ;;
	-rounds) rounds=${2-} ;;
	-bench) only=${2-} ;;
	-dir) dir=${2-} ;;
	-out) out=${2-} ;;
	-profile) profile=${2-} ;;
	-h | -help | --help) usage && exit ;;
	*) usage >&2 && die "unknown flag $1" ;;
	esac
	(($# > 1)) || die "$1 wants a value"
	shift 2
done
if [[ -z $rounds ]]; then
	rounds=10
	[[ $scale == full ]] || rounds=3
fi
[[ $rounds =~ ^[1-9][0-9]*$ ]] || die "-rounds $rounds: want a number"

# What is measured, and for how long each cell.
if [[ $scale == full ]]; then
	steps=(
		'Echo 100ms' 'Client 100ms' 'Read 40ms' 'Write 40ms' 'Mask 20ms'
		'Upgrade 300ms' 'Dial 300ms' 'Broadcast 200ms' 'CompressedEcho 100ms'
		'Idle 1x' 'IdleCompressed 1x'
	)
else
	steps=(
		'Echo 100ms' 'Client 100ms' 'Read 30ms' 'Write 30ms' 'Mask 10ms'
		'Upgrade 100ms' 'Dial 100ms' 'Broadcast 100ms' 'CompressedEcho 100ms'
		'Idle 1x' 'IdleCompressed 1x'
	)
fi

# The end that is measured has a processor, and the other end has another.
pin=() where='not bound to any'
if command -v taskset >/dev/null && (($(nproc) > 1)) && taskset --cpu-list 0,1 true 2>/dev/null; then
	pin=(taskset --cpu-list 1)
	export BENCH_CPU=0
	where='one for what is measured, one for the load'
fi

machine() {
	printf 'date: %s\n' "$(date -u +%F)"
	printf 'processors: %s, %s\n' "$(nproc)" "$where"
	[[ ! -r /proc/meminfo ]] || printf 'memory: %s\n' "$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)"
	printf 'kernel: %s %s\n' "$(uname -s)" "$(uname -r | grep -oE '^[0-9.]+')"
	printf 'go-version: %s\n' "$(go env GOVERSION) $(go env GOOS)/$(go env GOARCH)"
	printf 'revision: %s\n' "$(git describe --always --dirty 2>/dev/null || echo unknown)"
	printf 'modules: %s\n' "$(go list -m -f '{{.Path}} {{.Version}}' github.com/gorilla/websocket \
		github.com/coder/websocket github.com/gobwas/ws github.com/lxzan/gws golang.org/x/net | paste -sd, | sed 's/,/, /g')"
}

# look notes how long the processors have been busy, and for us, in hundredths of a second: results are to be
# believed if something else had little of them.
look() {
	busy=$(awk '/^cpu / { print $2 + $3 + $4 + $7 + $8 }' /proc/stat)
	times >"$work/times" # of this shell, so not in another
	own=$(awk -F'[ms ]+' '{ sum += 60 * $1 + $2 + 60 * $3 + $4 } END { printf "%.0f", 100 * sum }' "$work/times")
}
# elsewhere says how much that was since the first look.
elsewhere() {
	local -i busy_before=$busy own_before=$own
	look
	awk -v other=$((busy - busy_before - own + own_before)) -v all=$(((SECONDS - start + 1) * 100 * $(nproc))) \
		'BEGIN { printf "elsewhere: %.0f %% of the processors'"'"' time\n", 100 * (other > 0 ? other : 0) / all }'
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=${out:-$work/out}
go test -c -o "$work/bench.test" .
go build -o "$work/report" ./report
machine >"$out"
[[ -z $profile ]] || mkdir -p "$profile"
start=$SECONDS
look

failed=0
for ((round = 1; round <= rounds; round++)); do
	for step in "${steps[@]}"; do
		read -r name time <<<"$step"
		[[ $name =~ $only ]] || continue
		printf 'run.sh: round %d of %d: %s\n' "$round" "$rounds" "$name" >&2
		# A cell that fails is none that is won.
		timeout 1h "${pin[@]}" "$work/bench.test" -test.run '^$' -test.bench "^Benchmark$name\$" -test.benchtime "$time" \
			-scale "$scale" -rotate $((round - 1)) -profile "$profile" >"$work/step" 2>&1 || {
			cat "$work/step" >&2
			failed=1
		}
		grep -E '^(Benchmark.*/op|[a-z]+: )' "$work/step" >>"$out" || true
	done
done
{
	elsewhere
	cat "$out"
} >"$work/rounds"
cat "$work/rounds" >"$out"
"$work/report" -o "$dir/RESULTS.md" "$out"
printf 'run.sh: %s\n' "$dir/RESULTS.md" >&2
((failed == 0)) || die 'not everything could be measured, see above'
