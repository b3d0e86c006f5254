/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * epoll over sockets and kernel descriptors: registration, level-triggered reports,
 * one-shot, and the life of a registration.  The edges are in readiness_edges.c.
 */
#include "conform.h"

#include <sys/eventfd.h>

static int new_epoll(void)
{
	return OK(epoll_create1(EPOLL_CLOEXEC));
}

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

static void modify(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	OK(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
}

/* Exactly one report, with these bits and this datum. */
static void expect_one(const char *file, int line, int ep, uint32_t events, uint64_t data)
{
	struct epoll_event ev[4] = {{0}};
	char a[96], b[96];

	conform_at(file, line, "epoll_wait");
	int n = epoll_wait(ep, ev, 4, 0);
	if (n != 1 || ev[0].events != events || ev[0].data.u64 != data)
		conform_fail(file, line, "epoll_wait: expected one report %s for %#llx, got %d: %s for %#llx",
			     conform_poll_text((int)events, a, sizeof a), (unsigned long long)data, n,
			     conform_poll_text(n > 0 ? (int)ev[0].events : 0, b, sizeof b),
			     n > 0 ? (unsigned long long)ev[0].data.u64 : 0);
}
#define ONE(ep, events, data) expect_one(HERE, ep, events, data)

static void expect_none(const char *file, int line, int ep)
{
	struct epoll_event ev[4];
	char b[96];
	int n = epoll_wait(ep, ev, 4, 0);

	conform_at(file, line, "epoll_wait");
	if (n != 0)
		conform_fail(file, line, "epoll_wait: expected nothing, got %d: %s", n,
			     conform_poll_text(n > 0 ? (int)ev[0].events : 0, b, sizeof b));
}
#define NONE(ep) expect_none(HERE, ep)

CASE_ON_ENDS(epoll_level, 0)
{
	int ep = new_epoll();

	add(ep, sv[0], EPOLLIN, 0x123456789abcdef0u);
	NONE(ep);
	put(sv[1], "ab");
	for (int i = 0; i < 3; i++)
		ONE(ep, EPOLLIN, 0x123456789abcdef0u);
	GETS(sv[0], "a");
	ONE(ep, EPOLLIN, 0x123456789abcdef0u);
	GETS(sv[0], "b");
	NONE(ep);
	/* ERR and HUP come unasked. */
	put(sv[0], "unread");
	close_end(&sv[1]);
	ONE(ep, EPOLLIN | EPOLLERR | EPOLLHUP, 0x123456789abcdef0u);
	FAILS(read(sv[0], (char[1]){0}, 1), ECONNRESET);
	ONE(ep, EPOLLIN | EPOLLHUP, 0x123456789abcdef0u);
	OK(close(ep));
}

CASE_ON_ENDS(epoll_bits_as_asked, 0)
{
	int ep = new_epoll();

	put(sv[1], "x");
	add(ep, sv[0], 0, 1);
	NONE(ep);
	modify(ep, sv[0], EPOLLOUT, 2);
	ONE(ep, EPOLLOUT, 2);
	modify(ep, sv[0], EPOLLIN | EPOLLOUT, 3);
	ONE(ep, EPOLLIN | EPOLLOUT, 3);
	modify(ep, sv[0], EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND | EPOLLPRI, 4);
	ONE(ep, EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND, 4);
	modify(ep, sv[0], EPOLLRDHUP, 5);
	NONE(ep);
	OK(shutdown(sv[1], SHUT_WR));
	ONE(ep, EPOLLRDHUP, 5);
	modify(ep, sv[0], 0, 6);
	NONE(ep);
	OK(shutdown(sv[1], SHUT_RD));
	ONE(ep, EPOLLHUP, 6);
	OK(close(ep));
}

CASE(epoll_control_errors, 0)
{
	static volatile int negative = -1;
	struct epoll_event ev = {.events = EPOLLIN};
	int p[2], sv[2], ep = new_epoll();

	EQ(pipe(p), 0);
	unix_pair(SOCK_STREAM, sv);
	FAILS(epoll_create1(1), EINVAL);
	FAILS(epoll_create(0), EINVAL);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &ev));
	FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &ev), EEXIST);
	FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, sv[1], &ev), ENOENT);
	FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, sv[1], &ev), ENOENT);
	FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, 300, &ev), EBADF);
	FAILS(epoll_ctl(300, EPOLL_CTL_ADD, sv[1], &ev), EBADF);
	FAILS(epoll_ctl(p[0], EPOLL_CTL_ADD, sv[1], &ev), EINVAL);
	FAILS(epoll_ctl(sv[0], EPOLL_CTL_ADD, sv[1], &ev), EINVAL);
	FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev), EINVAL);
	FAILS(epoll_ctl(ep, 77, sv[1], &ev), EINVAL);
	FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, sv[1], bad_pointer()), EFAULT);
	FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, sv[0], bad_pointer()), EFAULT);
	OK(epoll_ctl(ep, EPOLL_CTL_DEL, sv[0], NULL));
	FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, sv[0], NULL), ENOENT);
	FAILS(epoll_wait(ep, &ev, 0, 0), EINVAL);
	FAILS(epoll_wait(ep, &ev, negative, 0), EINVAL);
	FAILS(epoll_wait(sv[0], &ev, 1, 0), EINVAL);
	FAILS(epoll_wait(p[0], &ev, 1, 0), EINVAL);
	FAILS(epoll_wait(300, &ev, 1, 0), EBADF);
	OK(close(ep));
	FAILS(epoll_wait(ep, &ev, 1, 0), EBADF);
	OK(close(sv[0]));
	OK(close(sv[1]));
	close(p[0]);
	close(p[1]);
}

CASE_ON_ENDS(epoll_delete_and_add_again, 0)
{
	int ep = new_epoll();

	put(sv[1], "x");
	add(ep, sv[0], EPOLLIN, 1);
	ONE(ep, EPOLLIN, 1);
	OK(epoll_ctl(ep, EPOLL_CTL_DEL, sv[0], NULL));
	NONE(ep);
	add(ep, sv[0], EPOLLIN, 2);
	ONE(ep, EPOLLIN, 2);
	OK(close(ep));
}

CASE_ON_ENDS(epoll_oneshot, 0)
{
	int ep = new_epoll();

	add(ep, sv[0], EPOLLIN | EPOLLONESHOT, 1);
	put(sv[1], "x");
	ONE(ep, EPOLLIN, 1);
	NONE(ep);
	put(sv[1], "y");
	NONE(ep);
	/* Switched off, not taken away; and off means HUP as well. */
	struct epoll_event ev = {.events = EPOLLIN};
	FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &ev), EEXIST);
	modify(ep, sv[0], EPOLLIN | EPOLLONESHOT, 2);
	ONE(ep, EPOLLIN, 2);
	close_end(&sv[1]);
	NONE(ep);
	modify(ep, sv[0], EPOLLIN | EPOLLONESHOT, 3);
	ONE(ep, EPOLLIN | EPOLLHUP, 3);
	NONE(ep);
	OK(close(ep));
}

CASE_ON_ENDS(epoll_closed_descriptor_vanishes, 0)
{
	int ep = new_epoll();

	put(sv[1], "x");
	add(ep, sv[0], EPOLLIN, 1);
	add(ep, sv[1], EPOLLOUT, 2);
	close_end(&sv[0]);
	/* Only the reset that the other end sees. */
	ONE(ep, EPOLLOUT | EPOLLERR | EPOLLHUP, 2);
	OK(close(ep));
}

CASE_ON_ENDS(epoll_registration_lives_with_the_socket, 0)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int number = sv[0], ep = new_epoll(), copy = OK(dup(sv[0]));

	add(ep, sv[0], EPOLLIN, 1);
	close_end(&sv[0]);
	put(sv[1], "x");
	/* A dup keeps it alive, though the number it was made under is closed. */
	ONE(ep, EPOLLIN, 1);
	FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, number, &ev), EBADF);
	FAILS(epoll_ctl(ep, EPOLL_CTL_DEL, copy, &ev), ENOENT);
	/* The number's next owner has nothing to do with it. */
	int other[2];
	unix_pair(SOCK_STREAM, other);
	if (other[0] != number)
		EQ(dup2(other[0], number), number);
	FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, number, &ev), ENOENT);
	add(ep, number, EPOLLIN, 2);
	ONE(ep, EPOLLIN, 1);
	OK(close(copy));
	NONE(ep);
	put(other[1], "y");
	ONE(ep, EPOLLIN, 2);
	if (other[0] != number)
		OK(close(number));
	OK(close(other[0]));
	OK(close(other[1]));
	OK(close(ep));
}

CASE(epoll_same_socket_under_two_numbers, 0)
{
	struct epoll_event ev[4];
	int sv[2], ep = new_epoll();

	unix_pair(SOCK_STREAM, sv);
	int copy = OK(dup(sv[0]));
	add(ep, sv[0], EPOLLIN, 1);
	add(ep, copy, EPOLLIN, 2);
	put(sv[1], "x");
	EQ(epoll_wait(ep, ev, 4, 0), 2);
	EQ(ev[0].data.u64 + ev[1].data.u64, 3);
	OK(epoll_ctl(ep, EPOLL_CTL_DEL, sv[0], NULL));
	ONE(ep, EPOLLIN, 2);
	OK(close(copy));
	OK(close(sv[0]));
	OK(close(sv[1]));
	OK(close(ep));
}

CASE(epoll_number_taken_over_by_a_pipe, 0)
{
	int sv[2], p[2], ep = new_epoll();

	unix_pair(SOCK_STREAM, sv);
	add(ep, sv[0], EPOLLIN, 1);
	EQ(pipe(p), 0);
	EQ(dup2(p[0], sv[0]), sv[0]);
	add(ep, sv[0], EPOLLIN, 2);
	NONE(ep);
	EQ(write(p[1], "x", 1), 1);
	ONE(ep, EPOLLIN, 2);
	OK(close(sv[0]));
	OK(close(sv[1]));
	close(p[0]);
	close(p[1]);
	OK(close(ep));
}

CASE(epoll_rotates_what_does_not_fit, 0)
{
	enum { N = 7 };
	int sv[N][2], ep = new_epoll(), seen[N] = {0};
	struct epoll_event ev[2];

	for (int i = 0; i < N; i++) {
		unix_pair(SOCK_STREAM, sv[i]);
		add(ep, sv[i][0], EPOLLIN, (uint64_t)i);
		put(sv[i][1], "x");
	}
	/* Nobody is told a second time before all were told once. */
	for (int round = 0; round < 3; round++) {
		EQ(epoll_wait(ep, ev, 2, 0), 2);
		seen[ev[0].data.u64]++;
		seen[ev[1].data.u64]++;
	}
	EQ(epoll_wait(ep, ev, 1, 0), 1);
	seen[ev[0].data.u64]++;
	for (int i = 0; i < N; i++) {
		EQ(seen[i], 1);
		OK(close(sv[i][0]));
		OK(close(sv[i][1]));
	}
	OK(close(ep));
}

/* What is reported is all that is ready, also right after some of the sockets got names. */
CASE(epoll_tells_all_at_once, 0)
{
	enum { N = 4 };
	int sv[N][2], ep = new_epoll();
	struct epoll_event ev[N];

	for (int i = 0; i < N; i++) {
		unix_pair(i & 1 ? SOCK_STREAM : SOCK_SEQPACKET, sv[i]);
		add(ep, sv[i][0], EPOLLIN, (uint64_t)i);
		put(sv[i][1], "x");
	}
	for (int i = 1; i < N; i++) {
		char path[] = {(char)('a' + i), '\0'};
		struct name name = path_name(path);

		OK(bind(sv[i][0], NAME(&name)));
		if (i > 1) /* two at once, the first time */
			EQ(epoll_wait(ep, ev, N, 0), N);
		OK(unlink(path));
	}
	for (int i = 0; i < N; i++) {
		OK(close(sv[i][0]));
		OK(close(sv[i][1]));
	}
	OK(close(ep));
}

CASE(epoll_sockets_with_kernel_descriptors, 0)
{
	struct epoll_event ev[8];
	int sv[2], p[2], e = eventfd(0, EFD_CLOEXEC), ep = new_epoll();
	uint64_t n = 1, sum = 0;

	unix_pair(SOCK_STREAM, sv);
	EQ(pipe2(p, O_CLOEXEC), 0);
	add(ep, p[0], EPOLLIN, 1);
	add(ep, sv[0], EPOLLIN, 16);
	add(ep, e, EPOLLIN, 256);
	NONE(ep);
	EQ(write(p[1], "x", 1), 1);
	ONE(ep, EPOLLIN, 1);
	put(sv[1], "x");
	EQ(write(e, &n, sizeof n), sizeof n);
	EQ(epoll_wait(ep, ev, 8, -1), 3);
	for (int i = 0; i < 3; i++)
		sum += ev[i].data.u64;
	EQ(sum, 273);
	EQ(read(p[0], (char[1]){0}, 1), 1);
	EQ(read(e, &n, sizeof n), sizeof n);
	ONE(ep, EPOLLIN, 16);
	GETS(sv[0], "x");
	NONE(ep);
	OK(close(sv[0]));
	OK(close(sv[1]));
	close(p[0]);
	close(p[1]);
	close(e);
	OK(close(ep));
}

static long run_epoll(struct actor *a)
{
	return epoll_wait(a->fd, a->buf, 4, a->flags);
}

static void start_epoll(struct actor *t, int ep, struct epoll_event *ev, int timeout_ms)
{
	*t = (struct actor){.fd = ep, .buf = ev, .flags = timeout_ms};
	actor_start(t, run_epoll);
}

CASE_ON_ENDS(epoll_wait_sleeps, 0)
{
	struct epoll_event ev[4];
	struct actor t;
	int p[2], ep = new_epoll();

	EQ(pipe2(p, O_CLOEXEC), 0);
	add(ep, sv[0], EPOLLIN, 1);
	add(ep, p[0], EPOLLIN, 2);
	start_epoll(&t, ep, ev, -1);
	BLOCKED(&t);
	put(sv[1], "x");
	RETURNS(&t, 1);
	EQ(ev[0].data.u64, 1);
	GETS(sv[0], "x");
	start_epoll(&t, ep, ev, -1);
	BLOCKED(&t);
	EQ(write(p[1], "x", 1), 1);
	RETURNS(&t, 1);
	EQ(ev[0].data.u64, 2);
	EQ(read(p[0], (char[1]){0}, 1), 1);
	/* A change of the set wakes as well. */
	start_epoll(&t, ep, ev, -1);
	BLOCKED(&t);
	add(ep, sv[1], EPOLLOUT, 3);
	RETURNS(&t, 1);
	EQ(ev[0].data.u64, 3);
	modify(ep, sv[1], EPOLLIN, 3);
	start_epoll(&t, ep, ev, -1);
	BLOCKED(&t);
	modify(ep, sv[0], EPOLLOUT, 4);
	RETURNS(&t, 1);
	EQ(ev[0].data.u64, 4);
	modify(ep, sv[0], EPOLLIN, 5);
	start_epoll(&t, ep, ev, -1);
	BLOCKED(&t);
	close_end(&sv[1]);
	RETURNS(&t, 1);
	EQ(ev[0].data.u64, 5);
	EQ(ev[0].events, EPOLLIN | EPOLLHUP);
	close(p[0]);
	close(p[1]);
	OK(close(ep));
}

CASE_ON_ENDS(epoll_timeouts, 0)
{
	struct epoll_event ev;
	struct timespec ts = {0, 20000000}, bad = {0, 1000000000};
	int ep = new_epoll();
	long start = now_ms();

	add(ep, sv[0], EPOLLIN, 1);
	EQ(epoll_wait(ep, &ev, 1, 0), 0);
	EQ(epoll_wait(ep, &ev, 1, 20), 0);
	TRUE(now_ms() - start >= 19);
	start = now_ms();
	EQ(epoll_pwait2(ep, &ev, 1, &ts, NULL), 0);
	TRUE(now_ms() - start >= 19);
	FAILS(epoll_pwait2(ep, &ev, 1, &bad, NULL), EINVAL);
	put(sv[1], "x");
	EQ(epoll_wait(ep, &ev, 1, 100000), 1);
	EQ(epoll_pwait2(ep, &ev, 1, NULL, NULL), 1);
	OK(close(ep));
}

CASE(epoll_listener, 0)
{
	struct name a = abstract_name("a");
	struct epoll_event ev[4];
	struct actor t;
	int l = listen_at(SOCK_STREAM, &a, 5), ep = new_epoll();

	add(ep, l, EPOLLIN, 1);
	NONE(ep);
	start_epoll(&t, ep, ev, -1);
	BLOCKED(&t);
	int c = connect_to(SOCK_STREAM, &a);
	RETURNS(&t, 1);
	EQ(ev[0].events, EPOLLIN);
	ONE(ep, EPOLLIN, 1);
	OK(close(OK(accept(l, NULL, NULL))));
	NONE(ep);
	OK(close(c));
	OK(close(l));
	NONE(ep);
	OK(close(ep));
}

CASE_ON_ENDS(epoll_one_socket_in_two_sets, 0)
{
	int one = new_epoll(), two = new_epoll();

	add(one, sv[0], EPOLLIN, 1);
	add(two, sv[0], EPOLLIN | EPOLLOUT, 2);
	put(sv[1], "x");
	ONE(one, EPOLLIN, 1);
	ONE(two, EPOLLIN | EPOLLOUT, 2);
	OK(epoll_ctl(one, EPOLL_CTL_DEL, sv[0], NULL));
	ONE(two, EPOLLIN | EPOLLOUT, 2);
	OK(close(one));
	OK(close(two));
}

CASE_ON_ENDS(epoll_can_be_polled_itself, 0)
{
	int ep = new_epoll(), outer = new_epoll();
	struct pollfd p = {.fd = ep, .events = POLLIN | POLLOUT};
	struct actor t;

	add(ep, sv[0], EPOLLIN, 1);
	EQ(poll(&p, 1, 0), 0);
	add(outer, ep, EPOLLIN, 7);
	NONE(outer);
	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	put(sv[1], "x");
	RETURNS(&t, 1);
	EQ(p.revents, POLLIN);
	ONE(outer, EPOLLIN, 7);
	GETS(sv[0], "x");
	EQ(poll(&p, 1, 0), 0);
	NONE(outer);
	OK(close(outer));
	OK(close(ep));
}

static long call_epoll_wait(struct actor *a)
{
	return epoll_wait(a->fd, a->arg, 1, -1);
}

CASE_ON_ENDS(epoll_exclusive_refusals, 0)
{
	int ep = new_epoll();
	struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE};
	static const uint32_t bad[] = {EPOLLONESHOT, EPOLLPRI,	  EPOLLRDHUP,
				       EPOLLRDNORM,  EPOLLWRNORM, EPOLLMSG};

	/* Whether it is there is asked later. */
	FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, sv[0], &ev), EINVAL);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		ev.events = EPOLLIN | EPOLLEXCLUSIVE | bad[i];
		FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &ev), EINVAL);
	}
	add(ep, sv[0], EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE, 1);
	ev.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
	FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &ev), EINVAL);
	ev.events = EPOLLIN | EPOLLEXCLUSIVE;
	FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &ev), EEXIST);
	/* What is exclusive stays as it is. */
	ev.events = EPOLLIN;
	FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, sv[0], &ev), EINVAL);
	OK(epoll_ctl(ep, EPOLL_CTL_DEL, sv[0], &ev));
	FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, sv[0], &ev), ENOENT);
	OK(close(ep));
}

/* The outer instance sees what happens to a socket in the inner one, also while it sleeps. */
CASE_ON_ENDS(epoll_inside_another, 0)
{
	int ep = new_epoll(), outer = new_epoll(), p[2];
	struct epoll_event ev;
	struct actor t = {.fd = outer, .arg = &ev};

	OK(pipe(p));
	add(ep, sv[0], EPOLLIN, 1);
	add(ep, p[0], EPOLLIN, 2);
	add(outer, ep, EPOLLIN, 7);
	NONE(outer);
	actor_start(&t, call_epoll_wait);
	BLOCKED(&t);
	put(sv[1], "x");
	RETURNS(&t, 1);
	EQ(ev.data.u64, 7);
	ONE(outer, EPOLLIN, 7);
	GETS(sv[0], "x");
	NONE(outer);
	/* And of a descriptor of the kernel's. */
	actor_start(&t, call_epoll_wait);
	BLOCKED(&t);
	EQ(write(p[1], "x", 1), 1);
	RETURNS(&t, 1);
	ONE(outer, EPOLLIN, 7);
	OK(epoll_ctl(outer, EPOLL_CTL_DEL, ep, NULL));
	NONE(outer);
	OK(close(outer));
	OK(close(ep));
	OK(close(p[0]));
	OK(close(p[1]));
}

CASE_ON_ENDS(epoll_dup_is_the_same_set, 0)
{
	int ep = new_epoll(), copy = OK(dup(ep));

	add(ep, sv[0], EPOLLIN, 1);
	put(sv[1], "x");
	ONE(copy, EPOLLIN, 1);
	OK(close(ep));
	ONE(copy, EPOLLIN, 1);
	OK(epoll_ctl(copy, EPOLL_CTL_DEL, sv[0], NULL));
	NONE(copy);
	OK(close(copy));
}
