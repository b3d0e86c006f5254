# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""What CPython's own test suite says of Unix sockets: the standard library's users of them, judged by its authors.

A test that passes on the kernel has to pass on afunix. One that is skipped or fails on the kernel, as some do for
root, says nothing; but a number of tests must pass, or the suite was not really there.
"""

import json
import sys

from lib import Skip, check, main, prefix, run

# Runs the tests of a module whose names contain one of the words, or those whose whole names are given.
RUNNER = '''
import json, sys, unittest
module, words, names = json.loads(sys.argv[1])
import test.support
test.support.LOOPBACK_TIMEOUT = 10.0
loader = unittest.TestLoader()

def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        elif sys.argv[2] not in test.id() and (names is None and (not words or any(word in test.id() for word in words)) or
                                               names and test.id() in names):
            yield test

class Verdicts(unittest.TestResult):
    passed = []
    def addSuccess(self, test):
        self.passed.append(test.id())

result = Verdicts()
chosen = unittest.TestSuite(list(flat(loader.loadTestsFromName(module))))
chosen.run(result)
failed = {test.id(): text for test, text in result.errors + result.failures}
with open('verdicts', 'w') as file:
    json.dump([result.passed, failed], file)
'''

SUITES = (('test.test_socket', 80, 'Unix', 'SocketPair', 'SCM', 'Cmsg'),
          ('test.test_socketserver', 6, 'Unix'),
          ('test.test_asyncio.test_unix_events', 100),
          ('test.test_asyncio.test_streams', 60),
          ('test.test_asyncio.test_sock_lowlevel', 30),
          ('test.test_asyncio.test_subprocess', 20, 'PidfdChild', 'SubprocessThreadedWatcher'),
          ('test.test_selectors', 15, 'EpollSelector'),
          ('test.test_epoll', 9),
          ('test.test_signal', 3, 'Wakeup'),
          ('test.test_logging', 5, 'Unix', 'SysLog'))

# Fills the whole table of descriptors; afunix keeps the highest 512 numbers for itself.
NOT_COMPARED = 'test_above_fd_setsize'


def verdicts(side, module, words, names=None):
    result = run([*prefix(side), sys.executable, '-B', 'runner.py', json.dumps([module, words, names]), NOT_COMPARED],
                 timeout=60)
    check(result.status == 0, result)
    with open('verdicts', encoding='utf-8') as file:
        return json.load(file)


def suite(module, least, *words):
    if run([sys.executable, '-c', f'import {module}']).status:
        raise Skip(f'{sys.executable} has no module {module} (package libpython3.N-testsuite)')
    with open('runner.py', 'w', encoding='utf-8') as file:
        file.write(RUNNER)
    good, _ = verdicts('kernel', module, words)
    check(len(good) >= least, f'only {len(good)} tests pass on the kernel')
    here, why = verdicts('afunix', module, words)
    doubtful = sorted(set(good) - set(here))
    if doubtful:
        # Some measure time, and the machine may have been busy: once more, alone, here and there.
        print('#   again:', *doubtful, flush=True)
        good, _ = verdicts('kernel', module, words, doubtful)
        here, why = verdicts('afunix', module, words, doubtful)
        doubtful = sorted(set(good) - set(here))
    check(not doubtful, *(f'{name}\n{why.get(name, "skipped")}' for name in doubtful))
    print(f'#   {module}: {len(here)} tests pass on both', flush=True)


main([(f'{module}: passes as on the kernel', lambda given=(module, *more): suite(*given)) for module, *more in SUITES])
