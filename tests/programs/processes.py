# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Python's multiprocessing, which passes messages and descriptors between processes over Unix sockets."""

import sys

from lib import equal, main, on_both, prefix, run

COMMON = '''
import multiprocessing as mp, os, socket, sys, time
from multiprocessing import connection, reduction
METHOD = sys.argv[1]
'''

POOL = '''
def square(x):
    return x * x

def fails(x):
    raise ValueError(x)

if __name__ == '__main__':
    mp.set_start_method(METHOD)
    with mp.Pool(3) as pool:
        print(sum(pool.map(square, range(1000))), len(pool.apply_async(bytes, (3000000,)).get(10)))
        try:
            pool.apply(fails, ('wrong',))
        except ValueError as error:
            print(error)
        print(sorted(pool.imap_unordered(square, range(5))))
'''

DESCRIPTORS = '''
def child(pipe):
    sock = pipe.recv()
    sock.sendall(b'from the child')
    sock.close()
    listener = pipe.recv()
    taken, _ = listener.accept()
    taken.sendall(taken.recv(100).upper())
    taken.close()
    with os.fdopen(reduction.recv_handle(pipe), 'rb') as file:
        pipe.send(file.read())

if __name__ == '__main__':
    mp.set_start_method(METHOD)
    ours, theirs = mp.Pipe()
    process = mp.Process(target=child, args=(theirs,))
    process.start()
    left, right = socket.socketpair()
    ours.send(right)
    right.close()
    print(left.recv(100), left.recv(100))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind('listener')
    listener.listen()
    ours.send(listener)
    client = socket.socket(socket.AF_UNIX)
    client.connect('listener')
    client.sendall(b'to whoever accepts')
    print(client.recv(100), client.recv(100))
    with open('file', 'w+b') as file:
        file.write(b'a file')
        file.seek(0)
        reduction.send_handle(ours, file.fileno(), process.pid)
        print(ours.recv())
    process.join(10)
    print(process.exitcode)
'''

LISTENER = '''
def client(address, number):
    with connection.Client(address, authkey=b'secret') as c:
        c.send({'number': number, 'blob': bytes(100000)})
        assert c.recv() == number * 2

def intruder(address):
    try:
        connection.Client(address, authkey=b'guess')
    except mp.AuthenticationError:
        sys.exit(7)

if __name__ == '__main__':
    mp.set_start_method(METHOD)
    with connection.Listener('listener', 'AF_UNIX', backlog=5, authkey=b'secret') as listener:
        processes = [mp.Process(target=client, args=(listener.address, n)) for n in range(5)]
        for process in processes:
            process.start()
        for _ in processes:
            with listener.accept() as c:
                message = c.recv()
                c.send(message['number'] * 2 if len(message['blob']) == 100000 else None)
                try:
                    c.recv()
                except EOFError:
                    print('end')
        for process in processes:
            process.join(10)
        print([process.exitcode for process in processes])
        process = mp.Process(target=intruder, args=(listener.address,))
        process.start()
        try:
            listener.accept()
        except mp.AuthenticationError as error:
            print(error)
        process.join(10)
        print(process.exitcode)
'''

MANAGER = '''
def add(shared, lock, number):
    for _ in range(20):
        with lock:
            shared['sum'] += number

def produce(queue, number):
    for turn in range(50):
        queue.put((number, turn, 'z' * 2000))

if __name__ == '__main__':
    mp.set_start_method(METHOD)
    with mp.Manager() as manager:
        shared, lock = manager.dict(sum=0), manager.Lock()
        processes = [mp.Process(target=add, args=(shared, lock, n)) for n in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(10)
        print(shared['sum'], [process.exitcode for process in processes])
    queue = mp.Queue()
    processes = [mp.Process(target=produce, args=(queue, n)) for n in range(4)]
    for process in processes:
        process.start()
    print(len({queue.get(timeout=10)[:2] for _ in range(200)}))
    for process in processes:
        process.join(10)
    sleeper = mp.Process(target=time.sleep, args=(20,))
    sleeper.start()
    sleeper.kill()
    print(connection.wait([sleeper.sentinel], 10) == [sleeper.sentinel])
    sleeper.join()
    print(sleeper.exitcode)
'''


def script(side, text, wanted, method):
    with open('script.py', 'w', encoding='utf-8') as file:
        file.write(COMMON + text)
    result = run([*prefix(side), sys.executable, '-B', 'script.py', method], timeout=20)
    equal((result.status, result.out), (0, wanted), result)


def cases():
    for method in ('fork', 'forkserver', 'spawn'):
        yield from on_both(f'{method}: a pool', script, POOL, '332833500 3000000\nwrong\n[0, 1, 4, 9, 16]\n', method)
        yield from on_both(f'{method}: a socket, a listener and a file are passed', script, DESCRIPTORS,
                           "b'from the child' b''\nb'TO WHOEVER ACCEPTS' b''\nb'a file'\n0\n", method)
        yield from on_both(f'{method}: Listener and Client with a key', script, LISTENER,
                           'end\n' * 5 + '[0, 0, 0, 0, 0]\ndigest received was wrong\n7\n', method)
        yield from on_both(f'{method}: a manager, a queue, a sentinel', script, MANAGER,
                           '120 [0, 0, 0, 0]\n200\nTrue\n-9\n', method)


main(list(cases()))
