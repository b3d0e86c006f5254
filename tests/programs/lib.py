# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""What the tests with real programs share: TAP, and running a command on the kernel or under afunix.

A test is a list of cases; a case is a function that returns if all is well and raises
otherwise.  Each case runs with an empty directory of its own as working directory, and
whatever it started is gone after it: commands run in sessions of their own, which are
killed whole, and daemons that left their session come to this process when their parent
ends, and are killed then.  AFUNIX in the environment is the path of the command.
"""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

AFUNIX = os.path.abspath(os.environ.get('AFUNIX', 'afunix'))
HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(HERE, 'peers.py')
SIDES = ('kernel', 'afunix')
PR_SET_CHILD_SUBREAPER = 36

# Daemons stand where not everybody's PATH leads.
os.environ['PATH'] = f'{os.environ.get("PATH", os.defpath)}:/usr/sbin:/sbin'


class Skip(Exception):
    """The case cannot run here; the text says why."""


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def __str__(self):
        return f'exit status {self.status}\nstdout: {self.out[-2000:]}\nstderr: {self.err[-2000:]}'


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f'{program} is not installed')


def environment(**more):
    """Ours, without what would choose a domain; a value None removes the variable."""
    env = {k: v for k, v in os.environ.items() if k not in ('AFUNIX_DOMAIN', 'LD_PRELOAD')}
    for key, value in more.items():
        env.pop(key, None)
        if value is not None:
            env[key] = value
    return env


def run(command, stdin=b'', timeout=30, env=None):
    """Runs a command to its end and gives back status (negative: the signal) and output."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=env or environment(), start_new_session=True)
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        end(process)
        out, err = process.communicate()
        text = Result('none', out.decode(errors='replace'), err.decode(errors='replace'))
        raise AssertionError(f'no end after {timeout} s: {shlex.join(command)}\n{text}') from None
    end(process)
    return Result(process.returncode, out.decode(errors='replace'), err.decode(errors='replace'))


def end(process):
    """Kills what is left of the session that a process of ours leads."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def end_strays():
    """Kills what came to us because its parent has ended, until nothing comes any more."""
    while True:
        with open(f'/proc/self/task/{os.getpid()}/children', encoding='ascii') as listing:
            strays = [int(pid) for pid in listing.read().split()]
        if not strays:
            return
        for pid in strays:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def prefix(side, *options):
    return [] if side == 'kernel' else [AFUNIX, 'run', *options, '--']


def shell(side, script, **more):
    """Runs a bash script, the whole of it in one domain."""
    return run([*prefix(side), 'bash', '-c', script], **more)


def pair(side, server, client, **more):
    """Runs a server and a client in one domain; gives back the client's status and both outputs.

    The client has to wait for the server by itself.  A server that still runs after it is
    asked to end.
    """
    script = (f'{shlex.join(server)} & server=$!\n{shlex.join(client)}\nstatus=$?\n'
              'kill $server 2>/dev/null\nwait $server\nexit $status\n')
    return shell(side, script, **more)


def peer(role, *arguments):
    return [sys.executable, '-B', PEERS, role, *map(str, arguments)]


def check(condition, *what):
    if not condition:
        raise AssertionError('\n'.join(map(str, what)) or 'false')


def equal(got, wanted, *context):
    check(got == wanted, f'got    {got!r}', f'wanted {wanted!r}', *context)


def on_both(title, function, *arguments):
    """The same case twice: the kernel has to pass as well, or the case is wrong."""
    return [(f'{title} ({side})', lambda side=side: function(side, *arguments)) for side in SIDES]


def one(title, function):
    print(f'# {title}', flush=True)
    home = os.getcwd()
    # Short, for the address of a socket has room for 107 bytes.
    directory = tempfile.mkdtemp(prefix='afunix-test-', dir='/tmp')
    os.chdir(directory)
    try:
        function()
        return 'ok', ''
    except Skip as reason:
        return 'ok', f' # SKIP {reason}'
    except AssertionError as failure:
        text = str(failure)
    except Exception:  # pylint: disable=broad-except
        text = traceback.format_exc()
    finally:
        end_strays()
        os.chdir(home)
        shutil.rmtree(directory, ignore_errors=True)
    for line in text.splitlines():
        print(f'#   {line}')
    return 'not ok', ''


def main(cases):
    """Runs (title, function) pairs; arguments on the command line choose those whose title contains one."""
    chosen = [case for case in cases if not sys.argv[1:] or any(word in case[0] for word in sys.argv[1:])]
    print(f'1..{len(chosen)}', flush=True)
    bad = 0
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number, (title, function) in enumerate(chosen, 1):
        verdict, mark = one(title, function)
        bad += verdict == 'not ok'
        print(f'{verdict} {number} - {title}{mark}', flush=True)
    sys.exit(1 if bad else 0)
