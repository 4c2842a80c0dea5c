#!/usr/bin/env bash
# venv.sh installs the Autobahn test suite into a Python 2.7 virtual environment
# and prints the path of that environment's Python. Everything else it has to
# say goes to standard error.
#
# A complete environment is used again. It lives outside the source tree, in
# $AUTOBAHN_VENV or else in the user's cache folder. The interpreter is $PYTHON27,
# or python2.7 on the PATH, or the newest 2.7 that pyenv has. A C compiler is
# needed, since parts of the suite come as source only.
set -euo pipefail
unset PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_PYTHON_VERSION_WARNING=1

# In the order of installation. The first three are what the suite's own
# setup demands; the rest must be there before Twisted is, see below.
readonly packages=(
	pip==20.3.4
	setuptools==44.0.0
	wheel==0.36.2
	incremental==16.10.1
	pyOpenSSL==19.1.0
	cryptography==3.3.2
	Twisted==19.10.0
	autobahntestsuite==25.10.1
)
readonly venv=${AUTOBAHN_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/tidewire-websocket/autobahn}
readonly python=$venv/bin/python

say() { printf 'venv.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# is27 reports whether $1 is a Python 2.7 that runs and has TLS. That a file is
# there proves nothing: pyenv's shims exist for every version it ever had.
is27() {
	"$1" -c 'import ssl, sys; sys.exit(sys.version_info[:2] != (2, 7))' >/dev/null 2>&1
}

find27() {
	if [[ -n ${PYTHON27:-} ]]; then
		is27 "$PYTHON27" || die "PYTHON27=$PYTHON27 is no Python 2.7 with the module ssl"
		printf '%s\n' "$PYTHON27"
		return
	fi
	local candidate found=
	for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7 python2.7; do
		if is27 "$candidate"; then found=$candidate; fi
	done
	[[ -n $found ]] || die "no Python 2.7 found: install one (pyenv install 2.7.18) or name it in PYTHON27"
	printf '%s\n' "$found"
}

# create makes an empty environment. virtualenv 16 is one file that needs nothing
# else and brings its own pip; any pip, of Python 2 or 3, can fetch it.
create() {
	local interpreter=$1 fetched pip
	fetched=$(mktemp -d)
	for pip in "$interpreter" python3 python; do
		if "$pip" -m pip install --quiet --no-deps --target "$fetched" virtualenv==16.7.12 >&2; then
			"$interpreter" "$fetched/virtualenv.py" --quiet --no-download "$venv" >&2
			rm -rf "$fetched"
			return
		fi
	done
	rm -rf "$fetched"
	die "no pip could fetch virtualenv"
}

install() {
	local package
	for package in "${packages[@]}"; do
		say "installing $package"
		case $package in
		# In an isolated build Twisted would be given the newest incremental,
		# which has left Python 2 behind.
		Twisted==*) "$python" -m pip install --quiet --no-build-isolation "$package" >&2 ;;
		*) "$python" -m pip install --quiet "$package" >&2 ;;
		esac
	done
	"$python" -c 'from autobahntestsuite import wstest' >&2
}

# The stamp is written last and holds what was installed: an environment
# that was left half made, or made from another list, is made anew.
readonly mark=$venv.mark stamp=$venv/complete
if [[ -f $stamp && $(cat "$stamp") == "${packages[*]}" ]] && is27 "$python"; then
	printf '%s\n' "$python"
	exit
fi
if [[ -e $venv && ! -e $mark ]]; then
	die "$venv exists and was not made by this script"
fi

interpreter=$(find27)
say "making $venv with $interpreter"
mkdir -p "$(dirname "$venv")"
: >"$mark"
rm -rf "$venv"
create "$interpreter"
install
printf '%s\n' "${packages[*]}" >"$stamp"
printf '%s\n' "$python"
