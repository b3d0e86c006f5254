# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""A manual page with the table of causes in it: errors.py PAGE.in CAUSES.DEF > PAGE

The line @ERRORS@ of the page becomes the items of a list, one for each errno.
"""

import re
import sys

ROW = re.compile(r'^CAUSE\((\w+), (\w+), "([^"]*)", "((?:[^"\\]|\\.)*)"\)$', re.M)


def item(error, rows):
    yield '.It Bq Er ' + error if error != '0' else '.It Bq any other'
    for number, (identifier, _, calls, text) in enumerate(rows):
        if number:
            yield '.Pp'
        # As roff takes it: the lint of the table sees to it that there is nothing to escape.
        yield text
        calls = calls.replace('*', 'any').split()
        yield f'.Pq Dv {identifier} : ' + ' , '.join(calls)


def main(page, table):
    with open(table, encoding='utf-8') as file:
        rows = ROW.findall(file.read())
    # The ones without an errno of their own come last.
    errors = sorted({row[1] for row in rows}, key=lambda error: (error == '0', error))
    items = [line for error in errors for line in item(error, [row for row in rows if row[1] == error])]
    with open(page, encoding='utf-8') as file:
        text = file.read()
    if not rows or text.count('@ERRORS@\n') != 1:
        sys.exit('errors.py: no rows, or not one line @ERRORS@')
    print(text.replace('@ERRORS@\n', '\n'.join(items) + '\n'), end='')


main(*sys.argv[1:])
