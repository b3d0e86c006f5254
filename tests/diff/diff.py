# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Runs random sequences of socket calls on the kernel and on afunix, and compares every line.

    diff.py --run DIFF-RUN --afunix AFUNIX [--seed N] [--count N] [--seconds N] [--types A,B] [--without WORD]...
    diff.py ... --file FILE        the sequences in a file, separated by empty lines
    diff.py ... --kernel-twice     the kernel against itself: every difference is the test's own

A sequence that differs is run again by itself, three times; if it always differs, it is
made as short as possible and printed with both outputs side by side.  What differs only
sometimes, or only in the company of the sequences before it, is counted and shown too.

known.txt holds the differences that are documented.  Output is TAP with --tap.
"""

import argparse
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MARK = '#SEQUENCE '


class Known:
    """The lines of known.txt."""

    def __init__(self, path):
        self.without, self.differs, self.types = [], [], None
        with open(path, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                if not line.strip() or line.startswith('#'):
                    continue
                parts = line.split(None, 2)
                if len(parts) < 3 or parts[0] not in ('types', 'without', 'differs', 'ancillary'):
                    sys.exit(f'{path}:{number}: no "types", "without", "ancillary" or "differs" with a reason')
                if parts[0] == 'types':
                    self.types = parts[1]
                elif parts[0] == 'differs':
                    self.differs.append((re.compile(parts[1]), parts[2].strip()))
                else:
                    self.without.append((parts[1], parts[0] == 'ancillary'))

    def words(self, ancillary):
        return [word for word, is_ancillary in self.without if not (ancillary and is_ancillary)]

    def reason(self, text):
        """Why a minimal sequence and its differing lines are known to differ, or None."""
        return next((reason for pattern, reason in self.differs if pattern.search(text)), None)


class Sides:
    """Both implementations, and a directory for each in which sequences make their files."""

    def __init__(self, args, directory):
        self.run = os.path.abspath(args.run)
        kernel = [self.run]
        expose = ['--expose', '--expose=@*'] if args.expose else []
        afunix = kernel if args.kernel_twice else [os.path.abspath(args.afunix), 'run', *expose, '--', self.run]
        self.commands = (kernel, afunix)
        self.directory = directory
        self.env = {k: v for k, v in os.environ.items() if k not in ('AFUNIX_DOMAIN', 'LD_PRELOAD')}
        for side in (0, 1):
            os.mkdir(self.cwd(side))
            with open(os.path.join(self.cwd(side), 'file'), 'w', encoding='ascii'):
                pass

    def cwd(self, side):
        return os.path.join(self.directory, ('kernel', 'afunix')[side])

    def start(self, side, arguments):
        return subprocess.Popen([*self.commands[side], *arguments], cwd=self.cwd(side), env=self.env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def outputs(self, arguments):
        """What both print; they run side by side, each read to the end."""
        files = [tempfile.TemporaryFile(dir=self.directory) for _ in (0, 1)]
        running = [subprocess.Popen([*self.commands[side], *arguments], cwd=self.cwd(side), env=self.env,
                                    stdin=subprocess.DEVNULL, stdout=files[side], stderr=subprocess.STDOUT)
                   for side in (0, 1)]
        outputs = []
        for process, file in zip(running, files):
            status = process.wait()
            file.seek(0)
            outputs.append(file.read())
            file.close()
            if status:
                outputs[-1] += b'\nEXIT STATUS %d\n' % status
        return outputs

    def of_texts(self, texts, alone=True):
        """Both outputs of each of some sequences in text form: a list of pairs of lists of lines."""
        path = os.path.join(self.directory, 'sequences')
        with open(path, 'w', encoding='ascii') as file:
            file.write('\n\n'.join('\n'.join(text) for text in texts) + '\n')
        both = [split(o) for o in self.outputs(['--file', path, *(['--alone'] if alone else [])])]
        return [tuple(side.get(i, ['NO OUTPUT']) for side in both) for i in range(len(texts))]


def split(output):
    """The lines of each sequence by its number."""
    result, lines = {}, []
    for line in output.decode('ascii', 'backslashreplace').splitlines():
        if line.startswith(MARK):
            lines = result[int(line[len(MARK):])] = []
        else:
            lines.append(line)
    return result


def first_difference(pair):
    """The index of the first line that differs, or None."""
    for i in range(max(len(pair[0]), len(pair[1]))):
        if i >= len(pair[0]) or i >= len(pair[1]) or pair[0][i] != pair[1][i]:
            return i
    return None


OUTCOME = re.compile(r' = (-1 [A-Z0-9]+|-?\d+|fd(?:-?\d+|\*))')


def outcome(line):
    """What a line says without its numbers: which error, or success; what it printed besides is marked."""
    if line.startswith('t:'):
        return 'done' if '[thread done]' in line else 'asleep'
    found = OUTCOME.search(line.split(' thread:')[-1])
    if not found:
        return re.sub(r'\d+', 'N', line[:30])
    return found.group(1) if found.group(1).startswith('-1 ') else 'ok'


def signature(pair):
    """What kind of difference this is: the call, both outcomes, and in which part the lines differ."""
    i = first_difference(pair)
    if i is None:
        return None
    lines = [side[i] if i < len(side) else 'NOTHING' for side in pair]
    call = re.sub(r'^[\dt]:', '', lines[0].split(' ')[0])
    outcomes = [outcome(line) for line in lines]
    part = ''
    if outcomes[0] == outcomes[1]:
        heads = [line.split(' {')[0] for line in lines]
        part = 'readiness' if heads[0] == heads[1] else 'content'
    return (call, *outcomes, part)


def timed(text):
    """Whether a thread or a signal that interrupts takes part, so that a busy machine can make a difference."""
    return any(re.match(r't:|socket(pair)? .* (cloexec|0) \d+$|accept \S+ \S+ (cloexec|0) |.*SETFL 0$|.*NBIO 0$', line)
               for line in text)


class Shrinker:
    def __init__(self, sides, want):
        self.sides, self.want = sides, want

    def failing(self, candidates):
        """The indices of those candidates that differ in the same way."""
        return [i for i, pair in enumerate(self.sides.of_texts(candidates)) if signature(pair) == self.want]

    def remove(self, text):
        size = max(1, len(text) // 2)
        while True:
            starts = [i for i in range(0, len(text), size) if len(text) > size]
            good = self.failing([text[:i] + text[i + size:] for i in starts]) if starts else []
            if good:
                text = self.remove_more(text, [starts[i] for i in good], size)
            elif size == 1:
                return text
            else:
                size = max(1, size // 2)

    def remove_more(self, text, starts, size):
        """All removals that work singly, if they also work together; else the last of them."""
        together = [line for i, line in enumerate(text) if not any(s <= i < s + size for s in starts)]
        if len(starts) > 1 and together and self.failing([together]):
            return together
        last = starts[-1]
        return text[:last] + text[last + size:]

    def simplify(self, text):
        """Replaces words of each line by simpler ones, as long as the difference stays."""
        progress = True
        while progress:
            progress = False
            for i, line in enumerate(text):
                candidates = [text[:i] + [c] + text[i + 1:] for c in simpler(line)]
                good = self.failing(candidates) if candidates else []
                if good:
                    text = candidates[good[0]]
                    progress = True
        return text

    def rename(self, text):
        """Numbers sockets and names in the order of their appearance."""
        for pattern, prefix in ((r's\d+', 's'), (r'p\d', 'p'), (r'a\d', 'a')):
            names = {}

            def new(match, names=names, prefix=prefix):
                return names.setdefault(match.group(0), f'{prefix}{len(names)}')

            renamed = [re.sub(rf'(?<=\s){pattern}(?=\s|$)', new, line) for line in text]
            if renamed != text and self.failing([renamed]):
                text = renamed
        return text

    def shrink(self, text):
        text = self.remove(text)
        text = self.simplify(text)
        candidates = list(paired(text))
        good = self.failing(candidates) if candidates else []
        if good:
            text = candidates[good[0]]
        return self.rename(self.remove(text))


USUAL = ('0', '1', '2', '4', '10', '110', '5')


def paired(text):
    """With one connection made by socketpair(), where it is made by name."""
    words = [line.split(' ') for line in text]
    for c, connect in enumerate(words):
        if connect[0] != 'connect':
            continue
        for a, accept in enumerate(words):
            if a > c and accept[0] == 'accept':
                made = f'socketpair {connect[1]} {accept[1]} unix {{}} nonblock 0'
                kind = next((w[3] for w in words if w[0] == 'socket'), 'stream')
                begin = [line for line, w in zip(text[:a], words)
                         if w[0] not in ('socket', 'bind', 'listen', 'connect')]
                yield [*begin, made.format(kind), *text[a + 1:]]


def simpler(line):
    """Lines that do the same with a simpler argument."""
    words = line.split(' ')
    for i, word in enumerate(words):
        if i == 0:
            if ':' in word:
                yield ' '.join([word.split(':')[1], *words[1:]])
            continue
        if '|' in word:
            parts = word.split('|')
            for k in range(len(parts)):
                yield ' '.join([*words[:i], '|'.join(parts[:k] + parts[k + 1:]), *words[i + 1:]])
        elif re.fullmatch(r'-?\d+', word) and word not in USUAL:
            for number in USUAL[:3] + USUAL[4:5]:
                yield ' '.join([*words[:i], number, *words[i + 1:]])
        elif re.fullmatch(r'[A-Z_]+', word) and words[0].lstrip('12t:') not in (
                'setsockopt', 'getsockopt', 'ioctl', 'fcntl'):
            yield ' '.join([*words[:i], '0', *words[i + 1:]])
        elif re.fullmatch(r'[ap]\d', word) and word not in ('a0', 'p0') and words[0] == 'bind':
            pass
        elif word in ('bad', 'half'):
            yield ' '.join([*words[:i], 'good' if words[0] in ('send', 'recv', 'read', 'write', 'writev') else '0',
                            *words[i + 1:]])


def side_by_side(text, pair):
    """The sequence, and below each line what both sides said where they differ."""
    out, first = [], first_difference(pair)
    for i in range(max(len(pair[0]), len(pair[1]))):
        lines = [side[i] if i < len(side) else '(nothing)' for side in pair]
        if lines[0] == lines[1]:
            out.append(f'    {lines[0]}')
        else:
            mark = '>>' if i == first else '> '
            out.append(f' {mark} kernel  {lines[0]}')
            out.append(f' {mark} afunix  {lines[1]}')
    if first is None:
        out.append('    (no difference this time)')
    return '\n'.join(out)


class Difference:
    def __init__(self, numbers, text, pair, reason):
        self.numbers, self.text, self.pair, self.reason = numbers, text, pair, reason

    def __str__(self):
        where = f'sequence {", ".join(map(str, self.numbers[:5]))}{", ..." if len(self.numbers) > 5 else ""}'
        return (f'{" / ".join(signature(self.pair) or ("?",))}   ({where})\n{side_by_side(self.text, self.pair)}\n'
                f'  as text:\n' + '\n'.join(f'    {line}' for line in self.text))


class Hunt:
    def __init__(self, args, known, sides):
        self.args, self.known, self.sides = args, known, sides
        self.found = {}             # minimal text -> Difference
        self.seen = collections.Counter()  # signature before shrinking -> sequences
        self.unshrunk = collections.defaultdict(list)
        self.classes = collections.Counter()  # signature and calls after shrinking
        self.unsteady = []
        self.ran = 0

    def common(self):
        arguments = ['--seed', str(self.args.seed), '--length', str(self.args.length)]
        for word in self.known.words(self.args.ancillary) + self.args.without:
            arguments += ['--exclude', word]
        types = self.args.types or self.known.types
        if types:
            arguments += ['--types', types]
        return arguments

    def text_of(self, number):
        output = subprocess.run([self.sides.run, *self.common(), '--first', str(number), '--count', '1', '--print'],
                                stdout=subprocess.PIPE, check=True).stdout.decode('ascii')
        return [line for line in output.splitlines() if line and not line.startswith('#')]

    def batch(self, first, count):
        outputs = self.sides.outputs([*self.common(), '--first', str(first), '--count', str(count)])
        self.ran += count
        if outputs[0] == outputs[1]:
            return
        both = [split(o) for o in outputs]
        for number in range(first, first + count):
            pair = tuple(side.get(number, ['NO OUTPUT']) for side in both)
            if pair[0] != pair[1]:
                self.differs(number, self.text_of(number), pair)

    def differs(self, number, text, in_company):
        kind = signature(in_company)
        self.seen[kind] += 1
        if self.seen[kind] > self.args.each:
            self.unshrunk[kind].append(number)
            return
        pairs = [self.sides.of_texts([text])[0] for _ in range(3)]
        kinds = {signature(pair) for pair in pairs}
        if len(kinds) != 1 or None in kinds:
            self.unsteady.append((number, text, in_company))
            return
        small = Shrinker(self.sides, kinds.pop()).shrink(text)
        if tuple(small) in self.found:
            self.found[tuple(small)].numbers.append(number)
            return
        pair = self.sides.of_texts([small])[0]
        difference = Difference([number], small, pair, None)
        difference.reason = self.known.reason(str(difference))
        self.found[tuple(small)] = difference
        if difference.reason:
            self.say(f'known difference, {difference.reason}: {" / ".join(signature(pair) or ("?",))}')
            return
        self.keep(difference)
        calls = ' '.join(line.split(' ')[0] for line in small)
        self.classes[signature(pair), calls] += 1
        if self.classes[signature(pair), calls] == 1:
            self.say(f'DIFFERENCE {len(self.found)}: {difference}\n')
        else:
            self.say(f'the like of it: {"; ".join(small)}')

    def keep(self, difference):
        """Its text form, for --file."""
        if self.args.save:
            with open(self.args.save, 'a', encoding='ascii') as file:
                file.write('\n'.join([f'# {" / ".join(signature(difference.pair) or ("?",))}', *difference.text]) + '\n\n')

    def say(self, text):
        for line in text.splitlines():
            print(f'# {line}' if self.args.tap else line, flush=True)

    def hunt(self):
        end = time.monotonic() + self.args.seconds if self.args.seconds else None
        number = self.args.first
        stop = self.args.first + self.args.count
        while number < stop and (end is None or time.monotonic() < end):
            count = min(self.args.batch, stop - number)
            self.batch(number, count)
            number += count
            if not self.args.tap and sys.stderr.isatty():
                print(f'\r{self.ran} sequences', end='', file=sys.stderr, flush=True)

    def file(self, path):
        with open(path, encoding='ascii') as file:
            blocks = re.split(r'\n\s*\n', file.read())
        for number, block in enumerate(blocks):
            text = [line.strip() for line in block.splitlines() if line.strip() and not line.startswith('#')]
            if not text:
                continue
            self.ran += 1
            pair = self.sides.of_texts([text])[0]
            if self.args.show:
                self.say(side_by_side(text, pair) + '\n')
            elif pair[0] != pair[1]:
                self.differs(number, text, pair)

    def report(self):
        new = [d for d in self.found.values() if not d.reason]
        known = [d for d in self.found.values() if d.reason]
        for kind, numbers in self.unshrunk.items():
            self.say(f'{len(numbers)} more of the kind {" / ".join(kind)}, for instance sequence {numbers[0]}')
        for number, text, pair in self.unsteady:
            why = ' (calls that sleep are in it: no failure)' if timed(text) else ''
            self.say(f'NOT STEADY{why}, sequence {number} of seed {self.args.seed} differed once, or by itself not:\n'
                     + side_by_side(text, pair))
        self.say(f'{self.ran} sequences of seed {self.args.seed}: {sum(self.seen.values())} differed, '
                 f'{len(new)} new minimal differences in {len(self.classes)} classes, {len(known)} known, {len(self.unsteady)} not steady')
        unsteady = [number for number, text, _ in self.unsteady if not timed(text)]
        return 1 if new or unsteady or not self.ran else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--run', required=True, help='the program diff-run')
    parser.add_argument('--afunix', help='the command afunix')
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--first', type=int, default=0)
    parser.add_argument('--count', type=int, default=1000, help='sequences')
    parser.add_argument('--seconds', type=float, help='begin nothing after that time')
    parser.add_argument('--batch', type=int, default=500, help='sequences per process')
    parser.add_argument('--length', type=int, default=30, help='operations per sequence at most')
    parser.add_argument('--types', help='stream,dgram,seqpacket')
    parser.add_argument('--without', '--calls-without', action='append', default=[], metavar='WORD',
                        help='no operation with this word: a call, an option, a flag')
    parser.add_argument('--ancillary', action='store_true', help='also what known.txt marks as ancillary')
    parser.add_argument('--each', type=int, default=5, help='how many of a kind are made shorter')
    parser.add_argument('--known', default=os.path.join(HERE, 'known.txt'))
    parser.add_argument('--file', help='sequences in text form instead of generated ones')
    parser.add_argument('--save', help='append new minimal sequences to that file')
    parser.add_argument('--show', action='store_true', help='with --file: print both outputs, make nothing shorter')
    parser.add_argument('--kernel-twice', action='store_true')
    parser.add_argument('--expose', action='store_true', help='with the names of the sequences exposed')
    parser.add_argument('--tap', action='store_true')
    args = parser.parse_args()
    if not args.afunix and not args.kernel_twice:
        parser.error('--afunix or --kernel-twice')
    return args


def main():
    args = arguments()
    known = Known(args.known)
    if args.kernel_twice:
        known = Known(os.devnull)
    directory = tempfile.mkdtemp(prefix='diff-')
    try:
        hunt = Hunt(args, known, Sides(args, directory))
        if args.file:
            hunt.file(args.file)
        else:
            hunt.hunt()
        status = hunt.report()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if args.tap:
        tap(args, hunt, status)
    return status


def tap(args, hunt, status):
    """One case for all sequences, and one for each known difference that turned up."""
    title = 'the kernel agrees with itself' if args.kernel_twice else 'the kernel and afunix agree'
    print(f'{"not " if status else ""}ok 1 - {title} in {hunt.ran} sequences of seed {args.seed}')
    reasons = sorted({d.reason for d in hunt.found.values() if d.reason})
    for number, reason in enumerate(reasons, 2):
        print(f'not ok {number} - {reason} # TODO known difference')
    print(f'1..{len(reasons) + 1}')


if __name__ == '__main__':
    sys.exit(main())
