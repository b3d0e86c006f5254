# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""The demo behind "make run": the same unmodified programs on the kernel's sockets and on afunix.

Redis with redis-benchmark, and a small echo server with its client, each on both sides in
alternation (kernel, afunix, kernel, afunix, ...); the table shows the median of the rounds.
System calls are counted in runs of their own under strace, never in a timed one: all of the
server, the client and the domain's broker, in a long run less a short one, divided by the
difference in requests.

Ends by itself within the limit; a step that takes too long is a failure.  Exit status 0 only
if every figure in the table was measured.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

INNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'inner.sh')
SIDES = ('kernel', 'afunix')
SHORT = 100              # requests of the short run under strace
TRACED = (1000, 20000)   # and by how many the long run has more


class Failed(Exception):
    """A step of the demo did not work; the text says which and how."""


class Workload:
    """One row of the table, and how to run it."""

    def __init__(self, name, arguments):
        self.name = name
        self.arguments = arguments  # of inner.sh, without the directory and the number of requests
        self.requests = 2000        # of a timed run; these few serve to find out how many it shall have

    def command(self, directory, requests):
        kind, *rest = self.arguments
        return ['bash', INNER, kind, directory, *rest, str(requests)]

    def parse(self, output):
        """(requests per second, p50 in us, p99 in us) of what the client printed."""
        if self.arguments[0] == 'echo':
            words = output.replace(',', '').split()
            return float(words[0]), float(words[words.index('p50') + 1]), float(words[words.index('p99') + 1])
        row = list(csv.DictReader(output.splitlines()))[-1]
        return float(row['rps']), 1e3 * float(row['p50_latency_ms']), 1e3 * float(row['p99_latency_ms'])


class Runner:
    def __init__(self, afunix, limit):
        self.prefix = {'kernel': [], 'afunix': [afunix, 'run', '--']}
        self.ends = time.monotonic() + limit
        self.environment = {k: v for k, v in os.environ.items() if k != 'AFUNIX_DOMAIN'}

    def left(self):
        return self.ends - time.monotonic()

    def run(self, side, workload, requests, trace=None):
        """Runs one measurement in a session of its own, whose processes do not survive it."""
        what = f'{workload.name} on {"afunix" if side == "afunix" else "the kernel"}'
        with tempfile.TemporaryDirectory(prefix='afunix-demo-') as directory:
            command = (trace or []) + self.prefix[side] + workload.command(directory, requests)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True, env=self.environment,
                                       start_new_session=True)
            try:
                out, err = process.communicate(timeout=max(1, min(30, self.left())))
            except subprocess.TimeoutExpired as late:
                raise Failed(f'{what}: no end after {late.timeout:.0f} s') from late
            finally:
                # The group is ours alone.  Without this a server would outlive a killed demo.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                process.wait()
        if process.returncode != 0:
            raise Failed(f'{what}: exit status {process.returncode}: {(err or out).strip()[-400:]}')
        try:
            return workload.parse(out)
        except (IndexError, KeyError, ValueError) as strange:
            raise Failed(f'{what}: not understood: {out!r} {err.strip()[-400:]}') from strange

    def system_calls(self, side, workload, requests):
        with tempfile.NamedTemporaryFile('r', prefix='afunix-demo-', suffix='.strace') as report:
            self.run(side, workload, requests, ['strace', '-f', '-qq', '-c', '-o', report.name])
            for line in report.read().splitlines():
                words = line.split()
                if words and words[-1] == 'total':
                    return int(words[3])
        raise Failed(f'{workload.name}: strace printed no total')

    def calls_per_request(self, side, workload):
        """A tracer makes a call a hundred times as slow, so many requests are traced only where calls are few."""
        least = self.system_calls(side, workload, SHORT)
        for more in TRACED:
            calls = max(0, self.system_calls(side, workload, SHORT + more) - least) / more
            if calls >= 1:
                break
        return calls


def number(value):
    """Three significant digits or so, without an exponent."""
    if value >= 1000:
        return f'{value:,.0f}'
    return f'{value:.1f}' if value >= 10 else f'{value:.2f}'


def table(workloads, rounds, calls):
    head = f'{"":24}' + ''.join(f'{side:^40}  ' for side in SIDES) + ' afunix : kernel'
    columns = f'{"":24}' + (f'{"per second":>12}{"p50 us":>9}{"p99 us":>9}{"calls":>10}' + '  ') * 2 + '   per second'
    yield head.rstrip()
    yield columns
    for workload in workloads:
        line = f'{workload.name:24}'
        for side in SIDES:
            speed, p50, p99 = (statistics.median(figure) for figure in zip(*rounds[workload.name][side]))
            line += f'{number(speed):>12}{number(p50):>9}{number(p99):>9}{calls[workload.name][side]:>10.3f}  '
        pairs = zip(*(rounds[workload.name][side] for side in SIDES))
        ratios = sorted(ours[0] / kernels[0] for kernels, ours in pairs)
        yield line + f'   {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})'


def machine():
    model = platform.machine()
    with open('/proc/cpuinfo', encoding='utf-8') as info:
        for line in info:
            if line.startswith('model name'):
                model = line.split(':', 1)[1].strip()
                break
    return f'{len(os.sched_getaffinity(0))} processors ({model}), Linux {platform.release()}'


def measure(runner, workloads, want_rounds, seconds):
    calls = {w.name: {} for w in workloads}
    rounds = {w.name: {side: [] for side in SIDES} for w in workloads}
    for workload in workloads:
        print(f'counting system calls: {workload.name}', file=sys.stderr, flush=True)
        for side in SIDES:
            calls[workload.name][side] = runner.calls_per_request(side, workload)
        # The same number of requests on both sides, such that the kernel takes the time that was asked for.
        rate = runner.run('kernel', workload, workload.requests)[0]
        workload.requests = int(min(500000, max(5000, rate * seconds)))
    taken = 0.0
    for done in range(want_rounds):
        if done >= 2 and runner.left() < 1.5 * taken:
            print(f'no time for more than {done} rounds', file=sys.stderr)
            break
        began = time.monotonic()
        print(f'round {done + 1}', file=sys.stderr, flush=True)
        for workload in workloads:
            for side in SIDES:
                rounds[workload.name][side].append(runner.run(side, workload, workload.requests))
        taken = time.monotonic() - began
    return rounds, calls


def parse_arguments():
    parser = argparse.ArgumentParser(description='redis and an echo server, on the kernel and on afunix')
    parser.add_argument('--afunix', required=True, help='the command afunix')
    parser.add_argument('--build', required=True, help='the build directory, with examples/')
    parser.add_argument('--rounds', type=int, default=3, help='rounds, at least 2 (default 3)')
    parser.add_argument('--seconds', type=float, default=1.0, help='time of one measurement on the kernel')
    parser.add_argument('--limit', type=float, default=110, help='seconds after which it gives up')
    parser.add_argument('--json', help='file for the figures of every round')
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    examples = os.path.abspath(os.path.join(arguments.build, 'examples'))
    workloads = [Workload(f'redis {test.upper()}, {clients} client{"s" if clients > 1 else ""}',
                          ['redis', test, str(clients)])
                 for clients in (1, 50) for test in ('set', 'get')]
    workloads.append(Workload('echo of 64 bytes', ['echo', examples]))
    try:
        for program in (arguments.afunix, os.path.join(examples, 'posix-echo-server'), 'redis-server',
                        'redis-benchmark', 'strace', 'bash'):
            if not shutil.which(program):
                raise Failed(f'{program}: no such program')
        rounds, calls = measure(Runner(os.path.abspath(arguments.afunix), arguments.limit), workloads,
                                max(2, arguments.rounds), arguments.seconds)
    except Failed as failure:
        print(f'demo: {failure}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    count = len(rounds[workloads[0].name]['kernel'])
    print(f'\nUnmodified programs on the kernel\'s Unix sockets and on afunix; {machine()}')
    print(f'Median of {count} alternating rounds (the range of their ratios in brackets); values of 64 bytes, '
          'no pipelining;\n"calls" are system calls per request of server, client and broker together\n')
    print('\n'.join(table(workloads, rounds, calls)))
    if arguments.json:
        with open(arguments.json, 'w', encoding='utf-8') as out:
            json.dump({'machine': machine(), 'rounds': rounds, 'calls': calls}, out, indent=1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
