# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Two busy peers make no system call for a message: strace counts them.

The figure is a difference between a long and a short run of the echo pair from examples/,
so start-up and the way to the connection do not count; all of server, client and broker do.
EXAMPLES in the environment is the directory of the built examples.
"""

import os

from lib import Skip, check, equal, main, need, prefix, run

SERVER = os.path.join(os.path.abspath(os.environ.get('EXAMPLES', '.')), 'posix-echo-server')
CLIENT = os.path.join(os.path.abspath(os.environ.get('EXAMPLES', '.')), 'posix-echo-client')
SHORT, LONG = 1000, 201000


def system_calls(side, round_trips):
    processors = sorted(os.sched_getaffinity(0))
    # Each its own processor: on one, a peer that spins would only keep the other from answering.
    first, last = processors[0], processors[-1]
    result = run(['strace', '-f', '-qq', '-c', '-o', 'calls', *prefix(side), 'bash', '-c',
                  f'taskset -c {first} {SERVER} @afunix-test-busy 1 & '
                  f'taskset -c {last} {CLIENT} @afunix-test-busy {round_trips} 64; status=$?; '
                  'wait; exit $status'], timeout=60)
    equal(result.status, 0, result)
    with open('calls', encoding='utf-8') as table:
        for line in table:
            words = line.split()
            if words and words[-1] == 'total':
                return int(words[3])
    raise AssertionError('strace printed no total')


def prepare():
    need('strace')
    if not os.access(SERVER, os.X_OK):
        raise Skip(f'{SERVER} is not built')
    if run(['strace', '-qq', '-o', '/dev/null', 'true']).status != 0:
        raise Skip('nobody may trace here')


def kernel_needs_calls():
    """If strace did not count, the case after this one would prove nothing."""
    prepare()
    calls = (system_calls('kernel', 1500) - system_calls('kernel', 500)) / 1000
    check(calls >= 4, f'{calls} system calls for a round trip')


def afunix_needs_none():
    prepare()
    if len(os.sched_getaffinity(0)) < 2:
        raise Skip('peers cannot both be busy on one processor')
    least = None
    # Others on the machine can put a busy peer to sleep, so the best of six counts.
    for _ in range(6):
        calls = (system_calls('afunix', LONG) - system_calls('afunix', SHORT)) / (LONG - SHORT)
        print(f'# {calls:.4f} system calls for a round trip')
        least = calls if least is None else min(least, calls)
        if least < 0.01:
            return
    check(False, f'{least:.4f} system calls for a round trip, wanted less than 0.01')


main([('the kernel needs four system calls and more for a round trip', kernel_needs_calls),
      ('afunix needs less than one for a hundred round trips', afunix_needs_none)])
