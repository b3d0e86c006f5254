# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""A message bus: dbus-daemon with the clients of libdbus, GLib and systemd, and descriptors that pass through it."""

import os
import sys

from lib import Skip, check, equal, main, need, on_both, run, shell

BUS = 'org.freedesktop.DBus'
# Debian's modules belong to Debian's interpreter, which need not be the first in PATH.
PYTHON = '/usr/bin/python3' if os.access('/usr/bin/python3', os.X_OK) else sys.executable

# The daemon at an address of our choice; $DBUS_SESSION_BUS_ADDRESS is what it says itself.
DAEMON = '''
exec 3< <(exec dbus-daemon --session --nofork --address='%s' --print-address 2>daemon.err)
daemon=$!
read -r -t 10 DBUS_SESSION_BUS_ADDRESS <&3 || { cat daemon.err >&2; exit 99; }
export DBUS_SESSION_BUS_ADDRESS
%s
'''

RECEIVER = '''
import os, sys
import dbus, dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

class Reader(dbus.service.Object):
    @dbus.service.method('test.afunix.Reader', in_signature='hs', out_signature='sh')
    def Read(self, descriptor, name):
        with os.fdopen(descriptor.take(), 'rb') as file:
            said = file.read().decode() + ' by ' + name
        ours, theirs = os.pipe()
        os.write(theirs, b'from the service')
        os.close(theirs)
        answer = dbus.types.UnixFd(ours)
        os.close(ours)
        return said, answer

DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
name = dbus.service.BusName('test.afunix', bus)
service = Reader(bus, '/test')
GLib.timeout_add_seconds(15, sys.exit)
print('ready', flush=True)
GLib.MainLoop().run()
'''

SENDER = '''
import os, socket
import dbus
bus = dbus.SessionBus()
service = dbus.Interface(bus.get_object('test.afunix', '/test'), 'test.afunix.Reader')
for turn in range(3):
    ours, theirs = socket.socketpair()
    ours.sendall(b'socket %d' % turn)
    ours.shutdown(socket.SHUT_WR)
    said, answer = service.Read(dbus.types.UnixFd(theirs), 'client')
    theirs.close()
    with os.fdopen(answer.take(), 'rb') as file:
        print(said, file.read().decode(), ours.recv(1) == b'')
'''


def modules(*names):
    if run([PYTHON, '-c', f'import {", ".join(names)}']).status != 0:
        raise Skip(f'{PYTHON} has no module {" or ".join(names)}')


def good(result):
    equal(result.status, 0, result)
    return result.out


def at(address, script):
    return DAEMON % (address, script)


def names(side, address):
    need('dbus-daemon', 'dbus-send')
    out = good(shell(side, at(address % os.getpid(), f'dbus-send --session --print-reply --dest={BUS} / {BUS}.ListNames'),
                     timeout=20))
    check(f'string "{BUS}"' in out and 'string ":1.0"' in out, out)


def identity(side):
    """Who is at the other end of a connection the bus knows from SO_PEERCRED of its own socket."""
    need('dbus-daemon', 'gdbus')
    call = f'gdbus call --session --dest {BUS} --object-path / --method {BUS}'
    out = good(shell(side, at('unix:dir=.', f'''
[ "$({call}.GetConnectionUnixProcessID {BUS})" = "(uint32 $daemon,)" ] && echo pid
{call}.GetConnectionUnixUser {BUS}
'''), timeout=20))
    equal(out, f'pid\n(uint32 {os.getuid()},)\n')


def activity(side):
    """One client listens to all that the bus carries while others send signals."""
    need('dbus-run-session', 'dbus-monitor', 'gdbus')
    out = good(shell(side, """
exec dbus-run-session -- bash -c '
dbus-monitor --profile interface=test.Tick >seen & monitor=$!
until gdbus emit --session --object-path /start --signal test.Tick.Start && grep -q /start seen; do sleep 0.02; done
for i in 1 2 3; do gdbus emit --session --object-path /t$i --signal test.Tick.Number $i; done
until grep -q /t3 seen; do sleep 0.02; done
kill $monitor; wait $monitor
grep -o "/t[0-9].*" seen'
""", timeout=20))
    equal(out, ''.join(f'/t{i}\ttest.Tick\tNumber\n' for i in (1, 2, 3)))


def system(side):
    """sd-bus: sendmsg and recvmsg with MSG_CMSG_CLOEXEC, credentials, descriptors negotiated."""
    need('dbus-daemon', 'busctl')
    out = good(shell(side, at('unix:path=bus', '''
busctl --user --address="$DBUS_SESSION_BUS_ADDRESS" call org.freedesktop.DBus / org.freedesktop.DBus NameHasOwner s org.freedesktop.DBus
busctl --user --address="$DBUS_SESSION_BUS_ADDRESS" --unique list | grep -c "^:1\\."
'''), timeout=20))
    equal(out, 'b true\n1\n')


def descriptors(side):
    need('dbus-daemon')
    modules('dbus', 'dbus.mainloop.glib', 'gi')
    with open('receiver.py', 'w', encoding='utf-8') as file:
        file.write(RECEIVER)
    with open('sender.py', 'w', encoding='utf-8') as file:
        file.write(SENDER)
    out = good(shell(side, at('unix:path=bus', f'''
exec 4< <(exec {PYTHON} receiver.py 2>receiver.err)
read -r -t 10 ready <&4 || {{ cat receiver.err >&2; exit 98; }}
{PYTHON} sender.py
'''), timeout=20))
    equal(out, ''.join(f'socket {turn} by client from the service True\n' for turn in range(3)))


def refused(side):
    """A bus that is not there: the client says so."""
    need('dbus-send')
    result = shell(side, 'DBUS_SESSION_BUS_ADDRESS=unix:path=$PWD/nobody dbus-send --session --print-reply '
                   f'--dest={BUS} / {BUS}.ListNames', timeout=20)
    equal(result.status, 1, result)
    check('Failed to connect to socket' in result.err and 'No such file' in result.err, result)


main(on_both('dbus-send lists names, a bus at a path', names, 'unix:path=bus.%d')
     + on_both('dbus-send lists names, a bus at an abstract name', names, 'unix:abstract=afunix-test-bus-%d')
     + on_both('gdbus asks who is who', identity)
     + on_both('dbus-monitor sees signals, in dbus-run-session', activity)
     + on_both('busctl calls and lists', system)
     + on_both('descriptors through the bus and back, a socket and a pipe', descriptors)
     + on_both('no bus', refused))
