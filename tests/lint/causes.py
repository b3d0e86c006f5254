# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""The table of causes is whole, one TAP case for each rule: causes.py SOURCE-ROOT

Looks at files only.  That the cases really make the causes happen is for tests/conform/causes.py.
"""

import errno
import os
import re
import sys

ROW = re.compile(r'^CAUSE\((\w+), (\w+), "([^"]*)", "((?:[^"\\]|\\.)*)"\)$', re.M)
KINDS = ('elsewhere', 'later', 'none')


def read(root, *path):
    with open(os.path.join(root, *path), encoding='utf-8') as file:
        return file.read()


def sources(root, *below):
    for directory, _, files in os.walk(os.path.join(root, *below)):
        for name in files:
            if name.endswith(('.c', '.h')):
                yield read(directory, name)


def well_formed(root, rows):
    text = read(root, 'src/base/causes.def')
    for line in text.splitlines():
        if line.startswith('CAUSE(') and not ROW.match(line):
            yield f'not one row on one line: {line}'
    for identifier, error, _, sentence in rows:
        if error != '0' and not hasattr(errno, error):
            yield f'{identifier}: {error} is no errno'
        if not re.fullmatch(r'[A-Za-z].*[.]', sentence) or re.search(r'["\\\x00-\x1f]', sentence):
            yield f'{identifier}: not a sentence, or with what JSON would escape: {sentence}'
    identifiers = [row[0] for row in rows]
    for identifier in sorted({i for i in identifiers if identifiers.count(i) > 1}):
        yield f'{identifier} stands there twice'


def calls_known(root, rows):
    calls = {'*', 'afunix_attach'}
    for name, words in re.findall(r'^CALL\((\w+), "([^"]*)"', read(root, 'src/library/calls.def'), re.M):
        calls |= {name, *words.split()}
    for identifier, _, words, _ in rows:
        for word in words.split() or ['']:
            if word not in calls:
                yield f'{identifier}: calls.def has no call "{word}"'


def table_of_cases(root):
    return [line.split(maxsplit=2) for line in read(root, 'tests/conform/causes.txt').splitlines()
            if line.strip() and not line.startswith('#')]


def cases_named(root, rows):
    table = table_of_cases(root)
    if [words[0] for words in table] != [row[0] for row in rows]:
        missing = [row[0] for row in rows if row[0] not in [words[0] for words in table]]
        surplus = [words[0] for words in table if words[0] not in [row[0] for row in rows]]
        yield f'without a line: {missing}; without a cause: {surplus}; or not in the order of causes.def'
    cases, endings = set(), set()
    for text in sources(root, 'tests/conform'):
        cases |= set(re.findall(r'^CASE\w*\((\w+)', text, re.M))
        # cases that a macro makes from a part of their name
        endings |= set(re.findall(r'CASE\(\w+##(\w+)', text))
    for words in table:
        kind, rest = words[1], words[2] if len(words) > 2 else ''
        if kind in KINDS and not rest:
            yield f'{words[0]}: {kind} without a reason'
        elif kind == 'elsewhere' and not os.path.exists(os.path.join(root, rest.split()[0])):
            yield f'{words[0]}: there is no {rest.split()[0]}'
        elif kind not in KINDS and kind not in cases and not kind.endswith(tuple(endings)):
            yield f'{words[0]}: there is no case {kind}'


def used(root, rows):
    """What the code never names can't happen, so it is to be "later" or "none"; what it names is not to be "later"."""
    rooms = [room for room in os.listdir(os.path.join(root, 'src')) if room != 'cli']
    named = {word for room in rooms for text in sources(root, 'src', room)
             for word in re.findall(r'\bAFU_CAUSE_(\w+)\b(?!:)', text)}
    kinds = {words[0]: words[1] for words in table_of_cases(root)}
    for identifier, *_ in rows:
        if identifier not in named and kinds.get(identifier) not in ('later', 'none'):
            yield f'{identifier}: the code never refuses with it'
        if identifier in named and kinds.get(identifier) == 'later':
            yield f'{identifier}: the code refuses with it now; name its case, causes.py --find helps'
    for name in sorted(named - {row[0] for row in rows} - {'NONE'}):
        yield f'{name}: the code refuses with what the table does not have'


def main(root):
    rules = (('rows of causes.def are whole, sentences are plain', well_formed),
             ('causes are for calls that calls.def knows', calls_known),
             ('every cause has a case, or a reason why not', cases_named),
             ('every cause is refused with somewhere', used))
    rows = ROW.findall(read(root, 'src/base/causes.def'))
    print(f'1..{len(rules)}')
    bad = 0
    for number, (title, rule) in enumerate(rules, 1):
        found = list(rule(root, rows))
        for line in found:
            print(f'# {line}')
        bad += bool(found)
        print(f'{"not ok" if found or not rows else "ok"} {number} - {title}')
    return 1 if bad or not rows else 0


sys.exit(main(sys.argv[1]))
