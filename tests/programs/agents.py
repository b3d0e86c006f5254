# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""Agents that keep a secret behind a socket: ssh-agent, gpg-agent, git's credential cache; and tmux."""

import os

from lib import Skip, equal, main, need, on_both, shell


def good(result):
    equal(result.status, 0, result)
    return result.out


def ssh(side):
    """Keys go in, sign, are locked and go out; the agent ends with a signal and takes its socket along."""
    need('ssh-agent', 'ssh-add', 'ssh-keygen')
    out = good(shell(side, '''
eval "$(ssh-agent -a $PWD/agent)" >/dev/null
for type in ed25519 ecdsa; do ssh-keygen -q -t $type -N '' -C $type -f key.$type; ssh-add -q key.$type; done
ssh-add -l | cut -d' ' -f3-
echo text >text
ssh-keygen -q -Y sign -n test -f key.ed25519.pub text 2>/dev/null && echo signed
echo "me $(cat key.ed25519.pub)" >allowed
ssh-keygen -q -Y verify -n test -f allowed -I me -s text.sig <text
for i in 1 2 3 4 5 6; do ssh-add -L | wc -l >out.$i & jobs="$jobs $!"; done; wait $jobs; cat out.?
ssh-add -q -d key.ecdsa; ssh-add -l | wc -l
ssh-add -q -D 2>/dev/null; ssh-add -l; echo $?
ssh-agent -k >/dev/null
while [ -e agent ]; do sleep 0.02; done
ssh-add -l 2>/dev/null; echo $?
''', timeout=20))
    equal(out, 'ed25519 (ED25519)\necdsa (ECDSA)\nsigned\n' + '2\n' * 6 + '1\nThe agent has no identities.\n1\n2\n')


def gpg(side):
    """gpg starts its agent by itself, which daemonizes; both talk by libassuan, which passes descriptors."""
    need('gpg', 'gpg-agent', 'gpg-connect-agent', 'gpgconf')
    os.mkdir('home', 0o700)
    out = good(shell(side, '''
export GNUPGHOME=$PWD/home
printf 'allow-loopback-pinentry\\n' >home/gpg-agent.conf
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key test@example.invalid ed25519 sign 0 2>log
agent=$(gpgconf --list-dirs agent-socket)
[ -S $agent ] && echo listening
echo text | gpg --batch --quiet --sign 2>>log | gpg --batch --quiet --verify 2>&1 | grep -o 'Good signature'
gpg-connect-agent 'getinfo pid' 'getinfo socket_name' /bye | sed -n 's/^D .*S.gpg-agent$/name/p; s/^OK$/ok/p'
gpgconf --kill gpg-agent
while [ -e $agent ]; do sleep 0.02; done
gpgconf --remove-socketdir 2>>log
''', timeout=20))
    equal(out, 'listening\nGood signature\nok\nname\nok\n')


def git(side):
    """The cache is started by its client, which waits for it to say "ok" before it connects."""
    need('git')
    if shell('kernel', '[ -x "$(git --exec-path)/git-credential-cache--daemon" ]').status:
        raise Skip('this git has no credential cache')
    out = good(shell(side, '''
export GIT_CONFIG_NOSYSTEM=1 HOME=$PWD
cache() { git credential-cache --timeout 15 --socket $PWD/private/socket "$@"; }
mkdir -m 700 private
ask() { printf 'protocol=https\\nhost=%s\\n' $1 | cache get; }
for i in 1 2 3; do printf 'protocol=https\\nhost=h%s\\nusername=u\\npassword=p%s\\n' $i $i | cache store; done
ask h1; ask h3; ask h4
printf 'protocol=https\\nhost=h1\\n' | cache erase
ask h1; ask h2
cache exit
[ -e private/socket ] || echo gone
ask h2
''', timeout=20))
    answer = 'username=u\npassword=p%d\n'
    equal(out, answer % 1 + answer % 3 + answer % 2 + 'gone\n')


TMUX = '''
unset TMUX
export TMUX_TMPDIR=$PWD SHELL=/bin/sh LC_ALL=C.UTF-8 TERM=xterm
tmux() { command tmux -f /dev/null "$@"; }
screen() { tmux capture-pane -p -t "$1" | grep -c "$2"; }
until_seen() { until [ "$(screen "$1" "$2")" -ge 1 ]; do sleep 0.05; done; }
'''


def tmux(side, script):
    need('tmux')
    try:
        for end in os.openpty():
            os.close(end)
    except OSError as error:
        raise Skip(f'no terminals can be made here: {error}') from None
    return good(shell(side, TMUX + script, timeout=20))


def detached(side):
    """The server gets its client's terminal and directory by SCM_RIGHTS, and answers a dozen clients."""
    out = tmux(side, '''
tmux new-session -d -s one -x 80 -y 24 || exit 99
tmux new-window -t one -n second 'cat; sleep 20'
tmux split-window -t one:second 'sleep 20'
tmux list-windows -t one -F '#{window_name} #{window_panes}' | tail -1
tmux send-keys -t one:0 'echo a$((40 + 2))b' Enter; until_seen one:0 a42b && echo typed
tmux set-buffer 'text of the buffer'; tmux show-buffer; echo
for i in $(seq 12); do tmux display-message -p "#{session_name} $i" >out.$i & jobs="$jobs $!"; done; wait $jobs
cat out.* | sort -V | tail -1
echo 'from a file' >file; tmux load-buffer file; tmux save-buffer - ; tmux load-buffer - <file; tmux save-buffer copy; cat copy
tmux wait-for later & tmux wait-for -S later; wait $! && echo waited
tmux kill-server
tmux list-sessions 2>/dev/null; echo $?
''')
    equal(out, 'second 2\ntyped\ntext of the buffer\none 12\nfrom a file\nfrom a file\nwaited\n1\n')


def attached(side):
    """A client on a terminal of its own: what is typed into the session appears on it, and it goes when told."""
    need('script')
    out = tmux(side, '''
tmux new-session -d -s one -x 80 -y 24 || exit 99
mkfifo keys; exec 5<>keys
script -q -e -c "tmux attach-session -t one" /dev/null <keys >screen 2>&1 & client=$!
until [ "$(tmux list-clients | wc -l)" = 1 ]; do sleep 0.02; done
tmux send-keys -t one 'echo seen-$((6 * 7))' Enter; until_seen one seen-42
until grep -q seen-42 screen; do sleep 0.02; done; echo shown
tmux detach-client -s one
wait $client; echo status $?; grep -o '.detached (from session one)' screen
tmux has-session -t one && echo stays
tmux kill-server
''')
    equal(out, 'shown\nstatus 0\n[detached (from session one)\nstays\n')


main(on_both('ssh-agent', ssh)
     + on_both('gpg-agent', gpg)
     + on_both('git credential-cache', git)
     + on_both('tmux, nobody attached', detached)
     + on_both('tmux, a client on a terminal', attached))
