# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""A prefork server whose clients, workers and master are killed at any moment and come again.

Every request has a number and a checksum, and some have a file or a socket with them.  A
client accepts an error only if a worker or the server was being killed meanwhile; no
answer within half a minute is a hang.  Afterwards the same processes have as many descriptors
and mappings as before, the broker too.
"""

import sys

from lib import equal, main, on_both, prefix, run

COMMON = '''
import ctypes, mmap, os, random, select, signal, socket, struct, sys, time, zlib
HEAD = struct.Struct('<QIII')       # number, length, checksum, what goes with it (an answer: what was wrong)
NONE, FILE, SOCKET = range(3)
PATIENCE = 30
KILLS, SLOTS = 0, 8                 # places in the shared page: kills are odd while one is under way

class Gone(Exception):
    """The other side ended the connection."""

class Counts:
    def __init__(self):
        self.page = mmap.mmap(-1, 4096)
    def __getitem__(self, place):
        return struct.unpack_from('<Q', self.page, 8 * place)[0]
    def add(self, place):
        struct.pack_into('<Q', self.page, 8 * place, self[place] + 1)

def receive(sock, size, taken):
    data = bytearray()
    while len(data) < size:
        part, ancillary, _, _ = sock.recvmsg(min(size - len(data), 65536), socket.CMSG_SPACE(16))
        for _, _, fds in ancillary:
            taken += struct.unpack(f'{len(fds) // 4}i', fds)
        if not part:
            raise Gone
        data += part
    return bytes(data)

def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children') as file:
        return [int(child) for child in file.read().split()]
'''

SERVER = '''
def right(number, kind, fds):
    """What came with the request is what its number says, and is closed."""
    good = len(fds) == (kind != NONE)
    for fd in fds:
        if kind == FILE:
            good = good and os.pread(fd, 8, 0) == struct.pack('<Q', number)
            os.close(fd)
        else:
            with socket.socket(fileno=fd) as passed:
                try:
                    passed.sendall(struct.pack('<Q', number))
                except OSError:
                    pass
    return good

def serve(sock):
    fds = []
    try:
        sock.sendall(b'!')
        while True:
            number, length, check, kind = HEAD.unpack(receive(sock, HEAD.size, fds))
            body = receive(sock, length, fds)
            wrong = zlib.crc32(body) != check or not right(number, kind, fds)
            fds.clear()
            sock.sendall(HEAD.pack(number, length, check, wrong) + body)
    except (Gone, OSError):
        for fd in fds:
            os.close(fd)

def worker(listener):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    listener.setblocking(MODE == 'accept')
    if MODE == 'poll':
        wait = select.poll()
        wait.register(listener, select.POLLIN)
    elif MODE == 'epoll':
        wait = select.epoll()
        wait.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
    while True:
        if MODE != 'accept':
            wait.poll()
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            continue
        with sock:
            sock.setblocking(True)
            serve(sock)

def master():
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists('socket'):
        os.unlink('socket')
    listener.bind('socket')
    listener.listen(WORKERS)
    workers = {}
    while not ended:
        while len(workers) < WORKERS:
            pid = start(worker, listener)
            workers[pid] = pid
        pid, _ = os.waitpid(-1, os.WNOHANG)
        workers.pop(pid, None)
        time.sleep(.002)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os._exit(0)
'''

CLIENT = '''
def request(sock, chance, number):
    body = chance.randbytes(chance.choice((0, 1, 64, 64, 3000, 40000, 200000)))
    kind, ours, theirs = chance.choice((NONE, NONE, NONE, FILE, SOCKET)), None, None
    head = HEAD.pack(number, len(body), zlib.crc32(body), kind)
    try:
        if kind == FILE:
            theirs = os.fdopen(os.memfd_create('request'), 'w+b', 0)
            theirs.write(struct.pack('<Q', number))
        elif kind == SOCKET:
            ours, theirs = socket.socketpair()
            ours.settimeout(PATIENCE)
        socket.send_fds(sock, [head], [theirs.fileno()]) if theirs else sock.sendall(head)
        if theirs:
            theirs.close()
        sock.sendall(body)
        answer = HEAD.unpack(receive(sock, HEAD.size, []))
        assert answer == (number, len(body), zlib.crc32(body), 0), f'{answer} for {number}'
        assert receive(sock, len(body), []) == body, f'another body for {number}'
        assert kind != SOCKET or receive(ours, 8, []) == struct.pack('<Q', number), 'through the socket'
    finally:
        for end in ours, theirs:
            if end:
                end.close()

def client(counts, slot, seed):
    chance, number = random.Random(seed), seed << 32
    while True:
        kills = counts[KILLS]
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', PATIENCE, 0))
                sock.connect('socket')
                sock.settimeout(PATIENCE)
                receive(sock, 1, [])
                for _ in range(chance.choice((1, 1, 3, 10))):
                    number += 1
                    request(sock, chance, number)
                    counts.add(SLOTS + slot)
        except (Gone, OSError) as error:
            if kills % 2 == 0 and counts[KILLS] == kills:
                raise AssertionError(f'{error!r} though nobody was killed') from None
            time.sleep(.005)
'''

SUPERVISOR = '''
MODE, KILLED = sys.argv[1], int(sys.argv[2])
WORKERS, CLIENTS = 3, 4
BROKER = os.getppid() if 'AFUNIX_DOMAIN' in os.environ else None

def start(function, *arguments):
    pid = os.fork()
    if pid == 0:
        try:
            function(*arguments)
        except BaseException as error:
            print(f'{function.__name__}: {error!r}', flush=True)
        finally:
            os._exit(9)
    return pid

def until(condition, what):
    end = time.monotonic() + 2 * PATIENCE
    while not condition():
        if time.monotonic() > end:
            print('no', what, 'within a minute', flush=True)
            os.killpg(0, signal.SIGKILL)
        time.sleep(.001)

def kill(pid):
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]

class Supervisor:
    def __init__(self):
        self.counts, self.chance, self.seed = Counts(), random.Random(5), 0
        self.clients = {}
        self.counts.add(KILLS)
        self.up()

    def up(self):
        self.master = start(master)
        def answers():
            with socket.socket(socket.AF_UNIX) as sock:
                return sock.connect_ex('socket') == 0
        until(answers, 'server')
        self.counts.add(KILLS)

    def restart(self):
        self.counts.add(KILLS)
        if self.chance.random() < .5:
            os.kill(self.master, signal.SIGTERM)
            os.waitpid(self.master, 0)
        else:
            until(lambda: len(children(self.master)) == WORKERS, 'worker')
            os.kill(self.master, signal.SIGSTOP)
            workers = children(self.master)
            kill(self.master)
            for pid in workers:     # orphans of ours by now
                kill(pid)
        self.up()

    def kill_worker(self):
        workers = children(self.master)
        if workers:
            self.counts.add(KILLS)
            pid = self.chance.choice(workers)
            os.kill(pid, signal.SIGKILL)
            until(lambda: pid not in children(self.master), 'end of a worker')
            self.counts.add(KILLS)

    def kill_client(self, slot):
        status = kill(self.clients.pop(slot))
        assert status == signal.SIGKILL, f'a client ended with {status:#x}'

    def start_client(self, slot):
        self.seed += 1
        self.clients[slot] = start(client, self.counts, slot, self.seed)

    def round(self, kills, only_clients):
        for slot in range(CLIENTS):
            self.start_client(slot)
        for _ in range(kills):
            places = range(SLOTS, SLOTS + CLIENTS)
            goal = sum(self.counts[place] for place in places) + self.chance.randrange(12)
            until(lambda: sum(self.counts[place] for place in places) >= goal, 'request served')
            what = 0 if only_clients else self.chance.random()
            if what < .6:
                slot = self.chance.randrange(CLIENTS)
                self.kill_client(slot)
                self.start_client(slot)
            elif what < .95:
                self.kill_worker()
            else:
                self.restart()
        for slot in list(self.clients):
            self.kill_client(slot)
        until(lambda: len(children(self.master)) == WORKERS, 'worker')

def size(pid):
    with open(f'/proc/{pid}/maps') as file:
        return len(os.listdir(f'/proc/{pid}/fd')) + len(file.readlines())

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)     # PR_SET_CHILD_SUBREAPER
supervisor = Supervisor()
supervisor.round(CLIENTS, True)
watched = [supervisor.master] + children(supervisor.master)
before = {pid: size(pid) for pid in watched}
supervisor.round(KILLED, True)
until(lambda: all(size(pid) <= before[pid] + 40 for pid in watched),
      f'fewer than 40 more descriptors and mappings than {before}')
broker = BROKER and size(BROKER)
supervisor.round(KILLED, False)
until(lambda: not BROKER or size(BROKER) <= broker + 8, f'fewer than 8 more in the broker than {broker}')
os.kill(supervisor.master, signal.SIGTERM)
os.waitpid(supervisor.master, 0)
print('done')
'''


def prefork(side, mode):
    with open('script.py', 'w', encoding='utf-8') as file:
        file.write(COMMON + SERVER + CLIENT + SUPERVISOR)
    result = run([*prefix(side), sys.executable, '-B', 'script.py', mode, '100'], timeout=120)
    equal((result.status, result.out, result.err), (0, 'done\n', ''), result)


main(on_both('workers in accept()', prefork, 'accept')
     + on_both('workers in poll()', prefork, 'poll')
     + on_both('workers in epoll, exclusively', prefork, 'epoll'))
