# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""The rules of the house that a machine can check, one TAP case each: house.py SOURCE-ROOT

Looks at files only and changes none.  The layout of C code is clang-format's business and
no gate.
"""

import os
import re
import sys

# A room may include its own headers and those of the rooms that stand in its row.
BELOW = {'base': []}
for room, next_below in (('ring', 'base'), ('channel', 'ring'), ('broker', 'channel'), ('gate', 'broker'),
                         ('socket', 'gate'), ('library', 'socket'), ('preload', 'library'),
                         ('daemon', 'gate'), ('cli', 'library')):
    BELOW[room] = [next_below, *BELOW[next_below]]
# The command hosts the broker of a private domain: the daemon's event loop.
BELOW['cli'].append('daemon')

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
SPDX = ('SPDX-License-Identifier: MIT', 'SPDX-FileCopyrightText: The afunix authors')
SOURCE = ('.c', '.h', '.def', '.py', '.sh')
TEXT = SOURCE + ('.md', '.build', '.txt', '.1', '.3', '.7', '.8', '.pml', '.map', '.supp', '.in')
VAGUE = {'util', 'utils', 'common', 'misc', 'helper', 'helpers'}
FILE_LINES = 800
EXAMPLE_LINES = 79


def walk(root):
    """Every file of the project as a path below its root; hidden and built directories are not the project's."""
    for directory, names, files in os.walk(root):
        names[:] = sorted(n for n in names if not n.startswith(('.', 'build')) and n != '__pycache__')
        for name in sorted(files):
            yield os.path.relpath(os.path.join(directory, name), root)


def read(root, path):
    with open(os.path.join(root, path), encoding='utf-8', errors='replace') as file:
        return file.read()


def is_script(root, path):
    with open(os.path.join(root, path), 'rb') as file:
        return file.read(2) == b'#!'


def upward_includes(root, paths):
    for path in paths:
        parts = path.split('/')
        if parts[0] != 'src' or len(parts) < 3 or not path.endswith(('.c', '.h')):
            continue
        room = parts[1]
        if room not in BELOW:
            yield f'{path}: src/{room} is not a room'
            continue
        for number, line in enumerate(read(root, path).splitlines(), 1):
            include = INCLUDE.match(line)
            if not include:
                continue
            head, _, rest = include.group(1).partition('/')
            if '..' in include.group(1).split('/'):
                yield f'{path}:{number}: include by way of "..": name the room'
            elif rest and head != room and head not in BELOW[room] and head in BELOW:
                yield f'{path}:{number}: {room} includes {include.group(1)}, which does not stand below it'


def long_files(root, paths):
    for path in paths:
        if path.startswith('src/') and path.endswith(SOURCE):
            lines = read(root, path).count('\n')
            if lines > FILE_LINES:
                yield f'{path}: {lines} lines, at most {FILE_LINES}'


def long_examples(root, paths):
    for path in paths:
        if path.startswith('examples/') and path.endswith('.c'):
            lines = read(root, path).count('\n')
            if lines > EXAMPLE_LINES:
                yield f'{path}: {lines} lines, at most {EXAMPLE_LINES}'


def missing_spdx(root, paths):
    for path in paths:
        if path.endswith(SOURCE) or is_script(root, path):
            head = read(root, path).splitlines()[:4]
            for tag in SPDX:
                if not any(tag in line for line in head):
                    yield f'{path}: no "{tag}" in its first lines'


def vague_names(_root, paths):
    for path in paths:
        for part in path.split('/'):
            if part.split('.')[0].lower() in VAGUE:
                yield f'{path}: the name does not say what it is about'


def trailing_space(root, paths):
    for path in paths:
        if path.endswith(TEXT) or os.path.basename(path) == 'Makefile' or is_script(root, path):
            for number, line in enumerate(read(root, path).split('\n'), 1):
                if line != line.rstrip():
                    yield f'{path}:{number}: white space at the end of the line'


def public_names(root, paths):
    """afunix_ is for what afunix.h declares; what crosses files inside is afu_ROOM_VERB."""
    declared = set(re.findall(r'\bafunix_\w+', read(root, 'include/afunix/afunix.h')))
    for path in paths:
        if path.startswith('src/') and path.endswith('.h') and not path.startswith('src/preload/'):
            code = re.sub(r'/\*.*?\*/|"[^"\n]*"|^\s*#\s*include.*?$', '', read(root, path), flags=re.DOTALL | re.M)
            for name in sorted(set(re.findall(r'\bafunix_\w+(?=\s*\()', code)) - declared):
                yield f'{path}: {name} is not in afunix.h'


CHECKS = (
    ('no include goes up', upward_includes),
    (f'no file in src is longer than {FILE_LINES} lines', long_files),
    ('examples are under 80 lines', long_examples),
    ('sources begin with two SPDX lines', missing_spdx),
    ('names of files say what they are about', vague_names),
    ('no white space at the ends of lines', trailing_space),
    ('public names are declared in afunix.h alone', public_names),
)


def main():
    root = sys.argv[1]
    paths = list(walk(root))
    print(f'1..{len(CHECKS)}')
    failed = 0
    for number, (title, check) in enumerate(CHECKS, 1):
        complaints = list(check(root, paths))
        for complaint in complaints:
            print(f'# {complaint}')
        failed += bool(complaints)
        print(f'{"not ok" if complaints else "ok"} {number} - {title}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
