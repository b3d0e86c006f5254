# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Test programs that other projects ship as packages: GLib's sockets and D-Bus, dbus' own, systemd's.

Each runs on the kernel and under "afunix run". What succeeds there has to succeed here, with the same verdicts.
"""

import os
import re

from lib import Skip, check, environment, equal, main, prefix, run

GLIB = '/usr/libexec/installed-tests/glib'
DBUS = '/usr/lib/dbus-1.0/debug-build/libexec/installed-tests/dbus'
SYSTEMD = ('/usr/lib/systemd/tests', '/usr/lib/systemd/tests/unit-tests')

# Package; where its programs stand; what each is given; the environment that names its data.
HOUSES = {
    'libglib2.0-tests': ((GLIB,), ('--tap',), {'G_TEST_SRCDIR': GLIB, 'G_TEST_BUILDDIR': GLIB}),
    'dbus-tests': ((DBUS,), ('--tap',), {'DBUS_TEST_EXEC': DBUS, 'DBUS_TEST_DATA': f'{DBUS}/data'}),
    'systemd-tests': (SYSTEMD, (), {}),
}

# How many verdicts there are at least; systemd's programs have none but their exit status.
PROGRAMS = (('libglib2.0-tests', 'socket', 20), ('libglib2.0-tests', 'socket-service', 3),
            ('libglib2.0-tests', 'unix-fd', 2), ('libglib2.0-tests', 'unix-streams', 5),
            ('libglib2.0-tests', 'credentials', 1), ('libglib2.0-tests', 'gdbus-connection', 6),
            ('libglib2.0-tests', 'gdbus-peer', 8), ('libglib2.0-tests', 'gdbus-server-auth', 6),
            ('libglib2.0-tests', 'gdbus-exit-on-close', 3),
            ('dbus-tests', 'test-fdpass', 10), ('dbus-tests', 'test-loopback', 10), ('dbus-tests', 'test-relay', 4),
            ('dbus-tests', 'test-monitor', 10), ('dbus-tests', 'test-uid-permissions', 2),
            ('systemd-tests', 'test-socket-util', 0), ('systemd-tests', 'test-varlink', 0),
            ('systemd-tests', 'test-bus-server', 0), ('systemd-tests', 'test-bus-objects', 0),
            ('systemd-tests', 'test-fdset', 0))

VERDICT = re.compile(r'^\s*(ok|not ok)\s+\d+\s*-?\s*(.*?)\s*(#.*)?$', re.MULTILINE)


def find(package, name):
    places, arguments, environ = HOUSES[package]
    for place in places:
        if os.access(f'{place}/{name}', os.X_OK):
            return place, [f'{place}/{name}', *arguments], environ
    raise Skip(f'there is no {name} (package {package})')


def verdicts(side, package, name):
    place, command, environ = find(package, name)
    home = os.getcwd()
    os.chdir(place)
    try:
        result = run([*prefix(side), *command], timeout=60, env=environment(**environ))
    finally:
        os.chdir(home)
    return result, sorted((verdict, title) for verdict, title, _ in VERDICT.findall(result.out))


def same(package, name, least):
    kernel, wanted = verdicts('kernel', package, name)
    if kernel.status:
        raise Skip(f'{name} ends with status {kernel.status} on the kernel, so it says nothing here')
    check(len(wanted) >= least, f'only {len(wanted)} verdicts on the kernel', kernel)
    result, got = verdicts('afunix', package, name)
    equal(result.status, 0, result)
    equal(got, wanted, result)


main([(f'{package}: {name} as on the kernel', lambda given=(package, name, least): same(*given))
      for package, name, least in PROGRAMS])
