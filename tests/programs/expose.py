# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Names of a domain that programs outside reach, by --expose; the same with a server on the kernel.

The server is a Python that does what it is told by its standard input.  This process is
outside: its sockets are the kernel's.
"""

import errno
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys

from lib import AFUNIX, Skip, check, end, environment, equal, main, need, on_both, run

TIMEOUT = 20
STREAM, SEQPACKET, DGRAM = socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM

TOLD = '''
import array, errno, os, select, signal, socket, struct, subprocess, sys, threading
def credentials(s):
    return struct.unpack('3i', s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
def listen(kind, name, backlog=5):
    s = socket.socket(socket.AF_UNIX, kind)
    s.bind(name)
    s.listen(backlog)
    return s
def serve(l):
    while True:
        c = l.accept()[0]
        c.sendall(b'%d ' % os.getpid() + c.recv(100))
        c.close()
def is_kernel(s):
    return os.stat(s.fileno()).st_dev == os.stat(reference.fileno()).st_dev
reference = socket.socket(socket.AF_INET)
for line in sys.stdin:
    try:
        try:
            value = eval(line)
        except SyntaxError:
            value = exec(line)
    except OSError as problem:
        value = errno.errorcode[problem.errno] if problem.errno else repr(problem)
    print(repr(value), flush=True)
'''


class Server:
    def __init__(self, side, *options):
        prefix = [] if side == 'kernel' else [AFUNIX, 'run', *(options or ('--expose', '--expose=@*')), '--']
        self.process = subprocess.Popen([*prefix, sys.executable, '-Bc', TOLD], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=environment(), start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        end(self.process)

    def tell(self, line):
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()

    def answer(self):
        check(select.select([self.process.stdout], [], [], TIMEOUT)[0], 'the server says nothing')
        text = self.process.stdout.readline().decode()
        check(text, 'the server is gone')
        return eval(text)  # pylint: disable=eval-used

    def __call__(self, line):
        self.tell(line)
        return self.answer()


def client(kind, name=None):
    s = socket.socket(socket.AF_UNIX, kind)
    s.settimeout(TIMEOUT)
    if name is not None:
        s.connect(name)
    return s


def refusal(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
    return None


def credentials(s):
    return struct.unpack('3i', s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))


def shown(name):
    """As Python gives it back."""
    return name.encode() if name[0] == '\0' else name


def names():
    """A path and an abstract name that nobody else has."""
    return 's', f'\0afunix-test-expose-{os.getpid()}'


def who(side, kind):
    """Each end is shown the other one's credentials, and the kernel's names."""
    with Server(side) as server:
        pid = server('os.getpid()')
        for name in names():
            server(f'l = listen({int(kind)}, {name!r})')
            with client(kind, name) as c:
                equal(server('c, address = l.accept()'), None)
                equal(server('credentials(c)[0], address, is_kernel(c)'), (os.getpid(), '', True))
                equal(server('c.getsockname()'), shown(name))
                equal(credentials(c), (pid, os.getuid(), os.getgid()))
                equal(c.getpeername(), shown(name))
                c.sendall(b'there')
                equal(server('c.recv(100)'), b'there')
                server('c.sendall(b"and back")')
                equal(c.recv(100), b'and back')
            equal(server('c.recv(100)'), b'')
            server('c.close(); l.close()')
            equal(refusal(client, kind, name), 'ECONNREFUSED')
        for mask in (0o022, 0o117):
            os.unlink('s')
            server(f'os.umask({mask}); listen({int(kind)}, "s")')
            equal(os.stat('s').st_mode & 0o777, 0o777 & ~mask)


def readiness(side, kind):
    with Server(side) as server:
        server(f'l = listen({int(kind)}, "s")')
        server('l.setblocking(False)')
        server('p = select.poll(); p.register(l, select.POLLIN)')
        server('e = select.epoll(); e.register(l, select.EPOLLIN)')
        server('t = select.epoll(); t.register(l, select.EPOLLIN | select.EPOLLET)')
        equal(server('p.poll(0), e.poll(0), t.poll(0), select.select([l], [], [], 0)[0]'), ([], [], [], []))
        equal(server('l.accept()'), 'EAGAIN')
        for wait in ('p.poll(10000)', 'e.poll(10)', 't.poll(10)', 'select.select([l], [], [], 10)[0]'):
            server.tell(f'len({wait})')
            with client(kind, 's') as c:
                equal(server.answer(), 1, wait)
                # Those by level go on showing it.
                equal(server('len(p.poll(0)), len(e.poll(0)), len(select.select([l], [], [], 0)[0])'), (1, 1, 1))
                equal(server('len(t.poll(0))'), 0 if wait[0] == 't' else 1)
                equal(server('l.accept()[0].send(b"x")'), 1)
                equal(c.recv(10), b'x')
            equal(server('p.poll(0), e.poll(0), t.poll(0), select.select([l], [], [], 0)[0]'), ([], [], [], []))
            equal(server('l.accept()'), 'EAGAIN')
        # As soon as connect() has returned, accept() has it, whether or not anybody was told.
        for _ in range(20):
            with client(kind, 's'):
                equal(server('l.accept()[0].close()'), None)


def accepted(side, kind):
    """The accepted one is the kernel's in each way: readiness, flags, duplicates, what a child inherits."""
    with Server(side) as server:
        server(f'l = listen({int(kind)}, "s")')
        server.tell('c = l.accept()[0]')
        with client(kind, 's') as c:
            equal(server.answer(), None)
            equal(server('os.get_blocking(c.fileno()), os.get_inheritable(c.fileno())'), (True, False))
            server('e = select.epoll(); e.register(c, select.EPOLLIN)')
            server.tell('len(e.poll(10))')
            c.sendall(b'one')
            equal(server.answer(), 1)
            equal(server('c.dup().recv(100)'), b'one')
            child = ('import socket; s = socket.socket(fileno=%d); s.sendall(s.recv(9).upper())')
            server.tell(f'subprocess.run([sys.executable, "-c", {child!r} % c.fileno()], '
                        'pass_fds=[c.fileno()]).returncode')
            c.sendall(b'child')
            equal(server.answer(), 0)
            equal(c.recv(100), b'CHILD')
        # Options are the listener's, whenever they were set.
        server('l.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)')
        with client(kind, 's') as c:
            server('c = l.accept()[0]')
            c.sendall(b'from me')
            equal(server('m = c.recvmsg(100, 100)'), None)
            equal(server('m[0], struct.unpack("3i", m[1][0][2])[0]'), (b'from me', os.getpid()))


def limits(side):
    """Binding and listening cost the program no descriptor of its limit."""
    with Server(side) as server:
        server('import resource; s = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)]')
        server('resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))')
        server('taken = []')
        server('while True: taken.append(os.open("/", 0))')
        equal(server('s[0].bind("s"); s[0].listen(); s[1].bind("d")'), None)
        with client(STREAM, 's') as c, client(DGRAM, 'd') as d:
            equal(server('s[0].accept()'), 'EMFILE')
            d.send(b'x')
            equal(server('s[1].recv(10)'), b'x')
            server('os.close(taken.pop())')
            equal(server('s[0].accept()[0].send(b"y")'), 1)
            equal(c.recv(10), b'y')


def unaware():
    """A program in the domain that can't be preloaded is as one outside."""
    program = os.environ.get('UNAWARE')
    if not program:
        raise Skip('no static program could be linked here')
    with Server('afunix') as server:
        server('l = listen(1, "s")')
        lines = server(f'subprocess.run([{program!r}, "./s"], stdout=subprocess.PIPE, text=True).stdout.splitlines()')
        check('connect done' in lines, lines)
        equal(server('is_kernel(l.accept()[0])'), True)


def descriptors(side):
    with Server(side) as server:
        server('l = listen(socket.SOCK_STREAM, "s")')
        with client(STREAM, 's') as c:
            server('c = l.accept()[0]')
            ours, theirs = os.pipe()
            socket.send_fds(c, [b'x'], [theirs])
            os.close(theirs)
            equal(server('got = socket.recv_fds(c, 10, 4)'), None)
            equal(server('os.write(got[1][0], b"through your pipe")'), 17)
            equal(os.read(ours, 100), b'through your pipe')
            os.close(ours)
            server('r, w = os.pipe(); socket.send_fds(c, [b"y"], [w])')
            fd = socket.recv_fds(c, 10, 4)[1][0]
            os.write(fd, b'through yours')
            os.close(fd)
            equal(server('os.read(r, 100)'), b'through yours')


def prefork(side, wait):
    """Four processes on one listener, and clients from inside and outside: each is served once."""
    inside = 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("s"); s.sendall(b"in"); print(s.recv(99))'
    waits = {'accept': '', 'poll': 'select.select([l], [], [])\n',
             'epoll': 'select.epoll.poll(e)\n'}[wait]
    serve = ('l.setblocking(False)\ne = select.epoll()\ne.register(l, select.EPOLLIN)\nwhile True:\n'
             + (f' {waits} try:\n  c = l.accept()[0]\n except BlockingIOError:\n  continue\n' if waits else
                ' l.setblocking(True)\n c = l.accept()[0]\n')
             + ' c.setblocking(True)\n c.sendall(b"%d " % os.getpid() + c.recv(99))\n c.close()\n')
    with Server(side) as server:
        server('l = listen(socket.SOCK_STREAM, "s", 50)')
        equal(server(f'children = [os.fork() or exec({serve!r}) for i in range(4)]'), None)
        children = server('children')
        server.tell(f'[subprocess.run([sys.executable, "-c", {inside!r}], capture_output=True, text=True).stdout '
                    'for i in range(4)]')
        for lap in range(10):
            clients = [client(STREAM, 's') for _ in range(8)]
            for number, c in enumerate(clients):
                c.sendall(b'%d' % number)
            for number, c in enumerate(clients):
                pid, text = c.recv(100).split()
                check(int(pid) in children, pid)
                equal(text, b'%d' % number, lap)
                equal(c.recv(100), b'')
                c.close()
        lines = server.answer()
        equal([line.split()[1] for line in lines], ["in'"] * 4)
        server('[os.kill(pid, 9) for pid in children]')
        server('[os.waitpid(pid, 0) for pid in children]')
        # The parent has it still, and nobody was lost in between.
        with client(STREAM, 's'):
            equal(server('l.accept()[0].close()'), None)
        server('l.close()')
        equal(refusal(client, STREAM, 's'), 'ECONNREFUSED')


def backlog(side, kind):
    with Server(side) as server:
        for name in names():
            server(f'l = listen({int(kind)}, {name!r}, 1)')
            clients = [socket.socket(socket.AF_UNIX, kind) for _ in range(4)]
            for c in clients:
                c.setblocking(False)
            equal([refusal(c.connect, name) for c in clients[:3]], [None, None, 'EAGAIN'])
            server('l.accept()[0].close()')
            equal([refusal(c.connect, name) for c in clients[2:]], [None, 'EAGAIN'])
            server('l.listen(5)')
            equal(refusal(clients[3].connect, name), None)
            # Those whom nobody has accepted are reset when the listener closes.
            clients[1].send(b'unread')
            server('l.close()')
            for c in clients[1:]:
                c.settimeout(TIMEOUT)
                equal(refusal(c.recv, 10), 'ECONNRESET')
            for c in clients:
                c.close()
            equal(refusal(client, kind, name), 'ECONNREFUSED')


def shut(side, kind):
    with Server(side) as server:
        server(f'l = listen({int(kind)}, "s")')
        with client(kind, 's') as c:
            server('l.shutdown(socket.SHUT_RD)')
            equal(refusal(client, kind, 's'), 'ECONNREFUSED')
            # Who was there before is served, and then nobody will come.
            equal(server('l.accept()[0].send(b"x")'), 1)
            equal(c.recv(10), b'x')
            equal(server('l.accept()'), 'EINVAL')
            equal(server('l.setblocking(False)'), None)
            equal(server('l.accept()'), 'EAGAIN')


def restart(side):
    """The same path and the same abstract name, again and again; a child that is killed frees them."""
    with Server(side) as server:
        for name in names():
            for lap in range(5):
                if lap and name[0] != '\0':
                    equal(server(f'listen(1, {name!r})'), 'EADDRINUSE')
                    os.unlink(name)
                server(f'l = listen(1, {name!r})')
                with client(STREAM, name):
                    equal(server('l.accept()[0].close()'), None)
                server('l.close()')
                equal(refusal(client, STREAM, name), 'ECONNREFUSED')
            if name[0] != '\0':
                os.unlink(name)
            server('r, w = os.pipe()')
            server(f'child = os.fork() or serve([listen(1, {name!r}), os.write(w, b"x")][0])')
            server('os.read(r, 1)')
            with client(STREAM, name) as c:
                c.sendall(b'x')
                equal(c.recv(100).split()[0], b'%d' % server('child'))
            server('os.kill(child, 9); os.waitpid(child, 0)')
            equal(refusal(client, STREAM, name), 'ECONNREFUSED')


def handed_on(side):
    """The listener serves in whatever process has it: passed by a message, and inherited over exec."""
    taker = 'c = socket.recv_fds(b, 9, 1)[1][0]; b.send(b"t"); serve(socket.socket(fileno=c))'
    inheritor = ('import os, socket, sys\nl = socket.socket(fileno=int(sys.argv[1]))\n'
                 'c = l.accept()[0]\nc.sendall(b"%d " % os.getpid() + c.recv(100))\n')
    with Server(side) as server:
        server('a, b = socket.socketpair()')
        server(f'child = os.fork() or exec({taker!r})')
        server('l = listen(1, "s")')
        server('socket.send_fds(a, [b"l"], [l.fileno()])')
        server('l.close()')
        equal(server('a.recv(9)'), b't')
        with client(STREAM, 's') as c:
            c.sendall(b'x')
            equal(c.recv(100).split()[0], b'%d' % server('child'))
        server('os.kill(child, 9); os.waitpid(child, 0)')
        equal(refusal(client, STREAM, 's'), 'ECONNREFUSED')
        server('l = listen(1, "t")')
        server(f'p = subprocess.Popen([sys.executable, "-c", {inheritor!r}, str(l.fileno())], '
               'pass_fds=[l.fileno()])')
        server('l.close()')
        with client(STREAM, 't') as c:
            c.sendall(b'x')
            equal(c.recv(100).split()[0], b'%d' % server('p.pid'))
        equal(server('p.wait()'), 0)


def datagrams(side):
    """A server of datagrams: who sent them, and answers that come from its name."""
    with Server(side) as server:
        for number, name in enumerate(names()):
            own = f'own{number}' if number == 0 else f'\0afunix-test-own-{os.getpid()}'
            server('s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)')
            server('s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)')
            server(f's.bind({name!r})')
            server('e = select.epoll(); e.register(s, select.EPOLLIN | select.EPOLLET)')
            server('e.poll(0)')
            with client(DGRAM) as c:
                c.bind(own)
                server.tell('s.recvfrom(100)')
                c.sendto(b'one', name)
                equal(server.answer(), (b'one', shown(own)))
                server('e.poll(0)')
                server.tell('len(e.poll(10))')
                c.sendto(b'two', name)
                equal(server.answer(), 1)
                equal(server('m = s.recvmsg(100, 1000)'), None)
                equal(server('m[0], struct.unpack("3i", m[1][0][2])[0], m[3]'), (b'two', os.getpid(), shown(own)))
                equal(server('e.poll(0)'), [])
                equal(server('s.recv(9, socket.MSG_DONTWAIT)'), 'EAGAIN')
                # Who is connected takes answers from there only.
                c.connect(name)
                c.send(b'three')
                equal(server('s.recvfrom(100)'), (b'three', shown(own)))
                server(f's.sendto(b"answer", {own!r})')
                equal(c.recvfrom(100), (b'answer', shown(name)))
                # One that is cut, one that is empty, one that is only looked at.
                c.send(b'a long one')
                c.send(b'')
                equal(server('s.recv(100, socket.MSG_PEEK)'), b'a long one')
                equal(server('m = s.recvmsg(3)'), None)
                equal(server('m[0], bool(m[2] & socket.MSG_TRUNC)'), (b'a l', True))
                equal(server('s.recv(9)'), b'')
            # From inside and from outside at once.
            server('i = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)')
            server(f'i.connect({name!r})')
            with client(DGRAM, name) as c:
                for lap in range(4):
                    c.send(b'out %d' % lap)
                    server(f'i.send(b"in {lap}")')
            got = [server('s.recv(100)') for _ in range(8)]
            equal(sorted(got), sorted(b'%s %d' % (where, lap) for lap in range(4) for where in (b'in', b'out')))
            for where in (b'in', b'out'):
                equal([m for m in got if m.startswith(where)], [b'%s %d' % (where, lap) for lap in range(4)])
            server('s.settimeout(0.05)')
            equal(server('s.recv(100)'), repr(TimeoutError('timed out')))
            server('s.close()')
            with client(DGRAM) as c:
                # It is shut at once, and a moment later gone.
                while (why := refusal(c.sendto, b'x', name)) == 'EPIPE' and side == 'afunix':
                    pass
                equal(why, 'ECONNREFUSED')


def logs(side):
    need('logger')
    with Server(side) as server:
        server('s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("log")')
        server.tell('s.recv(1000)')
        equal(run(['logger', '-u', 'log', '-t', 'tag', 'a line']).status, 0)
        check(server.answer().endswith(b'a line'))


def named_client(side):
    """One who is bound to an exposed name and connects to somebody outside keeps it."""
    with Server(side) as server, client(STREAM) as l, client(DGRAM) as d:
        l.bind('l')
        l.listen()
        d.bind('d')
        server('c = socket.socket(socket.AF_UNIX); c.bind("c"); c.connect("l")')
        a, address = l.accept()
        equal(address, 'c')
        a.send(b'stream')
        equal(server('c.recv(100)'), b'stream')
        a.close()
        server('s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("e"); s.connect("d")')
        server('s.send(b"x")')
        equal(d.recvfrom(100), (b'x', 'e'))
        d.sendto(b'answer', 'e')
        equal(server('s.recv(100)'), b'answer')


def which(options, inside, outside):
    """Names that do not fit are the domain's alone."""
    with Server('afunix', *options) as server:
        for number, name in enumerate((*inside, *outside)):
            server(f'l{number} = listen(1, {name!r})')
            server(f'd{number} = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d{number}.bind({name + "-d"!r})')
            server(f'c = socket.socket(socket.AF_UNIX); c.connect({name!r})')
            equal(server(f'l{number}.accept()[0].close()'), None)
            expected = 'ECONNREFUSED' if name in inside else None
            equal(refusal(client, STREAM, name), expected, name)
            equal(refusal(client, DGRAM, name + '-d'), expected, name)


def choices():
    path, abstract = names()
    absolute = os.path.join(os.getcwd(), 'absolute')
    os.mkdir('below')
    which(('--explain',), (path, abstract), ())
    for name in ('s', 's-d', 'absolute', 'absolute-d', 'below/s', 'below/s-d'):
        if os.path.exists(name):
            os.unlink(name)
    which(('--expose',), (abstract,), (path, absolute, './below/s'))
    for name in ('s', 's-d', 'absolute', 'absolute-d', 'below/s', 'below/s-d'):
        os.unlink(name)
    which((f'--expose={os.getcwd()}/below/*', '--expose=@afunix-test-*'), (path, absolute), (abstract, './below/s'))


def taken_outside():
    """An exposed abstract name must be free outside too, and is taken there."""
    _, abstract = names()
    with Server('afunix') as server, client(STREAM) as other:
        other.bind(abstract)
        equal(server(f'listen(1, {abstract!r})'), 'EADDRINUSE')
        other.close()
        server(f'l = listen(1, {abstract!r})')
        equal(server(f'listen(1, {abstract!r})'), 'EADDRINUSE')
        with client(STREAM) as again:
            equal(refusal(again.bind, abstract), 'EADDRINUSE')


def domain_ends():
    """Who lives longer than its domain serves nobody."""
    with Server('afunix') as server:
        server('l = listen(1, "s")')
        server('r, w = os.pipe()')
        equal(server('child = os.fork() or [os.setsid(), signal.pause()]'), None)
        child = server('child')
        server.process.stdin.close()
        server.process.wait(TIMEOUT)
        os.kill(child, 0)
        equal(refusal(client, STREAM, 's'), 'ECONNREFUSED')
        os.kill(child, signal.SIGKILL)


def lasting():
    """A daemon with the option, and a program that would rather decide itself."""
    daemon = os.environ.get('AFUNIXD')
    if not daemon:
        raise Skip('afunixd was not built')
    env = environment(AFUNIX_RUNTIME_DIR=os.getcwd())
    process = subprocess.Popen([daemon, '--expose', 'shop'], env=env, start_new_session=True)
    try:
        os.environ['AFUNIX_RUNTIME_DIR'] = os.getcwd()
        while not os.path.exists('shop') or refusal(client, SEQPACKET, 'shop'):
            equal(process.poll(), None)
        with Server('afunix', '--domain', 'shop') as server:
            server('l = listen(1, "s")')
            with client(STREAM, 's'):
                equal(server('l.accept()[0].close()'), None)
        result = run([AFUNIX, 'run', '--domain', 'shop', '--expose', '--', 'true'], env=env)
        equal((result.status, result.out), (2, ''), result)
        check('afunixd' in result.err, result)
    finally:
        del os.environ['AFUNIX_RUNTIME_DIR']
        end(process)
    for arguments in (['--expose='], ['--expose=' + 'x' * 5000]):
        result = run([AFUNIX, 'run', *arguments, '--', 'true'])
        equal(result.status, 2, result)


def redis(side):
    need('redis-server', 'redis-cli')
    prefix = [] if side == 'kernel' else [AFUNIX, 'run', '--expose=*/redis.sock', '--']
    process = subprocess.Popen([*prefix, 'redis-server', '--port', '0', '--unixsocket', os.path.abspath('redis.sock'),
                                '--save', '', '--daemonize', 'no'], stdout=subprocess.DEVNULL, env=environment(),
                               start_new_session=True)
    try:
        while not os.path.exists('redis.sock') or refusal(client, STREAM, 'redis.sock'):
            equal(process.poll(), None)
        equal(run(['redis-cli', '-s', 'redis.sock', 'set', 'key', 'value']).out, 'OK\n')
        equal(run(['redis-cli', '-s', 'redis.sock', 'get', 'key']).out, 'value\n')
        if shutil.which('redis-benchmark'):
            result = run(['redis-benchmark', '-s', 'redis.sock', '-n', '2000', '-c', '20', '-q', '-t', 'set,get'])
            equal(result.status, 0, result)
    finally:
        end(process)


def socat(side):
    need('socat')
    prefix = [] if side == 'kernel' else [AFUNIX, 'run', '--expose', '--']
    process = subprocess.Popen([*prefix, 'socat', 'UNIX-LISTEN:s,fork', 'EXEC:cat'], env=environment(),
                               start_new_session=True)
    try:
        for lap in range(5):
            result = run(['socat', '-t', '10', '-', 'UNIX-CONNECT:s,retry=200,interval=0.02'], stdin=b'%d\n' % lap)
            equal((result.status, result.out), (0, f'{lap}\n'), result)
    finally:
        end(process)


KINDS = (('stream', STREAM), ('seqpacket', SEQPACKET))
main([case for title, function in (('who is who', who), ('readiness, and accept() that does not wait', readiness),
                                   ('the accepted one, and accept() that waits', accepted),
                                   ('the backlog, and a listener that closes', backlog),
                                   ('a listener that is shut', shut))
      for kind, number in KINDS for case in on_both(f'{title}, {kind}', function, number)]
     + [case for wait in ('accept', 'poll', 'epoll')
        for case in on_both(f'four processes in {wait}, and clients on both sides', prefork, wait)]
     + on_both('descriptors through an accepted connection', descriptors)
     + on_both('the same names again', restart)
     + on_both('a listener that is passed, and one that is inherited', handed_on)
     + on_both('no descriptor is left', limits)
     + on_both('datagrams', datagrams)
     + on_both('logger', logs)
     + on_both('a client with a name', named_client)
     + [('the names that fit', choices), ('an abstract name that is taken outside', taken_outside),
        ('the domain ends', domain_ends), ('a program that cannot be preloaded', unaware), ('afunixd, and wrong command lines', lasting)]
     + on_both('redis', redis)
     + on_both('socat', socat))
