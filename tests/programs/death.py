# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""SIGKILL for one peer: the other sees just what the kernel would show it, and soon."""

from lib import equal, main, on_both, pair, peer

# POLLIN | POLLHUP, as the kernel gives when the peer has closed both ways.
HUNG_UP = 0x11
EPOLL_HUNG_UP = HUNG_UP | 0x2000

LATE = 'EPIPE\nECONNREFUSED\n'


def server_dies(side, how, wanted):
    result = pair(side, peer('doomed-server', 's'), peer('killing-client', 's', how), timeout=30)
    equal(result.out, wanted, result)
    equal(result.status, 0, result)


def next_client_lives(side):
    script = [peer('mortal-client', 's'), peer('blocking-client', 's', 1)]
    result = pair(side, peer('surviving-server', 's'),
                  ['bash', '-c', '"${@:1:5}"; "${@:6}"', 'bash', *script[0], *script[1]], timeout=30)
    equal(result.out, "b''\nhello 0 's'\nend of file\n", result)
    equal(result.status, 0, result)


main(on_both('the server dies: end of file, then EPIPE and ECONNREFUSED', server_dies, 'idle', f"b'' b''\n{LATE}")
     + on_both('the server dies with unread data: ECONNRESET once', server_dies, 'unread', f"ECONNRESET b''\n{LATE}")
     + on_both('a blocked recv() ends when the server dies', server_dies, 'blocked', f"b'' b''\n{LATE}")
     + on_both('a blocked poll() ends when the server dies', server_dies, 'poll', f"{HUNG_UP}\nb'' b''\n{LATE}")
     + on_both('a blocked epoll_wait() ends when the server dies', server_dies, 'epoll',
               f"{EPOLL_HUNG_UP}\nb'' b''\n{LATE}")
     + on_both('connections in the backlog are reset when the listener dies', server_dies, 'several',
               f"b'' b''\nECONNRESET\nECONNRESET\nECONNRESET\n{LATE}")
     + on_both('the client dies: end of file, and the next client is served', next_client_lives))
