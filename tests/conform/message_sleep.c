/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Calls that sleep on datagram and seqpacket sockets: woken, interrupted, restarted, out of time, closed
 * under. */
#include "conform.h"

/* For a message, for room in the own buffer, for room in the receiver's queue. */
enum sleeper { RECEIVING, SENDING, QUEUEING };

static char letter;

static void fall_asleep(int sv[2], enum sleeper what, struct actor *t)
{
	if (what == RECEIVING)
		start_recv(t, sv[0], &letter, 1, 0);
	else
		start_send(t, sv[0], "x", 1, 0);
	BLOCKED(t);
}

static void prepare(int sv[2], enum sleeper what)
{
	if (what == SENDING)
		fill_messages(sv[0], NULL, 1000);
	if (what == QUEUEING)
		fill_messages(sv[0], NULL, 1);
}

/* Does what the call waits for, and expects it to have waited for that. */
static void satisfy(int sv[2], enum sleeper what, struct actor *t)
{
	if (what == RECEIVING)
		EQ(tell(sv[1], "x"), 1);
	if (what == SENDING)
		take_messages(sv[1]);
	if (what == QUEUEING)
		EQ(recv(sv[1], &letter, 1, 0), 1);
	RETURNS(t, 1);
}

static void is_interrupted(int sv[2], enum sleeper what)
{
	struct actor t;

	count_signal(SIGUSR1, 0);
	prepare(sv, what);
	fall_asleep(sv, what, &t);
	interrupt_until_done(&t, SIGUSR1);
	RETURNS_ERROR(&t, EINTR);
	/* Nothing is lost: once more, and it succeeds. */
	fall_asleep(sv, what, &t);
	satisfy(sv, what, &t);
}

static void is_restarted(int sv[2], enum sleeper what)
{
	struct actor t;

	count_signal(SIGUSR1, SA_RESTART);
	prepare(sv, what);
	fall_asleep(sv, what, &t);
	for (int i = 1; i <= 3; i++) {
		EQ(pthread_kill(t.thread, SIGUSR1), 0);
		while (atomic_load(&signals_seen) < i)
			sched_yield();
		BLOCKED(&t);
	}
	satisfy(sv, what, &t);
}

static void with_timeout_is_interrupted(int sv[2], enum sleeper what)
{
	struct actor t;

	count_signal(SIGUSR1, SA_RESTART);
	prepare(sv, what);
	set_time_option(sv[0], what == RECEIVING ? SO_RCVTIMEO : SO_SNDTIMEO, 100000);
	fall_asleep(sv, what, &t);
	interrupt_until_done(&t, SIGUSR1);
	RETURNS_ERROR(&t, EINTR);
}

static void runs_out_of_time(int sv[2], enum sleeper what)
{
	prepare(sv, what);
	set_time_option(sv[0], what == RECEIVING ? SO_RCVTIMEO : SO_SNDTIMEO, 30);
	for (int i = 0; i < 2; i++) {
		long start = now_ms();

		if (what == RECEIVING)
			FAILS(recv(sv[0], &letter, 1, 0), EAGAIN);
		else
			FAILS(send(sv[0], "x", 1, 0), EAGAIN);
		TRUE(now_ms() - start >= 29);
	}
}

static void is_in_time(int sv[2], enum sleeper what)
{
	struct actor t;

	prepare(sv, what);
	set_time_option(sv[0], what == RECEIVING ? SO_RCVTIMEO : SO_SNDTIMEO, 100000);
	fall_asleep(sv, what, &t);
	satisfy(sv, what, &t);
}

CASE_ON_MESSAGES(sleeping_receive_is_interrupted, 0)
{
	is_interrupted(sv, RECEIVING);
}

CASE_ON_MESSAGES(sleeping_receive_is_restarted, 0)
{
	is_restarted(sv, RECEIVING);
}

CASE_ON_MESSAGES(sleeping_receive_with_timeout_is_interrupted, 0)
{
	with_timeout_is_interrupted(sv, RECEIVING);
}

CASE_ON_MESSAGES(sleeping_receive_runs_out_of_time, 0)
{
	runs_out_of_time(sv, RECEIVING);
}

CASE_ON_MESSAGES(sleeping_receive_is_in_time, 0)
{
	is_in_time(sv, RECEIVING);
}

CASE_ON_MESSAGES(sleeping_send_is_interrupted, 0)
{
	is_interrupted(sv, SENDING);
}

CASE_ON_MESSAGES(sleeping_send_is_restarted, 0)
{
	is_restarted(sv, SENDING);
}

CASE_ON_MESSAGES(sleeping_send_with_timeout_is_interrupted, 0)
{
	with_timeout_is_interrupted(sv, SENDING);
}

CASE_ON_MESSAGES(sleeping_send_runs_out_of_time, 0)
{
	runs_out_of_time(sv, SENDING);
}

CASE_ON_MESSAGES(sleeping_send_is_in_time, 0)
{
	is_in_time(sv, SENDING);
}

/* sv[1] is bound, and sv[0] connected to it; not the other way round. */
static void one_way(int sv[2])
{
	struct name a = abstract_name("receiver");

	sv[1] = bound_to(SOCK_DGRAM, &a);
	sv[0] = connect_to(SOCK_DGRAM, &a);
}

static void on_a_full_queue(void (*body)(int sv[2], enum sleeper what))
{
	int sv[2];

	one_way(sv);
	body(sv, QUEUEING);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(sleeping_in_front_of_a_full_queue_is_interrupted, 0)
{
	on_a_full_queue(is_interrupted);
}

CASE(sleeping_in_front_of_a_full_queue_is_restarted, 0)
{
	on_a_full_queue(is_restarted);
}

CASE(sleeping_in_front_of_a_full_queue_with_timeout_is_interrupted, 0)
{
	on_a_full_queue(with_timeout_is_interrupted);
}

CASE(sleeping_in_front_of_a_full_queue_runs_out_of_time, 0)
{
	on_a_full_queue(runs_out_of_time);
}

CASE(sleeping_in_front_of_a_full_queue_is_in_time, 0)
{
	on_a_full_queue(is_in_time);
}

CASE_ON_MESSAGES(sleeping_receive_takes_one_message, 0)
{
	struct actor t;

	fall_asleep(sv, RECEIVING, &t);
	EQ(tell(sv[1], "one"), 3);
	EQ(tell(sv[1], "two"), 3);
	RETURNS(&t, 1);
	EQ(letter, 'o');
	MESSAGE(sv[0], "two");
}

CASE_ON_MESSAGES(sleeping_receive_does_not_see_own_sends, 0)
{
	struct actor t;

	fall_asleep(sv, RECEIVING, &t);
	EQ(tell(sv[0], "out"), 3);
	BLOCKED(&t);
	MESSAGE(sv[1], "out");
	BLOCKED(&t);
	EQ(tell(sv[1], "in"), 2);
	RETURNS(&t, 1);
}

CASE_ON_MESSAGES(sleeping_receive_and_nonblocking_mode, 0)
{
	struct actor t;

	/* The mode is looked at when the call begins. */
	fall_asleep(sv, RECEIVING, &t);
	set_nonblocking(sv[0], true);
	BLOCKED(&t);
	EQ(tell(sv[1], "x"), 1);
	RETURNS(&t, 1);
	FAILS(read(sv[0], &letter, 1), EAGAIN);
}

CASE_ON_MESSAGES(sleeping_receive_of_a_closed_descriptor, 0)
{
	struct actor t;

	fall_asleep(sv, RECEIVING, &t);
	close_end(&sv[0]);
	BLOCKED(&t);
	/* The socket lives as long as the call. */
	EQ(tell(sv[1], "x"), 1);
	RETURNS(&t, 1);
}

CASE_ON_SEQPACKET(sleeping_receive_of_a_closed_descriptor_is_the_end, 0)
{
	struct actor t;

	fall_asleep(sv, RECEIVING, &t);
	close_end(&sv[0]);
	READY(sv[1], POLLOUT);
	EQ(tell(sv[1], "x"), 1);
	RETURNS(&t, 1);
	AT_EOF(sv[1]);
}

CASE_ON_MESSAGES(sleeping_send_of_a_closed_descriptor, 0)
{
	struct actor t;

	prepare(sv, SENDING);
	fall_asleep(sv, SENDING, &t);
	close_end(&sv[0]);
	BLOCKED(&t);
	for (int i = 0; i < 93; i++)
		OK(recv(sv[1], &letter, 1, MSG_DONTWAIT));
	RETURNS(&t, 1);
	MESSAGE(sv[1], "x");
}

CASE(sleeping_receivers_are_woken_one_by_one, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);
	struct actor t[3];
	char c[3];

	for (int i = 0; i < 3; i++) {
		start_recv(&t[i], r, &c[i], 1, 0);
		BLOCKED(&t[i]);
	}
	for (int n = 1; n <= 3; n++) {
		int done = 0;

		EQ(send_to(s, &a, "x"), 1);
		while (done < n) {
			done = 0;
			for (int i = 0; i < 3; i++)
				done += atomic_load(&t[i].done);
			sched_yield();
		}
		for (int i = 0; i < 3; i++)
			if (!atomic_load(&t[i].done))
				BLOCKED(&t[i]);
	}
	for (int i = 0; i < 3; i++)
		RETURNS(&t[i], 1);
	OK(close(r));
	OK(close(s));
}

CASE_ON_SEQPACKET(sleeping_receivers_all_see_the_end, 0)
{
	struct actor t[3];
	char c[3];

	for (int i = 0; i < 3; i++) {
		start_recv(&t[i], sv[0], &c[i], 1, 0);
		BLOCKED(&t[i]);
	}
	close_end(&sv[1]);
	for (int i = 0; i < 3; i++)
		RETURNS(&t[i], 0);
}

CASE_ON_MESSAGES(sleeping_receivers_all_see_the_shutdown, 0)
{
	struct actor t[3];
	char c[3];

	for (int i = 0; i < 3; i++) {
		start_recv(&t[i], sv[0], &c[i], 1, 0);
		BLOCKED(&t[i]);
	}
	OK(shutdown(sv[0], SHUT_RD));
	for (int i = 0; i < 3; i++)
		RETURNS(&t[i], 0);
}

CASE_ON_MESSAGES(sleeping_peeker_and_receiver, 0)
{
	struct actor t[2];
	char c[2] = {0};

	/* Both are satisfied, whoever comes first, if there is one for each. */
	start_recv(&t[0], sv[0], &c[0], 1, MSG_PEEK);
	BLOCKED(&t[0]);
	start_recv(&t[1], sv[0], &c[1], 1, 0);
	BLOCKED(&t[1]);
	EQ(tell(sv[1], "x"), 1);
	EQ(tell(sv[1], "x"), 1);
	RETURNS(&t[0], 1);
	RETURNS(&t[1], 1);
	MESSAGE(sv[0], "x");
}

CASE_ON_MESSAGES(sleeping_poll_and_receive, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLIN};
	struct actor poller, t;

	start_poll(&poller, &p, 1, -1);
	BLOCKED(&poller);
	EQ(tell(sv[1], "x"), 1);
	RETURNS(&poller, 1);
	start_recv(&t, sv[0], &letter, 1, 0);
	RETURNS(&t, 1);
	EMPTY(sv[0]);
}

CASE_ON_MESSAGES(sleeping_poll_for_room, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLOUT};
	struct actor t;

	fill_messages(sv[0], NULL, 1000);
	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	EQ(recv(sv[1], &letter, 1, 0), 1);
	/* Room, but not enough to be told. */
	BLOCKED(&t);
	take_messages(sv[1]);
	RETURNS(&t, 1);
	EQ(p.revents, POLLOUT);
}
