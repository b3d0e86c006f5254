/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Datagram sockets whose correspondents come and go, or are many: nothing of those that are gone
 * stays behind, no room that is made is missed, and a lack of descriptors passes.
 */
#include "conform.h"

#include <sys/socket.h>

enum { GONE = 120, MANY = 150 };

/* How many mappings the process has. */
static int mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	int n = 0, c;

	TRUE(maps);
	while ((c = getc(maps)) != EOF)
		n += c == '\n';
	fclose(maps);
	return n;
}

static void send_and_go(const struct name *to)
{
	int s = unix_socket(SOCK_DGRAM);

	EQ(send_to(s, to, "x"), 1);
	OK(close(s));
}

/* What a receiver does between senders that come and go. */
static void keeps_nothing(void (*receive)(int r, const struct name *self))
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), before = 0;

	for (int i = 0; i < GONE; i++) {
		receive(r, &a);
		if (i == GONE / 6)
			before = mappings();
	}
	TRUE(mappings() < before + GONE / 3);
	OK(close(r));
}

static void by_recv(int r, const struct name *self)
{
	send_and_go(self);
	MESSAGE(r, "x");
}

static void by_recvfrom(int r, const struct name *self)
{
	char c;

	send_and_go(self);
	EQ(recvfrom(r, &c, 1, 0, ANY(&(struct sockaddr_un){0}), &(socklen_t){sizeof(struct sockaddr_un)}), 1);
}

static void by_poll(int r, const struct name *self)
{
	struct actor polling;
	struct pollfd p = {r, POLLIN, 0};
	char c;

	start_poll(&polling, &p, 1, 10000);
	BLOCKED(&polling);
	send_and_go(self);
	RETURNS(&polling, 1);
	EQ(recv(r, &c, 1, 0), 1);
}

static void asleep(int r, const struct name *self)
{
	struct actor receiving;
	struct iovec iov = {(char[1]){0}, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	start_recv(&receiving, r, iov.iov_base, 1, 0);
	BLOCKED(&receiving);
	send_and_go(self);
	RETURNS(&receiving, 1);
	send_and_go(self);
	EQ(recvmsg(r, &msg, 0), 1);
}

CASE(nothing_stays_of_senders_that_are_gone_by_recv, 0)
{
	keeps_nothing(by_recv);
}

CASE(nothing_stays_of_senders_that_are_gone_by_recvfrom, 0)
{
	keeps_nothing(by_recvfrom);
}

CASE(nothing_stays_of_senders_that_are_gone_by_poll, TAKES_LONG)
{
	keeps_nothing(by_poll);
}

CASE(nothing_stays_of_senders_that_are_gone_asleep, TAKES_LONG)
{
	keeps_nothing(asleep);
}

CASE(nothing_stays_of_senders_that_are_gone_by_epoll, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), ep = OK(epoll_create1(0)), before = 0;
	struct epoll_event e = {.events = EPOLLIN};

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, r, &e));
	for (int i = 0; i < GONE; i++) {
		send_and_go(&a);
		EQ(epoll_wait(ep, &e, 1, 10000), 1);
		MESSAGE(r, "x");
		if (i == GONE / 6)
			before = mappings();
	}
	TRUE(mappings() < before + GONE / 3);
	OK(close(ep));
	OK(close(r));
}

/* Takes all descriptors that there are; how many. */
static int take_descriptors(int *fds, int max)
{
	int n = 0;

	while (n < max && (fds[n] = dup(0)) >= 0)
		n++;
	TRUE(n < max);
	return n;
}

CASE(a_lack_of_descriptors_passes, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s[4], fds[512], n;
	struct pollfd p = {r, POLLIN, 0};
	struct rlimit limit = {256, 256};
	char text[2] = "0";

	for (int i = 0; i < 4; i++)
		s[i] = unix_socket(SOCK_DGRAM);
	EQ(send_to(s[0], &a, "0"), 1);
	EQ(send_to(s[1], &a, "1"), 1);
	MESSAGE(r, "0");
	MESSAGE(r, "1");
	/* the receiver has to learn that these two left and others came, and has no descriptor for that */
	OK(close(s[0]));
	OK(close(s[1]));
	EQ(send_to(s[2], &a, "2"), 1);
	EQ(send_to(s[3], &a, "3"), 1);
	OK(setrlimit(RLIMIT_NOFILE, &limit));
	n = take_descriptors(fds, 512);
	for (int i = 0; i < 3; i++) {
		OK(poll(&p, 1, 0));
		OK(poll(&p, 1, 0));
		OK(close(fds[--n]));
	}
	while (n)
		OK(close(fds[--n]));
	MESSAGE(r, "2");
	MESSAGE(r, "3");
	EMPTY(r);
	for (int i = 2; i < 4; i++) {
		text[0] = (char)('0' + i);
		EQ(send_to(s[i], &a, text), 1);
		MESSAGE(r, text);
		OK(close(s[i]));
	}
	send_and_go(&a);
	MESSAGE(r, "x");
	OK(close(r));
}

/* A buffer that is full wakes its sender, whoever of many receivers makes the room. */
CASE(room_among_many_receivers, 0)
{
	struct name to[MANY];
	int r[MANY], s = unix_socket(SOCK_DGRAM);
	static char big[60000];
	struct actor sending;
	char text[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof text, "r%d", i);
		to[i] = abstract_name(text);
		r[i] = bound_to(SOCK_DGRAM, &to[i]);
		EQ(send_to(s, &to[i], "x"), 1);
		MESSAGE(r[i], "x");
	}
	while (sendto(s, big, sizeof big, MSG_DONTWAIT, NAME(&to[MANY - 1])) > 0)
		;
	start_send_to(&sending, s, &to[0], "y");
	BLOCKED(&sending);
	TRUE(take_messages(r[MANY - 1]) > 1);
	RETURNS(&sending, 1);
	MESSAGE(r[0], "y");
	for (int i = 0; i < MANY; i++)
		OK(close(r[i]));
	OK(close(s));
}

struct heir {
	pthread_barrier_t *together;
	int fd;
};

static long use_at_once(struct actor *a)
{
	struct heir *h = a->arg;
	struct pollfd p = {h->fd, POLLIN, 0};

	pthread_barrier_wait(h->together);
	for (int i = 0; i < 20; i++) {
		if (recv(h->fd, (char[1]){0}, 1, MSG_DONTWAIT) < 0 && errno != EAGAIN)
			return -1;
		if (poll(&p, 1, 0) < 0 || (p.revents & (POLLERR | POLLHUP | POLLNVAL)))
			return 1;
	}
	return 0;
}

static void inherit(void *arg)
{
	enum { HEIRS = 4 };
	struct actor a[HEIRS];
	pthread_barrier_t together;
	struct heir h = {&together, *(int *)arg};

	pthread_barrier_init(&together, NULL, HEIRS);
	for (int i = 0; i < HEIRS; i++) {
		a[i] = (struct actor){.arg = &h};
		actor_start(&a[i], use_at_once);
	}
	for (int i = 0; i < HEIRS; i++)
		RETURNS(&a[i], 0);
}

/* The threads of a child use what it inherited for the first time, all at once, and others begin to send. */
CASE(heirs_at_once, NEEDS_PROCESSES | TAKES_LONG)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), never = unix_socket(SOCK_DGRAM), status;

	for (int i = 0; i < 40; i++) {
		pid_t child = spawn(inherit, i % 4 ? &r : &never);

		do {
			int s = unix_socket(SOCK_DGRAM);

			send_to(s, &a, "x");
			OK(close(s));
		} while (waitpid(child, &status, WNOHANG) == 0);
		EQ(status, 0);
	}
	OK(close(r));
	OK(close(never));
}
