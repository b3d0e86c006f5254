/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* SO_PEERCRED and SO_PEERGROUPS of every kind of socket: whose identity is kept, and from when. */
#include "conform.h"

#include <grp.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

static struct ucred peer_of(int fd)
{
	struct ucred c = {-7, 7, 7};
	socklen_t len = sizeof c;

	OK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len));
	EQ(len, sizeof c);
	return c;
}

static void expect_nobody_yet(int fd)
{
	struct ucred c = peer_of(fd);

	EQ(c.pid, 0);
	EQ(c.uid, (uid_t)-1);
	EQ(c.gid, (gid_t)-1);
}

static void expect_peer(int fd, pid_t pid, uid_t uid, gid_t gid)
{
	struct ucred c = peer_of(fd);

	EQ(c.pid, pid);
	EQ(c.uid, uid);
	EQ(c.gid, gid);
}

CASE(peercred_by_kind_of_socket, 0)
{
	struct name a = abstract_name("a");
	int sv[2], fd = unix_socket(SOCK_STREAM);

	unix_pair(SOCK_STREAM, sv);
	expect_peer(sv[0], getpid(), geteuid(), getegid());
	expect_peer(sv[1], getpid(), geteuid(), getegid());
	expect_nobody_yet(fd);
	OK(bind(fd, NAME(&a)));
	expect_nobody_yet(fd);
	OK(listen(fd, 1));
	expect_peer(fd, getpid(), geteuid(), getegid());
	int c = connect_to(SOCK_STREAM, &a);
	expect_peer(c, getpid(), geteuid(), getegid());
	int s = OK(accept(fd, NULL, NULL));
	expect_peer(s, getpid(), geteuid(), getegid());
	/* It stays when the peer has gone. */
	OK(close(c));
	expect_peer(s, getpid(), geteuid(), getegid());
	OK(close(s));
	OK(close(fd));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(peercred_lengths, 0)
{
	struct ucred c, whole;
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	whole = peer_of(sv[0]);
	for (socklen_t have = 0; have <= sizeof c; have++) {
		socklen_t len = have;
		memset(&c, 0x5a, sizeof c);
		OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &c, &len));
		EQ(len, have);
		BYTES(&c, &whole, have);
	}
	char big[64];
	socklen_t len = sizeof big;
	OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, big, &len));
	EQ(len, sizeof c);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(peercred_is_the_effective_identity_of_the_moment, 0)
{
	struct name a = abstract_name("a");
	int sv[2];

	if (geteuid() != 0)
		SKIP("needs root to become somebody else");
	int l = bound_to(SOCK_STREAM, &a);
	EQ(setegid(65533), 0);
	EQ(seteuid(65534), 0);
	OK(listen(l, 5));
	unix_pair(SOCK_STREAM, sv);
	EQ(seteuid(0), 0);
	EQ(setegid(0), 0);
	int c = connect_to(SOCK_STREAM, &a);
	EQ(seteuid(65534), 0);
	int s = OK(accept(l, NULL, NULL));
	EQ(seteuid(0), 0);
	/* Who listened; who connected; who made the pair. Who accepted does not matter. */
	expect_peer(c, getpid(), 65534, 65533);
	expect_peer(s, getpid(), 0, 0);
	expect_peer(sv[0], getpid(), 65534, 65533);
	expect_peer(sv[1], getpid(), 65534, 65533);
	/* The latest listen() counts, for clients that come later. */
	OK(listen(l, 5));
	expect_peer(l, getpid(), 0, 0);
	expect_peer(c, getpid(), 65534, 65533);
	int d = connect_to(SOCK_STREAM, &a);
	expect_peer(d, getpid(), 0, 0);
	OK(close(c));
	OK(close(d));
	OK(close(s));
	OK(close(l));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

static void connect_and_wait(void *arg)
{
	int fd = connect_to(SOCK_STREAM, arg);

	EQ(read(fd, (char[1]){0}, 1), 0);
}

CASE(peercred_of_another_process, NEEDS_PROCESSES)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);
	pid_t pid = spawn(connect_and_wait, &a);
	int s = OK(accept(l, NULL, NULL));

	expect_peer(s, pid, geteuid(), getegid());
	OK(shutdown(s, SHUT_WR));
	EXITS(pid, 0);
	/* The number is still told when nobody has it any more. */
	expect_peer(s, pid, geteuid(), getegid());
	OK(close(s));
	OK(close(l));
}

static void listen_in_child(void *arg)
{
	OK(listen(*(int *)arg, 5));
}

CASE(peercred_is_of_who_listens_not_who_binds, NEEDS_PROCESSES)
{
	struct name a = abstract_name("a");
	int l = bound_to(SOCK_STREAM, &a);
	pid_t pid = spawn(listen_in_child, &l);

	EXITS(pid, 0);
	int c = connect_to(SOCK_STREAM, &a);
	expect_peer(l, pid, geteuid(), getegid());
	expect_peer(c, pid, geteuid(), getegid());
	int s = OK(accept(l, NULL, NULL));
	expect_peer(s, getpid(), geteuid(), getegid());
	OK(close(c));
	OK(close(s));
	OK(close(l));
}

static void look_at_inherited(void *arg)
{
	const int *sv = arg;

	/* Who holds it does not matter, who made it does. */
	expect_peer(sv[0], getppid(), geteuid(), getegid());
	expect_peer(sv[1], getppid(), geteuid(), getegid());
}

CASE(peercred_of_an_inherited_pair, NEEDS_PROCESSES)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	EXITS(spawn(look_at_inherited, sv), 0);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(peergroups, 0)
{
	static const gid_t groups[3] = {7, 5, 65533};
	gid_t got[8];
	socklen_t len = sizeof got;
	int sv[2], fd = unix_socket(SOCK_STREAM);

	FAILS(getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, got, &len), ENODATA);
	OK(close(fd));
	if (geteuid() != 0)
		SKIP("needs root to set groups");
	EQ(setgroups(3, groups), 0);
	unix_pair(SOCK_STREAM, sv);
	EQ(setgroups(0, NULL), 0);
	OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERGROUPS, got, &len));
	EQ(len, 3 * sizeof got[0]);
	/* The kernel keeps them sorted. */
	EQ(got[0], 5);
	EQ(got[1], 7);
	EQ(got[2], 65533);
	len = 8;
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERGROUPS, got, &len), ERANGE);
	EQ(len, 3 * sizeof got[0]);
	OK(close(sv[0]));
	OK(close(sv[1]));
	unix_pair(SOCK_STREAM, sv);
	len = 0;
	OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERGROUPS, got, &len));
	EQ(len, 0);
	OK(close(sv[0]));
	OK(close(sv[1]));
}
