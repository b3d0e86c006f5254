# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Injected refusals: every cause of the table reaches a program as the refusal that it is."""

import json
import os
import sys

from lib import AFUNIX, check, equal, main, run

REFUSED = os.environ['REFUSED']
# What unix(7), socket(7) and the pages of the calls list for sockets of this family.
UNIX_7 = set('''EACCES EADDRINUSE EAFNOSUPPORT EAGAIN EBADF ECONNREFUSED ECONNRESET EDOM EFAULT EINTR EINVAL EISCONN ELOOP
    EMFILE EMSGSIZE ENAMETOOLONG ENFILE ENOBUFS ENODATA ENOENT ENOMEM ENOPROTOOPT ENOSPC ENOTCONN ENOTDIR ENOTSOCK ENOTTY
    EOPNOTSUPP EPERM EPIPE EPROTONOSUPPORT EPROTOTYPE ERANGE EROFS ESOCKTNOSUPPORT ESPIPE ESRCH ETOOMANYREFS'''.split())
# Words of the column of calls that the program does not make by that name, and those it makes instead.
INSTEAD = {'accept4': 'accept', 'pread': None, 'pwrite': None, 'lseek': None, 'fchmod': None, 'fchown': None, 'sendfile': None, 'splice': None,
           'afunix_attach': None}


def inject(specs, *calls, options=()):
    """The lines of the program as lists of words: call, errno, cause, signals."""
    specs = [word for spec in specs for word in ('--inject', spec)]
    result = run([AFUNIX, 'run', *options, *specs, '--', REFUSED, *calls])
    equal(result.status, 0, specs, result)
    return [line.split() for line in result.out.splitlines()]


def rows():
    result = run([AFUNIX, 'errors', '--json'])
    return [json.loads(line) for line in result.out.splitlines()]


def nothing_injected():
    calls = ('socket socketpair bind connect listen accept getsockname getpeername getsockopt setsockopt shutdown '
             'sockatmark read readv recv recvmsg write writev send quiet sendmsg ioctl fcntl dup dup2 dup3 poll select '
             'epoll_create epoll_ctl epoll_wait').split()
    equal(inject([], *calls), [[call, '0', '-', '0'] for call in calls])


def every_cause():
    """Each row by its first call that the program makes; together they are all errors of unix(7)."""
    seen, unreached = set(), []
    for row in rows():
        calls = [INSTEAD.get(word, word) for word in row['calls'].replace('*', 'connect').split()]
        calls = [call for call in calls if call]
        if row['errno'] == 'any':
            continue
        if not calls:
            unreached.append(row['id'])
            continue
        call = calls[0]
        got = inject([f'{call}:{row["id"]}'], call)
        signals = '1' if row['errno'] == 'EPIPE' and call == 'send' else '0'
        equal(got, [[call, row['errno'], row['id'], signals]], row)
        seen.add(row['errno'])
    equal(sorted(unreached), ['ATTACHED_ALREADY', 'INODE_OWNER', 'MOVE_FORM', 'NO_SUCH_DOMAIN', 'POSITION', 'POSITION_NEGATIVE'])
    equal(sorted(UNIX_7 - seen - {'ESPIPE'}), [])


def moving():
    """What the program above does not make: the kernel would refuse the first of these anyhow."""
    script = ('import os, socket\na, b = socket.socketpair()\nr, w = os.pipe()\nos.write(w, b"x")\n'
              'for call in (lambda: os.pread(a.fileno(), 1, 0), lambda: os.sendfile(a.fileno(), 0, 0, 1),\n'
              '             lambda: os.splice(r, a.fileno(), 1)):\n'
              '    try: print(call())\n'
              '    except OSError as error: print(error.errno)\n')
    result = run([AFUNIX, 'run', '--explain', '--inject', 'pread:POSITION_NEGATIVE', '--inject', 'sendfile:NO_MEMORY',
                  '--inject', 'splice:MOVE_FORM', '--', sys.executable, '-Bc', script])
    equal(result.out, '22\n12\n22\n', result)
    for cause in 'POSITION_NEGATIVE', 'NO_MEMORY', 'MOVE_FORM':
        check(f'{cause} (injected)' in result.err, result)


def families():
    """send and recv stand for all calls that send or receive, and nothing else is touched."""
    got = inject(['send:NO_MEMORY', 'recv:ECONNRESET'], 'write', 'writev', 'send', 'sendmsg', 'read', 'readv', 'recv',
                 'recvmsg', 'connect', 'getsockopt')
    equal([x[1] for x in got], 4 * ['ENOMEM'] + 4 * ['ECONNRESET'] + 2 * ['0'])
    got = inject(['write:NO_MEMORY'], 'write', 'send')
    equal([x[1] for x in got], ['ENOMEM', '0'])


def by_errno():
    equal(inject(['socket:EMFILE'], 'socket')[0], ['socket', 'EMFILE', 'NO_DESCRIPTOR', '0'])


def each_nth():
    got = inject(['send:SEND_FULL:every=3'], *(9 * ['send']))
    equal([x[1] for x in got], 3 * ['0', '0', 'EAGAIN'])


def by_chance():
    """The same seed gives the same refusals, another one others, and about as many as asked for."""
    def series(*options):
        return [x[1] for x in inject([':'.join(('send:SEND_FULL', *options))], *(200 * ['quiet']))]

    first = series('probability=0.25')
    equal(series('probability=0.25', 'seed=0'), first)
    check(30 <= first.count('EAGAIN') <= 70, first.count('EAGAIN'))
    check(series('probability=0.25', 'seed=1') != first)
    equal(set(series('probability=0')), {'0'})
    equal(set(series('probability=1')), {'EAGAIN'})


def by_path():
    for pattern, refused in (('refused', True), ('ref*', True), ('*', True), ('re?used', True), ('refuse', False),
                             ('other', False)):
        got = inject([f'connect:NO_MEMORY:path={pattern}'], 'connect')
        equal(got[0][1], 'ENOMEM' if refused else '0', pattern)
    # by the name that the socket itself has
    equal([x[1] for x in inject(['accept:NO_DESCRIPTOR:path=ref*'], 'accept', 'socket')], ['EMFILE', '0'])
    equal([x[1] for x in inject(['send:NO_MEMORY:path=ref*'], 'send')], ['0'])
    script = ('import socket\n'
              'for name in "\\0one", "\\0two":\n'
              '    l = socket.socket(socket.AF_UNIX); l.bind(name); l.listen()\n'
              '    c = socket.socket(socket.AF_UNIX); c.connect(name)\n'
              '    try: print(c.send(b"x"))\n'
              '    except OSError as error: print(error.errno)\n')
    result = run([AFUNIX, 'run', '--inject', 'send:NO_MEMORY:path=@tw*', '--', sys.executable, '-Bc', script])
    equal(result.out, '1\n12\n', result)


def broken_pipe():
    """SIGPIPE as the kernel sends it."""
    got = inject(['send:SEND_SHUT'], 'send', 'quiet', 'write', 'sendmsg')
    equal(got, [['send', 'EPIPE', 'SEND_SHUT', '1'], ['quiet', 'EPIPE', 'SEND_SHUT', '0'],
                ['write', 'EPIPE', 'SEND_SHUT', '1'], ['sendmsg', 'EPIPE', 'SEND_SHUT', '1']])
    # none for messages, and the signal's own action for a stream
    for kind, status, out in (('DGRAM', 0, '32\n'), ('SEQPACKET', 0, '32\n'), ('STREAM', 141, '')):
        script = (f'import signal, socket\na, b = socket.socketpair(type=socket.SOCK_{kind})\n'
                  'signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n'
                  'try: a.send(b"x")\nexcept OSError as error: print(error.errno)\n')
        result = run([AFUNIX, 'run', '--inject', 'send:EPIPE', '--', sys.executable, '-Bc', script])
        equal((result.status, result.out), (status, out), kind, result)


def several():
    got = inject(['connect:NO_MEMORY:every=2', 'connect:CONNECT_FULL:every=3'], *(6 * ['connect']))
    equal([x[1] for x in got], ['0', 'ENOMEM', 'EISCONN', 'ENOMEM', 'EAGAIN', 'ENOMEM'])


def explained():
    result = run([AFUNIX, 'run', '--explain', '--inject', 'recv:RECV_EMPTY', '--', REFUSED, 'recv'])
    lines = result.err.splitlines()
    check(len(lines) == 1 and 'recv(' in lines[0] and ' = EAGAIN RECV_EMPTY (injected): ' in lines[0], result)


def in_children():
    result = run([AFUNIX, 'run', '--inject', 'send:NO_MEMORY', '--', 'env', '-i', 'sh', '-c', f'"{REFUSED}" send; :'])
    equal(result.out, 'send ENOMEM NO_MEMORY 0\n', result)


def wrong_ones():
    """Refused before the program starts: status 2 and one line that says what is wrong."""
    for spec, word in (('connect', 'CALL:CAUSE'), ('', 'no call'), ('jump:NO_MEMORY', "'jump'"),
                       ('connect:NO_LUCK', "'NO_LUCK'"), ('connect:', "no cause ''"),
                       ('listen:CONNECT_FULL', 'connect can'), ('connect:EPIPE', 'EPIPE'), ('bind:FILESYSTEM', 'errno'),
                       ('send:NO_MEMORY:every=0', "'0'"), ('send:NO_MEMORY:every=-1', "'-1'"),
                       ('send:NO_MEMORY:every=2x', "'2x'"), ('send:NO_MEMORY:every=99999999999999999999', 'every'),
                       ('send:NO_MEMORY:probability=1.1', "'1.1'"), ('send:NO_MEMORY:probability=nan', 'nan'),
                       ('send:NO_MEMORY:seed=', 'seed'), ('send:NO_MEMORY:often', 'often'), ('send:NO_MEMORY:path=', 'path'),
                       ('send:NO_MEMORY:path=' + 112 * 'x', 'path'), ('send:NO_MEMORY:path=a\nb', 'line'),
                       (300 * 'x', 'longer')):
        result = run([AFUNIX, 'run', '--inject', spec, '--', 'echo', 'started'])
        equal((result.status, result.out), (2, ''), spec, result)
        check(word in result.err and result.err.startswith('afunix: cannot inject'), spec, result)
    result = run([AFUNIX, 'run', *(33 * ['--inject', 'send:NO_MEMORY']), '--', 'echo', 'started'])
    equal((result.status, result.out, result.err), (2, '', 'afunix: more than 32 injections\n'))


main([('without an injection every call succeeds', nothing_injected),
      ('every cause can be injected', every_cause),
      ('positions and moving can be refused', moving),
      ('send and recv are families', families),
      ('a cause may be given by its errno', by_errno),
      ('every=N', each_nth),
      ('probability=P and seed=S', by_chance),
      ('path=GLOB', by_path),
      ('SIGPIPE comes with the EPIPE of a stream', broken_pipe),
      ('several injections', several),
      ('injected refusals are marked', explained),
      ('children are injected too', in_children),
      ('what is wrong is refused before the program starts', wrong_ones)])
