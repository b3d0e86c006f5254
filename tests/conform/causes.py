# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Every cause happens in the case that causes.txt names for it: causes.py CAUSES.TXT AFUNIX CONFORM

causes.py --find AFUNIX CONFORM [PATTERN...] lists the cases in which each cause happens, to choose from.

The cases run under "afunix run --explain=all", each by itself; the cause has to be in what is
explained.  That a cause which is to come later has not come is for tests/lint/causes.py.
"""

import collections
import re
import subprocess
import sys
import tempfile

EXPLAINED = re.compile(rb'afunix: .*\) = E\w+ ([A-Z_]+)(?: \(injected\))?: ')


def read_table(path):
    with open(path, encoding='utf-8') as file:
        lines = [line.split(maxsplit=2) for line in file if line.strip() and not line.startswith('#')]
    return {words[0]: words[1] for words in lines}


def explained(afunix, conform, *patterns):
    """The causes that are explained while the cases run, and how the run ended."""
    with tempfile.NamedTemporaryFile() as log:
        status = subprocess.run([afunix, 'run', '--explain=all', '--explain-to', log.name, '--', conform, '-t', 'preload',
                                 *patterns], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=90,
                                check=False).returncode
        return {match[1].decode() for match in map(EXPLAINED.match, log) if match}, status


def whole(case):
    """A pattern with brackets is compared with the whole name."""
    return f'[{case[0]}]{case[1:]}'


def find(afunix, conform, listed):
    """The most telling cases first: those that pass, with few causes besides."""
    happen = collections.defaultdict(list)
    for case in listed:
        causes, status = explained(afunix, conform, whole(case))
        for cause in causes if status == 0 else ():
            happen[cause].append((len(causes), case))
    for cause, cases in sorted(happen.items()):
        print(cause, *(case for _, case in sorted(cases)))
    return 0


def main(table, afunix, conform, *patterns):
    listed = subprocess.run([conform, '-l', *patterns], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    if table == '--find':
        return find(afunix, conform, listed)
    table = read_table(table)
    cases = sorted({case for case in table.values() if case not in ('elsewhere', 'later', 'none')})
    seen = {case: explained(afunix, conform, whole(case)) for case in cases if case in listed}
    print(f'1..{len(table)}')
    bad = 0
    for number, (cause, case) in enumerate(table.items(), 1):
        mark = ''
        if case in ('elsewhere', 'none'):
            well, mark = True, f' # SKIP {case}'
        elif case == 'later':
            well, mark = False, ' # TODO later'
        else:
            well = case in seen and seen[case][1] == 0 and cause in seen[case][0]
            if case not in seen:
                print(f'# there is no case {case}')
            elif not well:
                print(f'# {case} (status {seen[case][1]}) explains {" ".join(sorted(seen[case][0])) or "nothing"}')
        bad += not well and not mark
        print(f'{"ok" if well else "not ok"} {number} - {cause} {case}{mark}')
    return 1 if bad else 0


sys.exit(main(*sys.argv[1:]))
