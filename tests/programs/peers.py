# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Plain Python programs that talk over Unix sockets: peers.py ROLE ARGUMENT ...

Each is what anybody would write; none knows of afunix.  Clients wait for their server,
and say on stdout what they saw, so that a test can compare it with what the kernel gives.
A path that begins with "@" is an abstract name.
"""

import asyncio
import errno
import hashlib
import logging
import logging.handlers
import os
import select
import signal
import socket
import socketserver
import struct
import sys
import threading
import time

MEGABYTE = 1 << 20


def address(path):
    return '\0' + path[1:] if path.startswith('@') else path


def payload(number):
    """A megabyte that differs for each number."""
    return hashlib.shake_128(str(number).encode()).digest(MEGABYTE)


def connect(path, seconds=10):
    """A connected socket; waits for the server to come up."""
    ends = time.monotonic() + seconds
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(address(path))
            return sock
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if time.monotonic() > ends:
                raise
            time.sleep(0.02)


def listen(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(address(path))
    sock.listen()
    return sock


def read_all(sock):
    parts = []
    while True:
        part = sock.recv(65536)
        if not part:
            return b''.join(parts)
        parts.append(part)


def echo_until_end(sock):
    with sock:
        while True:
            data = sock.recv(65536)
            if not data:
                return
            sock.sendall(data)


# Blocking sockets.

def blocking_server(path, connections):
    listener = listen(path)
    for _ in range(int(connections)):
        echo_until_end(listener.accept()[0])
    listener.close()
    if not path.startswith('@'):
        os.unlink(path)


def announced_server(path):
    """Says when it listens: for those whose client would otherwise get somewhere else."""
    listener = listen(path)
    print('listening', flush=True)
    echo_until_end(listener.accept()[0])


def blocking_client(path, connections):
    for number in range(int(connections)):
        sock = connect(path)
        sock.sendall(b'hello %d' % number)
        print(sock.recv(100).decode(), repr(sock.getpeername()) if number == 0 else '')
        sock.shutdown(socket.SHUT_WR)
        print('end of file' if sock.recv(100) == b'' else 'more')
        sock.close()


def big_client(path):
    """Sends a megabyte from one thread while it reads the echo in another."""
    sock = connect(path)
    data = payload('big')

    def send():
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    print(hashlib.sha256(read_all(sock)).hexdigest() == hashlib.sha256(data).hexdigest())
    sender.join()


# asyncio: epoll, non-blocking sockets, and a socketpair that wakes the loop.

def asyncio_server(path):
    async def serve(reader, writer):
        digest = hashlib.sha256()
        while True:
            data = await reader.read(65536)
            if not data:
                break
            digest.update(data)
            writer.write(data)
            await writer.drain()
        writer.write(digest.hexdigest().encode())
        await writer.drain()
        writer.close()

    async def loop():
        server = await asyncio.start_unix_server(serve, address(path))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
        try:
            await server.serve_forever()
        except asyncio.CancelledError:
            pass
    asyncio.run(loop())


def asyncio_client(path, connections):
    async def one(number):
        data = payload(number)
        reader, writer = await asyncio.open_unix_connection(address(path))

        async def send():
            for start in range(0, MEGABYTE, 50000):
                writer.write(data[start:start + 50000])
                await writer.drain()
            writer.write_eof()
        sender = asyncio.create_task(send())
        answer = await reader.read(-1)
        await sender
        writer.close()
        digest = hashlib.sha256(data).hexdigest().encode()
        return hashlib.sha256(answer[:MEGABYTE]).hexdigest().encode() == digest and answer[MEGABYTE:] == digest

    async def everyone():
        return await asyncio.gather(*(one(n) for n in range(int(connections))))
    connect(path).close()
    print(asyncio.run(everyone()).count(True), 'of', connections)


# socketserver: a thread, or a process, for each connection.

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class ForkingServer(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    pass


def line_server(kind, path):
    server = {'threading': socketserver.ThreadingUnixStreamServer, 'forking': ForkingServer}[kind](path, Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    with server:
        server.serve_forever(poll_interval=0.05)


def line_client(path, connections, lines):
    """Many connections at once, each with several lines; all are open before the first is used."""
    socks = [connect(path) for _ in range(int(connections))]
    files = [sock.makefile('rw', newline='\n') for sock in socks]
    good = 0
    for line in range(int(lines)):
        for number, file in enumerate(files):
            file.write(f'line {line} of {number}\n')
            file.flush()
        for number, file in enumerate(files):
            good += file.readline() == f'LINE {line} OF {number}\n'
    for sock, file in zip(socks, files):
        sock.shutdown(socket.SHUT_WR)
        good += file.readline() == ''
    print(good)


# Datagrams.

class LineHandler(socketserver.DatagramRequestHandler):
    """Answers to the client's address, which a Unix client has only if it has bound one."""

    def handle(self):
        self.wfile.write(self.rfile.read().upper())


def datagram_server(path):
    with socketserver.ThreadingUnixDatagramServer(path, LineHandler) as server:
        print('ready', flush=True)
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.05)


def datagram_client(path, clients, count):
    socks = []
    for number in range(int(clients)):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(f'{path}.client{number}')
        sock.connect(path)
        sock.settimeout(10)
        socks.append(sock)
    good = 0
    for turn in range(int(count)):
        for number, sock in enumerate(socks):
            sock.send(b'message %d of %d' % (turn, number))
        for number, sock in enumerate(socks):
            data, sender = sock.recvfrom(100)
            good += data == b'MESSAGE %d OF %d' % (turn, number) and sender == path
    print(good)


def asyncio_datagrams(path, count):
    """A server and a client in one loop, datagrams of many sizes, none at all among them."""
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            self.transport.sendto(data, addr)

    class Client(asyncio.DatagramProtocol):
        def __init__(self):
            self.seen, self.done = [], asyncio.get_running_loop().create_future()

        def datagram_received(self, data, addr):
            self.seen.append(len(data))
            if len(self.seen) == int(count):
                self.done.set_result(None)

    async def both():
        loop = asyncio.get_running_loop()
        server, _ = await loop.create_datagram_endpoint(Echo, local_addr=path, family=socket.AF_UNIX)
        client, protocol = await loop.create_datagram_endpoint(Client, local_addr=path + '.c', remote_addr=path,
                                                               family=socket.AF_UNIX)
        for number in range(int(count)):
            client.sendto(bytes(1 + number * 97 % 20000))
        await asyncio.wait_for(protocol.done, 10)
        server.close()
        client.close()
        return protocol.seen
    print(asyncio.run(both()) == [1 + number * 97 % 20000 for number in range(int(count))])


def collector(path, count):
    """What syslogd and an init system do: reads datagrams, and prints each with who the kernel says has sent it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.bind(address(path))
        sock.settimeout(15)
        print('ready', flush=True)
        for _ in range(int(count)):
            data, items, flags, sender = sock.recvmsg(65536, 4096)
            passed = []
            for level, kind, value in items:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    passed.append('pid %d uid %d gid %d' % struct.unpack('3i', value))
                elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    for fd in struct.unpack(f'{len(value) // 4}i', value):
                        os.close(fd)
                        passed.append('descriptor')
            print(data, flags & socket.MSG_TRUNC, sender, *passed, flush=True)


def syslog_client(path):
    """The logging module's own client of syslog."""
    log = logging.getLogger('test')
    handler = logging.handlers.SysLogHandler(address(path))
    log.addHandler(handler)
    log.warning('from %s', 'logging')
    handler.close()


# Death.

def doomed_server(path):
    """Says its pid to each that connects and reads nothing until it is told to."""
    listener = listen(path)
    socks = []
    while True:
        sock = listener.accept()[0]
        sock.sendall(b'%d\n' % os.getpid())
        socks.append(sock)
        if sock.recv(1) == b'r':
            sock.recv(100)


def describe(call):
    try:
        return repr(call())
    except OSError as error:
        return errno.errorcode[error.errno]


def killing_client(path, how):
    """Kills its server and tells what it sees then."""
    sock = connect(path)
    pid = int(sock.recv(100))
    if how == 'unread':
        sock.sendall(b'x')
        time.sleep(0.2)
        sock.sendall(b'never read')
    elif how == 'several':
        others = [connect(path) for _ in range(3)]
    if how in ('blocked', 'poll', 'epoll'):
        sock.sendall(b'r')
        killer = threading.Timer(0.3, os.kill, (pid, signal.SIGKILL))
        killer.start()
    else:
        os.kill(pid, signal.SIGKILL)
    if how == 'poll':
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        print(poll.poll(10000)[0][1])
    elif how == 'epoll':
        epoll = select.epoll()
        epoll.register(sock, select.EPOLLIN | select.EPOLLRDHUP)
        print(epoll.poll(10)[0][1])
    sock.settimeout(10)
    print(describe(lambda: sock.recv(100)), describe(lambda: sock.recv(100)))
    if how == 'several':
        # One was accepted or waits in the backlog; the others wait there.
        for other in others:
            other.settimeout(10)
            print(describe(lambda sock=other: sock.recv(100)))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    print(describe(lambda: sock.send(b'x')))
    # A dying process closes its descriptors one after the other; the listener may be the last.
    for _ in range(100):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as late:
            verdict = describe(lambda sock=late: sock.connect(address(path)))
        if verdict != 'None':
            break
        time.sleep(0.02)
    print(verdict)


def surviving_server(path):
    """Serves one client that dies, then one that lives."""
    listener = listen(path)
    sock = listener.accept()[0]
    pid = int(sock.recv(100))
    os.kill(pid, signal.SIGKILL)
    sock.settimeout(10)
    print(describe(lambda: sock.recv(100)), flush=True)
    echo_until_end(listener.accept()[0])


def mortal_client(path):
    sock = connect(path)
    sock.sendall(b'%d' % os.getpid())
    time.sleep(30)


# The system around the domain.

def outside_client(path):
    sock = connect(path, 5)
    sock.sendall(b'from inside')
    print(sock.recv(100).decode())


def listed(path):
    """Whether the kernel knows a listener by this path."""
    with listen(path), open('/proc/net/unix', encoding='utf-8') as table:
        print(any(line.rstrip().endswith(os.path.basename(path)) for line in table))


if __name__ == '__main__':
    globals()[sys.argv[1].replace('-', '_')](*sys.argv[2:])
