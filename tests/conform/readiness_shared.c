/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* epoll instances in several hands: duplicates, forked children, what comes by message or through exec. */
#include "ancillary.h"
#include "conform.h"

#include <sys/eventfd.h>

static void add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = {.events = events, .data.u64 = data};

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

static void expect_one(const char *file, int line, int ep, uint64_t data)
{
	struct epoll_event ev[4] = {{0}};

	conform_at(file, line, "epoll_wait");
	int n = epoll_wait(ep, ev, 4, 0);
	if (n != 1 || ev[0].data.u64 != data)
		conform_fail(file, line, "epoll_wait: expected one report for %llu, got %d for %llu",
			     (unsigned long long)data, n, (unsigned long long)ev[0].data.u64);
}
#define ONE(ep, data) expect_one(HERE, ep, data)
#define NONE(ep) EQ(epoll_wait(ep, (struct epoll_event[1]){{0}}, 1, 0), 0)

/* What a program does with an instance that it never made. */
static void use_found(int ep, int counter)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	struct epoll_event ev = {.events = EPOLLIN};
	FAILS(epoll_ctl(ep, EPOLL_CTL_MOD, sv[0], &ev), ENOENT);
	add(ep, sv[0], EPOLLIN, 2);
	FAILS(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &ev), EEXIST);
	NONE(ep);
	put(sv[1], "x");
	ONE(ep, 2);
	EQ(epoll_ctl(ep, EPOLL_CTL_DEL, sv[0], NULL), 0);
	NONE(ep);
	/* What was in it before is there too. */
	OK(eventfd_write(counter, 1));
	ONE(ep, 1);
	eventfd_t value;
	OK(eventfd_read(counter, &value));
	NONE(ep);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

ROLE(found_epoll)
{
	EQ(argc, 2);
	use_found(atoi(argv[0]), atoi(argv[1]));
}

static void replace(void *arg)
{
	const int *fd = arg;
	char a[16], b[16];

	snprintf(a, sizeof a, "%d", fd[0]);
	snprintf(b, sizeof b, "%d", fd[1]);
	execl("/proc/self/exe", "conform", "--exec", "found_epoll", a, b, (char *)NULL);
	conform_fail(HERE, "exec: %s", conform_errno_name(errno));
}

CASE(epoll_through_exec, NEEDS_PROCESSES)
{
	int fd[2] = {OK(epoll_create1(0)), OK(eventfd(0, 0))};

	add(fd[0], fd[1], EPOLLIN, 1);
	EXITS(spawn(replace, fd), 0);
	OK(close(fd[0]));
	OK(close(fd[1]));
}

CASE_ON_ENDS(epoll_by_message, 0)
{
	int ep = OK(epoll_create1(EPOLL_CLOEXEC)), counter = OK(eventfd(0, EFD_CLOEXEC));

	add(ep, counter, EPOLLIN, 1);
	EQ(send_right(sv[0], "e", ep), 1);
	OK(close(ep));
	int found = TAKE_RIGHT(sv[1], "e");
	use_found(found, counter);
	OK(close(found));
	OK(close(counter));
}

CASE_ON_ENDS(epoll_is_none, 0)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int counter = OK(eventfd(0, EFD_CLOEXEC));

	FAILS(epoll_ctl(counter, EPOLL_CTL_ADD, sv[0], &ev), EINVAL);
	FAILS(epoll_ctl(counter, EPOLL_CTL_DEL, sv[0], NULL), EINVAL);
	FAILS(epoll_ctl(counter, EPOLL_CTL_ADD, sv[0], &ev), EINVAL);
	OK(close(counter));
}

/* A child that closes its copies of everything, the instance too, takes nothing from the parent. */
static void close_all(void *arg)
{
	const int *fd = arg;

	for (int i = 0; i < 3; i++)
		OK(close(fd[i]));
}

CASE_ON_ENDS(epoll_closed_by_a_child, NEEDS_PROCESSES)
{
	int fd[3] = {OK(epoll_create1(0)), sv[0], sv[1]};

	add(fd[0], sv[0], EPOLLIN, 1);
	EXITS(spawn(close_all, fd), 0);
	NONE(fd[0]);
	put(sv[1], "x");
	ONE(fd[0], 1);
	OK(close(fd[0]));
}

/* A child that sleeps in its parent's instance is woken, and once one has read nobody sees it any more. */
static void wait_there(void *arg)
{
	const struct talk *t = arg;
	struct epoll_event ev;

	EQ(epoll_wait(t->listener, &ev, 1, -1), 1);
	EQ(ev.data.u64, 1);
	GETS(t->sv[0], "x");
}

CASE(epoll_slept_in_by_a_child, NEEDS_PROCESSES)
{
	struct talk t;

	talk_init(&t);
	t.listener = OK(epoll_create1(0));
	add(t.listener, t.sv[0], EPOLLIN, 1);
	EQ(epoll_wait(t.listener, (struct epoll_event[1]){{0}}, 1, 1), 0);
	pid_t pid = spawn(wait_there, &t);
	await_sleeping(pid);
	put(t.sv[1], "x");
	EXITS(pid, 0);
	NONE(t.listener);
	put(t.sv[1], "y");
	ONE(t.listener, 1);
	GETS(t.sv[0], "y");
	OK(close(t.listener));
	talk_fini(&t);
}
