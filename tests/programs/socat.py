# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""socat: a stream of bytes, a process for each connection, and children over a socketpair."""

import hashlib
import os

from lib import equal, main, need, on_both, shell

TEXT = b'first line\nsecond line\n'
BIG = hashlib.shake_128(b'socat').digest(1 << 20)

# "retry" makes the client wait for its server; the name has to be the server's by then.
SCRIPT = '''
socat %s & server=$!
%s
status=$?
kill $server 2>/dev/null
wait $server
exit $status
'''


def socat(side, server, client, stdin):
    need('socat')
    result = shell(side, SCRIPT % (server, client), stdin=stdin, timeout=30)
    equal(result.status, 0, result)
    return result.out


def echo(side, server, client):
    equal(socat(side, server, f'socat -t 10 - {client},retry=200,interval=0.02', TEXT), TEXT.decode())


def digest(side, server, client):
    out = socat(side, server, f'socat -t 10 - {client},retry=200,interval=0.02 | sha256sum', BIG)
    equal(out.split()[0], hashlib.sha256(BIG).hexdigest())


def one_way(side):
    out = socat(side, '-u UNIX-LISTEN:s CREATE:received',
                'socat -u - UNIX-CONNECT:s,retry=200,interval=0.02; wait $server; sha256sum received', BIG)
    equal(out.split()[0], hashlib.sha256(BIG).hexdigest())


def several(side):
    client = 'socat -t 10 - UNIX-CONNECT:s,retry=200,interval=0.02'
    out = socat(side, 'UNIX-LISTEN:s,fork PIPE',
                f'for i in 1 2 3 4 5; do echo $i | {client} >out.$i & jobs="$jobs $!"; done; wait $jobs; cat out.*',
                b'')
    equal(out.split(), ['1', '2', '3', '4', '5'])


def between(side):
    """A relay in the middle: two connections, one process that copies between them."""
    out = socat(side, 'UNIX-LISTEN:s,fork PIPE',
                'socat UNIX-LISTEN:t,fork UNIX-CONNECT:s,retry=200,interval=0.02 & relay=$!\n'
                'socat -t 10 - UNIX-CONNECT:t,retry=200,interval=0.02; status=$?; kill $relay; wait $relay; '
                '(exit $status)', TEXT)
    equal(out, TEXT.decode())


main(on_both('UNIX-LISTEN echoes two lines', echo, 'UNIX-LISTEN:s PIPE', 'UNIX-CONNECT:s')
     + on_both('UNIX-LISTEN with fork', echo, 'UNIX-LISTEN:s,fork PIPE', 'UNIX-CONNECT:s')
     + on_both('five clients at once, a fork for each', several)
     + on_both('ABSTRACT-LISTEN with fork', echo, f'ABSTRACT-LISTEN:afunix-test-socat-{os.getpid()},fork PIPE',
               f'ABSTRACT-CONNECT:afunix-test-socat-{os.getpid()}')
     + on_both('EXEC: a child whose standard input and output are a socketpair', echo,
               'UNIX-LISTEN:s,fork EXEC:cat', 'UNIX-CONNECT:s')
     + on_both('SYSTEM: a shell behind pipes', echo, 'UNIX-LISTEN:s,fork SYSTEM:cat,pipes', 'UNIX-CONNECT:s')
     + on_both('EXEC with nofork: the child has the connection itself', echo,
               'UNIX-LISTEN:s EXEC:cat,nofork', 'UNIX-CONNECT:s')
     + on_both('a megabyte one way, into a file', one_way)
     + on_both('a megabyte there and back', digest, 'UNIX-LISTEN:s,fork EXEC:cat', 'UNIX-CONNECT:s')
     + on_both('a relay between two sockets', between))
