/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Senders and receivers of datagrams, as threads and as processes, that are stopped, killed and
 * replaced: datagrams [SECONDS [NAME]]
 *
 * A plain program of sockets: it runs on the kernel and under "afunix run".  Every message says who
 * made it and which one it is, and its content follows from the two.  So a message that is torn,
 * doubled or out of order shows.  Lost may be only what a receiver had taken that was killed, and what a
 * sender that was killed had not said that it sent.
 *
 * This process starts the others, disturbs them from a fixed seed, and holds all sockets that are shared.
 * When nothing arrives although everybody could go on, a wake-up was lost.
 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	RECEIVERS = 3, /* sockets, each read by a process of its own with two threads, and a second one */
	SENDERS = 4,   /* processes of two threads each */
	THREADS = 2,
	MAKERS = 1024, /* threads that ever send */
	EACH = 32768,  /* messages that a maker sends to one receiver at most */
	LARGEST = 3000,
	PROCESSES = SENDERS + 2 * RECEIVERS,
	SILENCE_MS = 5000,
};

struct weather {
	const char *name;
	int stops, kills, shared; /* shared: all send through one socket */
};

struct head {
	uint32_t maker, receiver, number, length;
};

static struct shared {
	_Atomic uint32_t stop, failed, makers;
	_Atomic uint64_t received;
	char text[200];
	_Atomic uint32_t sent[MAKERS][RECEIVERS];
	_Atomic uint64_t got[MAKERS][RECEIVERS][EACH / 64];
} * s;

static const struct weather *now;
static unsigned int seconds = 2;
static int socket_of[RECEIVERS], sending = -1;
static pid_t child[PROCESSES];

static void complain(const char *what, const struct head *h, long extra)
{
	if (!atomic_fetch_add(&s->failed, 1))
		snprintf(s->text, sizeof s->text, "%s: maker %u to %u, number %u, length %u (%ld, %s)", what,
			 h->maker, h->receiver, h->number, h->length, extra, strerror(errno));
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 29;
}

static void compose(char *buf, const struct head *h)
{
	uint64_t seed = mix((uint64_t)h->maker << 40 | (uint64_t)h->receiver << 32 | h->number);

	memcpy(buf, h, sizeof *h);
	for (uint32_t i = sizeof *h; i < h->length; i++)
		buf[i] = (char)(seed >> (i % 57));
}

static struct sockaddr_un name_of(unsigned int receiver, socklen_t *length)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int n = snprintf(un.sun_path + 1, sizeof un.sun_path - 1, "fault-%d-%u", (int)getpgrp(), receiver);

	*length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
	return un;
}

/* One message; half of the makers wait in poll() for the room. */
static int send_one(int fd, const char *buf, const struct head *h)
{
	socklen_t length;
	struct sockaddr_un to = name_of(h->receiver, &length);
	int flags = h->maker & 1 ? MSG_DONTWAIT : 0;

	for (;;) {
		ssize_t n = sendto(fd, buf, h->length, flags, (struct sockaddr *)&to, length);
		struct pollfd p = {fd, POLLOUT, 0};

		if (n == (ssize_t)h->length)
			return 1;
		if (n >= 0 || (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)) {
			complain("send", h, n);
			return 0;
		}
		if (flags && atomic_load(&s->stop))
			return 0;
		if (flags)
			poll(&p, 1, 1);
	}
}

static void *make(void *arg)
{
	char buf[LARGEST];
	struct head h = {.maker = atomic_fetch_add(&s->makers, 1)};
	int fd = sending >= 0 ? sending : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)arg;
	if (h.maker >= MAKERS)
		return NULL;
	for (h.number = 0; h.number < EACH && !atomic_load(&s->stop); h.number++) {
		for (h.receiver = 0; h.receiver < RECEIVERS; h.receiver++) {
			uint64_t r = mix((uint64_t)h.number << 10 | h.maker);

			h.length = (uint32_t)(sizeof h + (r % 16 ? r % 200 : r % (LARGEST - sizeof h)));
			compose(buf, &h);
			if (!send_one(fd, buf, &h))
				return NULL;
			atomic_store(&s->sent[h.maker][h.receiver], h.number + 1);
		}
	}
	while (!atomic_load(&s->stop))
		usleep(1000);
	return NULL;
}

/* last: what this thread has had of each maker. */
static void examine(const char *buf, ssize_t n, unsigned int receiver, uint32_t *last)
{
	char want[LARGEST];
	uint64_t bit;
	struct head h = {0};

	if (n < (ssize_t)sizeof h) {
		complain("short", &h, n);
		return;
	}
	memcpy(&h, buf, sizeof h);
	if (h.maker >= MAKERS || h.receiver != receiver || h.number >= EACH || h.length != (size_t)n ||
	    h.length > LARGEST) {
		complain("torn head", &h, n);
		return;
	}
	compose(want, &h);
	if (memcmp(want, buf, h.length) != 0)
		complain("torn", &h, n);
	if (h.number < last[h.maker])
		complain("out of order", &h, last[h.maker]);
	last[h.maker] = h.number + 1;
	bit = UINT64_C(1) << (h.number % 64);
	if (atomic_fetch_or(&s->got[h.maker][receiver][h.number / 64], bit) & bit)
		complain("doubled", &h, n);
	atomic_fetch_add(&s->received, 1);
}

struct taker {
	unsigned int receiver, how; /* 0: recv(), 1: poll(), 2: epoll, 3: recvmsg() */
};

static void wait_for(int fd, int ep, unsigned int how)
{
	struct pollfd p = {fd, POLLIN, 0};
	struct epoll_event e;

	if (how == 1)
		poll(&p, 1, -1);
	else if (how == 2)
		epoll_wait(ep, &e, 1, -1);
}

static void *take(void *arg)
{
	const struct taker *t = arg;
	uint32_t *last = calloc(MAKERS, sizeof *last);
	int fd = socket_of[t->receiver], ep = t->how == 2 ? epoll_create1(EPOLL_CLOEXEC) : -1;
	struct epoll_event e = {.events = EPOLLIN};
	char buf[LARGEST + 1];

	if (ep >= 0)
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	for (;;) {
		struct sockaddr_un from;
		struct iovec iov = {buf, sizeof buf};
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = sizeof from};
		int flags = t->how == 1 || t->how == 2 ? MSG_DONTWAIT : 0;
		ssize_t n;

		wait_for(fd, ep, t->how);
		n = t->how == 3 ? recvmsg(fd, &msg, flags) : recv(fd, buf, sizeof buf, flags);
		if (n >= 0)
			examine(buf, n, t->receiver, last);
		else if (errno != EAGAIN && errno != EINTR)
			complain("recv", &(struct head){.receiver = t->receiver}, n);
	}
	return NULL;
}

static void be_sender(void)
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, make, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static void be_receiver(unsigned int which)
{
	struct taker t[THREADS];
	pthread_t thread[THREADS];

	for (unsigned int i = 0; i < THREADS; i++) {
		t[i] = (struct taker){which % RECEIVERS, (which + i + (which >= RECEIVERS)) % 4};
		pthread_create(&thread[i], NULL, take, &t[i]);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static void start(unsigned int i)
{
	child[i] = tap_fork();
	if (child[i])
		return;
	if (i < SENDERS)
		be_sender();
	else
		be_receiver(i - SENDERS);
	_exit(0);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Whether what is shared is still on the move: 0 after a silence. */
static int moving(uint64_t *before, long *since)
{
	uint64_t received = atomic_load(&s->received);

	if (received != *before) {
		*before = received;
		*since = now_ms();
	}
	return now_ms() - *since < SILENCE_MS;
}

/* For the time given; how many receivers and senders were killed. */
static void disturb(unsigned int *receivers, unsigned int *senders)
{
	long end = now_ms() + (long)seconds * 1000, since = now_ms();
	uint64_t before = 0;

	while (now_ms() < end && !atomic_load(&s->failed)) {
		unsigned int i = (unsigned int)tap_below(PROCESSES);

		usleep(1000 + (useconds_t)tap_below(4000));
		if (now->stops && tap_below(3) == 0) {
			kill(child[i], SIGSTOP);
			usleep((useconds_t)tap_below(20000));
			kill(child[i], SIGCONT);
		}
		if (now->kills && tap_below(2) == 0 &&
		    atomic_load(&s->makers) < MAKERS - 2 * SENDERS * THREADS) {
			tap_kill(child[i]);
			*(i < SENDERS ? senders : receivers) += 1;
			start(i);
		}
		if (!moving(&before, &since)) {
			CHECK(!"nothing moved for seconds");
			break;
		}
	}
}

static int nothing_queued(void)
{
	for (int i = 0; i < RECEIVERS; i++) {
		int n = 0;

		if (ioctl(socket_of[i], FIONREAD, &n) == 0 && n)
			return 0;
	}
	return 1;
}

/* The senders end by themselves, and what they sent arrives. */
static void come_to_an_end(void)
{
	long since = now_ms();
	uint64_t before = 0;

	atomic_store(&s->stop, 1);
	for (int i = 0; i < SENDERS; i++) {
		int status = 0;

		while (waitpid(child[i], &status, WNOHANG) == 0 && moving(&before, &since))
			usleep(1000);
		if (!moving(&before, &since))
			tap_failed(__FILE__, __LINE__, "a sender does not come to an end");
		CHECK_EQ(status, 0);
	}
	since = now_ms();
	while (!nothing_queued() && moving(&before, &since))
		usleep(1000);
	CHECK(nothing_queued());
	usleep(50000);
	for (int i = SENDERS; i < PROCESSES; i++)
		tap_kill(child[i]);
}

/* Messages that were sent, as their sender said, and never seen. */
static uint64_t missing(void)
{
	uint64_t sum = 0;

	for (uint32_t m = 0; m < MAKERS; m++) {
		for (uint32_t r = 0; r < RECEIVERS; r++) {
			for (uint32_t n = 0; n < atomic_load(&s->sent[m][r]); n++)
				sum += !(atomic_load(&s->got[m][r][n / 64]) >> (n % 64) & 1);
		}
	}
	return sum;
}

static void run(void)
{
	unsigned int receivers = 0, senders = 0;

	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(s != MAP_FAILED);
	setpgid(0, 0);
	tap_seed(20251);
	for (unsigned int i = 0; i < RECEIVERS; i++) {
		socklen_t length;
		struct sockaddr_un un = name_of(i, &length);

		socket_of[i] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		NEED(bind(socket_of[i], (struct sockaddr *)&un, length) == 0);
	}
	sending = now->shared ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
	for (unsigned int i = 0; i < PROCESSES; i++)
		start(i);
	disturb(&receivers, &senders);
	come_to_an_end();
	if (atomic_load(&s->failed))
		tap_failed(__FILE__, __LINE__, "%s", s->text);
	/* each thread of a receiver that was killed may have had one in hand */
	CHECK(missing() <= (uint64_t)receivers * THREADS);
	CHECK(atomic_load(&s->received) > 0);
	tap_note("%s: %llu messages, %llu of them lost with %u receivers; %u senders were killed", now->name,
		 (unsigned long long)atomic_load(&s->received), (unsigned long long)missing(), receivers,
		 senders);
}

static const struct weather weathers[] = {
	{"calm", 0, 0, 0},
	{"stops", 1, 0, 0},
	{"kills", 1, 1, 0},
	{"kills of holders of one socket", 1, 1, 1},
};

static void run_calm(void)
{
	now = &weathers[0];
	run();
}

static void run_stops(void)
{
	now = &weathers[1];
	run();
}

static void run_kills(void)
{
	now = &weathers[2];
	run();
}

static void run_shared(void)
{
	now = &weathers[3];
	run();
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"datagrams in calm", run_calm},
		{"datagrams while processes are stopped", run_stops},
		{"datagrams while processes are killed", run_kills},
		{"datagrams while holders of one socket are killed", run_shared},
	};

	if (argc > 1)
		seconds = (unsigned int)strtoul(argv[1], NULL, 10);
	return tap_run(cases, sizeof cases / sizeof *cases, seconds + 40, argc > 2 ? argv[2] : NULL);
}
