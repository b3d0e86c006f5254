# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""redis-server and its tools as Debian ships them, over a Unix socket."""

import hashlib
import os

from lib import check, equal, main, need, on_both, shell

# The server runs for one script; the script's last status is the case's.
SERVER = '''
redis-server --port 0 --unixsocket s --save '' --appendonly no --dir . >log 2>&1 &
server=$!
for ((i = 0; i < 500; i++)); do
	[ "$(redis-cli -s s ping 2>/dev/null)" != PONG ] || break
	sleep 0.02
done
{ %s
}
status=$?
kill $server
wait $server
exit $status
'''


def redis(side, script, stdin=b'', timeout=40):
    need('redis-server', 'redis-cli', 'redis-benchmark')
    result = shell(side, SERVER % script, stdin=stdin, timeout=timeout)
    equal(result.status, 0, result, open('log', encoding='utf-8').read()[-2000:] if os.path.exists('log') else '')
    return result.out


def ping(side):
    equal(redis(side, 'redis-cli -s s ping'), 'PONG\n')


def set_and_get(side):
    commands = [f'SET key:{n} value-{n}' for n in range(1000)] + [f'GET key:{n}' for n in range(1000)]
    out = redis(side, 'redis-cli -s s', ('\n'.join(commands) + '\n').encode())
    equal(out.splitlines(), ['OK'] * 1000 + [f'value-{n}' for n in range(1000)])


def pipelined(side):
    """redis-cli --pipe writes as fast as it can while the answers come."""
    commands = ''.join(f'*3\r\n$3\r\nSET\r\n$6\r\n{n:06}\r\n$64\r\n{n:064}\r\n' for n in range(10000))
    out = redis(side, 'redis-cli -s s --pipe; redis-cli -s s DBSIZE; redis-cli -s s GET 009999', commands.encode())
    equal(out.splitlines()[-3:], ['errors: 0, replies: 10000', '10000', f'{9999:064}'])


def big_value(side):
    value = hashlib.shake_128(b'big').hexdigest(1 << 20).encode()
    out = redis(side, 'redis-cli -s s -x SET big; redis-cli -s s STRLEN big; redis-cli -s s GET big | sha256sum',
                value)
    equal(out.split()[:3], ['OK', str(len(value)), hashlib.sha256(value + b'\n').hexdigest()])


def clients(side):
    out = redis(side, 'redis-benchmark -s s -c 30 -I >/dev/null & idle=$!\n'
                'for ((i = 0; i < 100; i++)); do n=$(redis-cli -s s INFO clients | tr -d "\\r" '
                '| sed -n s/^connected_clients://p); [ "$n" != 31 ] || break; sleep 0.05; done; echo $n\n'
                'kill $idle; wait $idle\n'
                'for ((i = 0; i < 100; i++)); do n=$(redis-cli -s s INFO clients | tr -d "\\r" '
                '| sed -n s/^connected_clients://p); [ "$n" != 1 ] || break; sleep 0.05; done; echo $n\n')
    equal(out, '31\n1\n')


def publish(side):
    out = redis(side, 'redis-cli -s s SUBSCRIBE news >heard & listener=$!\n'
                'for ((i = 0; i < 100; i++)); do [ "$(redis-cli -s s PUBLISH news hello)" != 1 ] || break; sleep 0.05; '
                'done\nfor ((i = 0; i < 100; i++)); do ! grep -q hello heard || break; sleep 0.05; done\n'
                'kill $listener; wait $listener\ncat heard')
    equal(out.split(), ['subscribe', 'news', '1', 'message', 'news', 'hello'])


def benchmark(side, options, tests):
    out = redis(side, f'redis-benchmark -s s -d 64 -r 1000 --csv {options}')
    rows = [line.split(',') for line in out.splitlines() if line.startswith('"')]
    equal([row[0].strip('"') for row in rows[1:]], tests, out)
    check(all(float(row[1].strip('"')) > 0 for row in rows[1:]), out)


main(on_both('PING', ping)
     + on_both('SET and GET of 1000 keys', set_and_get)
     + on_both('10000 pipelined commands', pipelined)
     + on_both('a value of 2 MB', big_value)
     + on_both('INFO counts clients that come and go', clients)
     + on_both('SUBSCRIBE and PUBLISH', publish)
     + on_both('redis-benchmark, 50 clients', benchmark, '-t set,get -c 50 -n 5000', ['SET', 'GET'])
     + on_both('redis-benchmark, pipelined', benchmark, '-t set,get -c 10 -n 5000 -P 16', ['SET', 'GET'])
     + on_both('redis-benchmark, a connection for each request', benchmark, '-t get -c 10 -n 500 -k 0', ['GET'])
     + on_both('redis-benchmark with threads', benchmark, '-t set -c 20 -n 5000 --threads 2', ['SET']))
