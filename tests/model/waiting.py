# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Checks waiting.pml with spin, one TAP case for each variant: waiting.py MODEL [WORD]

Variants that leave out what makes the protocol right must fail: they show that the model
could find the fault.  WORD runs only those whose title has it in it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

SECONDS = 240
MEGABYTES = 700

HOLDS, FAILS = 'holds', 'fails'
VARIANTS = (
    ('two wakers, three sleepers', HOLDS, ''),
    ('a waker is killed, the broker kicks', HOLDS, 'KILLED KICK'),
    ('a waker is killed, the next one wakes', HOLDS, 'KILLED NEXT'),
    ('a watcher', HOLDS, 'WATCHED'),
    ('a watcher that keeps its bit need not be marked asleep first', HOLDS, 'WATCHED EARLY LAZY'),
    ('a watcher, a waker is killed, the broker kicks', HOLDS, 'WATCHED KILLED KICK'),
    ('a watcher, one-shot', HOLDS, 'ONE_SHOT'),
    ('a watcher, one-shot, a waker is killed, the broker kicks', HOLDS, 'ONE_SHOT KILLED KICK'),
    ('without the fence', FAILS, 'NO_FENCE'),
    ('a watcher, without the fence', FAILS, 'WATCHED NO_FENCE'),
    ('clearing the announcement before waking', FAILS, 'KILLED NEXT CLEAR_FIRST'),
    ('clearing without comparing', FAILS, 'PLAIN_CLEAR'),
    ('announcing without a version', FAILS, 'NO_VERSION'),
    ('setting the bit before the version', FAILS, 'OR_FIRST'),
    ('a killed waker and no kick', FAILS, 'KILLED'),
    ('a watcher, one-shot, that is marked asleep after it announced', FAILS, 'ONE_SHOT EARLY'),
    ('a watcher, one-shot, that does not announce again', FAILS, 'ONE_SHOT LAZY'),
)


def run(command, directory):
    """Output of a command; subprocess.run() kills it, and it alone, when the time is over."""
    done = subprocess.run(command, cwd=directory, timeout=SECONDS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout.decode(errors='replace')


def check(model, defines, compiler):
    """('holds' | 'fails' | what went wrong, remarks)"""
    with tempfile.TemporaryDirectory(prefix='afunix-model-') as directory:
        shutil.copy(model, directory)
        flags = ['-D' + d for d in defines.split()]
        code, out = run(['spin', *flags, '-a', os.path.basename(model)], directory)
        if code or not os.path.exists(os.path.join(directory, 'pan.c')):
            return 'spin stopped', out
        code, out = run([*compiler, '-O2', '-w', '-DSAFETY', '-DCOLLAPSE', f'-DMEMLIM={MEGABYTES}', '-o', 'pan', 'pan.c'],
                        directory)
        if code:
            return 'the compiler stopped', out
        _, out = run(['./pan', '-m200000', '-w23'], directory)
        summary = re.search(r'errors: (\d+)', out)
        remarks = ' '.join(re.findall(r'([\d.e+]+ states, stored|pan:\d+: .*)', out))
        if not summary:
            return 'pan stopped', out
        if summary.group(1) == '0':
            cut = 'Search not completed' in out or 'max search depth too small' in out
            return ('the search was cut short', out) if cut else (HOLDS, remarks)
        if 'invalid end state' not in out:
            return 'an error of another kind', out
        _, trail = run(['spin', *flags, '-t', '-p', '-g', os.path.basename(model)], directory)
        return FAILS, remarks + '\n' + trail


def main():
    model = os.path.abspath(sys.argv[1])
    variants = [v for v in VARIANTS if len(sys.argv) < 3 or sys.argv[2] in v[0]]
    compiler = os.environ.get('CC', 'cc').split()
    for tool in ('spin', compiler[0]):
        if not shutil.which(tool):
            print(f'1..0 # SKIP {tool} is not installed')
            return 0
    print(f'1..{len(variants)}')
    failed = 0
    for number, (title, expected, defines) in enumerate(variants, 1):
        try:
            result, remarks = check(model, defines, compiler)
        except subprocess.TimeoutExpired as expired:
            result, remarks = f'not done after {SECONDS} s: {expired.cmd[0]}', ''
        wrong = result != expected
        failed += wrong
        for line in remarks.splitlines()[:None if wrong else 1]:
            print(f'# {line}')
        if wrong:
            print(f'# {defines or "as it is"}: {result}, expected: {expected}')
        print(f'{"not ok" if wrong else "ok"} {number} - {title}: {expected}', flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
