/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Socket filters: attaching, reading back, locking, and what they do to messages. */
#include "conform.h"

#include <linux/filter.h>
#include <sys/syscall.h>

static int attach(int fd, const struct sock_filter *prog, unsigned short n)
{
	struct sock_fprog f = {n, (struct sock_filter *)(uintptr_t)prog};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof f);
}

static int detach(int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){0}, sizeof(int));
}

static int lock(int fd, int value)
{
	return setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &value, sizeof value);
}

static const struct sock_filter drop[] = {{BPF_RET | BPF_K, 0, 0, 0}};
static const struct sock_filter three[] = {{BPF_RET | BPF_K, 0, 0, 3}};
/* Messages that begin with 'a'. */
static const struct sock_filter only_a[] = {
	{BPF_LD | BPF_B | BPF_ABS, 0, 0, 0},
	{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 'a'},
	{BPF_RET | BPF_K, 0, 0, UINT32_MAX},
	{BPF_RET | BPF_K, 0, 0, 0},
};

CASE(filter_is_read_back, 0)
{
	struct sock_filter got[8];
	socklen_t n = 0;
	int fd = unix_socket(SOCK_STREAM);

	OK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, got, &n));
	EQ(n, 0);
	OK(attach(fd, only_a, 4));
	/* The length counts instructions; 0 asks for it. */
	OK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n));
	EQ(n, 4);
	n = 3;
	FAILS(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, got, &n), EINVAL);
	n = 8;
	OK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, got, &n));
	EQ(n, 4);
	BYTES(got, only_a, sizeof only_a);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, bad_pointer(), &n), EFAULT);
	/* The later one counts. */
	OK(attach(fd, three, 1));
	OK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, got, &n));
	EQ(n, 1);
	BYTES(got, three, sizeof three);
	OK(detach(fd));
	n = 8;
	OK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, got, &n));
	EQ(n, 0);
	FAILS(detach(fd), ENOENT);
	OK(close(fd));
}

CASE(filter_that_is_none, 0)
{
	static const struct sock_filter no_end[] = {{BPF_LD | BPF_IMM, 0, 0, 1}};
	static const struct sock_filter too_far[] = {{BPF_JMP | BPF_JA, 0, 0, 5}, {BPF_RET | BPF_K, 0, 0, 0}};
	static const struct sock_filter unset[] = {{BPF_LD | BPF_MEM, 0, 0, 0}, {BPF_RET | BPF_A, 0, 0, 0}};
	static const struct sock_filter by_zero[] = {{BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0},
						     {BPF_RET | BPF_A, 0, 0, 0}};
	struct sock_fprog f = {1, bad_pointer()};
	int fd = unix_socket(SOCK_STREAM);

	FAILS(attach(fd, three, 0), EINVAL);
	FAILS(attach(fd, no_end, 1), EINVAL);
	FAILS(attach(fd, too_far, 2), EINVAL);
	FAILS(attach(fd, unset, 2), EINVAL);
	FAILS(attach(fd, by_zero, 2), EINVAL);
	FAILS(attach(fd, NULL, 5000), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof f), EFAULT);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof f - 1), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof f + 1), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &(int){-1}, sizeof(int)), EBADF);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof fd), EINVAL);
	OK(close(fd));
}

CASE(filter_survives_a_bad_one, 0)
{
	struct sock_filter got[8];
	socklen_t n = 8;
	int fd = unix_socket(SOCK_STREAM);

	OK(attach(fd, only_a, 4));
	FAILS(attach(fd, only_a, 2), EINVAL);
	OK(getsockopt(fd, SOL_SOCKET, SO_GET_FILTER, got, &n));
	EQ(n, 4);
	OK(close(fd));
}

CASE(filter_lock, 0)
{
	int fd = unix_socket(SOCK_STREAM);

	EQ(get_int_option(fd, SO_LOCK_FILTER), 0);
	OK(lock(fd, 0));
	OK(attach(fd, three, 1));
	OK(lock(fd, -4));
	EQ(get_int_option(fd, SO_LOCK_FILTER), 1);
	OK(lock(fd, 1));
	FAILS(lock(fd, 0), EPERM);
	FAILS(detach(fd), EPERM);
	FAILS(attach(fd, only_a, 4), EPERM);
	FAILS(attach(fd, only_a, 2), EPERM);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, &fd, sizeof fd), EPERM);
	EQ(get_int_option(fd, SO_LOCK_FILTER), 1);
	OK(close(fd));
	/* Without a filter too. */
	fd = unix_socket(SOCK_STREAM);
	OK(lock(fd, 1));
	FAILS(detach(fd), EPERM);
	FAILS(attach(fd, three, 1), EPERM);
	OK(close(fd));
}

CASE(filter_takes_option_memory, 0)
{
	uint32_t info[9];
	socklen_t len = sizeof info;
	int fd = unix_socket(SOCK_STREAM);

	OK(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len));
	EQ(info[6], 0);
	OK(attach(fd, only_a, 4));
	OK(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len));
	TRUE(info[6] > 0);
	OK(detach(fd));
	OK(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len));
	EQ(info[6], 0);
	OK(close(fd));
}

CASE_ON_ENDS(filter_is_not_run_on_a_stream, 0)
{
	OK(attach(sv[1], drop, 1));
	put(sv[0], "abc");
	GETS(sv[1], "abc");
}

static void drops_and_cuts(int type)
{
	char buf[8];
	int sv[2];

	unix_pair(type, sv);
	OK(attach(sv[1], only_a, 4));
	/* The sender is told nothing. */
	EQ(send(sv[0], "bad", 3, 0), 3);
	EQ(send(sv[0], "abc", 3, 0), 3);
	EQ(send(sv[0], "", 0, 0), 0);
	EQ(recv(sv[1], buf, sizeof buf, 0), 3);
	BYTES(buf, "abc", 3);
	EMPTY(sv[1]);
	OK(attach(sv[1], three, 1));
	EQ(send(sv[0], "abcdef", 6, 0), 6);
	struct iovec iov = {buf, sizeof buf};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	EQ(recvmsg(sv[1], &msg, 0), 3);
	BYTES(buf, "abc", 3);
	EQ(msg.msg_flags, 0);
	OK(detach(sv[1]));
	EQ(send(sv[0], "def", 3, 0), 3);
	EQ(recv(sv[1], buf, sizeof buf, 0), 3);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(filter_drops_and_cuts_datagrams, 0)
{
	drops_and_cuts(SOCK_DGRAM);
}

CASE(filter_drops_and_cuts_seqpackets, 0)
{
	drops_and_cuts(SOCK_SEQPACKET);
}
