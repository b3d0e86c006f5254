# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""The command "afunix run": statuses, refusals, the system around the domain, and nothing left behind."""

import ctypes
import errno
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

from lib import AFUNIX, check, end, environment, equal, main, pair, peer, prefix, run, shell

PR_SET_CHILD_SUBREAPER = 36
DOMAIN = 'test'


def afunix(*arguments, **more):
    return run([AFUNIX, 'run', *arguments], **more)


def one_line(result, *words):
    """A refusal: one line on stderr that names what it is about, nothing on stdout."""
    lines = result.err.splitlines()
    equal(len(lines), 1, result)
    for word in words:
        check(word in lines[0], f'no "{word}" in: {lines[0]}')
    equal(result.out, '', result)


def status_passes():
    for status in (0, 1, 42, 255):
        equal(afunix('--', 'sh', '-c', f'exit {status}').status, status)


def signal_passes():
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
        equal(afunix('--', 'sh', '-c', f'ulimit -c 0; kill -{int(number)} $$').status, 128 + number)


def streams_pass():
    result = afunix('--', 'sh', '-c', 'cat; echo to stderr >&2', stdin=b'to stdout\n')
    equal((result.out, result.err), ('to stdout\n', 'to stderr\n'))


def arguments_pass():
    result = afunix('--', 'sh', '-c', 'printf "[%s]" "$@"', 'sh', '', 'a b', '--domain', '--', '*')
    equal(result.out, '[][a b][--domain][--][*]', result)


def no_such_program():
    result = afunix('--', 'afunix-test-no-such-program')
    equal(result.status, 127, result)
    one_line(result, 'afunix-test-no-such-program')


def not_executable():
    with open('plain', 'w', encoding='utf-8') as file:
        file.write('text\n')
    os.chmod('plain', 0o644)
    result = afunix('--', './plain')
    equal(result.status, 126, result)
    one_line(result, './plain')


def no_command():
    result = afunix()
    check(result.status not in (0, None), result)
    check(result.err != '', 'silent')
    equal(result.out, '', result)


def no_such_domain():
    os.mkdir('runtime', 0o700)
    result = afunix('--domain', 'nosuch', '--', 'true', env=environment(AFUNIX_RUNTIME_DIR=os.path.abspath('runtime')))
    check(result.status != 0, result)
    one_line(result, 'nosuch')


def stale_control_socket():
    os.mkdir('runtime', 0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead:
        dead.bind('runtime/stale')
        dead.listen()
    result = afunix('--domain', 'stale', '--', 'true', env=environment(AFUNIX_RUNTIME_DIR=os.path.abspath('runtime')))
    check(result.status != 0, result)
    one_line(result, 'stale')


def not_a_name():
    for name in ('', '..', 'a/b', '../etc/passwd', 'x' * 300):
        result = afunix('--domain', name, '--', 'true')
        check(result.status != 0, f'{name!r} was taken for the name of a domain', result)
        one_line(result)


def inside_the_domain():
    """The listener of a program under afunix is not the kernel's; else every test here would test the kernel."""
    equal(run(peer('listed', 'in-the-kernel')).out, 'True\n')
    result = run([*prefix('afunix'), *peer('listed', 'in-the-domain')])
    equal(result.out, 'False\n', result)


def two_domains():
    """A private domain has names of its own: the same abstract name serves in two at once, and on the kernel."""
    name = f'@afunix-test-two-domains-{os.getpid()}'
    script = 'exec "$@"'
    first = subprocess.Popen([*prefix('afunix'), 'bash', '-c', script, 'bash', *peer('blocking-server', name, 1)],
                             start_new_session=True, env=environment())
    try:
        result = pair('afunix', peer('blocking-server', name, 1), peer('blocking-client', name, 1))
        equal(result.status, 0, result)
        check(first.poll() is None, 'the client reached the other domain')
    finally:
        end(first)


def outer_server(path):
    return subprocess.Popen(peer('blocking-server', path, 1), start_new_session=True, env=environment())


def until_listed(name):
    """Waits until the kernel knows the name."""
    ends = time.monotonic() + 10
    while True:
        with open('/proc/net/unix', encoding='utf-8') as table:
            if any(line.split()[-1:] == [name] for line in table):
                return
        check(time.monotonic() < ends, f'{name} does not appear')
        time.sleep(0.02)


def falls_through(path):
    server = outer_server(path)
    try:
        result = run([*prefix('afunix'), *peer('outside-client', path)])
        equal(result.out, 'from inside\n', result)
        equal(server.wait(timeout=10), 0)
    finally:
        end(server)


def shadows():
    """Where the domain has the abstract name, its own server answers and not the kernel's."""
    name = f'@afunix-test-shadow-{os.getpid()}'
    server = outer_server(name)
    try:
        until_listed(name)
        # The server outside answers at once, so the client must not come before the one inside.
        inside, client = (shlex.join(words) for words in (peer('announced-server', name), peer('outside-client', name)))
        result = shell('afunix', f'{inside} >ready & until [ -s ready ]; do sleep 0.02; done; {client}')
        equal(result.out, 'from inside\n', result)
        check(server.poll() is None, 'the server outside the domain was reached')
    finally:
        end(server)


def children():
    """The processes that came back to us because whoever started them has ended."""
    found = []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            with open(f'/proc/self/task/{os.getpid()}/children', encoding='ascii') as listing:
                return found + [open(f'/proc/{pid}/cmdline', encoding='utf-8').read().replace('\0', ' ')
                                for pid in listing.read().split()]


def nothing_left(command, expected):
    """Runs a command with runtime and temporary directories of its own, then looks for what remained."""
    check(ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    for directory in ('runtime', 'temporary'):
        os.mkdir(directory, 0o700)
    before = set(os.listdir('/dev/shm'))
    env = environment(AFUNIX_RUNTIME_DIR=os.path.abspath('runtime'), TMPDIR=os.path.abspath('temporary'),
                      XDG_RUNTIME_DIR=os.path.abspath('temporary'))
    # Not run(): that would kill the remains before anybody can look.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True, env=env)
    try:
        status = process.wait(timeout=30)
        ends = time.monotonic() + 2
        while children() and time.monotonic() < ends:
            time.sleep(0.02)
        equal(children(), [], f'exit status {status}')
        equal(os.listdir('runtime') + os.listdir('temporary'), [])
        equal([name for name in set(os.listdir('/dev/shm')) - before if 'afu' in name], [])
        equal(status, expected)
    finally:
        end(process)


def nothing_left_after_a_run():
    nothing_left([*prefix('afunix'), 'bash', '-c', f'{" ".join(peer("blocking-server", "s", 1))} & '
                  f'{" ".join(peer("blocking-client", "s", 1))}; wait'], 0)


def nothing_left_after_a_failure():
    nothing_left([*prefix('afunix'), 'afunix-test-no-such-program'], 127)


def nothing_left_after_a_kill():
    """SIGKILL for a program in the domain, which had a listener and a connection."""
    nothing_left([*prefix('afunix'), 'bash', '-c', f'{" ".join(peer("doomed-server", "s"))} & '
                  f'{" ".join(peer("killing-client", "s", "idle"))}'], 0)


def terminated():
    """SIGTERM for "afunix run" reaches the program; its status tells."""
    process = subprocess.Popen([*prefix('afunix'), 'sh', '-c', 'trap "exit 7" TERM; echo ready; while :; do sleep 0.05; '
                                'done'], stdout=subprocess.PIPE, start_new_session=True, env=environment())
    try:
        equal(process.stdout.readline(), b'ready\n')
        process.terminate()
        equal(process.wait(timeout=10), 7)
    finally:
        end(process)
        process.stdout.close()


CROWD = '''
import errno, os, socket
pairs = []
try:
    while True:
        pairs.append(socket.socketpair())
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
for ours, theirs in pairs[:4]:
    ours.sendall(b'before')
    if os.fork() == 0:
        theirs.sendall(theirs.recv(100) + b' and after')
        os._exit(0)
for ours, _ in pairs[:4]:
    print(ours.recv(100), os.WEXITSTATUS(os.wait()[1]), flush=True)
'''

BROKERLESS = """
import os, select, signal, socket, time
def say(*words):
    os.write(1, (' '.join(map(str, words)) + '\\n').encode())

pairs = [socket.socketpair() for _ in range(2)]

def reader():
    pairs[0][1].close()
    try:
        say('recv', pairs[0][0].recv(1))
    except OSError as error:
        say('recv', error.errno)

def poller():
    pairs[1][1].close()
    p = select.poll()
    p.register(pairs[1][0], select.POLLIN)
    say('poll', len(p.poll()))

children = []
for work in reader, poller:
    children.append(os.fork())
    if children[-1] == 0:
        work()
        os._exit(0)
while any(open(f'/proc/{c}/stat').read().split()[2] != 'S' for c in children):
    time.sleep(0.01)
broker = os.getppid()
while open(f'/proc/{broker}/comm').read() != 'afunix\\n':
    broker = int(open(f'/proc/{broker}/stat').read().split()[3])
os.kill(broker, signal.SIGKILL)
for c in children:
    os.waitpid(c, 0)
try:
    socket.socket(socket.AF_UNIX)
except OSError as error:
    say('socket', error.errno)
"""


def broker_killed():
    """SIGKILL of the broker: whoever sleeps is told, and nobody hangs."""
    process = subprocess.Popen([AFUNIX, 'run', '--', sys.executable, '-c', BROKERLESS], stdout=subprocess.PIPE)
    try:
        lines = sorted(process.stdout.read().split(b'\n'))
        equal(lines, sorted([b'', b'poll 1', b'recv %d' % errno.ECONNRESET, b'socket %d' % errno.ENETDOWN]))
        equal(process.wait(timeout=10), -signal.SIGKILL)
    finally:
        end(process)
        process.stdout.close()


def causes_are_json():
    """"afunix errors --json": one object a line, each with its four members."""
    result = run([AFUNIX, 'errors', '--json'])
    equal(result.status, 0, result)
    for line in result.out.splitlines():
        equal(sorted(json.loads(line)), ['calls', 'errno', 'id', 'text'], line)
    check(len(result.out.splitlines()) > 50, result)


def full_domain():
    """Sockets do not take the broker's last descriptors: a child must attach to use what it inherited."""
    private = [*prefix('afunix'), sys.executable, '-c', CROWD]
    # Root may keep the right to raise limits, but not here.
    drop = ['setpriv', '--bounding-set', '-sys_resource'] if os.geteuid() == 0 else []
    result = run([*drop, 'bash', '-c', 'ulimit -n 400; exec "$@"', 'bash', *private])
    equal(result.out, "ENFILE\n" + "b'before and after' 0\n" * 4, result)


def nested():
    """A shell in the domain starts "afunix run" again: a domain inside, with names of its own."""
    inner = ' '.join([*prefix('afunix'), *peer('listed', 'inner')])
    result = shell('afunix', f'{inner} && echo outer goes on')
    equal(result.out, 'False\nouter goes on\n', result)


main([('exit status passes through', status_passes),
      ('a signal shows as 128 and its number', signal_passes),
      ('standard streams pass through', streams_pass),
      ('arguments pass unchanged', arguments_pass),
      ('no such program: 127 and one line', no_such_program),
      ('not executable: 126 and one line', not_executable),
      ('no command: a usage message, not a success', no_command),
      ('--domain that nobody serves: one line', no_such_domain),
      ('--domain with a dead control socket: one line', stale_control_socket),
      ('--domain with what is not a name: one line', not_a_name),
      ('a listener in the domain is not the kernel\'s', inside_the_domain),
      ('two private domains have separate names', two_domains),
      ('a path outside the domain reaches the kernel\'s server', lambda: falls_through(os.path.abspath('outside'))),
      ('an abstract name outside the domain does too', lambda: falls_through(f'@afunix-test-outside-{os.getpid()}')),
      ('the broker is killed: sleepers are told', broker_killed),
      ('errors --json is JSON', causes_are_json),
      ('an abstract name inside comes before the same one outside', shadows),
      ('a full domain still takes processes', full_domain),
      ('SIGTERM reaches the program', terminated),
      ('a domain inside a domain', nested),
      ('nothing left behind by a run', nothing_left_after_a_run),
      ('nothing left behind by a failed start', nothing_left_after_a_failure),
      ('nothing left behind by a killed server', nothing_left_after_a_kill)])
