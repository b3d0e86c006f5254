# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: The afunix authors
"""PostgreSQL: a process for each client, peer authentication by SO_PEERCRED, pgbench, cancelled queries, a crash."""

import glob
import os
import pwd
import shutil

from lib import Skip, check, equal, main, need, on_both, shell

# It refuses to be run by root. "as USER" changes to one who may, if we are root.
SETUP = '''
as() { user=$1; shift; %s "$@"; }
export PGHOST=$PWD PGUSER=%s PGDATABASE=postgres PGCONNECT_TIMEOUT=10 LC_ALL=C PATH=%s:$PATH
bring_up() { as $PGUSER pg_ctl -D db -o "-k $PWD -h '' -F -c max_connections=24" -w -t 15 -l log start >started || { cat started log >&2; exit 99; }; }
as $PGUSER initdb -D db -N -A peer -U $PGUSER >initdb.log 2>&1 || { cat initdb.log >&2; exit 99; }
bring_up
query() { as $PGUSER psql -X -q -A -t -c "$@"; }
%s
as $PGUSER pg_ctl -D db -m fast -w stop >stopped || cat stopped
ls -A | grep -F .s.PGSQL
exit 0
'''


def programs():
    found = shutil.which('initdb')
    newest = max(glob.glob('/usr/lib/postgresql/*/bin/initdb'), default=found)
    if not newest:
        raise Skip('postgresql is not installed')
    return os.path.dirname(os.path.realpath(newest))


def postgres(side, script):
    binaries = programs()
    if os.getuid() == 0:
        need('setpriv')
        user = 'nobody'
        us = pwd.getpwnam(user)
        os.chmod('.', 0o711)
        os.chown('.', us.pw_uid, us.pw_gid)
        switch = 'setpriv --reuid=$user --regid=$(id -g $user) --clear-groups'
    else:
        user, switch = pwd.getpwuid(os.getuid()).pw_name, ''
    result = shell(side, SETUP % (switch, user, binaries, script), timeout=30)
    equal(result.status, 0, result)
    return result


def peers(side):
    """Who the server says we are is who the socket says; a name that is not ours is refused."""
    if os.getuid() == 0:
        stranger = '''as daemon psql -X -A -t -c 'select 1' 2>&1 | grep -o 'Peer authentication failed for user.*'
chmod 700 .s.PGSQL.5432; as daemon psql -X -c 'select 1' 2>&1 | grep -o 'Permission denied'
'''
        wanted = 'Peer authentication failed for user "nobody"\nPermission denied\n'
    else:
        stranger, wanted = '', ''
    result = postgres(side, f'''
query 'select current_user = session_user, inet_client_addr() is null'
query 'create role somebody login'
as $PGUSER psql -X -U somebody -c 'select 1' 2>&1 | grep -o 'Peer authentication failed for user.*'
{stranger}''')
    equal(result.out, 't|t\nPeer authentication failed for user "somebody"\n' + wanted, result)


def bench(side):
    """Eight clients in two threads: prepared reads, then a connection for each, then writes."""
    result = postgres(side, '''
as $PGUSER pgbench -i -q -s 1 >bench.log 2>&1 || cat bench.log
for how in '-S -M prepared -t 200' '-S -C -t 15' '-N -t 25'; do
	as $PGUSER pgbench -n -c 8 -j 2 $how 2>bench.err | grep 'actually processed' || cat bench.err
done
query 'select count(*), sum(abalance) is not null from pgbench_accounts'
''')
    lines = result.out.splitlines()
    equal([line.split(': ')[-1] for line in lines], ['1600/1600', '120/120', '200/200', '100000|t'], result)


def bulk(side):
    """COPY out and in, a notification between two clients, a query cancelled over a connection of its own."""
    result = postgres(side, '''
query "copy (select i, repeat('x', 100) from generate_series(1, 50000) i) to stdout" >rows
wc -c <rows
query 'create table t(i int, x text)'
query 'copy t from stdin' <rows; query 'select count(*), sum(length(x)) from t'
(echo 'listen c;'; echo 'select pg_sleep(0.7);'; echo 'select 1;') | as $PGUSER psql -X -q -A -t | grep -o 'notification "c" with payload "hello"' & listener=$!
for i in 1 2 3 4 5 6 7 8; do sleep 0.1; query "notify c, 'hello'"; done
wait $listener
as $PGUSER timeout -s INT 1 psql -X -c 'select pg_sleep(20)' 2>&1 | grep -o 'canceling statement due to user request'
''')
    lines = result.out.splitlines()
    equal(lines[:2], ['5338894', '50000|5000000'], result)
    check('notification "c" with payload "hello"' in lines, result)
    equal(lines[-1], 'canceling statement due to user request', result)


def crash(side):
    """A backend is killed: the server ends all others, whose clients are told, and serves again."""
    result = postgres(side, '''
as $PGUSER psql -X -A -t -c 'select pg_sleep(20)' >bystander 2>&1 & bystander=$!
until [ "$(query "select count(*) from pg_stat_activity where query like '%pg_sleep(20)' and pid != pg_backend_pid()")" = 1 ]; do sleep 0.05; done
(sleep 0.2; echo "select pg_sleep(20)") | as $PGUSER psql -X -A -t >victim 2>&1 & victim=$!
as $PGUSER kill -KILL $(query "select pid from pg_stat_activity where query like '%pg_sleep(20)' and pid != pg_backend_pid() limit 1")
wait $bystander; echo $?
grep -c -E 'server closed the connection unexpectedly|terminating connection because of crash' bystander
until query 'select 1' 2>/dev/null; do sleep 0.05; done
''')
    lines = result.out.splitlines()
    equal(lines[0], '2', result)
    check(int(lines[1]) >= 1 and lines[2] == '1', result)


main(on_both('peer authentication, accepted and refused', peers)
     + on_both('pgbench with eight clients', bench)
     + on_both('COPY, NOTIFY, and a cancelled query', bulk)
     + on_both('a server process is killed', crash))
