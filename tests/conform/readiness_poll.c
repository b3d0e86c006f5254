/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* poll(), ppoll(), select() and pselect(): what they wait for, over sockets and kernel descriptors together.
 */
#include "conform.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

CASE_ON_ENDS(poll_woken_by_data, 0)
{
	struct pollfd p = {.fd = sv[1], .events = POLLIN};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	put(sv[0], "x");
	RETURNS(&t, 1);
	EQ(p.revents, POLLIN);
	GETS(sv[1], "x");
}

CASE_ON_ENDS(poll_woken_by_room, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLOUT};
	struct actor t;

	fill(sv[0], 1000);
	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	/* Room for one is not yet OUT. */
	EQ(recv(sv[1], (char[1000]){0}, 1000, 0), 1000);
	BLOCKED(&t);
	drain(sv[1]);
	RETURNS(&t, 1);
	EQ(p.revents, POLLOUT);
}

CASE_ON_ENDS(poll_woken_by_room_by_any_of_its_names, 0)
{
	static const short names[] = {POLLWRNORM, POLLWRBAND};

	for (int i = 0; i < 2; i++) {
		struct pollfd p = {.fd = sv[0], .events = names[i]};
		struct actor t;

		fill(sv[0], 1000);
		start_poll(&t, &p, 1, -1);
		BLOCKED(&t);
		drain(sv[1]);
		RETURNS(&t, 1);
		EQ(p.revents, names[i]);
	}
}

CASE_ON_ENDS(poll_woken_by_close, 0)
{
	/* Nobody needs to ask for HUP. */
	struct pollfd p = {.fd = sv[1], .events = 0};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	put(sv[0], "x");
	BLOCKED(&t);
	close_end(&sv[0]);
	RETURNS(&t, 1);
	EQ(p.revents, POLLHUP);
	GETS(sv[1], "x");
}

CASE_ON_ENDS(poll_woken_by_reset, 0)
{
	struct pollfd p = {.fd = sv[1], .events = 0};
	struct actor t;

	put(sv[1], "unread");
	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	close_end(&sv[0]);
	RETURNS(&t, 1);
	EQ(p.revents, POLLHUP | POLLERR);
}

CASE_ON_ENDS(poll_woken_by_shutdown, 0)
{
	struct pollfd p = {.fd = sv[1], .events = POLLIN | POLLRDHUP};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	OK(shutdown(sv[0], SHUT_WR));
	RETURNS(&t, 1);
	EQ(p.revents, POLLIN | POLLRDHUP);
}

CASE_ON_ENDS(poll_woken_by_own_shutdown, 0)
{
	struct pollfd p = {.fd = sv[1], .events = POLLIN};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	OK(shutdown(sv[1], SHUT_RD));
	RETURNS(&t, 1);
	EQ(p.revents, POLLIN);
}

CASE(poll_woken_by_connection, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);
	struct pollfd p = {.fd = l, .events = POLLIN};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	int c = connect_to(SOCK_STREAM, &a);
	RETURNS(&t, 1);
	EQ(p.revents, POLLIN);
	OK(close(c));
	OK(close(l));
}

CASE(poll_listener_woken_by_shutdown, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);
	struct pollfd p = {.fd = l, .events = POLLIN};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	OK(shutdown(l, SHUT_RD));
	RETURNS(&t, 1);
	EQ(p.revents, POLLIN);
	OK(close(l));
}

CASE(poll_client_woken_by_close_of_the_listener, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), c = connect_to(SOCK_STREAM, &a);
	struct pollfd p = {.fd = c, .events = POLLIN};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	OK(close(l));
	RETURNS(&t, 1);
	EQ(p.revents, POLLIN | POLLERR | POLLHUP);
	OK(close(c));
}

CASE_ON_ENDS(poll_timeouts, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLIN, .revents = 0x55};
	long start = now_ms();

	EQ(poll(&p, 1, 0), 0);
	EQ(p.revents, 0);
	EQ(poll(&p, 1, 30), 0);
	/* A clock tick of tolerance; never earlier. */
	TRUE(now_ms() - start >= 29);
	EQ(p.revents, 0);
	EQ(poll(NULL, 0, 10), 0);
	put(sv[1], "x");
	EQ(poll(&p, 1, 100000), 1);
	GETS(sv[0], "x");
}

CASE(poll_odd_entries, 0)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	struct pollfd p[5] = {
		{.fd = sv[0], .events = POLLIN | POLLOUT},
		{.fd = -1, .events = POLLIN, .revents = 0x55},
		{.fd = sv[1], .events = POLLIN},
		{.fd = sv[0], .events = POLLIN | POLLOUT},
		{.fd = 300, .events = POLLIN},
	};
	put(sv[1], "x");
	/* The same socket twice; a negative number is left out; one that is not open is told at once. */
	EQ(poll(p, 5, -1), 3);
	EQ(p[0].revents, POLLIN | POLLOUT);
	EQ(p[1].revents, 0);
	EQ(p[2].revents, 0);
	EQ(p[3].revents, POLLIN | POLLOUT);
	EQ(p[4].revents, POLLNVAL);
	OK(close(sv[1]));
	EQ(poll(p + 2, 1, -1), 1);
	EQ(p[2].revents, POLLNVAL);
	FAILS(poll(bad_pointer(), 1, 0), EFAULT);
	volatile nfds_t too_many = 1 << 30;
	FAILS(poll(p, too_many, 0), EINVAL);
	OK(close(sv[0]));
}

struct mixture {
	int sv[2], p[2], ev, timer;
	struct pollfd all[4];
};

static void mixture_init(struct mixture *m)
{
	unix_pair(SOCK_STREAM, m->sv);
	EQ(pipe2(m->p, O_CLOEXEC), 0);
	m->ev = eventfd(0, EFD_CLOEXEC);
	m->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	TRUE(m->ev >= 0 && m->timer >= 0);
	m->all[0] = (struct pollfd){.fd = m->p[0], .events = POLLIN};
	m->all[1] = (struct pollfd){.fd = m->sv[0], .events = POLLIN};
	m->all[2] = (struct pollfd){.fd = m->ev, .events = POLLIN};
	m->all[3] = (struct pollfd){.fd = m->timer, .events = POLLIN};
}

static void mixture_fini(struct mixture *m)
{
	OK(close(m->sv[0]));
	OK(close(m->sv[1]));
	close(m->p[0]);
	close(m->p[1]);
	close(m->ev);
	close(m->timer);
}

static void expect_only(const struct mixture *m, int which)
{
	for (int i = 0; i < 4; i++)
		EQ(m->all[i].revents, i == which ? POLLIN : 0);
}

CASE(poll_sockets_with_kernel_descriptors, 0)
{
	struct itimerspec soon = {.it_value = {0, 1000000}};
	struct mixture m;
	struct actor t;
	uint64_t n = 1;

	mixture_init(&m);
	EQ(poll(m.all, 4, 0), 0);

	start_poll(&t, m.all, 4, -1);
	BLOCKED(&t);
	EQ(write(m.p[1], "x", 1), 1);
	RETURNS(&t, 1);
	expect_only(&m, 0);
	EQ(read(m.p[0], (char[1]){0}, 1), 1);

	start_poll(&t, m.all, 4, -1);
	BLOCKED(&t);
	put(m.sv[1], "x");
	RETURNS(&t, 1);
	expect_only(&m, 1);
	GETS(m.sv[0], "x");

	start_poll(&t, m.all, 4, -1);
	BLOCKED(&t);
	EQ(write(m.ev, &n, sizeof n), sizeof n);
	RETURNS(&t, 1);
	expect_only(&m, 2);
	EQ(read(m.ev, &n, sizeof n), sizeof n);

	start_poll(&t, m.all, 4, -1);
	BLOCKED(&t);
	EQ(timerfd_settime(m.timer, 0, &soon, NULL), 0);
	RETURNS(&t, 1);
	expect_only(&m, 3);
	EQ(read(m.timer, &n, sizeof n), sizeof n);

	/* All at once. */
	EQ(write(m.p[1], "x", 1), 1);
	EQ(write(m.ev, &n, sizeof n), sizeof n);
	put(m.sv[1], "x");
	EQ(poll(m.all, 4, -1), 3);
	GETS(m.sv[0], "x");
	EQ(poll(m.all, 4, -1), 2);
	EQ(m.all[1].revents, 0);
	mixture_fini(&m);
}

CASE(select_sockets_with_kernel_descriptors, 0)
{
	struct timeval forever = {100000, 0}, zero = {0, 0};
	struct mixture m;
	fd_set r, w;

	mixture_init(&m);
	for (int round = 0; round < 3; round++) {
		FD_ZERO(&r);
		FD_ZERO(&w);
		FD_SET(m.sv[0], &r);
		FD_SET(m.p[0], &r);
		if (round == 0)
			EQ(select(m.timer + 1, &r, NULL, NULL, &zero), 0);
		FD_SET(m.sv[0], &r);
		FD_SET(m.p[0], &r);
		if (round == 1)
			put(m.sv[1], "x");
		if (round == 2)
			EQ(write(m.p[1], "x", 1), 1);
		FD_SET(m.sv[1], &w);
		/* OUT is there always; IN with the data. */
		EQ(select(m.timer + 1, &r, &w, NULL, &forever), round == 0 ? 1 : round == 1 ? 2 : 3);
		TRUE(FD_ISSET(m.sv[1], &w));
		EQ(!!FD_ISSET(m.sv[0], &r), round >= 1);
		EQ(!!FD_ISSET(m.p[0], &r), round >= 2);
	}
	mixture_fini(&m);
}

static long run_select(struct actor *a)
{
	fd_set r;

	FD_ZERO(&r);
	FD_SET(a->fd, &r);
	long n = select(a->fd + 1, &r, NULL, NULL, NULL);
	return n == 1 && !FD_ISSET(a->fd, &r) ? -3 : n;
}

CASE_ON_ENDS(select_woken, 0)
{
	struct actor t = {.fd = sv[0]};

	actor_start(&t, run_select);
	BLOCKED(&t);
	put(sv[1], "x");
	RETURNS(&t, 1);
	GETS(sv[0], "x");
	actor_start(&t, run_select);
	BLOCKED(&t);
	close_end(&sv[1]);
	RETURNS(&t, 1);
}

CASE_ON_ENDS(select_timeout_and_errors, 0)
{
	struct timeval tv = {0, 20000}, bad = {0, -1};
	fd_set r, e;
	long start = now_ms();

	FD_ZERO(&r);
	FD_ZERO(&e);
	FD_SET(sv[0], &r);
	FD_SET(sv[0], &e);
	EQ(select(sv[0] + 1, &r, NULL, &e, &tv), 0);
	TRUE(now_ms() - start >= 19);
	TRUE(!FD_ISSET(sv[0], &r) && !FD_ISSET(sv[0], &e));
	/* Linux tells what is left of the time. */
	EQ(tv.tv_sec, 0);
	EQ(tv.tv_usec, 0);
	FD_SET(sv[0], &r);
	FAILS(select(sv[0] + 1, &r, NULL, NULL, &bad), EINVAL);
	FAILS(select(-1, &r, NULL, NULL, NULL), EINVAL);
	int copy = OK(fcntl(sv[0], F_DUPFD, 100));
	FD_SET(copy, &r);
	OK(close(copy));
	FAILS(select(copy + 1, &r, NULL, NULL, NULL), EBADF);
	/* Numbers from n on are not looked at. */
	put(sv[1], "x");
	EQ(select(copy, &r, NULL, NULL, NULL), 1);
}

CASE_ON_ENDS(select_keeps_the_rest_of_the_time, 0)
{
	struct timeval tv = {1000, 0};
	fd_set w;

	FD_ZERO(&w);
	FD_SET(sv[0], &w);
	EQ(select(sv[0] + 1, NULL, &w, NULL, &tv), 1);
	TRUE(tv.tv_sec > 900 && tv.tv_sec <= 1000);
}

CASE_ON_ENDS(poll_two_waiters, 0)
{
	struct pollfd p[2] = {{.fd = sv[0], .events = POLLIN}, {.fd = sv[0], .events = POLLIN}};
	struct actor t[2];

	start_poll(&t[0], &p[0], 1, -1);
	start_poll(&t[1], &p[1], 1, -1);
	BLOCKED(&t[0]);
	BLOCKED(&t[1]);
	put(sv[1], "x");
	/* Waiting takes nothing away: both are told. */
	RETURNS(&t[0], 1);
	RETURNS(&t[1], 1);
}

CASE_ON_ENDS(poll_beside_a_blocked_reader, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLRDHUP};
	struct actor poller, reader;
	char c;

	start_poll(&poller, &p, 1, -1);
	start_recv(&reader, sv[0], &c, 1, 0);
	BLOCKED(&poller);
	BLOCKED(&reader);
	put(sv[1], "x");
	RETURNS(&reader, 1);
	BLOCKED(&poller);
	OK(shutdown(sv[1], SHUT_WR));
	RETURNS(&poller, 1);
	EQ(p.revents, POLLRDHUP);
}

CASE_ON_ENDS(poll_number_closed_meanwhile, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLIN};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	close_end(&sv[0]);
	BLOCKED(&t);
	/* The sleeper is a holder. */
	EMPTY(sv[1]);
	put(sv[1], "x");
	/* Woken, it looks at the number again, and that is no longer open. */
	RETURNS(&t, 1);
	EQ(p.revents, POLLNVAL);
}

CASE(poll_many_sockets, 0)
{
	enum { N = 100 };
	static struct pollfd p[N];
	int sv[N][2];

	for (int i = 0; i < N; i++) {
		unix_pair(SOCK_STREAM, sv[i]);
		p[i] = (struct pollfd){.fd = sv[i][0], .events = POLLIN};
	}
	for (int i = 0; i < N; i++) {
		int at = (i * 37) % N;
		struct actor t;
		if (i % 10 == 0) {
			start_poll(&t, p, N, -1);
			BLOCKED(&t);
			put(sv[at][1], "x");
			RETURNS(&t, 1);
		} else {
			put(sv[at][1], "x");
			EQ(poll(p, N, -1), 1);
		}
		for (int j = 0; j < N; j++)
			EQ(p[j].revents, j == at ? POLLIN : 0);
		GETS(sv[at][0], "x");
	}
	for (int i = 0; i < N; i++) {
		OK(close(sv[i][0]));
		OK(close(sv[i][1]));
	}
}
