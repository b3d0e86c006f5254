/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* When a socket filter is run: before which other refusals, on which sockets, and after which change. */
#include "ancillary.h"

#include <linux/filter.h>

/* Lets so many bytes of every message pass. */
static void let_pass(int fd, uint32_t verdict)
{
	struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, verdict)};
	struct sock_fprog program = {1, code};

	OK(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}

static void let_all_pass(int fd)
{
	int none = 0;

	OK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none));
}

CASE_ON_MESSAGES(filtered_after_the_data_are_read, 0)
{
	let_pass(sv[1], 0);
	FAILS(send(sv[0], bad_pointer(), 1, 0), EFAULT);
	FAILS(send(sv[0], bad_pointer(), 4000, 0), EFAULT);
	FAILS(send(sv[0], "a", 1, MSG_OOB), EOPNOTSUPP);
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(send(sv[0], "a", 1, 0), EPIPE);
}

CASE_ON_MESSAGES(filtered_after_the_length_is_looked_at, 0)
{
	static char much[1 << 20];

	set_int_option(sv[0], SO_SNDBUF, 4608);
	let_pass(sv[1], 0);
	FAILS(send(sv[0], much, sizeof much, 0), EMSGSIZE);
}

CASE_ON_MESSAGES(filtered_when_the_own_buffer_is_full, 0)
{
	fill_messages(sv[0], NULL, 1000);
	let_pass(sv[1], 0);
	/* Of the two limits it is the own buffer's that comes first. */
	if (get_int_option(sv[0], SO_TYPE) == SOCK_SEQPACKET)
		FAILS(send(sv[0], "a", 1, MSG_DONTWAIT), EAGAIN);
	take_messages(sv[1]);
	EQ(send(sv[0], "a", 1, MSG_DONTWAIT), 1);
	EMPTY(sv[1]);
}

CASE(filtered_before_the_queue_is_found_full, 0)
{
	struct name a = abstract_name("a");
	int d = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	fill_messages(s, &a, 1);
	FAILS(sendto(s, "a", 1, MSG_DONTWAIT, NAME(&a)), EAGAIN);
	let_pass(d, 0);
	EQ(sendto(s, "a", 1, MSG_DONTWAIT, NAME(&a)), 1);
	let_all_pass(d);
	FAILS(sendto(s, "a", 1, MSG_DONTWAIT, NAME(&a)), EAGAIN);
	OK(close(d));
	OK(close(s));
}

CASE(filtered_before_the_receiver_is_found_elsewhere, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int d = bound_to(SOCK_DGRAM, &a), other = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	OK(connect(d, NAME(&b)));
	FAILS(sendto(s, "a", 1, 0, NAME(&a)), EPERM);
	let_pass(d, 0);
	EQ(sendto(s, "a", 1, 0, NAME(&a)), 1);
	FAILS(connect(s, NAME(&a)), EPERM);
	let_pass(d, 9);
	FAILS(sendto(s, "a", 1, 0, NAME(&a)), EPERM);
	let_all_pass(d);
	FAILS(sendto(s, "a", 1, 0, NAME(&a)), EPERM);
	OK(close(d));
	OK(close(other));
	OK(close(s));
}

CASE(filtered_before_the_receiver_is_found_shut, 0)
{
	int sv[2];

	unix_pair(SOCK_DGRAM, sv);
	OK(shutdown(sv[1], SHUT_RD));
	FAILS(send(sv[0], "a", 1, 0), EPIPE);
	let_pass(sv[1], 0);
	EQ(send(sv[0], "a", 1, 0), 1);
	let_pass(sv[1], 1);
	FAILS(send(sv[0], "a", 1, 0), EPIPE);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE_ON_MESSAGES(filtered_before_descriptors_are_refused, 0)
{
	int p[2], off = 0;

	if (setsockopt(sv[1], SOL_SOCKET, OPT_PASSRIGHTS, &off, sizeof off) < 0)
		SKIP("the kernel has no SO_PASSRIGHTS");
	OK(pipe(p));
	FAILS(send_right(sv[0], "a", p[0]), EPERM);
	let_pass(sv[1], 0);
	EQ(send_right(sv[0], "a", p[0]), 1);
	let_pass(sv[1], 1);
	FAILS(send_right(sv[0], "a", p[0]), EPERM);
	OK(close(p[0]));
	OK(close(p[1]));
}

CASE_ON_MESSAGES(filtered_with_descriptors_that_stay, 0)
{
	struct received r;
	int p[2];

	OK(pipe(p));
	let_pass(sv[1], 2);
	EQ(send_right(sv[0], "abc", p[0]), 3);
	EQ(RECEIVE(sv[1], &r), 2);
	EQ(r.items, 1);
	EQ(r.types[0], SCM_RIGHTS);
	EQ(r.n_fds, 1);
	drop_received(&r);
	OK(close(p[0]));
	OK(close(p[1]));
}

CASE_ON_MESSAGES(filtered_message_that_is_long, 0)
{
	static char sent[50000], got[50001];

	pattern_bytes(sent, 7, sizeof sent);
	let_pass(sv[1], 40000);
	EQ(send(sv[0], sent, sizeof sent, 0), (ssize_t)sizeof sent);
	EQ(recv(sv[1], got, sizeof got, MSG_TRUNC), 40000);
	BYTES(got, sent, 40000);
	let_pass(sv[1], 50001);
	EQ(send(sv[0], sent, sizeof sent, 0), (ssize_t)sizeof sent);
	EQ(recv(sv[1], got, sizeof got, 0), (ssize_t)sizeof sent);
	BYTES(got, sent, sizeof sent);
}

CASE_ON_MESSAGES(filtered_by_a_program_that_is_long, 0)
{
	struct sock_filter code[90];
	struct sock_fprog program = {90, code};
	char buf[64], text[] = "0123456789012345678901234567890123456789";

	/* The last but one of them makes the verdict. */
	for (int i = 0; i < 88; i++)
		code[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, (uint32_t)i);
	code[88] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 60);
	code[89] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_A, 0);
	OK(setsockopt(sv[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
	EQ(send(sv[0], text, 40, 0), 40);
	EQ(recv(sv[1], buf, sizeof buf, 0), 27);
	BYTES(buf, text, 27);
}

CASE_ON_MESSAGES(filter_changes_from_message_to_message, 0)
{
	char buf[8];

	for (uint32_t i = 1; i <= 40; i++) {
		uint32_t verdict = i % 5;

		if (verdict == 4)
			let_all_pass(sv[1]);
		else
			let_pass(sv[1], verdict);
		put(sv[0], "abcd");
		if (verdict)
			EQ(recv(sv[1], buf, sizeof buf, MSG_DONTWAIT), (ssize_t)verdict);
		else
			EMPTY(sv[1]);
	}
}

CASE(filter_of_a_receiver_that_many_send_to, 0)
{
	struct name a = abstract_name("a");
	int d = bound_to(SOCK_DGRAM, &a), s[20];

	/* Some have sent before it is there, some send for the first time then. */
	for (int i = 0; i < 20; i++)
		s[i] = unix_socket(SOCK_DGRAM);
	for (int i = 0; i < 10; i++) {
		EQ(sendto(s[i], "abc", 3, 0, NAME(&a)), 3);
		EQ(recv(d, (char[4]){0}, 4, 0), 3);
	}
	let_pass(d, 1);
	for (int i = 0; i < 20; i++) {
		for (int twice = 0; twice < 2; twice++) {
			EQ(sendto(s[i], "abc", 3, 0, NAME(&a)), 3);
			EQ(recv(d, (char[4]){0}, 4, MSG_DONTWAIT), 1);
		}
	}
	let_all_pass(d);
	for (int i = 0; i < 20; i++) {
		EQ(sendto(s[i], "abc", 3, 0, NAME(&a)), 3);
		EQ(recv(d, (char[4]){0}, 4, MSG_DONTWAIT), 3);
		OK(close(s[i]));
	}
	OK(close(d));
}

CASE(filter_of_many_receivers, 0)
{
	int s = unix_socket(SOCK_DGRAM), d[20];
	struct name at[20];

	for (uint32_t i = 0; i < 20; i++) {
		at[i] = abstract_name((char[2]){(char)('a' + i), 0});
		d[i] = bound_to(SOCK_DGRAM, &at[i]);
		let_pass(d[i], i);
	}
	for (int twice = 0; twice < 2; twice++) {
		for (uint32_t i = 0; i < 20; i++) {
			EQ(sendto(s, "0123456789012345678", 19, 0, NAME(&at[i])), 19);
			if (i)
				EQ(recv(d[i], (char[20]){0}, 20, MSG_DONTWAIT), (ssize_t)i);
			else
				EMPTY(d[i]);
		}
	}
	for (int i = 0; i < 20; i++)
		OK(close(d[i]));
	OK(close(s));
}

CASE(filter_of_a_socket_that_sends_to_itself, 0)
{
	struct name a = abstract_name("a");
	int d = bound_to(SOCK_DGRAM, &a);

	OK(connect(d, NAME(&a)));
	let_pass(d, 1);
	put(d, "abc");
	EQ(recv(d, (char[4]){0}, 4, MSG_DONTWAIT), 1);
	let_pass(d, 0);
	put(d, "abc");
	EMPTY(d);
	OK(close(d));
}

CASE(filter_of_who_connects, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5), c = unix_socket(SOCK_SEQPACKET);

	let_pass(c, 2);
	OK(connect(c, NAME(&a)));
	int s = OK(accept(l, NULL, NULL));
	put(s, "abc");
	EQ(recv(c, (char[4]){0}, 4, MSG_DONTWAIT), 2);
	put(c, "abc");
	EQ(recv(s, (char[4]){0}, 4, MSG_DONTWAIT), 3);
	OK(close(c));
	OK(close(s));
	OK(close(l));
}

CASE(filter_of_who_waits_to_be_let_in, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 0), first = connect_to(SOCK_SEQPACKET, &a);
	int c = unix_socket(SOCK_SEQPACKET);
	struct actor t;

	start_connect(&t, c, &a);
	BLOCKED(&t);
	let_pass(c, 2);
	int s = OK(accept(l, NULL, NULL)), next = OK(accept(l, NULL, NULL));
	/* Perhaps before the one that connected knows that it did. */
	put(next, "abc");
	RETURNS(&t, 0);
	EQ(recv(c, (char[4]){0}, 4, MSG_DONTWAIT), 2);
	int all[] = {first, c, s, next, l};
	for (int i = 0; i < 5; i++)
		OK(close(all[i]));
}

CASE(filter_of_a_listener_is_not_that_of_who_is_not_accepted, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5);

	let_pass(l, 0);
	int c = connect_to(SOCK_SEQPACKET, &a);
	put(c, "ab");
	int s = OK(accept(l, NULL, NULL));
	EQ(recv(s, (char[4]){0}, 4, MSG_DONTWAIT), 2);
	let_pass(s, 1);
	put(c, "ab");
	EQ(recv(s, (char[4]){0}, 4, MSG_DONTWAIT), 1);
	OK(close(c));
	OK(close(s));
	OK(close(l));
}

CASE_ON_MESSAGES(filter_meets_who_sleeps_already, 0)
{
	struct actor t;

	fill_messages(sv[0], NULL, 1000);
	start_send(&t, sv[0], "x", 1, 0);
	BLOCKED(&t);
	let_pass(sv[1], 0);
	take_messages(sv[1]);
	RETURNS(&t, 1);
	take_messages(sv[1]);
	EMPTY(sv[1]);
}

CASE_ON_MESSAGES(filter_leaves_who_sleeps_already, 0)
{
	char buf[4];
	struct actor t;

	int n = fill_messages(sv[0], NULL, 1000);
	let_pass(sv[1], 2);
	start_send(&t, sv[0], "xyz", 3, 0);
	BLOCKED(&t);
	let_all_pass(sv[1]);
	/* Not more: the one that sleeps comes when there is room. */
	for (int i = 0; i < n; i++)
		TRUE(recv(sv[1], buf, sizeof buf, 0) > 0);
	RETURNS(&t, 3);
	EQ(recv(sv[1], buf, sizeof buf, 0), 3);
}

CASE_ON_MESSAGES(filter_does_not_wake_for_what_it_drops, 0)
{
	struct actor t;

	let_pass(sv[1], 0);
	start_recv(&t, sv[1], (char[4]){0}, 4, 0);
	BLOCKED(&t);
	put(sv[0], "a");
	BLOCKED(&t);
	let_pass(sv[1], 1);
	put(sv[0], "ab");
	RETURNS(&t, 1);
}

static void attaches(void *arg)
{
	let_pass(*(int *)arg, 1);
}

CASE_ON_MESSAGES(filter_set_by_another_process, NEEDS_PROCESSES)
{
	put(sv[0], "abc");
	EQ(recv(sv[1], (char[4]){0}, 4, 0), 3);
	EXITS(spawn(attaches, &sv[1]), 0);
	put(sv[0], "abc");
	EQ(recv(sv[1], (char[4]){0}, 4, 0), 1);
}

static void sends(void *arg)
{
	put(*(int *)arg, "abc");
	put(*(int *)arg, "abc");
}

CASE_ON_MESSAGES(filter_of_who_is_in_another_process, NEEDS_PROCESSES)
{
	let_pass(sv[1], 1);
	EXITS(spawn(sends, &sv[0]), 0);
	EQ(recv(sv[1], (char[4]){0}, 4, MSG_DONTWAIT), 1);
	EQ(recv(sv[1], (char[4]){0}, 4, MSG_DONTWAIT), 1);
}

CASE(filter_of_a_receiver_that_is_gone, 0)
{
	int sv[2];

	unix_pair(SOCK_DGRAM, sv);
	let_pass(sv[1], 0);
	put(sv[0], "a");
	OK(close(sv[1]));
	/* It is run on behalf of a socket that is no more. */
	EQ(send(sv[0], "a", 1, 0), 1);
	EQ(send(sv[0], "a", 1, 0), 1);
	OK(close(sv[0]));
}

static void charges_whole(int type)
{
	int whole = 0, cut = 0, sv[2];
	char text[3000] = {0};

	unix_pair(type, sv);
	EQ(send(sv[0], text, sizeof text, 0), (ssize_t)sizeof text);
	OK(ioctl(sv[0], TIOCOUTQ, &whole));
	EQ(recv(sv[1], text, sizeof text, 0), (ssize_t)sizeof text);
	let_pass(sv[1], 2);
	EQ(send(sv[0], text, sizeof text, 0), (ssize_t)sizeof text);
	OK(ioctl(sv[0], TIOCOUTQ, &cut));
	EQ(recv(sv[1], text, sizeof text, 0), 2);
	EQ(cut, whole);
	OK(ioctl(sv[0], TIOCOUTQ, &cut));
	EQ(cut, 0);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(filtered_messages_are_charged_whole, 0)
{
	charges_whole(SOCK_DGRAM);
	charges_whole(SOCK_SEQPACKET);
}

CASE_ON_MESSAGES(filter_that_drops_makes_room, 0)
{
	int ep = watch_edges(sv[0], EPOLLOUT | EPOLLET);
	struct epoll_event e;

	EQ(epoll_wait(ep, &e, 1, 0), 1);
	EQ(epoll_wait(ep, &e, 1, 0), 0);
	let_pass(sv[1], 0);
	put(sv[0], "a");
	/* What was taken for it is given back: an edge. */
	EQ(epoll_wait(ep, &e, 1, 0), 1);
	EQ(epoll_wait(ep, &e, 1, 0), 0);
	OK(close(ep));
}
