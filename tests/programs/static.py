# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Programs that can't be preloaded: what they inherit, or are sent, is a kernel socket by then, with all that was queued."""

import os
import shutil
import socket
import subprocess
import sys
import threading

from lib import Skip, equal, main, need, on_both, prefix, run

KINDS = ('stream', 'dgram', 'seqpacket')

# What parents of all kinds do: hand a socket to a child, by number or as its standard streams.
PARENT = '''
import array, os, select, socket, subprocess, sys, threading, time
kind = {'stream': socket.SOCK_STREAM, 'dgram': socket.SOCK_DGRAM, 'seqpacket': socket.SOCK_SEQPACKET}[sys.argv[1]]
ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
ours.settimeout(10)
open('file', 'w').write('text')
'''

INHERITS = PARENT + '''
theirs.send(b'sent before')
ours.send(b'for the child')
ours.send(b'and more')
print(subprocess.run([sys.argv[2], str(theirs.fileno())], pass_fds=[theirs.fileno()], text=True,
                     stdout=subprocess.PIPE).stdout, end='')
ours.setblocking(False)
for side in ours, theirs:
    for _ in range(8):
        try:
            print(side.recv(100, socket.MSG_DONTWAIT))
        except OSError as error:
            print(error.strerror)
            break
'''

STREAMS = PARENT + '''
ours.send(b'for the child\\n')
theirs.send(b'from before\\n')
if kind != socket.SOCK_DGRAM:
    ours.shutdown(socket.SHUT_WR)
child = subprocess.run(['busybox', *sys.argv[2:]], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=10)
print(child.returncode, child.stderr)
theirs.close()
while kind != socket.SOCK_STREAM:
    try:
        data = ours.recv(100, socket.MSG_DONTWAIT)
    except OSError as error:
        print(error.strerror)
        break
    if not data:
        break
    print(data)
if kind == socket.SOCK_STREAM:
    try:
        while data := ours.recv(100):
            print(data)
    except OSError as error:
        print(error.strerror)
'''

# Between two programs that can be preloaded stands one that can't.
THROUGH = PARENT + '''
child = f"import socket; s = socket.socket(fileno={theirs.fileno()}); s.send(s.recv(100).upper())"
ours.send(b'through a shell')
print(subprocess.run(['busybox', 'sh', '-c', '"$0" -c "$1"; exit 5', sys.executable, child],
                     pass_fds=[theirs.fileno()]).returncode)
print(ours.recv(100))
'''

# All that can lie in a queue: a record read in part, descriptors, a byte out of band, more than a page holds.
QUEUE = PARENT + '''
pipe = os.pipe()
os.write(pipe[1], b'through the pipe')
ours.send(b'partly read: ')
print(theirs.recv(7))
socket.send_fds(ours, [b'with a pipe '], [pipe[0]])
os.close(pipe[0])
ours.send(b'!', socket.MSG_OOB)
ours.send(bytes(60000) + b'.')
theirs.send(b'back ' * 10000)
child = """
import socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
print(s.recv(1, socket.MSG_OOB))
data, n = b'', 0
while len(data) < 19 + 60000:
    part, fds, flags, _ = socket.recv_fds(s, 100000, 2)
    n += len(fds)
    data += part
    for fd in fds:
        print(open(fd, 'rb', 0).read(100))
print(n, data[:19], data[19:].strip(bytes(1)), len(data))
s.send(b'done')
"""
os.set_inheritable(theirs.fileno(), True)
print(subprocess.run(['busybox', 'sh', '-c', '"$@"; exit 5', 'sh', sys.executable, '-c', child, str(theirs.fileno())],
                     pass_fds=[theirs.fileno()]).returncode)
sys.stdout.flush()
data = b''
while not data.endswith(b'done'):
    data += ours.recv(100000)
print(len(data), data[:10])
'''

# The parent is in the middle of a wait on its end, in every way there is.
WAITS = PARENT + '''
def recv():
    return ours.recv(100)
def poll():
    p = select.poll(); p.register(ours, select.POLLIN); print(p.poll(10000)[0][1]); return ours.recv(100)
def select_():
    print(len(select.select([ours], [], [], 10)[0])); return ours.recv(100)
def epoll():
    e = select.epoll(); e.register(ours, select.EPOLLIN); print(e.poll(10)[0][1]); return ours.recv(100)
def edges():
    e = select.epoll(); e.register(ours, select.EPOLLIN | select.EPOLLET); print(e.poll(10)[0][1]); return ours.recv(100)
got = []
ours.settimeout(None)
t = threading.Thread(target=lambda: got.append({'recv': recv, 'poll': poll, 'select': select_, 'epoll': epoll, 'edges': edges}[sys.argv[2]]()))
t.start()
while open(f'/proc/self/task/{t.native_id}/stat').read().rpartition(')')[2].split()[0] != 'S':
    time.sleep(.01)
os.posix_spawn(sys.argv[3], ['busybox', 'echo', 'words'], {}, file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 1)])
t.join(10)
os.wait()
theirs.send(b'to the end')
print(got, ours.recv(100))
'''

# A writer that found no room goes on where it was.
WRITER = PARENT + '''
sent = []
data = bytes(range(256)) * 4096
def write():
    while len(sent) < len(data):
        n = ours.send(data[len(sent):])
        sent.extend([0] * n)
    ours.shutdown(socket.SHUT_WR)
ours.settimeout(None)
t = threading.Thread(target=write)
t.start()
while open(f'/proc/self/task/{t.native_id}/stat').read().rpartition(')')[2].split()[0] != 'S':
    time.sleep(.01)
child = subprocess.run(['busybox', 'md5sum'], stdin=theirs, stdout=subprocess.PIPE, timeout=20)
t.join(10)
print(child.stdout, len(sent))
'''

# Who is shown as the peer, and what the options are.
ASKS = PARENT + '''
theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50000)
theirs.settimeout(2.5)
theirs.setblocking(False)
subprocess.run(['busybox', 'true'], stdin=theirs)
for side in ours, theirs:
    cred = array.array('i', side.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    print(cred[1:], side.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF), side.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
          os.get_blocking(side.fileno()), side.getsockname(), side.getpeername())
'''

# Credentials of whoever writes: the child's, who is somebody else.
SPEAKS = PARENT + '''
ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
theirs.send(b'the parent')
child = subprocess.Popen(['busybox', 'echo', 'the child'], stdout=theirs)
child.wait()
for pid in os.getpid(), child.pid:
    data, anc, _, _ = ours.recvmsg(10 if pid == os.getpid() else 100, 100)
    cred = array.array('i', anc[0][2])
    print(data, cred[0] == pid, cred[1] == os.getuid())
'''

# Whose peer is gone already, or goes.
ENDS = PARENT + '''
unread, closed = sys.argv[2] == 'unread', sys.argv[3] == 'closed'
ours.send(b'last words\\n')
if unread:
    theirs.send(b'never read')
if closed:
    ours.close()
child = """
import socket, sys
s = socket.socket(fileno=0)
for _ in range(3):
    try:
        print(s.recv(100))
    except OSError as error:
        print(error.strerror)
"""
program = subprocess.Popen(['busybox', 'sh', '-c', 'read line; "$@"; exit 5', 'sh', sys.executable, '-c', child], stdin=theirs)
theirs.close()
if not closed:
    ours.close()
print(program.wait())
'''

PREFORKED = PARENT + '''
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind('listener')
    listener.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect('listener')
    client.send(b'request\\n')
    server, _ = listener.accept()
if os.fork() == 0:
    os.dup2(server.fileno(), 0)
    os.dup2(server.fileno(), 1)
    os.execvp('busybox', ['busybox', 'head', '-n', '1'])
server.close()
print(client.recv(100), client.recv(100))
os.wait()
os.unlink('listener')
'''

# A client hands its connection on before the server has accepted it.
UNACCEPTED = PARENT + '''
with socket.socket(socket.AF_UNIX, kind) as listener:
    listener.bind('listener')
    listener.listen()
    client = socket.socket(socket.AF_UNIX, kind)
    client.connect('listener')
    client.send(b'first\\n')
    print(subprocess.run(['busybox', 'echo', 'second'], stdout=client).returncode)
    client.send(b'third\\n')
    server, name = listener.accept()
    server.settimeout(10)
    os.set_blocking(server.fileno(), False)
    data = b''
    while len(data) < 19:
        data += server.recv(100)
    print(name, data, server.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))
    server.send(b'answer')
    print(client.recv(100))
os.unlink('listener')
'''

# A listener is passed on, as to a server that is started when its first client comes.
ACTIVATED = PARENT + '''
def clients(n):
    for _ in range(n):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.connect(listener.getsockname())
            client.send(b'ping')
            print(client.recv(100), client.getpeername(), listener.getsockname())
listener = socket.socket(socket.AF_UNIX, kind)
listener.bind(sys.argv[2].replace('@', chr(0)))
listener.listen()
got = []
waiting = threading.Thread(target=lambda: got.append(listener.accept()[0]))
waiting.start()
while open(f'/proc/self/task/{waiting.native_id}/stat').read().rpartition(')')[2].split()[0] != 'S':
    time.sleep(.01)
server = subprocess.Popen([sys.argv[3], str(listener.fileno()), 'accept'], pass_fds=[listener.fileno()],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(server.stdout.readline())
first = socket.socket(socket.AF_UNIX, kind)
first.connect(listener.getsockname())
waiting.join(10)
print(len(got), got[0].getsockname())
server.stdin.write('x')
server.stdin.close()
clients(3)
print(server.wait())
if not sys.argv[2].startswith('@'):
    print(oct(os.stat('listener').st_mode), os.listdir())
    os.unlink('listener')
'''

# A call that does not return early, registrations, and one end alone: what the move must not change.
MIDDLE = PARENT + '''
def leave():
    subprocess.run(['busybox', 'true'], pass_fds=[theirs.fileno()], check=True)
def call(function):
    result = []
    # a process of its own: one that forks cuts its other threads' calls short, on the kernel too
    child = os.fork()
    if child == 0:
        time.sleep(0.3)
        leave()
        os._exit(0)
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    os.waitpid(child, 0)
    return thread, result
def sends():
    ours.settimeout(None)
    thread, result = call(lambda: ours.send(b'all of it ' * 200000))
    n = 0
    while n < 2000000:
        n += len(theirs.recv(100000))
    thread.join()
    print(n, result)
def receives_all():
    ours.settimeout(None)
    theirs.send(b'the first, ')
    thread, result = call(lambda: ours.recv(22, socket.MSG_WAITALL))
    theirs.send(b'the second.')
    thread.join()
    print(result)
def one_shot():
    e = select.epoll()
    e.register(ours, select.EPOLLIN | select.EPOLLONESHOT)
    theirs.send(b'reported once')
    print([event for fd, event in e.poll(5)])
    leave()
    ours.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    print(e.poll(0.2))
    e.modify(ours, select.EPOLLIN | select.EPOLLONESHOT)
    print([event for fd, event in e.poll(5)])
def shared_instance():
    e = select.epoll()
    e.register(ours, select.EPOLLIN)
    child = os.fork()
    if child == 0:
        leave()
        ours.setblocking(False)
        os._exit(0)
    os.waitpid(child, 0)
    theirs.send(b'for the parent')
    print([event for fd, event in e.poll(5)])
def left_alone():
    ours.send(b'last words')
    ours.close()
    child = "import socket; s = socket.socket(fileno=0); print(s.recv(100))"
    print(subprocess.run(['busybox', 'sh', '-c', '"$@"; exit 5', 'sh', sys.executable, '-c', child], stdin=theirs).returncode)
    try:
        theirs.send(b'to nobody')
    except OSError as error:
        print(error.strerror)
globals()[sys.argv[2]]()
'''

OUTSIDER = '''
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.send(b'queued before')
    socket.send_fds(s, [b'a socket'], [theirs.fileno()])
    theirs.close()
    print(ours.recv(100))
    ours.send(b'after')
    print(ours.recv(100))
'''

OUTSIDE = '''
import socket, subprocess, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind('listener')
    listener.listen()
    subprocess.run([sys.argv[1], './listener'])
'''


def script(side, text, *arguments):
    result = run([*prefix(side), sys.executable, '-Bc', text, *arguments], timeout=40)
    equal((result.status, result.err), (0, ''), result)
    return result.out.splitlines()


def same(text, *arguments):
    """What comes of it on afunix is what comes of it on the kernel."""
    lines = script('kernel', text, *arguments)
    equal(script('afunix', text, *arguments), lines)
    return lines


def unaware():
    program = os.environ.get('UNAWARE')
    if not program:
        raise Skip('no static program could be linked here')
    return program


def inherits(kind):
    verdicts = same(INHERITS, kind, unaware())
    equal(len([line for line in verdicts if line.endswith(' done')]) >= 8, True, verdicts)


def streams(kind, *command):
    need('busybox')
    equal(same(STREAMS, kind, *command)[0], '0 ')


def through(side, kind):
    need('busybox')
    equal(script(side, THROUGH, kind), ['5', "b'THROUGH A SHELL'"])


def busybox(text, *arguments):
    need('busybox')
    return same(text, *arguments)


def waits(kind, how):
    need('busybox')
    last = same(WAITS, kind, how, shutil.which('busybox'))[-1]
    equal(last, "[b'words\\n'] b'to the end'")


def gains_rights(kind):
    """A program that starts with other rights than its caller's is not preloaded either."""
    if os.getuid():
        raise Skip('only root can make such a program')
    program = shutil.copy(shutil.which('head'), 'head')
    os.chown(program, 65534, 65534)
    os.chmod(program, 0o4755)
    text = PARENT + '''
ours.send(b'a line\\n')
print(subprocess.run(['./head', '-n', '1'], stdin=theirs, stdout=theirs).returncode)
print(ours.recv(100))
'''
    equal(same(text, kind), ['0', "b'a line\\n'"])


def gains_rights_unread():
    """Nor is one that its caller may not even read."""
    if os.getuid():
        raise Skip('only root can make such a program')
    program = shutil.copy(shutil.which('head'), 'head')
    os.chmod(program, 0o4711)
    os.chmod('.', 0o755)
    text = PARENT + '''
ours.send(b'a line\\n')
print(subprocess.run(['./head', '-n', '1'], stdin=theirs, stdout=theirs, user=65534).returncode)
print(ours.recv(100))
'''
    equal(same(text, 'stream'), ['0', "b'a line\\n'"])


# As Go's programs: linked dynamically, with a note, and system calls of their own.
OWN_CALLS = r'''
__asm__(".pushsection .note.go.buildid, \"a\", @note\n.long 4, 4, 4\n.ascii \"Go\\0\\0id..\"\n.popsection");
static long call(long number, long a, const void *b, long c)
{
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}
int main(void)
{
	char line[100];
	long n = call(0, 0, line, sizeof line);
	return call(1, 1, line, n) != n;
}
'''

PLAIN = r'''
#include <unistd.h>
int main(void)
{
	char line[100];
	ssize_t n = read(0, line, sizeof line);
	return write(1, line, n) != n;
}
'''

COMPILED = PARENT + '''
ours.send(b'a line')
print(subprocess.run(['./program'], stdin=theirs, stdout=theirs).returncode)
print(ours.recv(100))
print(subprocess.run(['./program'], input=b'by a pipe', stdout=subprocess.PIPE).stdout)
'''


def compiled(compiler, source):
    """Programs that are linked dynamically and can't be preloaded all the same."""
    need(compiler)
    subprocess.run([compiler, '-x', 'c', '-', '-o', 'program'], input=source.encode(), check=True)
    equal(same(COMPILED, 'stream'), ['0', "b'a line'", "b'by a pipe'"])
    equal(run([*prefix('afunix'), './program'], b'to begin with').out, 'to begin with')


def outsider():
    """A socket that is sent to a program outside the domain, through a kernel socket, becomes one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind('outside')
        listener.listen()
        listener.settimeout(20)

        def serve():
            with listener.accept()[0] as s:
                _, fds, _, _ = socket.recv_fds(s, 100, 1)
                with socket.socket(fileno=fds[0]) as given:
                    given.settimeout(20)
                    given.send(given.recv(100).upper())
                    given.send(given.recv(100).upper())

        thread = threading.Thread(target=serve)
        thread.start()
        equal(script('afunix', OUTSIDER, 'outside'), ["b'QUEUED BEFORE'", "b'AFTER'"])
        thread.join(20)


def outside(side):
    """Its own sockets are the kernel's, where nobody listens at a name of the domain."""
    equal(script(side, OUTSIDE, unaware()), [f'connect {"done" if side == "kernel" else "ECONNREFUSED"}',
                                             'socketpair done', 'send done'])


main([(f'a static program inherits a {kind} socket', lambda kind=kind: inherits(kind)) for kind in KINDS]
     + [(f'busybox {" ".join(command)}: a {kind} socket as standard streams',
         lambda kind=kind, command=command: streams(kind, *command))
        for kind, command in (('stream', ('cat',)), ('seqpacket', ('cat',)), *((kind, ('echo', 'words')) for kind in KINDS))]
     + [case for kind in KINDS for case in on_both(f'a {kind} socket goes through a static shell to a program that knows it',
                                                   lambda side, kind=kind: through(side, kind))]
     + [('all that lies in the queues of a stream comes along', lambda: busybox(QUEUE, 'stream'))]
     + [(f'the parent waits with {how}() on a {kind} socket meanwhile', lambda how=how, kind=kind: waits(kind, how))
        for kind, how in (('stream', 'recv'), ('stream', 'poll'), ('stream', 'select'), ('stream', 'epoll'),
                          ('stream', 'edges'), ('dgram', 'recv'), ('dgram', 'epoll'), ('seqpacket', 'recv'))]
     + [('a writer that waits for room meanwhile', lambda: busybox(WRITER, 'stream'))]
     + [(f'peer, options and names of a {kind} socket', lambda kind=kind: busybox(ASKS, kind)) for kind in KINDS]
     + [(f'a {kind} socket shows who writes', lambda kind=kind: busybox(SPEAKS, kind)) for kind in KINDS]
     + [(f'the peer of a stream is {when}, with {what} data', lambda what=what, when=when: busybox(ENDS, 'stream', what, when))
        for what in ('unread', 'no unread') for when in ('closed', 'open')]
     + [(f'a {kind} connection that is not accepted yet', lambda kind=kind: busybox(UNACCEPTED, kind))
        for kind in ('stream', 'seqpacket')]
     + [(f'a {kind} listener, {name}', lambda kind=kind, name=name: same(ACTIVATED, kind, name, unaware()))
        for kind, name in (('stream', 'listener'), ('seqpacket', 'listener'), ('stream', f'@static-{os.getpid()}'))]
     + [(f'{what.replace("_", " ")}: a {kind} socket moves meanwhile', lambda what=what, kind=kind: busybox(MIDDLE, kind, what))
        for what, kind in (('sends', 'stream'), ('receives_all', 'stream'), ('one_shot', 'stream'), ('one_shot', 'dgram'),
                           ('shared_instance', 'stream'), ('shared_instance', 'seqpacket'), ('left_alone', 'dgram'))]
     + [('a server hands its connection to a static program', lambda: busybox(PREFORKED, 'stream'))]
     + [(f'a {kind} socket for a program that gains rights', lambda kind=kind: gains_rights(kind))
        for kind in ('stream', 'seqpacket')]
     + [('a socket for a program that gains rights and can not be read', gains_rights_unread)]
     + [('a program that makes its own system calls', lambda: compiled('gcc', OWN_CALLS)),
        ('a program of another C library', lambda: compiled('musl-gcc', PLAIN)),
        ('a socket is sent to a program outside', outsider)]
     + on_both('a static program connects', outside))
