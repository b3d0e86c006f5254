# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Processes that confine themselves, by seccomp(2), a limit of descriptors, or another root, go on with the sockets that they have.

sshd does both, in the child that talks to the network before anybody has logged in.
"""

import os
import subprocess
import sys
import time

from lib import Skip, check, environment, equal, main, need, on_both, prefix, run

SCRIPT = '''
import ctypes, os, resource, select, socket, struct, sys, threading
kind = {'stream': socket.SOCK_STREAM, 'dgram': socket.SOCK_DGRAM, 'seqpacket': socket.SOCK_SEQPACKET}[sys.argv[1]]
libc = ctypes.CDLL(None, use_errno=True)
EXIT = {'x86_64': 60, 'aarch64': 93}[os.uname().machine]
SECCOMP = {'x86_64': 317, 'aarch64': 277}[os.uname().machine]
CALLS = {'x86_64': (0, 1, 60, 7, 271), 'aarch64': (63, 64, 93, 73)}[os.uname().machine]     # read, write, exit, poll

class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_char_p)]

def program():
    """Nothing but CALLS; anything else kills."""
    code = [(0x20, 0, 0, 0)]
    code += [(0x15, len(CALLS) - i, 0, number) for i, number in enumerate(CALLS)]
    code += [(0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7fff0000)]
    return Program(len(code), b''.join(struct.pack('HBBI', *line) for line in code))

def strict():
    assert libc.prctl(22, 1, 0, 0, 0) == 0

def filtered():
    filter = program()
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(filter), 0, 0) == 0

def raw():
    filter = program()
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.syscall(SECCOMP, 1, 0, ctypes.byref(filter)) == 0

def limited():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, 1))

def both():
    limited()
    filtered()

def pair():
    return socket.socketpair(socket.AF_UNIX, kind)

def accepted():
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind('listener')
        listener.listen()
        client = socket.socket(socket.AF_UNIX, kind)
        client.connect('listener')
        return client, listener.accept()[0]
'''

CHILD = SCRIPT + '''
ours, theirs = {'pair': pair, 'accepted': accepted}[sys.argv[3]]()
ours.settimeout(10)
ours.send(b'before')
child = os.fork()
if child == 0:
    number = theirs.fileno()
    globals()[sys.argv[2]]()
    os.write(number, os.read(number, 100).upper())
    os.write(number, os.read(number, 100) + b' it was')
    libc.syscall(EXIT, 7)
theirs.close()
print(ours.recv(100))
ours.send(b'after')
print(ours.recv(100))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
if kind != socket.SOCK_DGRAM:
    print(ours.recv(100))
'''

# The descriptor arrives before the limit, and is waited for and closed after it.
POLLS = SCRIPT + '''
ours, theirs = pair()
child = os.fork()
if child == 0:
    ours.close()
    limited()
    poll = select.poll()
    poll.register(theirs, select.POLLIN)
    assert poll.poll(10000) == [(theirs.fileno(), select.POLLIN)]
    theirs.send(theirs.recv(100).upper())
    theirs.close()
    os._exit(7)
theirs.close()
ours.settimeout(10)
ours.send(b'words')
print(ours.recv(100), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
'''

# What libseccomp asks the kernel before it makes a filter, which filters nothing.
ASKS = SCRIPT + '''
ours, theirs = pair()
assert libc.syscall(SECCOMP, 1, 1, 0) == -1 and libc.syscall(SECCOMP, 0, 1, 0) == -1 and libc.prctl(22, 2, 0, 0, 0) == -1
print('memfd' in os.popen(f"readlink /proc/{os.getpid()}/fd/{theirs.fileno()}").read())
'''

# The child comes to its first socket where no path and no name leads to the broker any more.
ELSEWHERE = SCRIPT + '''
ours, theirs = pair()
ours.settimeout(10)
child = os.fork()
if child == 0:
    if sys.argv[2] == 'root':
        os.mkdir('root')
        os.chroot('root')
        os.chdir('/')
        os.setuid(65534)
    elif libc.unshare(0x40000000) < 0:      # CLONE_NEWNET
        os._exit(99)
    theirs.send(theirs.recv(100).upper())
    one, other = pair()
    one.send(b'new ones too')
    theirs.send(other.recv(100))
    os._exit(7)
theirs.close()
ours.send(b'words')
print(ours.recv(100), ours.recv(100), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
'''

SSH = '''
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f id
cat >config <<END
ListenAddress 127.0.0.1
Port $1
HostKey $PWD/host
AuthorizedKeysFile $PWD/id.pub
StrictModes no
UsePAM no
PidFile none
END
$(command -v sshd) -D -e -f config 2>log & sshd=$!
until grep -q 'Server listening' log; do kill -0 $sshd || { cat log >&2; exit 99; }; sleep 0.02; done
ssh() { command ssh -F none -p $1 -i id -o StrictHostKeyChecking=no -o UserKnownHostsFile=known -o LogLevel=ERROR "${@:2}"; }
head -c 300000 /dev/zero | ssh $1 127.0.0.1 wc -c
ssh $1 -M -S control -f -N 127.0.0.1
for i in 1 2 3; do ssh $1 -S control 127.0.0.1 "echo $i; exit $i"; echo $?; done
ssh $1 -S control -O exit 127.0.0.1
kill $sshd; wait $sshd; echo ended $?
'''


def script(side, text, wanted, *arguments):
    with open('script.py', 'w', encoding='utf-8') as file:
        file.write(text)
    result = run([*prefix(side), sys.executable, '-B', 'script.py', *arguments], timeout=20)
    equal((result.status, result.out), (0, wanted), result)


def child(side, kind, how, origin):
    script(side, CHILD, "b'BEFORE'\nb'after it was'\n7\n" + ('' if kind == 'dgram' else "b''\n"), kind, how, origin)


def asks():
    """The sockets are still ours."""
    script('afunix', ASKS, 'True\n', 'stream')


def polls(side, kind):
    script(side, POLLS, "b'WORDS' 7\n", kind)


def elsewhere(side, where):
    """In a private domain, then in a lasting one."""
    if os.getuid() != 0:
        raise Skip('only root may change its root or its network')
    if where == 'net' and run(['unshare', '--net', 'true']).status:
        raise Skip('no network namespaces here')
    script(side, ELSEWHERE, "b'WORDS' b'new ones too' 7\n", 'seqpacket', where)
    if side == 'afunix' and 'AFUNIXD' in os.environ:
        os.rename('root', 'old') if where == 'root' else None
        lasting(where)


def lasting(where):
    env = environment(AFUNIX_RUNTIME_DIR=os.path.abspath('runtime'))
    os.mkdir('runtime')
    daemon = subprocess.Popen([os.environ['AFUNIXD'], 'confined'], env=env)
    try:
        while not os.path.exists('runtime/confined'):
            check(daemon.poll() is None, 'afunixd ended')
            time.sleep(.01)
        result = run([*prefix('afunix', '--domain', 'confined'), sys.executable, '-B', 'script.py', 'seqpacket', where], env=env)
        equal((result.status, result.out), (0, "b'WORDS' b'new ones too' 7\n"), result)
    finally:
        daemon.kill()
        daemon.wait()


def sshd(side):
    need('sshd', 'ssh', 'ssh-keygen')
    if os.getuid() != 0:
        raise Skip('only root may start sshd as a service')
    with open('ssh.sh', 'w', encoding='utf-8') as file:
        file.write(SSH)
    result = run([*prefix(side), 'bash', 'ssh.sh', '18433'], timeout=40)
    equal((result.status, result.out), (0, '300000\n1\n1\n2\n2\n3\n3\nended 0\n'), result)


def cases():
    for kind in ('stream', 'dgram', 'seqpacket'):
        for how in ('strict', 'filtered', 'raw', 'limited', 'both'):
            yield from on_both(f'{kind}: a child is {how}', child, kind, how, 'pair')
        yield from on_both(f'{kind}: a limited child polls', polls, kind)
    for kind in ('stream', 'seqpacket'):
        yield from on_both(f'{kind}: an accepted connection', child, kind, 'both', 'accepted')
    yield 'a filter that is refused', asks
    yield from on_both('a child in another root', elsewhere, 'root')
    yield from on_both('a child in another network', elsewhere, 'net')
    yield from on_both('sshd with a multiplexing client', sshd)


main(list(cases()))
