#!/usr/bin/env bash
# run.sh runs the Autobahn test suite against this package, as a server, as a
# client, or as both at the same time, and fails if any case does.
set -euo pipefail

usage() {
	cat <<'EOF'
usage: autobahn/run.sh [flags]

  -cases PATTERNS   comma-separated cases, such as '1.*,2.*,9.1.1' (all: '*')
  -role ROLE        server, client or both (both)
  -engine ENGINE    docker or python (docker if an engine answers, else python)
  -echo WAY         how the testee reads and writes: append, messages or stream (append)
  -tls              over TLS, with a certificate made for this run
  -out DIR          where reports and logs go (a temporary folder, removed if all is well)
  -markdown FILE    also write the tables to FILE
  -timeout SECONDS  longest time the run may take (3600)
EOF
}

# The tag is there to be read: Docker goes by the digest.
readonly image=crossbario/autobahn-testsuite:25.10.1@sha256:519915fb568b04c9383f70a1c405ae3ff44ab9e35835b085239c258b6fac3074

cases='*' role=both engine='' way=append tls='' out='' markdown='' timeout=3600
say() { printf 'run.sh: %s\n' "$*"; }
die() {
	printf 'run.sh: %s\n' "$*" >&2
	exit 1
}

# The command as a person would write it, for the report.
invocation=autobahn/run.sh
for argument in "$@"; do
	case $argument in
	*[!A-Za-z0-9_./-]*) invocation+=" '$argument'" ;;
	*) invocation+=" $argument" ;;
	esac
done

while (($# > 0)); do
	case $1 in
	-cases) cases=${2-} ;;
	-role) role=${2-} ;;
	-engine) engine=${2-} ;;
	-echo) way=${2-} ;;
	-out) out=${2-} ;;
	-markdown) markdown=${2-} ;;
	-timeout) timeout=${2-} ;;
	-tls) tls=yes && shift && continue ;;
	-h | -help | --help) usage && exit ;;
	*) usage >&2 && die "unknown flag $1" ;;
	esac
	(($# > 1)) || die "$1 wants a value"
	shift 2
done
[[ $cases =~ ^[0-9.*]+(,[0-9.*]+)*$ ]] || die "-cases $cases: want patterns of digits, dots and stars"
[[ $role =~ ^(server|client|both)$ ]] || die "-role $role: want server, client or both"
[[ $engine =~ ^(|docker|python)$ ]] || die "-engine $engine: want docker or python"
[[ $timeout =~ ^[1-9][0-9]*$ ]] || die "-timeout $timeout: want seconds"

plays() { [[ $role == both || $role == "$1" ]]; }

here=$(cd "$(dirname "$0")" && pwd)
readonly here
work=$(mktemp -d "${TMPDIR:-/tmp}/autobahn.XXXXXX")
readonly work
if [[ -z $out ]]; then out=$work/out; fi
mkdir -p "$out"
out=$(cd "$out" && pwd)

# Whatever happens, nothing that was started here outlives the script.
containers=()
cleanup() {
	local status=$? pid patience
	trap - EXIT
	for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
	if ((${#containers[@]} > 0)); then docker rm -f "${containers[@]}" >/dev/null 2>&1 || true; fi
	for ((patience = 50; patience > 0; patience--)); do
		[[ -n $(jobs -rp) ]] || break
		sleep 0.1
	done
	for pid in $(jobs -rp); do kill -KILL "$pid" 2>/dev/null || true; done
	if ((status == 0)) || [[ $out != "$work"/* ]]; then
		rm -rf "$work"
	else
		say "the reports and logs are in $out"
	fi
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start runs a command in the background, as process $!, with its output in
# log file $1.
start() {
	local log=$1
	shift
	: >"$log"
	"$@" >>"$log" 2>&1 &
}

# fail prints the end of a log and gives up.
fail() {
	tail -n 20 "$2" | sed 's/^/    /' >&2
	die "$1; above is the end of its log ${2##*/}"
}

# await_line waits until process $1 has written a line that begins with $3 to
# its log $2, and prints that line.
await_line() {
	local pid=$1 log=$2 start=$3
	until grep -m 1 "^$start" "$log"; do
		kill -0 "$pid" 2>/dev/null || fail "a process ended early" "$log"
		((SECONDS < timeout)) || fail "nothing happened within $timeout s" "$log"
		sleep 0.1
	done
}

# await_end waits until process $1 has ended, and fails if it did not end well.
# Meanwhile its peer, process $3, has to stay alive.
await_end() {
	local pid=$1 log=$2 peer=$3 peer_log=$4
	while kill -0 "$pid" 2>/dev/null; do
		kill -0 "$peer" 2>/dev/null || fail "a process ended early" "$peer_log"
		((SECONDS < timeout)) || fail "the run did not end within $timeout s" "$log"
		sleep 0.1
	done
	wait "$pid" || fail "a process failed with status $?" "$log"
}

# stop ends process $1 the way it ought to end.
stop() {
	kill "$1" || fail "a process ended early" "$2"
	wait "$1" || fail "a process failed with status $? when told to stop" "$2"
}

free_port() {
	local port
	while true; do
		port=$((20000 + RANDOM % 12000)) # below the ports that the kernel gives out
		if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
	done
	printf '%s\n' "$port"
}

# spec makes the specification $1.json of this run from the one beside this
# script: its own address and folder for reports, and the cases asked for.
spec() {
	local name=$1 url=$2 outdir=$3 list
	list="\"${cases//,/\", \"}\""
	# The suite's server takes the files for TLS from here, its client ignores them.
	local tls_files=${tls:+, \"cert\": \"$spec_dir/cert.pem\", \"key\": \"$spec_dir/key.pem\"}
	sed -e "s|\"url\": \"[^\"]*\"|\"url\": \"$url\"$tls_files|" \
		-e "s|\"outdir\": \"[^\"]*\"|\"outdir\": \"$outdir\"|" \
		-e "s|\"cases\": \[[^]]*\]|\"cases\": [$list]|" \
		"$here/$name.json" >"$work/spec/$name.json"
}

# wstest starts the suite in mode $2, with log $1; further arguments are
# Docker's. Left to itself its server would listen on every interface.
readonly wstest_on_loopback='
from functools import partial
from autobahntestsuite import wstest
wstest.fuzzing.listenWS = partial(wstest.fuzzing.listenWS, interface="127.0.0.1")
wstest.run()
'
wstest() {
	local log=$1 mode=$2 name=autobahn-$2-$$
	shift 2
	case $engine in
	docker)
		containers+=("$name")
		start "$log" docker run --rm --init --name "$name" --user "$(id -u):$(id -g)" \
			--env HOME=/tmp --env PYTHONUNBUFFERED=1 \
			--add-host=host.docker.internal:host-gateway \
			--volume "$work/spec:/spec:ro" --volume "$out:/out" "$@" \
			"$image" wstest --webport 0 --mode "$mode" --spec "$spec_dir/$mode.json"
		;;
	python)
		PYTHONUNBUFFERED=1 start "$log" "$python" -c "$wstest_on_loopback" \
			--webport 0 --mode "$mode" --spec "$spec_dir/$mode.json"
		;;
	esac
}

if [[ -z $engine ]]; then
	engine=python
	if docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then engine=docker; fi
fi
# Where the suite finds its folders, and where it finds the testee.
case $engine in
docker)
	say "the suite runs in Docker, $image"
	suite="Docker image \`$image\`"
	spec_dir=/spec out_dir=/out testee_host=host.docker.internal listen=-listen-all
	docker image inspect "$image" >/dev/null 2>&1 || docker pull "$image"
	;;
python)
	say "the suite runs in a Python 2.7 virtual environment"
	python=$("$here/venv.sh")
	say "which is that of $python"
	suite=$("$python" -c 'import platform, autobahn, twisted
print("%s %s, Twisted %s" % (platform.python_implementation(), platform.python_version(), twisted.__version__))')
	spec_dir=$work/spec out_dir=$out testee_host=127.0.0.1 listen=
	;;
esac
mkdir -p "$work/spec" "$work/bin"
(cd "$here/.." && go build -o "$work/bin/" ./autobahn/testee ./autobahn/report)

scheme=ws testee_tls=()
if [[ -n $tls ]]; then
	scheme=wss
	(cd "$work/spec" && go run "$(go env GOROOT)/src/crypto/tls/generate_cert.go" \
		-host 127.0.0.1,host.docker.internal -ecdsa-curve P256 >/dev/null 2>&1)
	testee_tls=(-cert "$work/spec/cert.pem" -key "$work/spec/key.pem")
fi
testee() {
	local log=$1
	shift
	start "$log" "$work/bin/testee" -echo "$way" ${testee_tls[@]+"${testee_tls[@]}"} "$@"
}

# fresh makes folder $1 for the suite's reports, in place of those of another run.
fresh() {
	[[ ! -e $1 || -f $1/index.json ]] || die "$1 is there already and holds no reports"
	rm -rf "$1"
	mkdir -p "$1"
}

# The two roles have nothing in common, and run at the same time.
if plays server; then
	fresh "$out/server"
	testee "$out/server-testee.log" -role server ${listen:+"$listen"}
	server=$!
	address=$(await_line "$server" "$out/server-testee.log" 'listening on ')
	spec fuzzingclient "$scheme://$testee_host:${address##*:}" "$out_dir/server"
	wstest "$out/server.log" fuzzingclient
	fuzzing_client=$!
fi
if plays client; then
	fresh "$out/client"
	port=$(free_port)
	spec fuzzingserver "$scheme://127.0.0.1:$port" "$out_dir/client"
	wstest "$out/client.log" fuzzingserver --publish "127.0.0.1:$port:$port"
	fuzzing_server=$!
	testee "$out/client-testee.log" -role client -url "$scheme://127.0.0.1:$port"
	client=$!
fi

if plays server; then
	# Without a case to run, the suite would wait forever.
	line=$(await_line "$fuzzing_client" "$out/server.log" 'Cases = ')
	[[ $line != 'Cases = []' ]] || die "no case matches $cases"
	await_end "$fuzzing_client" "$out/server.log" "$server" "$out/server-testee.log"
	stop "$server" "$out/server-testee.log"
fi
if plays client; then
	await_end "$client" "$out/client-testee.log" "$fuzzing_server" "$out/client.log"
	stop "$fuzzing_server" "$out/client.log"
fi
say "both sides have ended after $SECONDS s"

"$work/bin/report" -out "$out" -role "$role" -cases "$cases" -suite "$suite" \
	-command "$invocation" ${markdown:+-markdown "$markdown"}
