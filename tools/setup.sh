#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
#
# Installs the Debian packages that one job needs: setup.sh build | run | test.
# Asks the package manager for nothing when everything is there, so only the first
# run needs a network.  No daemon that a package brings is started or enabled.
set -eu

build='meson ninja-build gcc libc6-dev uthash-dev pkg-config python3'
run="$build redis-server redis-tools strace"
tests="$run socat mandoc spin"

case ${1:-test} in
build) wanted=$build ;;
run) wanted=$run ;;
test) wanted=$tests ;;
*) echo "usage: setup.sh build | run | test" >&2; exit 2 ;;
esac

# A tool that came some other way than by its package is good enough.
present() {
	case $1 in
	ninja-build) command -v ninja ;;
	libc6-dev) test -e /usr/include/stdlib.h ;;
	uthash-dev) test -e /usr/include/uthash.h ;;
	redis-tools) command -v redis-benchmark && command -v redis-cli ;;
	*) command -v "$1" ;;
	esac >/dev/null 2>&1
}

missing=
for package in $wanted; do
	present "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

give_up() {
	echo "setup: $1; install these Debian packages and try again:$missing" >&2
	exit 1
}

command -v apt-get >/dev/null 2>&1 || give_up 'there is no apt-get here'
if [ "$(id -u)" = 0 ]; then
	as_root=
elif ! command -v sudo >/dev/null 2>&1; then
	give_up 'neither root nor sudo'
elif sudo -n true 2>/dev/null; then
	as_root='sudo -n'
elif [ -t 0 ] && sudo -v; then
	as_root=sudo
else
	give_up 'sudo lets nobody in without a password here'
fi

echo "setup: installing$missing"
# invoke-rc.d and deb-systemd-invoke ask policy-rc.d before they start a service.  A
# policy that stands here already is the administrator's: it is left alone.
$as_root sh -s $missing <<'ROOT' || give_up 'apt-get failed'
set -eu
policy=/usr/sbin/policy-rc.d
ours=
cleanup() { [ -z "$ours" ] || rm -f "$policy"; }
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e "$policy" ]; then
	ours=1
	printf '#!/bin/sh\ncase "$*" in *redis*) exit 101 ;; esac\nexit 0\n' >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -q </dev/null
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" </dev/null
case " $* " in
*' redis-server '*)
	# Nobody asked for a database at the next boot either.
	if [ -d /run/systemd/system ]; then
		systemctl disable --quiet redis-server </dev/null || true
	fi ;;
esac
ROOT

for package in $missing; do
	present "$package" || give_up "$package was installed, but its program is not in PATH"
done
