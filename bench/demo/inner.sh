#!/bin/bash
# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
#
# One measurement of the demo: starts a server, runs its client, ends the server.  It
# runs as it is on the kernel, and under "afunix run", where both are in one domain.
#
#   inner.sh redis DIR TEST CLIENTS REQUESTS     prints redis-benchmark's CSV
#   inner.sh echo DIR BIN-DIR ROUND-TRIPS        prints posix-echo-client's line
#
# DIR is an empty directory of the caller's, who removes it.
set -eu
kind=$1 dir=$2
path=$dir/socket
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
trap 'exit 1' HUP INT TERM

# Waits with the shell's own means: each program started here would be counted by strace.
await_socket() {
	local tries
	exec 9<>"$dir/clock"
	for ((tries = 0; tries < 100; tries++)); do
		[ ! -S "$path" ] || break
		read -r -t 0.05 -u 9 || true
	done
	read -r -t 0.1 -u 9 || true
}
mkfifo "$dir/clock"

case $kind in
redis)
	redis-server --port 0 --unixsocket "$path" --save '' --appendonly no --dir "$dir" >"$dir/log" 2>&1 &
	server=$!
	await_socket
	redis-benchmark -s "$path" -t "$3" -c "$4" -n "$5" -d 64 -r 100000 --csv
	kill "$server"
	wait "$server" || true
	server= ;;
echo)
	"$3/posix-echo-server" "$path" 1 &
	server=$!
	await_socket
	"$3/posix-echo-client" "$path" "$4" 64
	wait "$server"
	server= ;;
esac
