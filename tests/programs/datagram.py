# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Programs that talk in datagrams and in packets: logger, systemd-notify, socat, and Python's servers."""

import os
import re
import shlex
import sys

from lib import check, equal, main, need, on_both, peer, prefix, run, shell

# A server that says "ready" is in a process substitution; what else it prints is printed last.
SERVED = '''
exec 3< <(exec %s 2>server.err); server=$!
read -r -t 10 ready <&3 || { cat server.err >&2; exit 99; }
%s
kill $server 2>/dev/null
cat <&3
'''


def served(side, server, script):
    result = shell(side, SERVED % (shlex.join(peer(*server)), script), timeout=20)
    equal((result.status, result.err), (0, ''), result)
    return result.out


def collected(side, path, count, script):
    """What the collector printed; it ends by itself, after as many datagrams."""
    return served(side, ('collector', path, count), f'{script}\nwhile kill -0 $server 2>/dev/null && '
                  '[ "$(cut -d" " -f3 /proc/$server/stat 2>/dev/null)" != Z ]; do sleep 0.02; done').splitlines()


def log(side):
    """Lines of logger(1), whose pid in the message is the one the kernel vouches for."""
    need('logger')
    lines = collected(side, 'log', 4, f'''
logger -u log -d --id -t tag -p user.err 'one line'
printf 'first\\nsecond\\n' | logger -u log -t tag
{shlex.join(peer('syslog-client', 'log'))}''')
    for line in lines:
        check(line.endswith(f'uid {os.getuid()} gid {os.getgid()}') and ' 0 None pid ' in line, lines)
    match = re.match(r"b'<11>\w+ +\d+ [\d:]+ tag\[(\d+)\]: one line' 0 None pid (\d+) ", lines[0])
    check(match and match[1] == match[2], lines)
    check(': first' in lines[1] and ': second' in lines[2] and "b'<12>from logging\\x00'" in lines[3], lines)


def notify(side, path):
    """
    systemd-notify attaches SCM_CREDENTIALS of its parent if it may, else its own.  Each time it sends
    the end of a pipe after that, and ends when the receiver has closed it.
    """
    need('systemd-notify')
    lines = collected(side, path, 4, f'''
export NOTIFY_SOCKET={path if path.startswith('@') else f'$PWD/{path}'}
systemd-notify --ready --status='all is well'
systemd-notify --pid=$$ X=$$
echo $$ >shell''')
    for barrier in lines[1], lines[3]:
        check(barrier.startswith("b'BARRIER=1' 0 None ") and barrier.count('descriptor') == 1, lines)
    with open('shell', encoding='ascii') as file:
        pid = file.read().strip()
    check(lines[0].startswith("b'READY=1\\nSTATUS=all is well"), lines)
    check(f'MAINPID={pid}' in lines[2] and f'X={pid}' in lines[2], lines)
    if os.getuid() == 0:
        check(f'pid {pid} uid 0 gid 0' in lines[2], lines)


def nobody_listens(side):
    """A notification that nobody reads is an error of systemd-notify's, with the errno in words."""
    need('systemd-notify')
    result = shell(side, 'NOTIFY_SOCKET=$PWD/none systemd-notify --ready; echo $?', timeout=20)
    equal(result.out, '1\n', result)
    check('No such file or directory' in result.err, result)


def talk(side, server, client):
    """Two messages there and back; a client that is answered has a name of its own."""
    need('socat')
    result = shell(side, f'''
socat {server} & server=$!
until [ -S s ]; do sleep 0.02; done
printf 'a message' | socat -t 0.5 - {client}
printf 'another' | socat -t 0.5 - {client.replace('bind=c', 'bind=d')}
kill $server 2>/dev/null; wait $server 2>/dev/null
exit 0''', timeout=20)
    equal((result.status, result.out), (0, 'a messageanother'), result)


def one_way(side, receiver, sender):
    """Five messages of one socket keep their bounds: a read for each, shown by the receiver's own log."""
    need('socat')
    result = shell(side, f'''
socat -u -v {receiver} CREATE:received 2>log & server=$!
until [ -S s ]; do sleep 0.02; done
for i in 1 22 333 4444 55555; do echo $i; sleep 0.05; done | socat -u - {sender}
until [ "$(wc -l <received)" = 5 ]; do sleep 0.02; done
kill $server 2>/dev/null; wait $server 2>/dev/null
grep -o 'length=[0-9]*' log; cat received''', timeout=20)
    equal((result.status, result.out), (0, ''.join(f'length={n}\n' for n in range(2, 7)) + '1\n22\n333\n4444\n55555\n'),
          result)


def packets(side, listen, connect):
    """SOCK_SEQPACKET by socat's generic "type=5", a process for each connection."""
    need('socat')
    result = shell(side, f'''
socat {listen} EXEC:cat,socktype=5 & server=$!
for i in 1 2 3; do printf "packet $i\\n" | socat -t 2 - {connect} >out.$i & jobs="$jobs $!"; done
wait $jobs; cat out.?
kill $server; wait $server 2>/dev/null
exit 0''', timeout=20)
    equal((result.status, result.out), (0, 'packet 1\npacket 2\npacket 3\n'), result)


def server_of_python(side):
    equal(served(side, ('datagram-server', 's'), shlex.join(peer('datagram-client', 's', 5, 20))), '100\n')


def asynchronous(side):
    result = shell(side, shlex.join(peer('asyncio-datagrams', 's', 300)), timeout=20)
    equal((result.status, result.out), (0, 'True\n'), result)


# Each message comes from a socket of its own, and several threads are always asleep in recvfrom().
MANY = '''
import os, socket, threading
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind('s')
got = []
def work():
    while (message := receiver.recvfrom(100)[0]) != b'end':
        got.append(message)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
def send(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text, 's')
def memory():
    return len(open('/proc/self/maps').readlines())
for i in range(100):
    send(b'%d' % i)
before = memory()
for i in range(100, 1000):
    send(b'%d' % i)
print(memory() - before < 300)
for thread in threads:
    send(b'end')
for thread in threads:
    thread.join()
print(sorted(map(int, got)) == list(range(1000)))
'''


def many_senders(side):
    """What a receiver keeps of senders that are gone is bounded, also if it is never idle."""
    result = run([*prefix(side), sys.executable, '-Bc', MANY], timeout=60)
    equal((result.status, result.out), (0, 'True\nTrue\n'), result)


RETRY = 'retry=200,interval=0.02'

main(on_both('logger and the logging module, to a collector with SO_PASSCRED', log)
     + on_both('systemd-notify, pathname', notify, 'notify')
     + on_both('systemd-notify, abstract name', notify, f'@afunix-test-notify-{os.getpid()}')
     + on_both('systemd-notify, nobody listens', nobody_listens)
     + on_both('socat UNIX-RECVFROM and UNIX-SENDTO', talk, 'UNIX-RECVFROM:s,fork EXEC:cat', 'UNIX-SENDTO:s,bind=c')
     + on_both('socat UNIX-RECV and UNIX-SENDTO', one_way, 'UNIX-RECV:s', 'UNIX-SENDTO:s')
     + on_both('socat UNIX-RECV and UNIX-CLIENT', one_way, 'UNIX-RECV:s', 'UNIX-CLIENT:s')
     + on_both('socat UNIX-LISTEN with type=5', packets, 'UNIX-LISTEN:s,type=5,fork', f'UNIX-CONNECT:s,type=5,{RETRY}')
     + on_both('socat SOCKET-LISTEN, a raw address', packets, 'SOCKET-LISTEN:1:0:x7300,type=5,fork',
               f'SOCKET-CONNECT:1:0:x7300,type=5,{RETRY}')
     + on_both('socketserver with datagrams and threads', server_of_python)
     + on_both('asyncio with 300 datagrams', asynchronous)
     + on_both('four threads receive from a thousand sockets', many_senders))
