/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Datagram and seqpacket sockets among processes: inherited, served by name, and of processes that are
 * killed. */
#include "conform.h"

static void talk_over(struct talk *t, int type)
{
	latch_init(&t->go);
	latch_init(&t->done);
	unix_pair(type, t->sv);
	t->listener = -1;
}

static void kill_and_reap(pid_t pid)
{
	EQ(kill(pid, SIGKILL), 0);
	KILLED(pid, SIGKILL);
}

static void answer_on_the_other_end(void *arg)
{
	struct talk *t = arg;

	OK(close(t->sv[0]));
	latch_pass(&t->go);
	MESSAGE(t->sv[1], "one");
	MESSAGE(t->sv[1], "two");
	EQ(tell(t->sv[1], "answer"), 6);
}

static void inherit_a_pair(int type)
{
	struct talk t;

	talk_over(&t, type);
	EQ(tell(t.sv[0], "one"), 3);
	pid_t pid = spawn(answer_on_the_other_end, &t);
	EQ(tell(t.sv[0], "two"), 3);
	latch_open(&t.go);
	EXITS(pid, 0);
	MESSAGE(t.sv[0], "answer");
	talk_fini(&t);
}

CASE(fork_inherits_a_pair_dgram, NEEDS_PROCESSES)
{
	inherit_a_pair(SOCK_DGRAM);
}

CASE(fork_inherits_a_pair_seqpacket, NEEDS_PROCESSES)
{
	inherit_a_pair(SOCK_SEQPACKET);
}

static void take_the_first(void *arg)
{
	struct talk *t = arg;

	MESSAGE(t->sv[1], "first");
}

static void share_a_queue(int type)
{
	struct talk t;

	talk_over(&t, type);
	EQ(tell(t.sv[0], "first"), 5);
	EQ(tell(t.sv[0], "second"), 6);
	pid_t pid = spawn(take_the_first, &t);
	EXITS(pid, 0);
	MESSAGE(t.sv[1], "second");
	EMPTY(t.sv[1]);
	talk_fini(&t);
}

CASE(fork_shares_the_queue_dgram, NEEDS_PROCESSES)
{
	share_a_queue(SOCK_DGRAM);
}

CASE(fork_shares_the_queue_seqpacket, NEEDS_PROCESSES)
{
	share_a_queue(SOCK_SEQPACKET);
}

static void bind_in_the_child(void *arg)
{
	struct talk *t = arg;

	/* The association is the socket's, not the process's. */
	OK(bind(t->sv[1], NAME(&t->name)));
	OK(shutdown(t->sv[1], SHUT_RD));
}

CASE(fork_shares_name_and_shutdown, NEEDS_PROCESSES)
{
	struct talk t;

	talk_over(&t, SOCK_DGRAM);
	t.name = abstract_name("a");
	pid_t pid = spawn(bind_in_the_child, &t);
	EXITS(pid, 0);
	EQ(tell(t.sv[1], "x"), 1);
	MESSAGE_FROM(t.sv[0], "x", &t.name);
	FAILS(tell(t.sv[0], "y"), EPIPE);
	talk_fini(&t);
}

static void connect_in_the_child(void *arg)
{
	struct talk *t = arg;

	OK(connect(t->listener, NAME(&t->name)));
}

CASE(fork_shares_the_peer, NEEDS_PROCESSES)
{
	struct talk t;

	talk_over(&t, SOCK_DGRAM);
	t.name = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &t.name);
	t.listener = unix_socket(SOCK_DGRAM);
	pid_t pid = spawn(connect_in_the_child, &t);
	EXITS(pid, 0);
	EQ(tell(t.listener, "x"), 1);
	MESSAGE(r, "x");
	OK(close(r));
	OK(close(t.listener));
	talk_fini(&t);
}

static void serve_by_name(void *arg)
{
	struct talk *t = arg;
	int fd = bound_to(SOCK_DGRAM, &t->name);
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	char buf[16];

	latch_open(&t->done);
	EQ(recvfrom(fd, buf, sizeof buf, 0, ANY(&un), &len), 3);
	BYTES(buf, "ask", 3);
	EQ(sendto(fd, "answer", 6, 0, ANY(&un), len), 6);
}

CASE(process_serves_datagrams, NEEDS_PROCESSES)
{
	struct name mine = path_name("mine");
	struct talk t;

	talk_over(&t, SOCK_DGRAM);
	t.name = path_name("server");
	int fd = bound_to(SOCK_DGRAM, &mine);
	pid_t pid = spawn(serve_by_name, &t);
	latch_pass(&t.done);
	EQ(send_to(fd, &t.name, "ask"), 3);
	EXITS(pid, 0);
	MESSAGE_FROM(fd, "answer", &t.name);
	FAILS(send_to(fd, &t.name, "ask"), ECONNREFUSED);
	OK(close(fd));
	talk_fini(&t);
	EQ(unlink("server") | unlink("mine"), 0);
}

static void bind_and_wait(void *arg)
{
	struct talk *t = arg;

	bound_to(SOCK_DGRAM, &t->name);
	latch_open(&t->done);
	pause();
}

/* The child holds a datagram socket with the name, and sleeps. */
static pid_t begin_with_a_receiver(struct talk *t)
{
	talk_over(t, SOCK_DGRAM);
	t->name = abstract_name("receiver");
	pid_t pid = spawn(bind_and_wait, t);

	latch_pass(&t->done);
	return pid;
}

CASE(kill_of_the_receiver_is_refused_once, NEEDS_PROCESSES)
{
	struct talk t;
	pid_t pid = begin_with_a_receiver(&t);
	int s = connect_to(SOCK_DGRAM, &t.name);

	EQ(tell(s, "x"), 1);
	kill_and_reap(pid);
	READY(s, POLLOUT);
	FAILS(tell(s, "x"), ECONNREFUSED);
	FAILS(tell(s, "x"), ENOTCONN);
	OK(close(s));
	talk_fini(&t);
}

CASE(kill_of_the_receiver_frees_the_name, NEEDS_PROCESSES)
{
	struct talk t;
	pid_t pid = begin_with_a_receiver(&t);
	int s = unix_socket(SOCK_DGRAM);

	EQ(send_to(s, &t.name, "x"), 1);
	kill_and_reap(pid);
	FAILS(send_to(s, &t.name, "x"), ECONNREFUSED);
	int r = bound_to(SOCK_DGRAM, &t.name);
	EMPTY(r);
	EQ(send_to(s, &t.name, "y"), 1);
	MESSAGE(r, "y");
	OK(close(r));
	OK(close(s));
	talk_fini(&t);
}

CASE(kill_of_the_receiver_gives_the_buffer_back, NEEDS_PROCESSES)
{
	struct name other = abstract_name("other");
	struct talk t;
	pid_t pid = begin_with_a_receiver(&t);
	int s = unix_socket(SOCK_DGRAM), r = bound_to(SOCK_DGRAM, &other);

	need_default_buffer(s);
	EQ(fill_messages(s, &t.name, 65536), 4);
	FAILS(send_to(s, &other, "x"), EAGAIN);
	kill_and_reap(pid);
	EQ(send_to(s, &other, "x"), 1);
	MESSAGE(r, "x");
	OK(close(r));
	OK(close(s));
	talk_fini(&t);
}

CASE(kill_of_the_receiver_wakes_a_sender_at_its_queue, NEEDS_PROCESSES)
{
	struct talk t;
	struct actor a;
	pid_t pid = begin_with_a_receiver(&t);
	int s = unix_socket(SOCK_DGRAM);

	fill_messages(s, &t.name, 1);
	start_send_to(&a, s, &t.name, "late");
	BLOCKED(&a);
	kill_and_reap(pid);
	RETURNS_ERROR(&a, ECONNREFUSED);
	OK(close(s));
	talk_fini(&t);
}

CASE(kill_of_the_receiver_wakes_a_poll_for_its_queue, NEEDS_PROCESSES)
{
	struct talk t;
	struct actor a;
	pid_t pid = begin_with_a_receiver(&t);
	int s = connect_to(SOCK_DGRAM, &t.name);
	struct pollfd p = {.fd = s, .events = POLLOUT};

	fill_messages(s, NULL, 1);
	start_poll(&a, &p, 1, -1);
	BLOCKED(&a);
	kill_and_reap(pid);
	RETURNS(&a, 1);
	EQ(p.revents, POLLOUT);
	OK(close(s));
	talk_fini(&t);
}

static void send_and_wait(void *arg)
{
	struct talk *t = arg;
	int s = unix_socket(SOCK_DGRAM);

	EQ(send_to(s, &t->name, "last"), 4);
	EQ(send_to(s, &t->name, "words"), 5);
	latch_open(&t->done);
	pause();
}

CASE(kill_of_the_sender_leaves_its_messages, NEEDS_PROCESSES)
{
	struct talk t;

	talk_over(&t, SOCK_DGRAM);
	t.name = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &t.name);
	pid_t pid = spawn(send_and_wait, &t);
	latch_pass(&t.done);
	kill_and_reap(pid);
	MESSAGE(r, "last");
	MESSAGE(r, "words");
	EMPTY(r);
	READY(r, POLLOUT);
	OK(close(r));
	talk_fini(&t);
}

static void send_for_ever(void *arg)
{
	struct talk *t = arg;
	int s = unix_socket(SOCK_DGRAM);

	for (;;)
		EQ(sendto(s, "x", 1, 0, NAME(&t->name)), 1);
}

CASE(kill_of_a_sender_asleep_at_the_queue, NEEDS_PROCESSES)
{
	struct talk t;

	need_default_queue();
	talk_over(&t, SOCK_DGRAM);
	t.name = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &t.name), s = unix_socket(SOCK_DGRAM);
	pid_t pid = spawn(send_for_ever, &t);
	while (send_to(s, &t.name, "") == 0)
		take_messages(r);
	await_sleeping(pid);
	kill_and_reap(pid);
	/* Its last one never got in. */
	EQ(take_messages(r), 11);
	EQ(fill_messages(s, &t.name, 1), 11);
	OK(close(r));
	OK(close(s));
	talk_fini(&t);
}

CASE(kill_of_senders_at_any_time, NEEDS_PROCESSES | TAKES_LONG)
{
	struct talk t;
	pid_t pid[3];

	talk_over(&t, SOCK_DGRAM);
	t.name = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &t.name), s = unix_socket(SOCK_DGRAM);
	for (int lap = 0; lap < 10; lap++) {
		for (int i = 0; i < 3; i++)
			pid[i] = spawn(send_for_ever, &t);
		for (int i = 0; i < 3; i++) {
			for (int n = 0; n < 50 * (i + 1) + lap; n++)
				EQ(recv(r, (char[1]){0}, 1, 0), 1);
			kill_and_reap(pid[i]);
		}
		/* Whatever they were doing: all that is there is whole, and the queue is as good as new. */
		TRUE(take_messages(r) <= 11);
		EQ(fill_messages(s, &t.name, 1), 11);
		EQ(take_messages(r), 11);
	}
	OK(close(r));
	OK(close(s));
	talk_fini(&t);
}

static void large_for_ever(void *arg)
{
	static char buf[40000];
	struct talk *t = arg;

	OK(close(t->sv[0]));
	for (uint32_t i = 0;; i++) {
		memcpy(buf, &i, sizeof i);
		pattern_bytes(buf + sizeof i, i, sizeof buf - sizeof i);
		EQ(send(t->sv[1], buf, sizeof buf, 0), sizeof buf);
	}
}

static void killed_writer_leaves_whole_messages(int type)
{
	static char got[40001], want[40000];

	for (int lap = 0; lap < 10; lap++) {
		struct talk t;
		uint32_t number, next = 0;
		ssize_t n;

		talk_over(&t, type);
		pid_t pid = spawn(large_for_ever, &t);
		close_end(&t.sv[1]);
		for (bool alive = true;; alive = next < 20 + (uint32_t)lap) {
			if (!alive && pid > 0) {
				kill_and_reap(pid);
				pid = 0;
			}
			n = recv(t.sv[0], got, sizeof got, pid > 0 ? 0 : MSG_DONTWAIT);
			if (n <= 0)
				break;
			EQ(n, sizeof want);
			memcpy(&number, got, sizeof number);
			EQ(number, next);
			pattern_bytes(want + sizeof number, number, sizeof want - sizeof number);
			BYTES(got + sizeof number, want + sizeof number, sizeof want - sizeof number);
			next++;
		}
		TRUE(pid == 0);
		if (type == SOCK_DGRAM)
			EMPTY(t.sv[0]);
		else
			AT_EOF(t.sv[0]);
		talk_fini(&t);
	}
}

CASE(kill_in_a_send_leaves_whole_messages_dgram, NEEDS_PROCESSES | TAKES_LONG)
{
	killed_writer_leaves_whole_messages(SOCK_DGRAM);
}

CASE(kill_in_a_send_leaves_whole_messages_seqpacket, NEEDS_PROCESSES | TAKES_LONG)
{
	killed_writer_leaves_whole_messages(SOCK_SEQPACKET);
}

static void write_and_wait(void *arg)
{
	struct talk *t = arg;

	OK(close(t->sv[0]));
	EQ(tell(t->sv[1], "last words"), 10);
	latch_open(&t->done);
	pause();
}

CASE(kill_of_a_seqpacket_peer_is_the_end, NEEDS_PROCESSES)
{
	struct talk t;

	talk_over(&t, SOCK_SEQPACKET);
	pid_t pid = spawn(write_and_wait, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	kill_and_reap(pid);
	READY(t.sv[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	MESSAGE(t.sv[0], "last words");
	AT_EOF(t.sv[0]);
	FAILS(tell(t.sv[0], "x"), EPIPE);
	talk_fini(&t);
}

CASE(kill_of_a_seqpacket_peer_with_unread_messages, NEEDS_PROCESSES)
{
	struct talk t;

	talk_over(&t, SOCK_SEQPACKET);
	pid_t pid = spawn(write_and_wait, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	EQ(tell(t.sv[0], "unread"), 6);
	kill_and_reap(pid);
	READY(t.sv[0], POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
	FAILS(recv(t.sv[0], (char[1]){0}, 1, 0), ECONNRESET);
	MESSAGE(t.sv[0], "last words");
	AT_EOF(t.sv[0]);
	talk_fini(&t);
}

CASE(kill_of_a_dgram_peer_shows_at_send_only, NEEDS_PROCESSES)
{
	struct talk t;

	talk_over(&t, SOCK_DGRAM);
	pid_t pid = spawn(write_and_wait, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	EQ(tell(t.sv[0], "unread"), 6);
	kill_and_reap(pid);
	READY(t.sv[0], POLLIN | POLLOUT);
	MESSAGE(t.sv[0], "last words");
	EMPTY(t.sv[0]);
	FAILS(tell(t.sv[0], "x"), ECONNREFUSED);
	talk_fini(&t);
}

CASE(kill_wakes_a_seqpacket_reader, NEEDS_PROCESSES)
{
	struct talk t;
	struct actor a;
	char c;

	talk_over(&t, SOCK_SEQPACKET);
	pid_t pid = spawn(write_and_wait, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	MESSAGE(t.sv[0], "last words");
	start_recv(&a, t.sv[0], &c, 1, 0);
	BLOCKED(&a);
	kill_and_reap(pid);
	RETURNS(&a, 0);
	talk_fini(&t);
}

static void killed_peer_wakes_a_writer(int type, int error)
{
	struct talk t;
	struct actor a;

	talk_over(&t, type);
	pid_t pid = spawn(write_and_wait, &t);
	latch_pass(&t.done);
	close_end(&t.sv[1]);
	fill_messages(t.sv[0], NULL, 1000);
	start_send(&a, t.sv[0], "late", 4, 0);
	BLOCKED(&a);
	kill_and_reap(pid);
	RETURNS_ERROR(&a, error);
	talk_fini(&t);
}

CASE(kill_wakes_a_writer_dgram, NEEDS_PROCESSES)
{
	killed_peer_wakes_a_writer(SOCK_DGRAM, ECONNREFUSED);
}

CASE(kill_wakes_a_writer_seqpacket, NEEDS_PROCESSES)
{
	killed_peer_wakes_a_writer(SOCK_SEQPACKET, ECONNRESET);
}

static void sleep_in_recv(void *arg)
{
	struct talk *t = arg;

	latch_open(&t->done);
	recv(t->sv[1], (char[1]){0}, 1, 0);
}

CASE(kill_of_one_of_two_readers, NEEDS_PROCESSES)
{
	struct talk t;
	struct actor a;
	char c;

	/* The dead reader takes no message, nor the wake-up for it. */
	talk_over(&t, SOCK_DGRAM);
	pid_t pid = spawn(sleep_in_recv, &t);
	latch_pass(&t.done);
	await_sleeping(pid);
	start_recv(&a, t.sv[1], &c, 1, 0);
	BLOCKED(&a);
	kill_and_reap(pid);
	BLOCKED(&a);
	EQ(tell(t.sv[0], "x"), 1);
	RETURNS(&a, 1);
	talk_fini(&t);
}
