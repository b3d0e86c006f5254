# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Runs the tests of a build directory and counts their cases: test.py BUILD [ARG of meson test ...]

Meson counts a TAP program as one test, whatever number of cases it has, and its JUnit
file shows a TODO as passed.  So this reads what the programs printed.  A case that is
"not ok" and marked TODO is a known difference and counts as skipped; a case that is "ok"
in spite of its TODO counts as failed, for the mark is out of date.  A program that
crashed, took too long or never ran counts as one failure more.

The last line is "N passed, N failed, N skipped".  Exit status 0 if at least one case
passed and none failed.
"""

import json
import os
import re
import subprocess
import sys

CASE = re.compile(r'^(not )?ok\b(?:\s+\d+)?\s*(?:-\s*)?([^#]*)(?:#\s*(TODO|SKIP)\w*(.*))?$', re.IGNORECASE)
SKIP_ALL = re.compile(r'^1\.\.0\b\s*(?:#\s*(?:SKIP\S*\s*)?(.*))?$', re.IGNORECASE)


class Count:
    def __init__(self):
        self.passed = 0
        self.skipped = []
        self.known = []
        self.failed = []

    def tap(self, test, output):
        """Counts the cases of one TAP program."""
        for line in output.splitlines():
            whole = SKIP_ALL.match(line)
            if whole:
                self.skipped.append(f'{test}: {whole.group(1) or "no cases"}')
                continue
            case = CASE.match(line)
            if case:
                self.case(f'{test}: {case.group(2).strip()}', not case.group(1), (case.group(3) or '').upper(),
                          (case.group(4) or '').strip())

    def case(self, name, good, mark, reason):
        if mark == 'SKIP':
            self.skipped.append(f'{name}: {reason}')
        elif mark == 'TODO' and not good:
            self.known.append(f'{name}: {reason}')
        elif mark == 'TODO':
            self.failed.append(f'{name}: passes, although it is marked TODO: {reason}')
        elif good:
            self.passed += 1
        else:
            self.failed.append(name)

    def test(self, name, protocol, run):
        """Counts one test of Meson; run is its record in the log, or None."""
        if run is None:
            self.failed.append(f'{name}: did not run')
            return
        failed_before = len(self.failed)
        good = run['result'] in ('OK', 'SKIP', 'EXPECTEDFAIL')
        if protocol == 'tap':
            self.tap(name, run.get('stdout', ''))
        elif run['result'] == 'OK':
            self.passed += 1
        elif run['result'] == 'SKIP':
            self.skipped.append(name)
        elif run['result'] == 'EXPECTEDFAIL':
            self.known.append(name)
        if not good and len(self.failed) == failed_before:
            self.failed.append(f'{name}: {run["result"].lower()}, exit status {run.get("returncode")}')


def read_log(path):
    """The records of the last run by name; "afunix:suite / name" in the log is "name" to Meson's list."""
    with open(path, encoding='utf-8', errors='replace') as log:
        records = [json.loads(line) for line in log if line.strip()]
    return {record['name'].rsplit(' / ', 1)[-1]: record for record in records}


def main():
    build, arguments = sys.argv[1], sys.argv[2:]
    log = os.path.join(build, 'meson-logs', 'testlog.json')
    if os.path.exists(log):
        os.unlink(log)
    status = subprocess.run(['meson', 'test', '-C', build, '--no-rebuild', '--print-errorlogs', *arguments],
                            stdin=subprocess.DEVNULL, check=False).returncode
    with open(os.path.join(build, 'meson-info', 'intro-tests.json'), encoding='utf-8') as listing:
        tests = json.load(listing)
    records = read_log(log) if os.path.exists(log) else {}

    count = Count()
    for test in tests:
        run = records.get(test['name'])
        if run is not None or not arguments:
            count.test(test['name'], test['protocol'], run)
    if status != 0 and not count.failed:
        count.failed.append(f'meson test itself: exit status {status}')

    print()
    for title, names in (('skipped', count.skipped), ('known difference', count.known), ('FAILED', count.failed)):
        for name in names:
            print(f'{title}: {name}')
    if count.known:
        print(f'{len(count.known)} known differences (TODO) are among the skipped')
    print(f'{count.passed} passed, {len(count.failed)} failed, {len(count.skipped) + len(count.known)} skipped',
          flush=True)
    return 1 if count.failed or count.passed == 0 else 0


if __name__ == '__main__':
    sys.exit(main())
