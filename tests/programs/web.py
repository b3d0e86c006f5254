# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""nginx with several workers, alone and in front of php-fpm, and memcached: daemons that share a listener."""

import glob
import os
import shutil

from lib import Skip, check, equal, main, need, on_both, shell

# As root the workers would change their user, and could not look into the case's directory.
NGINX = '''
daemon %s; worker_processes 3; pid nginx.pid; error_log error.log info; %s
events { worker_connections 64; }
http {
  access_log off; sendfile on;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path u; scgi_temp_path s;
  upstream behind { server unix:back; keepalive 2; }
  server { listen unix:front; root .;
    location = /who { return 200 "$pid\\n"; }
    location /proxy/ { proxy_pass http://behind/; proxy_http_version 1.1; proxy_set_header Connection ""; }
    location /php/ { include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_FILENAME $document_root/page.php;
                     fastcgi_pass unix:fpm; }
    location / { client_max_body_size 4m; } }
  server { listen unix:back; root .; }
}
'''

START = '''
$(command -v nginx) -p . -c nginx.conf 2>start.err & nginx=$!
until [ -S front ] && curl -sf --unix-socket front http://x/file >/dev/null; do
	[ -e nginx.pid ] || kill -0 $nginx || { cat start.err error.log >&2; exit 99; }
	sleep 0.02
done
get() { curl -sf --unix-socket front "$@"; }
'''

STOP = '''
nginx -p . -c nginx.conf -s quit 2>>start.err
wait $nginx
echo stopped $?
[ -e front ] && echo the socket file is left
grep -E 'alert|emerg|crit' error.log >&2
exit 0
'''

FPM = '''
[global]
daemonize = no
error_log = fpm.log
[www]
listen = fpm
pm = static
pm.max_children = 2
clear_env = no
'''

PAGE = '''<?php
$pair = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
fwrite($pair[0], "pair");
echo strlen(file_get_contents("php://input")), " ", $_SERVER["REQUEST_METHOD"], " ", fread($pair[1], 4), "\\n";
'''


def nginx(side, script, daemon='off'):
    need('nginx', 'curl')
    with open('nginx.conf', 'w', encoding='utf-8') as file:
        file.write(NGINX % (daemon, 'user root;' if os.getuid() == 0 else ''))
    with open('file', 'wb') as file:
        file.write(b'0123456789abcdef' * 65536)
    result = shell(side, START + script + (STOP if daemon == 'off' else ''), timeout=20)
    equal((result.status, result.err), (0, ''), result)
    return result.out


def workers(side):
    """Forty clients at once; every worker has taken connections from the one listener."""
    out = nginx(side, '''
for i in $(seq 40); do get http://x/who & jobs="$jobs $!"; done | sort -u >pids
echo $(( $(wc -l <pids) > 0 ))
for pid in $(cat pids); do grep -q "worker" /proc/$pid/cmdline || echo $pid is no worker; done
''')
    equal(out, '1\nstopped 0\n')


def files(side):
    """A megabyte by sendfile(), by a proxy with connections kept alive, a range, and a refusal."""
    out = nginx(side, '''
for i in 1 2 3; do get http://x/file | cmp - file && get http://x/proxy/file | cmp - file && echo same; done
get -r 16-31 http://x/file; echo
get http://x/none || echo refused $?
''')
    equal(out, 'same\n' * 3 + '0123456789abcdef\nrefused 22\nstopped 0\n')


def reload(side):
    """SIGHUP: new workers inherit the listener while the old ones finish."""
    out = nginx(side, '''
old=$(get http://x/who)
kill -HUP $nginx
until new=$(get http://x/who) && ! [ -e /proc/$old ]; do sleep 0.02; done
for i in 1 2 3 4 5; do get http://x/file | cmp - file; done
[ -n "$new" ] && [ "$new" != $old ] && echo new
''')
    equal(out, 'new\nstopped 0\n')


def exchange(side):
    """SIGUSR2, which only a daemon heeds: a new master is executed and told the number of the listener in its environment."""
    out = nginx(side, '''
wait $nginx; old=$(cat nginx.pid)
kill -USR2 $old
until [ -e nginx.pid.oldbin ] && [ -s nginx.pid ]; do sleep 0.02; done
kill -QUIT $old
while [ -e nginx.pid.oldbin ]; do sleep 0.02; done
for i in 1 2 3 4 5; do get http://x/file | cmp - file && echo same; done
[ $(cat nginx.pid) != $old ] && echo new
kill -QUIT $(cat nginx.pid)
while [ -e nginx.pid ]; do sleep 0.02; done
''', 'on')
    equal(out, 'same\n' * 5 + 'new\n')


def php(side):
    found = shutil.which('php-fpm') or max(glob.glob('/usr/sbin/php-fpm*'), default=None)
    if not found:
        raise Skip('php-fpm is not installed')
    with open('fpm.conf', 'w', encoding='utf-8') as file:
        file.write(FPM + ('user = root\n' if os.getuid() == 0 else ''))
    with open('page.php', 'w', encoding='utf-8') as file:
        file.write(PAGE)
    out = nginx(side, f'''
{found} {"-R" if os.getuid() == 0 else ""} -n -p . -y $PWD/fpm.conf 2>fpm.err & fpm=$!
until [ -S fpm ]; do kill -0 $fpm || {{ cat fpm.err fpm.log >&2; exit 98; }}; sleep 0.02; done
get http://x/php/
head -c 300000 file | get --data-binary @- http://x/php/
for i in 1 2 3 4 5 6; do get http://x/php/ >out.$i & jobs="$jobs $!"; done
wait $jobs; cat out.?
kill -QUIT $fpm; wait $fpm; echo fpm $?
''')
    equal(out, '0 GET pair\n300000 POST pair\n' + '0 GET pair\n' * 6 + 'fpm 0\nstopped 0\n')


def memcached(side):
    need('memcached', 'socat')
    out = shell(side, f'''
memcached -u {'root' if os.getuid() == 0 else '""'} -s m -a 0700 -t 3 2>err & server=$!
until [ -S m ] && socat -u OPEN:/dev/null UNIX-CONNECT:m 2>/dev/null; do
	kill -0 $server || {{ cat err >&2; exit 99; }}
	sleep 0.02
done
stat -c %a m
for i in $(seq 8); do
	printf 'set k%d 0 0 200000\\r\\n%0200000d\\r\\nget k%d\\r\\nquit\\r\\n' $i 7 $i | socat -t 5 - UNIX-CONNECT:m >out.$i & jobs="$jobs $!"
done
wait $jobs
wc -c <out.8; cat out.? | tr -d '0\\r' | sort | uniq -c | sed 's/^ *//'
kill $server; wait $server; echo $?
''', timeout=20)
    equal(out.status, 0, out)
    return out.out.splitlines()


def cache(side):
    lines = memcached(side)
    equal(lines[:2], ['700', str(len('STORED\r\nVALUE k8 0 200000\r\n\r\nEND\r\n') + 200000)], lines)
    check('8 STORED' in lines and '8 END' in lines and '8 7' in lines, lines)
    equal(lines[-1], '0', lines)


main(on_both('nginx: three workers on one listener', workers)
     + on_both('nginx: sendfile, proxy, range', files)
     + on_both('nginx: new workers after SIGHUP', reload)
     + on_both('nginx: a new master after SIGUSR2', exchange)
     + on_both('nginx in front of php-fpm', php)
     + on_both('memcached with threads, eight clients', cache))
