/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Socket filters: SO_ATTACH_FILTER, SO_GET_FILTER, SO_LOCK_FILTER, SO_DETACH_FILTER. */
#include "ancillary.h"

#include <linux/filter.h>

enum { GET_FILTER = 26, DETACH = 27, LOCK = 44 };

static const int message_types[] = {SOCK_DGRAM, SOCK_SEQPACKET};

static int attach(int fd, const struct sock_filter *code, unsigned short n)
{
	/* setsockopt() writes to neither. */
	struct sock_fprog program = {n, (struct sock_filter *)(uintptr_t)code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* Lets so many bytes of every message pass. */
static int attach_verdict(int fd, uint32_t verdict)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, verdict)};

	return attach(fd, code, 1);
}

static int set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_SOCKET, option, &value, sizeof value);
}

/* In instructions; -1 with errno. */
static int filter_length(int fd)
{
	socklen_t len = 0;

	return getsockopt(fd, SOL_SOCKET, GET_FILTER, NULL, &len) < 0 ? -1 : (int)len;
}

CASE(filter_that_drops, 0)
{
	for (size_t i = 0; i < 2; i++) {
		int sv[2];
		unix_pair(message_types[i], sv);
		OK(attach_verdict(sv[1], 0));
		/* The sender does not learn of it. */
		put(sv[0], "dropped");
		EQ(send(sv[0], "", 0, 0), 0);
		EMPTY(sv[1]);
		READY(sv[1], POLLOUT);
		OK(set(sv[1], DETACH, 0));
		put(sv[0], "passed");
		GETS(sv[1], "passed");
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE(filter_gives_back_what_a_dropped_message_took, 0)
{
	for (size_t i = 0; i < 2; i++) {
		int sv[2], value = -1;
		unix_pair(message_types[i], sv);
		OK(attach_verdict(sv[1], 0));
		for (int n = 0; n < 2000; n++)
			EQ(send(sv[0], "abc", 3, MSG_DONTWAIT), 3);
		OK(ioctl(sv[0], TIOCOUTQ, &value));
		EQ(value, 0);
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE(filter_that_truncates, 0)
{
	struct received r;

	for (size_t i = 0; i < 2; i++) {
		int sv[2];
		unix_pair(message_types[i], sv);
		OK(attach_verdict(sv[1], 3));
		put(sv[0], "abcdef");
		EQ(RECEIVE(sv[1], &r), 3);
		BYTES(r.data, "abc", 3);
		/* What is left is the message. */
		EQ(r.flags, 0);
		put(sv[0], "abcdef");
		EQ(recv(sv[1], r.data, 1, MSG_TRUNC), 3);
		put(sv[0], "ab");
		EQ(RECEIVE(sv[1], &r), 2);
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE(filter_looks_at_the_data, 0)
{
	/* Passes what begins with x, and is told the length of the rest. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'x', 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 4, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 2),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct received r;

	for (size_t i = 0; i < 2; i++) {
		int sv[2];
		unix_pair(message_types[i], sv);
		OK(attach(sv[1], code, sizeof code / sizeof code[0]));
		put(sv[0], "abc");
		put(sv[0], "xyz");
		put(sv[0], "abcdef");
		/* A load beyond the end drops. */
		EQ(send(sv[0], "", 0, 0), 0);
		put(sv[0], "xx");
		EQ(RECEIVE(sv[1], &r), 3);
		BYTES(r.data, "xyz", 3);
		EQ(RECEIVE(sv[1], &r), 2);
		BYTES(r.data, "ab", 2);
		EQ(RECEIVE(sv[1], &r), 2);
		BYTES(r.data, "xx", 2);
		EMPTY(sv[1]);
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE(filter_uses_its_memory, 0)
{
	/* The sum of two bytes, kept in between, is the verdict. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),	BPF_STMT(BPF_ST, 3),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1),	BPF_STMT(BPF_LDX | BPF_MEM, 3),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), BPF_STMT(BPF_RET | BPF_A, 0),
	};
	char buf[16];
	int sv[2];

	unix_pair(SOCK_DGRAM, sv);
	OK(attach(sv[1], code, sizeof code / sizeof code[0]));
	EQ(send(sv[0], "\2\3abcdefgh", 10, 0), 10);
	EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), 5);
	EQ(send(sv[0], "\0\0abcdefgh", 10, 0), 10);
	EMPTY(sv[1]);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(filter_is_of_the_receiver, 0)
{
	int sv[2];

	unix_pair(SOCK_DGRAM, sv);
	OK(attach_verdict(sv[0], 0));
	put(sv[0], "a");
	GETS(sv[1], "a");
	put(sv[1], "b");
	EMPTY(sv[0]);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(filter_does_not_concern_what_is_queued, 0)
{
	int sv[2];

	unix_pair(SOCK_DGRAM, sv);
	put(sv[0], "before");
	OK(attach_verdict(sv[1], 0));
	put(sv[0], "dropped");
	GETS(sv[1], "before");
	EMPTY(sv[1]);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(filter_of_a_receiver_by_name, 0)
{
	struct name a = abstract_name("a");
	int d = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	OK(attach_verdict(d, 0));
	/* Never full, for nothing comes to lie there. */
	for (int i = 0; i < 100; i++)
		EQ(sendto(s, "a", 1, MSG_DONTWAIT, NAME(&a)), 1);
	EMPTY(d);
	OK(attach_verdict(d, 1));
	EQ(sendto(s, "ab", 2, 0, NAME(&a)), 2);
	EQ(recv(d, (char[4]){0}, 4, 0), 1);
	OK(close(d));
	OK(close(s));
}

CASE(filter_drops_descriptors_as_well, 0)
{
	for (size_t i = 0; i < 2; i++) {
		int sv[2], p[2];
		unix_pair(message_types[i], sv);
		OK(attach_verdict(sv[1], 0));
		watched_pipe(p);
		EQ(send_right(sv[0], "a", p[1]), 1);
		OK(close(p[1]));
		DROPPED(p);
		OK(close(p[0]));
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE_ON_ENDS(filter_never_runs_on_streams, 0)
{
	OK(attach_verdict(sv[1], 0));
	EQ(filter_length(sv[1]), 1);
	put(sv[0], "abc");
	GETS(sv[1], "abc");
}

CASE_ON_TYPES(filter_is_read_back, 0)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'x', 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_filter got[8];
	socklen_t len = 8;

	(void)type;
	EQ(filter_length(sv[0]), 0);
	OK(attach(sv[0], code, 4));
	EQ(filter_length(sv[0]), 4);
	/* Counted in instructions. */
	OK(getsockopt(sv[0], SOL_SOCKET, GET_FILTER, got, &len));
	EQ(len, 4);
	BYTES(got, code, sizeof code);
	len = 3;
	FAILS(getsockopt(sv[0], SOL_SOCKET, GET_FILTER, got, &len), EINVAL);
	len = 4;
	FAILS(getsockopt(sv[0], SOL_SOCKET, GET_FILTER, bad_pointer(), &len), EFAULT);
	/* The latest counts. */
	OK(attach_verdict(sv[0], 7));
	EQ(filter_length(sv[0]), 1);
	OK(set(sv[0], DETACH, 0));
	EQ(filter_length(sv[0]), 0);
}

CASE_ON_TYPES(filter_detached, 0)
{
	(void)type;
	FAILS(set(sv[0], DETACH, 0), ENOENT);
	OK(attach_verdict(sv[0], 1));
	OK(set(sv[0], DETACH, 0));
	FAILS(set(sv[0], DETACH, 0), ENOENT);
	FAILS(setsockopt(sv[0], SOL_SOCKET, DETACH, NULL, 0), EINVAL);
}

CASE_ON_TYPES(filter_locked, 0)
{
	(void)type;
	EQ(get_int_option(sv[0], LOCK), 0);
	OK(attach_verdict(sv[0], 5));
	OK(set(sv[0], LOCK, 1));
	EQ(get_int_option(sv[0], LOCK), 1);
	FAILS(attach_verdict(sv[0], 6), EPERM);
	FAILS(set(sv[0], DETACH, 0), EPERM);
	/* Nobody unlocks it. */
	FAILS(set(sv[0], LOCK, 0), EPERM);
	OK(set(sv[0], LOCK, 1));
	EQ(filter_length(sv[0]), 1);
	/* Also with nothing to lock. */
	OK(set(sv[1], LOCK, 1));
	FAILS(attach_verdict(sv[1], 6), EPERM);
}

CASE_ON_TYPES(filter_bad_programs, 0)
{
	static const struct sock_filter no_return[] = {BPF_STMT(BPF_LD | BPF_IMM, 1)};
	static const struct sock_filter no_code[] = {BPF_STMT(0xffff, 1), BPF_STMT(BPF_RET | BPF_K, 1)};
	static const struct sock_filter far_jump[] = {BPF_STMT(BPF_JMP | BPF_JA, 9),
						      BPF_STMT(BPF_RET | BPF_K, 1)};
	static const struct sock_filter by_zero[] = {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0),
						     BPF_STMT(BPF_RET | BPF_K, 1)};
	static const struct sock_filter no_memory[] = {BPF_STMT(BPF_ST, 16), BPF_STMT(BPF_RET | BPF_K, 1)};
	struct sock_fprog program = {1, bad_pointer()};

	(void)type;
	FAILS(attach(sv[0], no_return, 1), EINVAL);
	FAILS(attach(sv[0], no_code, 2), EINVAL);
	FAILS(attach(sv[0], far_jump, 2), EINVAL);
	FAILS(attach(sv[0], by_zero, 2), EINVAL);
	FAILS(attach(sv[0], no_memory, 2), EINVAL);
	FAILS(attach(sv[0], no_return, 0), EINVAL);
	FAILS(attach(sv[0], NULL, 1), EINVAL);
	FAILS(attach(sv[0], no_return, 4097), EINVAL);
	FAILS(setsockopt(sv[0], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), EFAULT);
	FAILS(setsockopt(sv[0], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program - 1), EINVAL);
	FAILS(setsockopt(sv[0], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program + 8), EINVAL);
	EQ(filter_length(sv[0]), 0);
}

CASE(filter_is_not_inherited_but_kept, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5);

	OK(attach_verdict(l, 0));
	int c = connect_to(SOCK_SEQPACKET, &a), s = OK(accept(l, NULL, NULL));
	EQ(filter_length(s), 0);
	put(c, "a");
	GETS(s, "a");
	EQ(filter_length(l), 1);
	OK(close(c));
	OK(close(s));
	OK(close(l));
}
