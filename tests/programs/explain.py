# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Causes as a user sees them: "afunix run --explain", "afunix errors"."""

import json
import os
import re
import signal
import subprocess
import sys
import time

from lib import AFUNIX, Skip, check, end, environment, equal, main, run

LINE = re.compile(r'afunix: (?P<command>.+)\[(?P<pid>\d+)\] (?P<call>\w+)\((?P<arguments>.*)\) = (?P<errno>E\w+) '
                  r'(?P<cause>[A-Z_]+)(?P<injected> \(injected\))?: (?P<text>.+)')


def explained(script, *options, **more):
    """Runs a Python script under --explain; gives back the result and the lines, each as its parts."""
    return lines_of(run([AFUNIX, 'run', *(options or ('--explain',)), '--', sys.executable, '-Bc', script], **more))


def lines_of(result):
    lines = [LINE.fullmatch(line) for line in result.err.splitlines()]
    check(all(lines), result)
    return result, [line.groupdict() for line in lines]


DEAD = """
import os, socket
if os.fork() == 0:
    s = socket.socket(socket.AF_UNIX)
    open('/proc/self/comm', 'w').write('the server')
    s.bind(NAME)
    s.listen()
    print(os.getpid(), flush=True)
    os._exit(0)
os.wait()
try:
    socket.socket(socket.AF_UNIX).connect(NAME)
except OSError as error:
    print(error.errno)
"""


def dead_server(name):
    result, lines = explained(f'NAME = {name!r}\n{DEAD}')
    server, error = result.out.split()
    equal(error, '111', result)
    equal([(x['call'], x['errno'], x['cause']) for x in lines], [('connect', 'ECONNREFUSED', 'CONNECT_NOBODY')], result)
    shown = name.replace('\0', '@')
    check(shown in lines[0]['arguments'], result)
    check(re.search(re.escape(f'({shown}: last held by pid {server} (the server) until ') + r'\d+ m?s ago\)$',
                    lines[0]['text']), result)


def dead_receiver():
    """A datagram to a name that was given up, and one to a peer that is gone."""
    script = ('import os, socket\n'
              's, c, d = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for i in range(3))\n'
              's.bind("s")\n'
              'c.connect("s")\n'
              's.close()\n'
              'for send in (lambda: c.send(b"x"), lambda: d.sendto(b"x", "s"), lambda: d.send(bytes(1000000))):\n'
              '    try: send()\n'
              '    except OSError: pass\n'
              'print(os.getpid())\n')
    result, lines = explained(script)
    equal([(x['call'], x['cause']) for x in lines],
          [('send', 'DGRAM_PEER_DEAD'), ('sendto', 'CONNECT_NOBODY'), ('send', 'MESSAGE_TOO_LONG')], result)
    check(f'(s: last held by pid {result.out.strip()} (' in lines[1]['text'], result)
    check('(SO_SNDBUF is ' in lines[2]['text'], result)


def in_use():
    """bind() says who is in the way."""
    script = ('import socket, os\n'
              's = socket.socket(socket.AF_UNIX); s.bind("s")\n'
              'open("file", "w").close()\n'
              'for name in "s", "file", "\\0a", "\\0a":\n'
              '    try: t = socket.socket(socket.AF_UNIX); t.bind(name); kept = t\n'
              '    except OSError: pass\n'
              'print(os.getpid())\n')
    result, lines = explained(script)
    equal([x['cause'] for x in lines], 3 * ['NAME_IN_USE'], result)
    pid = result.out.strip()
    for line, words in zip(lines, (f'(s: held by pid {pid} (', '(file: a file)', f'(@a: held by pid {pid} (')):
        check(words in line['text'], words, result)


def long_history():
    """Of names that were given up the last 256 are remembered; those in use all are."""
    script = ('import os, socket\n'
              'def bind(name): s = socket.socket(socket.AF_UNIX); s.bind(name); return s\n'
              'kept = bind("\\0kept")\n'
              'for i in range(257): bind("\\0n%d" % i).close()\n'
              'for name in "\\0kept", "\\0n0", "\\0n1", "\\0n256":\n'
              '    try: socket.socket(socket.AF_UNIX).connect(name)\n'
              '    except OSError: pass\n'
              'print(os.getpid())\n')
    result, lines = explained(script)
    pid = result.out.strip()
    equal([(re.search(r'held by pid (\d+)', x['text']) or [0, ''])[1] for x in lines], [pid, '', pid, pid], result)


def other_user():
    """What another user's command is called is not told, its process is, as SO_PEERCRED would."""
    if os.geteuid() != 0:
        raise Skip('needs to become another user')
    script = DEAD.replace('try:', 'os.setgid(65534)\nos.setuid(65534)\ntry:')
    result, lines = explained(f'NAME = "\\0afunix-test-other"\n{script}')
    server = result.out.split()[0]
    check(len(lines) == 1 and f'last held by pid {server} until' in lines[0]['text'], result)


def limits():
    """The limit that was reached is named with its value."""
    script = ('import resource, socket\n'
              'a, b = socket.socketpair()\n'
              'a.setblocking(False)\n'
              'try:\n'
              '    while a.send(bytes(1000)): pass\n'
              'except BlockingIOError: pass\n'
              'resource.setrlimit(resource.RLIMIT_NOFILE, (9, 100))\n'
              'try: print([socket.socketpair() for i in range(9)])\n'
              'except OSError: pass\n')
    _, lines = explained(script, '--explain=all')
    equal([x['cause'] for x in lines], ['SEND_FULL', 'NO_DESCRIPTOR'])
    check(re.search(r'\(SO_SNDBUF is \d+, in use are \d+\)$', lines[0]['text']), lines)
    check(lines[1]['text'].endswith('(RLIMIT_NOFILE is 9)'), lines)


WAITS = """
import socket
a, b = socket.socketpair()
a.setblocking(False)
for i in range(3):
    try:
        a.recv(10)
    except BlockingIOError:
        pass
b.close()
try:
    a.send(b'x')
except BrokenPipeError:
    pass
"""


def only_failures():
    result, lines = explained(WAITS)
    equal([(x['call'], x['errno'], x['cause']) for x in lines], [('send', 'EPIPE', 'SEND_SHUT')], result)


def all_refusals():
    result, lines = explained(WAITS, '--explain=all')
    equal([x['cause'] for x in lines], 3 * ['RECV_EMPTY'] + ['SEND_SHUT'], result)
    equal(lines[0]['arguments'], '3, ..., 10, 0', result)


def nothing_without():
    result = run([AFUNIX, 'run', '--', sys.executable, '-Bc', WAITS])
    equal((result.status, result.out, result.err), (0, '', ''))


FAIL = ("import socket\n"
        "try: socket.socket(socket.AF_UNIX).connect('/nonexistent/x')\n"
        "except OSError: pass\n")


def children():
    """A forked child, one that is started with an environment of its own, and a grandchild."""
    script = ('import os, subprocess, sys\n'
              f'fail = {FAIL!r}\n'
              'if os.fork() == 0:\n'
              '    exec(fail)\n'
              '    os._exit(0)\n'
              'os.wait()\n'
              'subprocess.run([sys.executable, "-Bc", fail], env={})\n'
              'subprocess.run(["sh", "-c", "\\"$@\\"; :", "sh", sys.executable, "-Bc", fail])\n'
              'exec(fail)\n')
    result, lines = explained(script)
    equal(len(lines), 4, result)
    equal(len({x['pid'] for x in lines}), 4, result)
    equal({(x['call'], x['cause']) for x in lines}, {('connect', 'PATH_MISSING')}, result)


def stderr_closed():
    """What was taken at the start serves on, in the child too, and the program finds nothing in its way."""
    result, lines = explained(f'import os\nos.close(2)\nfd = os.dup(0)\nprint(fd)\nif os.fork():\n    os.wait()\n{FAIL}')
    equal((result.status, len(lines)), (0, 2), result)
    equal(result.out.split()[0], '2', result)


def stderr_unread():
    """A pipe that nobody reads any more ends the program no more than it would without."""
    process = subprocess.Popen([AFUNIX, 'run', '--explain', '--', sys.executable, '-Bc',
                                f'import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\ninput()\n{FAIL}\nprint("on")'],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True, env=environment())
    try:
        process.stderr.close()
        process.stdin.write(b'\n')
        process.stdin.close()
        equal(process.stdout.read(), b'on\n')
        equal(process.wait(timeout=10), 0)
    finally:
        end(process)
        process.stdout.close()


def stderr_is_a_socket():
    """Standard error may be a socket of the domain: then what is said there must not reach it as garbage."""
    script = ('import socket, subprocess, sys\n'
              'a, b = socket.socketpair()\n'
              f'subprocess.run([sys.executable, "-Bc", {FAIL!r}], stderr=b)\n'
              'b.close()\n'
              'print(a.recv(1000))\n')
    result, lines = explained(script)
    equal((result.status, result.out, lines), (0, "b''\n", []), result)
    result, lines = explained(script, '--explain', '--explain-to', 'log')
    with open('log', encoding='utf-8') as log:
        check('PATH_MISSING' in log.read(), result)


def to_a_file():
    result, lines = explained(FAIL + FAIL, '--explain-to', 'log')
    equal((result.status, lines), (0, []), result)
    with open('log', encoding='utf-8') as log:
        equal([LINE.fullmatch(x)['cause'] for x in log.read().splitlines()], 2 * ['PATH_MISSING'])


def errno_is_kept():
    script = ('import ctypes, os\n'
              'libc = ctypes.CDLL(None, use_errno=True)\n'
              'for call in (lambda: libc.socket(1, 1, 99), lambda: libc.socket(99, 1, 0), lambda: libc.bind(-1, None, 0),\n'
              '             lambda: libc.connect(0, b"\\1\\0x", 3)):\n'
              '    ctypes.set_errno(0)\n'
              '    print(call(), ctypes.get_errno())\n')
    for options in ((), ('--explain=all',)):
        result = run([AFUNIX, 'run', *options, '--', sys.executable, '-Bc', script])
        equal(result.out, '-1 93\n-1 97\n-1 9\n-1 88\n', result)
    _, lines = lines_of(result)
    equal([(x['errno'], x['cause']) for x in lines],
          [('EPROTONOSUPPORT', 'PROTOCOL'), ('EAFNOSUPPORT', 'FAMILY'), ('EBADF', 'BAD_DESCRIPTOR'),
           ('ENOTSOCK', 'NOT_A_SOCKET')], result)


def arguments_decoded():
    script = ('import ctypes, socket\n'
              'libc = ctypes.CDLL(None)\n'
              'libc.socket(1, 1 | 0o2000000 | 0o4000, 7)\n'
              's = socket.socket(socket.AF_UNIX)\n'
              'f = s.fileno()\n'
              'libc.connect(f, b"\\1\\0\\0two\\0words\\n", 13)\n'
              'libc.connect(f, None, 5)\n'
              'libc.send(f, b"xyz", 3, 0x4040)\n'
              'libc.setsockopt(f, 1, 16, None, 4)\n'
              'libc.shutdown(f, 9)\n'
              'libc.sendmsg(f, None, 0)\n'
              'libc.ioctl(f, 0x1234, None)\n')
    result, lines = explained(script, '--explain=all')
    shown = {(x['call'], x['arguments']) for x in lines}
    for wanted in (('socket', 'AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 7'),
                   ('connect', '3, @two@words\\x0a, 13'), ('connect', '3, NULL, 5'),
                   ('send', '3, ..., 3, MSG_DONTWAIT|MSG_NOSIGNAL'), ('setsockopt', '3, SOL_SOCKET, SO_PASSCRED, NULL, 4'),
                   ('shutdown', '3, 9'), ('sendmsg', '3, NULL, 0'), ('ioctl', '3, 4660, NULL')):
        check(wanted in shown, f'not shown: {wanted}', result)


def threads_and_handlers():
    """Lines are whole, whoever writes at the same time, and a handler may be refused inside a refusal."""
    script = ('import signal, socket, threading\n'
              's = socket.socket(socket.AF_UNIX)\n'
              'def fail(*_):\n'
              '    try: s.connect("/nonexistent/" + 60 * "x")\n'
              '    except OSError: pass\n'
              'signal.signal(signal.SIGALRM, fail)\n'
              'signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n'
              'def work():\n'
              '    for i in range(300): fail()\n'
              'threads = [threading.Thread(target=work) for i in range(4)]\n'
              'for t in threads: t.start()\n'
              'for t in threads: t.join()\n'
              'signal.setitimer(signal.ITIMER_REAL, 0)\n')
    result, lines = explained(script)
    check(result.status == 0 and len(lines) >= 1200, result)
    equal({x['cause'] for x in lines}, {'PATH_MISSING'})


def wrong_options():
    for options in (('--explain=some',), ('--explain-to', '/nonexistent/log')):
        result = run([AFUNIX, 'run', *options, '--', 'echo', 'started'])
        equal((result.status, result.out, len(result.err.splitlines())), (2, '', 1), result)


def errors(*arguments):
    return run([AFUNIX, 'errors', *arguments])


def table_is_json():
    rows = [json.loads(line) for line in errors('--json').out.splitlines()]
    check(len(rows) > 100, len(rows))
    for row in rows:
        equal(list(row), ['id', 'errno', 'calls', 'text'], row)
        check(all(isinstance(x, str) and x for x in row.values()), row)
    equal(len({row['id'] for row in rows}), len(rows))


def table_is_searched():
    rows = [json.loads(line) for line in errors('--json', 'ECONNREFUSED').out.splitlines()]
    check(len(rows) >= 4 and {row['errno'] for row in rows} == {'ECONNREFUSED'}, rows)
    rows = [json.loads(line) for line in errors('NAME_IN_USE', '--json').out.splitlines()]
    equal([row['id'] for row in rows], ['NAME_IN_USE'])
    check('NAME_IN_USE' in errors('NAME_IN_USE').out)


def table_refuses():
    for arguments, status in ((('ENOTHING',), 1), (('connect',), 1), (('',), 1), (('--xml',), 2), (('A', 'B'), 2)):
        result = errors(*arguments)
        equal((result.status, result.out), (status, ''), arguments, result)
        check(result.err, arguments)


main([('a server that has died is named: path', lambda: dead_server('s')),
      ('a server that has died is named: abstract', lambda: dead_server('\0afunix-test-explain')),
      ('a receiver that has gone is named', dead_receiver),
      ('what is in the way of bind is named', in_use),
      ('the history of names is bounded', long_history),
      ('another user\'s command is not told', other_user),
      ('limits are named', limits),
      ('only failures are explained', only_failures),
      ('=all explains every refusal', all_refusals),
      ('nothing is said without --explain', nothing_without),
      ('children are explained too', children),
      ('standard error may be closed', stderr_closed),
      ('standard error may have no reader', stderr_unread),
      ('standard error may be a socket of the domain', stderr_is_a_socket),
      ('--explain-to writes to a file', to_a_file),
      ('errno is what it is without', errno_is_kept),
      ('arguments are shown by name', arguments_decoded),
      ('threads and handlers write whole lines', threads_and_handlers),
      ('wrong options are refused before the program starts', wrong_options),
      ('errors --json', table_is_json),
      ('errors ERRNO and IDENTIFIER', table_is_searched),
      ('errors refuses what it does not know', table_refuses)])
