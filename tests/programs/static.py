# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Programs that can't be preloaded, because they are static: a clear refusal for what they inherit, and never garbage."""

import os
import sys

from lib import Skip, equal, main, need, on_both, prefix, run

# What parents of all kinds do: hand a socket to a child, by number or as its standard streams.
PARENT = '''
import os, socket, subprocess, sys
kind = {'stream': socket.SOCK_STREAM, 'dgram': socket.SOCK_DGRAM, 'seqpacket': socket.SOCK_SEQPACKET}[sys.argv[1]]
ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
ours.settimeout(10)
open('file', 'w').write('text')
'''

INHERITS = PARENT + '''
print(subprocess.run([sys.argv[2], str(theirs.fileno())], pass_fds=[theirs.fileno()], text=True,
                     stdout=subprocess.PIPE).stdout, end='')
theirs.send(b'first of all')
print(ours.recv(100))
ours.send(b'answer')
print(theirs.recv(100))
'''

STREAMS = PARENT + '''
ours.send(b'for the child')
if kind == socket.SOCK_STREAM:
    ours.shutdown(socket.SHUT_WR)
child = subprocess.run(['busybox', *sys.argv[2:]], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True)
print(child.returncode != 0, child.stderr.strip().rpartition(': ')[2])
print(theirs.recv(100))
theirs.send(b'from the parent')
print(ours.recv(100))
'''

# Between two programs that can be preloaded stands one that can't.
THROUGH = PARENT + '''
child = f"import socket; s = socket.socket(fileno={theirs.fileno()}); s.send(s.recv(100).upper())"
ours.send(b'through a shell')
print(subprocess.run(['busybox', 'sh', '-c', '"$0" -c "$1"; exit 5', sys.executable, child],
                     pass_fds=[theirs.fileno()]).returncode)
print(ours.recv(100))
'''

OUTSIDE = '''
import socket, subprocess, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind('listener')
    listener.listen()
    subprocess.run([sys.argv[1], './listener'])
'''

REFUSALS = {'EBADF': ('read', 'readv'), 'EPERM': ('write', 'writev', 'pwrite', 'epoll_ctl', 'ftruncate',
                                                   'ftruncate more', 'fallocate'),
            'EINVAL': ('sendfile',), 'EACCES': ('mmap',)}


def script(side, text, *arguments):
    result = run([*prefix(side), sys.executable, '-Bc', text, *arguments], timeout=20)
    equal((result.status, result.err), (0, ''), result)
    return result.out.splitlines()


def unaware():
    program = os.environ.get('UNAWARE')
    if not program:
        raise Skip('no static program could be linked here')
    return program


def inherits(kind):
    """Each call fails, as on a file, and the socket is as before for those who know what it is."""
    lines = script('afunix', INHERITS, kind, unaware())
    verdicts = dict(line.rsplit(' ', 1) for line in lines[:-2])
    equal(len(verdicts), 21, lines)
    for call, verdict in verdicts.items():
        equal(verdict, next((errno for errno, calls in REFUSALS.items() if call in calls), 'ENOTSOCK'), call)
    equal(lines[-2:], ["b'first of all'", "b'answer'"])


def streams(kind, *command):
    """A child that writes to its output is told, and says so; what was sent to it is still there."""
    need('busybox')
    lines = script('afunix', STREAMS, kind, *command)
    equal(lines, [f'True {"Bad file descriptor" if command[0] == "cat" else "Operation not permitted"}',
                  "b'for the child'", "b'from the parent'"])


def through(side):
    need('busybox')
    equal(script(side, THROUGH, 'stream'), ['5', "b'THROUGH A SHELL'"])


def outside(side):
    """Its own sockets are the kernel's, where nobody listens at a name of the domain."""
    equal(script(side, OUTSIDE, unaware()), [f'connect {"done" if side == "kernel" else "ECONNREFUSED"}',
                                             'socketpair done', 'send done'])


main([(f'a static program inherits a {kind} socket: refused, and nothing is lost', lambda kind=kind: inherits(kind))
      for kind in ('stream', 'dgram', 'seqpacket')]
     + [(f'busybox {" ".join(command)}: a {kind} socket as standard streams',
         lambda kind=kind, command=command: streams(kind, *command))
        for kind in ('stream', 'dgram', 'seqpacket') for command in (('cat',), ('echo', 'words'))]
     + on_both('a socket goes through a static shell to a program that knows it', through)
     + on_both('a static program connects', outside))
