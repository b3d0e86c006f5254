# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Python's own ways to serve and to call over a Unix socket: blocking, asyncio, threads, forks."""

import os

from lib import equal, main, on_both, pair, peer


def same(side, server, client, wanted):
    result = pair(side, peer(*server), peer(*client), timeout=40)
    equal(result.status, 0, result)
    equal(result.out, wanted, result)


def blocking(side, path):
    greeting = repr(b'\0' + path[1:].encode() if path.startswith('@') else path)
    wanted = ''.join(f'hello {n} {greeting if n == 0 else ""}\nend of file\n' for n in range(5))
    same(side, ('blocking-server', path, 5), ('blocking-client', path, 5), wanted)


def big(side):
    same(side, ('blocking-server', 's', 1), ('big-client', 's'), 'True\n')


def asynchronous(side, connections):
    same(side, ('asyncio-server', 's'), ('asyncio-client', 's', connections), f'{connections} of {connections}\n')


def lines(side, kind):
    same(side, ('line-server', kind, 's'), ('line-client', 's', 10, 20), f'{10 * 20 + 10}\n')


main(on_both('blocking server and client, pathname', blocking, 's')
     + on_both('blocking server and client, abstract name', blocking, f'@afunix-test-python-{os.getpid()}')
     + on_both('a megabyte there and back', big)
     + on_both('asyncio, one connection with a megabyte', asynchronous, 1)
     + on_both('asyncio, 20 connections with a megabyte each', asynchronous, 20)
     + on_both('socketserver with threads', lines, 'threading')
     + on_both('socketserver with forks', lines, 'forking'))
