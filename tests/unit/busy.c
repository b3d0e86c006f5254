/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A call that does not wait, while somebody else who holds the same end has its lock: it has to say EAGAIN
 * although there is something, and then whoever waits for edges must hear of it again.
 */
#include "tap.h"

#include "afunix/afunix.h"
#include "library/table.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static void edge_after_busy(int type)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};
	int pair[2], epoll = afunix_epoll_create1(0);
	struct afu_endpoint *ep;
	char c;

	NEED(afunix_socketpair(AF_UNIX, type, 0, pair) == 0);
	NEED(afunix_epoll_ctl(epoll, EPOLL_CTL_ADD, pair[0], &e) == 0);
	CHECK_EQ(afunix_send(pair[1], "x", 1, 0), 1);
	CHECK_EQ(afunix_epoll_wait(epoll, &e, 1, 1000), 1);
	CHECK_EQ(afunix_epoll_wait(epoll, &e, 1, 0), 0);
	ep = afu_fd_sock(pair[0])->ep;
	atomic_store(&ep->rx_lock.word, 12345);
	CHECK_EQ(afunix_recv(pair[0], &c, 1, MSG_DONTWAIT), -1);
	CHECK_EQ(errno, EAGAIN);
	atomic_store(&ep->rx_lock.word, 0);
	CHECK_EQ(afunix_epoll_wait(epoll, &e, 1, 1000), 1);
	CHECK_EQ(afunix_recv(pair[0], &c, 1, MSG_DONTWAIT), 1);
}

static void stream(void)
{
	edge_after_busy(SOCK_STREAM);
}

static void packets(void)
{
	edge_after_busy(SOCK_SEQPACKET);
}

static void datagrams(void)
{
	edge_after_busy(SOCK_DGRAM);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"a stream whose lock was busy has an edge", stream},
		{"packets whose lock was busy have an edge", packets},
		{"datagrams whose lock was busy have an edge", datagrams},
	};

	return tap_run(cases, sizeof cases / sizeof *cases, 20, argc > 1 ? argv[1] : NULL);
}
