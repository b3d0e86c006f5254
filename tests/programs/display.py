# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Display servers without a display: Xvfb by pathname and abstract name, weston with a client that shares memory."""

import os
import re

from lib import check, end_strays, equal, main, need, on_both, shell

# The server takes a free number and says it. A server that is reset because its last client went away
# drops those that come at that moment, on the kernel as well.
XVFB = '''
exec 4< <(exec Xvfb -displayfd 5 -screen 0 320x200x24 -noreset -nolisten tcp %s 5>&1 2>server.err); server=$!
trap 'kill $server 2>/dev/null' EXIT
read -r -t 15 number <&4 || { cat server.err >&2; exit 99; }
echo $number $server >started
%s
kill $server
while [ -e /tmp/.X$number-lock ]; do sleep 0.02; done
'''


def xvfb(side, options, script):
    need('Xvfb', 'xdpyinfo', 'xprop')
    try:
        result = shell(side, XVFB % (options, script), timeout=20)
    finally:
        end_strays()
        tidy()
    equal(result.status, 0, result)
    return result.out


def tidy():
    """A server that was killed leaves two files outside the case's directory."""
    if not os.path.exists('started'):
        return
    with open('started', encoding='ascii') as file:
        number, pid = file.read().split()
    lock = f'/tmp/.X{number}-lock'
    if os.path.exists(lock):
        with open(lock, encoding='ascii') as file:
            if file.read().strip() != pid:
                return
        os.unlink(lock)
    if os.path.exists(f'/tmp/.X11-unix/X{number}'):
        os.unlink(f'/tmp/.X11-unix/X{number}')


def info(side, options, address):
    """Which of its two names is reached: libxcb tries the abstract one, then the path."""
    out = xvfb(side, options, f'''
for i in 1 2 3 4; do DISPLAY={address} xdpyinfo >out.$i & jobs="$jobs $!"; done; wait $jobs
grep -h -o 'dimensions: *320x200' out.?
DISPLAY={address} xprop -root -f NAME 8s -set NAME "$(printf '%05000d' 7)"
DISPLAY={address} xprop -root NAME | wc -c
''')
    lines = out.split('\n')
    equal([line.split() for line in lines[:4]], [['dimensions:', '320x200']] * 4, out)
    equal(lines[4], str(len('NAME(STRING) = ""\n') + 5000), out)


def shared_memory(side):
    """MIT-SHM 1.2: the client sends the server a descriptor of the memory, or is sent one."""
    out = xvfb(side, '', 'DISPLAY=:$number xdpyinfo -ext MIT-SHM | grep -i -E "MIT-SHM version|shared pixmaps"')
    check(re.search(r'MIT-SHM version 1\.[2-9]', out), out)


def weston(side):
    """A keymap and pools of pixels travel as descriptors; the shell and the keyboard are clients too."""
    need('weston', 'weston-simple-shm')
    result = shell(side, '''
mkdir -m 700 runtime; export XDG_RUNTIME_DIR=$PWD/runtime HOME=$PWD
weston --backend=headless-backend.so --socket=w --idle-time=0 --no-config >log 2>&1 & server=$!
until [ -S runtime/w ]; do kill -0 $server || { cat log >&2; exit 99; }; sleep 0.02; done
export WAYLAND_DISPLAY=w
registry=$(command -v wayland-info || command -v weston-info) || { echo neither wayland-info nor weston-info >&2; exit 97; }
until $registry >info 2>&1; do sleep 0.02; done
grep -o -E "interface: '(wl_compositor|wl_shm|xdg_wm_base)'" info | sort
WAYLAND_DEBUG=1 timeout -s INT 15 weston-simple-shm 2>messages & client=$!
until [ "$(grep -c 'wl_surface.*attach' messages)" -ge 20 ]; do kill -0 $client || exit 98; sleep 0.05; done
grep -o 'wl_shm@.*create_pool' messages | head -1 | sed 's/@[0-9]*//'
kill -INT $client; wait $client
kill $server; wait $server; echo $?
''', timeout=20)
    equal((result.status, result.out), (0, ''.join(f"interface: '{name}'\n" for name in ('wl_compositor', 'wl_shm', 'xdg_wm_base'))
                                        + 'wl_shm.create_pool\n0\n'), result)


main(on_both('Xvfb with four clients, both names', info, '', ':$number')
     + on_both('Xvfb, the path alone', info, '-nolisten local', 'unix:$number')
     + on_both('Xvfb, the abstract name alone', info, '-nolisten unix', ':$number')
     + on_both('Xvfb tells of shared memory', shared_memory)
     + on_both('weston and a client with pools of shared memory', weston))
