#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
#
# Runs the programs of examples/ as their comments say.  AFUNIX is the command, AFUNIXD
# the daemon, EXAMPLES the directory of the built examples.  TAP.
set -u
afunix=$AFUNIX afunixd=${AFUNIXD:-} examples=$EXAMPLES
unset AFUNIX_DOMAIN LD_PRELOAD
work=$(mktemp -d /tmp/afunix-test-XXXXXX)
number=0 failed=0
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# try TITLE COMMAND...: the command's output is shown if it fails.
try() {
	local title=$1 said
	shift
	number=$((number + 1))
	if said=$("$@" 2>&1); then
		echo "ok $number - $title"
	else
		failed=$((failed + 1))
		printf '%s\n' "$said" | sed 's/^/# /'
		echo "not ok $number - $title"
	fi
}

skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# echo_pair NAME [PREFIX...]: server and client in one shell
echo_pair() {
	local name=$1 said
	shift
	said=$(timeout 30 "$@" bash -c '"$0/posix-echo-server" "$1" 1 & "$0/posix-echo-client" "$1" 2000 64 || { kill $!; exit 1; }
		wait' "$examples" "$name") || return 1
	echo "$said"
	[[ $said =~ ^[0-9]+\ round\ trips\ per\ second,\ p50\ [0-9.]+\ us,\ p99\ [0-9.]+\ us$ ]]
}

# A large message needs more than one recv() on both sides.
echo_large() {
	timeout 30 "$@" bash -c '"$0/posix-echo-server" s 1 & "$0/posix-echo-client" s 50 65536 || { kill $!; exit 1; }
		wait' "$examples"
}

await() {
	local tries
	for ((tries = 0; tries < 250; tries++)); do
		[ ! -S "$1" ] || return 0
		sleep 0.02
	done
	echo "no socket $1"
	return 1
}

# An unmodified server in a lasting domain, and two clients of it: one that is linked with
# the library, one unmodified.
domain() {
	local status=0 daemon server said
	mkdir -m 700 runtime
	export AFUNIX_RUNTIME_DIR=$work/runtime
	"$afunixd" demo >daemon.out 2>&1 &
	daemon=$!
	await runtime/demo || { kill $daemon; wait $daemon; cat daemon.out; return 1; }
	"$afunix" run --domain demo -- "$examples/posix-echo-server" "$work/echo" 2 &
	server=$!
	await echo || status=1
	said=$(timeout 20 "$examples/domain" demo "$work/echo") || { status=1; echo "domain: exit status $?"; }
	echo "$said"
	[ "$said" = $'connected inside the domain\nhello from the library' ] || status=1
	timeout 20 "$afunix" run --domain demo -- "$examples/posix-echo-client" "$work/echo" 100 || status=1
	[ $status = 0 ] || kill $server
	wait $server || status=1
	kill -TERM $daemon
	wait $daemon
	echo "afunixd: exit status $?"
	[ ! -s daemon.out ] || { cat daemon.out; status=1; }
	[ -z "$(ls runtime)" ] || { echo "left behind: $(ls runtime)"; status=1; }
	return $status
}

echo 1..8
try 'echo over a pathname (kernel)' echo_pair s
try 'echo over a pathname (afunix)' echo_pair s "$afunix" run --
try 'echo over an abstract name (kernel)' echo_pair @afunix-test-echo
try 'echo over an abstract name (afunix)' echo_pair @afunix-test-echo "$afunix" run --
try 'echo of large messages (kernel)' echo_large
try 'echo of large messages (afunix)' echo_large "$afunix" run --
if [ -x "$examples/embedded" ]; then
	try 'embedded: two threads of one process' timeout 30 "$examples/embedded"
else
	skip 'embedded: two threads of one process' 'examples/embedded is not built'
fi
if [ -x "$examples/domain" ] && [ -x "$afunixd" ]; then
	try 'domain: the library and unmodified programs in a lasting domain' domain
else
	skip 'domain: the library and unmodified programs in a lasting domain' 'afunixd is not built'
fi
[ $failed = 0 ]
