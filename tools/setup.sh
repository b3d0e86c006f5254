#!/bin/sh
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
#
# Installs the Debian packages that one job needs: setup.sh build | run | test.
# Asks the package manager for nothing when everything is there, so only the first
# run needs a network.  No daemon that a package brings is started or enabled.
set -eu
PATH=$PATH:/usr/sbin:/sbin

build='meson ninja-build gcc libc6-dev uthash-dev pkg-config python3'
run="$build redis-server redis-tools strace"
tests="$run socat mandoc spin"
# Programs that tests/programs runs when it finds them.  Python's tests come by its version.
python=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo 3.11)
programs="dbus-daemon dbus-bin libglib2.0-bin systemd python3-dbus python3-gi
	nginx php-fpm memcached curl openssh-client gnupg gpg-agent git tmux bsdutils
	xvfb x11-utils weston postgresql nodejs libpython$python-testsuite busybox-static musl-tools
	libglib2.0-tests dbus-tests systemd-tests"

case ${1:-test} in
build) wanted=$build ;;
run) wanted=$run ;;
test) wanted="$tests $programs" ;;
*) echo "usage: setup.sh build | run | test" >&2; exit 2 ;;
esac

# A tool that came some other way than by its package is good enough.
present() {
	case $1 in
	ninja-build) command -v ninja ;;
	libc6-dev) test -e /usr/include/stdlib.h ;;
	uthash-dev) test -e /usr/include/uthash.h ;;
	redis-tools) command -v redis-benchmark && command -v redis-cli ;;
	dbus-bin) command -v dbus-send ;;
	libglib2.0-bin) command -v gdbus ;;
	systemd) command -v busctl && command -v systemd-notify ;;
	python3-*) test -e "/usr/lib/python3/dist-packages/${1#python3-}" ;;
	openssh-client) command -v ssh-agent ;;
	gnupg) command -v gpg && command -v gpgconf ;;
	libpython*-testsuite) for p in python3 /usr/bin/python3; do $p -c 'import test.test_socket' && break; done ;;
	busybox-static) command -v busybox ;;
	musl-tools) command -v musl-gcc ;;
	libglib2.0-tests) test -e /usr/libexec/installed-tests/glib/socket ;;
	dbus-tests) test -e /usr/lib/dbus-1.0/debug-build/libexec/installed-tests/dbus/test-fdpass ;;
	systemd-tests) ls /usr/lib/systemd/tests/test-varlink /usr/lib/systemd/tests/unit-tests/test-varlink | grep . ;;
	nodejs) command -v node ;;
	postgresql) command -v initdb || ls /usr/lib/postgresql/*/bin/initdb ;;
	xvfb) command -v Xvfb ;;
	x11-utils) command -v xdpyinfo && command -v xprop ;;
	bsdutils) command -v script && command -v logger ;;
	php-fpm) command -v php-fpm || ls /usr/sbin/php-fpm* ;;
	*) command -v "$1" ;;
	esac >/dev/null 2>&1
}

# Of the packages given, those that are not here.
absent() {
	for package; do
		present "$package" || echo "$package"
	done
}

missing=$(absent $wanted)
[ -n "$missing" ] || exit 0

give_up() {
	echo "setup: $1; install these Debian packages and try again:" $missing >&2
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

echo "setup: installing" $missing
# invoke-rc.d and deb-systemd-invoke ask policy-rc.d before they start a service.  A
# policy that stands here already is the administrator's: it is left alone.
$as_root sh -s $missing <<'ROOT' || give_up 'apt-get failed'
set -eu
policy=/usr/sbin/policy-rc.d
services='redis-server nginx memcached php postgresql'
ours=
cleanup() { [ -z "$ours" ] || rm -f "$policy"; }
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e "$policy" ]; then
	ours=1
	{
		echo '#!/bin/sh'
		for service in $services; do printf 'case "$*" in *%s*) exit 101 ;; esac\n' "$service"; done
		echo 'exit 0'
	} >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -q </dev/null
get() { apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
# Its package would make a database at once; ours are made by the tests, elsewhere.
clusters=/etc/postgresql-common/createcluster.conf
case " $* " in
*' postgresql '*)
	if [ ! -e $clusters ] && get postgresql-common; then
		cp $clusters $clusters.saved
		echo 'create_main_cluster = false' >>$clusters
	fi ;;
esac
# One package that this release does not have must not keep the others away.
get "$@" || for package; do get "$package" || echo "setup: cannot install $package" >&2; done
[ ! -e $clusters.saved ] || mv $clusters.saved $clusters
# Nobody asked for daemons at the next boot either.
if [ -d /run/systemd/system ]; then
	for service in $services; do
		case " $* " in *" $service"*) ;; *) continue ;; esac
		for unit in $(systemctl list-unit-files --no-legend "$service*.service" </dev/null | cut -d' ' -f1); do
			systemctl disable --quiet "$unit" </dev/null || true
		done
	done
fi
ROOT

# Without a program its tests are skipped, and say so; without the rest there is nothing to test.
missing=$(absent $wanted)
for package in $missing; do
	case " $(echo ${programs}) " in
	*" $package "*) echo "setup: without $package; its tests will be skipped" >&2 ;;
	*) give_up "$package was installed, but its program is not in PATH" ;;
	esac
done
