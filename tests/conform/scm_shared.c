/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Whose credentials come through a socket that processes of different users hold: each message
 * shows who wrote it, whoever made the socket, and whatever the others write. */
#include "ancillary.h"

enum { OTHER = 21 };

static void become_other(void)
{
	EQ(setgid(OTHER), 0);
	EQ(setuid(OTHER), 0);
}

static void needs_root(void)
{
	if (geteuid() != 0)
		SKIP("needs root to set ids");
}

/* The next message, or as much of a stream as one read gives: n bytes from that one. */
static void expect_from(const char *file, int line, int fd, ssize_t n, size_t room, pid_t pid, uid_t uid,
			int flags)
{
	static char bytes[1 << 17];
	_Alignas(struct cmsghdr) char control[256];
	struct iovec iov = {bytes, room};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct ucred who = {0};
	ssize_t got = recvmsg(fd, &msg, flags | MSG_DONTWAIT);

	conform_at(file, line, "COMES_FROM");
	for (struct cmsghdr *c = got < 0 ? NULL : CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_type == SCM_CREDENTIALS)
			memcpy(&who, CMSG_DATA(c), sizeof who);
	}
	if (got != n || who.pid != pid || who.uid != uid || who.gid != uid)
		conform_fail(file, line, "expected %zd bytes from %d %u, got %zd from %d %u %u", n, (int)pid,
			     uid, got, (int)who.pid, who.uid, who.gid);
}
#define COMES_FROM(fd, n, room, pid, uid) expect_from(HERE, (fd), (n), (room), (pid), (uid), 0)
#define PEEKED_FROM(fd, n, room, pid, uid) expect_from(HERE, (fd), (n), (room), (pid), (uid), MSG_PEEK)

static void send_bytes(int fd, size_t n)
{
	static char bytes[1 << 17];

	memset(bytes, 's', n);
	EQ(send(fd, bytes, n, 0), (ssize_t)n);
}

static void write_as_other(void *arg)
{
	become_other();
	put(*(int *)arg, "bb");
}

CASE_ON_TYPES(shared_by_parent_and_child, NEEDS_PROCESSES)
{
	(void)type;
	needs_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	pid_t pid = spawn(write_as_other, &sv[0]);
	EXITS(pid, 0);
	put(sv[0], "ccc");
	COMES_FROM(sv[1], 1, 10, getpid(), 0);
	COMES_FROM(sv[1], 2, 10, pid, OTHER);
	COMES_FROM(sv[1], 3, 10, getpid(), 0);
}

/* What was sent before anybody else had the socket, some of it read. */
CASE_ON_TYPES(shared_after_messages_were_sent, NEEDS_PROCESSES)
{
	(void)type;
	needs_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	for (int i = 0; i < 40; i++)
		send_bytes(sv[0], 300);
	for (int i = 0; i < 20; i++)
		COMES_FROM(sv[1], 300, 300, getpid(), 0);
	pid_t pid = spawn(write_as_other, &sv[0]);
	EXITS(pid, 0);
	for (int i = 0; i < 20; i++)
		COMES_FROM(sv[1], 300, 300, getpid(), 0);
	COMES_FROM(sv[1], 2, 10, pid, OTHER);
}

static void write_many_as_other(void *arg)
{
	become_other();
	for (int i = 0; i < 70; i++)
		send_bytes(*(int *)arg, 100);
}

CASE_ON_TYPES(shared_by_many_messages, NEEDS_PROCESSES)
{
	(void)type;
	needs_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(write_many_as_other, &sv[0]);
	EXITS(pid, 0);
	for (int i = 0; i < 70; i++)
		send_bytes(sv[0], 100);
	for (int i = 0; i < 140; i++)
		COMES_FROM(sv[1], 100, 100, i < 70 ? pid : getpid(), i < 70 ? OTHER : 0);
}

static void write_much_as_other(void *arg)
{
	become_other();
	send_bytes(*(int *)arg, 40000);
}

/* Reads stop where the writer changes, and the parts of what one has written are all his. */
CASE(shared_stream_in_parts, NEEDS_PROCESSES)
{
	int sv[2];

	needs_root();
	unix_pair(SOCK_STREAM, sv);
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(write_much_as_other, &sv[0]);
	EXITS(pid, 0);
	send_bytes(sv[0], 40000);
	for (int i = 0; i < 4; i++)
		COMES_FROM(sv[1], 7000, 7000, pid, OTHER);
	PEEKED_FROM(sv[1], 12000, 100000, pid, OTHER);
	COMES_FROM(sv[1], 12000, 100000, pid, OTHER);
	PEEKED_FROM(sv[1], 40000, 100000, getpid(), 0);
	COMES_FROM(sv[1], 1, 1, getpid(), 0);
	COMES_FROM(sv[1], 39999, 100000, getpid(), 0);
	close(sv[0]);
	close(sv[1]);
}

CASE_ON_TYPES(shared_and_peeked_on, NEEDS_PROCESSES)
{
	(void)type;
	needs_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	set_int_option(sv[1], SO_PEEK_OFF, 0);
	pid_t pid = spawn(write_as_other, &sv[0]);
	EXITS(pid, 0);
	put(sv[0], "ccc");
	PEEKED_FROM(sv[1], 2, 10, pid, OTHER);
	PEEKED_FROM(sv[1], 3, 10, getpid(), 0);
	COMES_FROM(sv[1], 2, 10, pid, OTHER);
	COMES_FROM(sv[1], 3, 10, getpid(), 0);
}

struct passed {
	int over;
};

static void take_and_write_as_other(void *arg)
{
	become_other();
	put(TAKE_RIGHT(((struct passed *)arg)->over, "s"), "bb");
}

CASE_ON_TYPES(shared_by_passing_it, NEEDS_PROCESSES)
{
	int over[2];

	(void)type;
	needs_root();
	unix_pair(SOCK_SEQPACKET, over);
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	EQ(send_right(over[0], "s", sv[0]), 1);
	pid_t pid = spawn(take_and_write_as_other, &(struct passed){over[1]});
	EXITS(pid, 0);
	close(over[0]);
	close(over[1]);
	put(sv[0], "ccc");
	COMES_FROM(sv[1], 1, 10, getpid(), 0);
	COMES_FROM(sv[1], 2, 10, pid, OTHER);
	COMES_FROM(sv[1], 3, 10, getpid(), 0);
}

static void pass_as_other(void *arg)
{
	int p[2];

	become_other();
	EQ(pipe(p), 0);
	EQ(send_right(*(int *)arg, "bb", p[1]), 2);
}

CASE_ON_TYPES(shared_with_descriptors, NEEDS_PROCESSES)
{
	struct received r;
	int p[2];

	(void)type;
	needs_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	watched_pipe(p);
	pid_t pid = spawn(pass_as_other, &sv[0]);
	EXITS(pid, 0);
	EQ(send_right(sv[0], "a", p[1]), 1);
	close(p[1]);
	EQ(RECEIVE(sv[1], &r), 2);
	EQ(r.n_fds, 1);
	EQ(r.cred.pid, pid);
	EQ(r.cred.uid, OTHER);
	drop_received(&r);
	HELD(p);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.n_fds, 1);
	EQ(r.cred.pid, getpid());
	EQ(r.cred.uid, 0);
	drop_received(&r);
	DROPPED(p);
	close(p[0]);
}

struct reading {
	int fd;
	pid_t pid;
};

static void read_as_other(void *arg)
{
	const struct reading *r = arg;

	become_other();
	COMES_FROM(r->fd, 1, 10, r->pid, 0);
}

CASE_ON_TYPES(shared_by_those_who_read, NEEDS_PROCESSES)
{
	(void)type;
	needs_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	pid_t pid = spawn(read_as_other, &(struct reading){sv[1], getpid()});
	EXITS(pid, 0);
	put(sv[0], "bb");
	COMES_FROM(sv[1], 2, 10, getpid(), 0);
}

/* What root may claim it may claim there too. */
CASE_ON_TYPES(shared_and_claimed, NEEDS_PROCESSES)
{
	struct control c = {.len = 0};

	(void)type;
	needs_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(write_as_other, &sv[0]);
	EXITS(pid, 0);
	control_cred(&c, getpid(), 33, 33);
	EQ(send_control(sv[0], "ccc", &c, 0), 3);
	COMES_FROM(sv[1], 2, 10, pid, OTHER);
	COMES_FROM(sv[1], 3, 10, getpid(), 33);
}

/* A process that gives up root: what it had sent before was root's. */
static void write_before_and_after(void *arg)
{
	put(*(int *)arg, "a");
	become_other();
	put(*(int *)arg, "bb");
}

CASE_ON_TYPES(shared_with_who_one_was, NEEDS_PROCESSES)
{
	(void)type;
	needs_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(write_before_and_after, &sv[0]);
	EXITS(pid, 0);
	COMES_FROM(sv[1], 1, 10, pid, 0);
	COMES_FROM(sv[1], 2, 10, pid, OTHER);
}
