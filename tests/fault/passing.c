/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Descriptors that go from process to process while these are stopped, killed and replaced:
 * passing [SECONDS [NAME]]
 *
 * A plain program of sockets: it runs on the kernel and under "afunix run".  A giver sends the writing end
 * of a pipe, and of a socket of the domain, that nobody else has; a taker writes a byte to each and closes
 * them.  So the giver sees in the reading ends whether they arrived, and that nobody keeps them: the end of
 * file must come, whoever was killed where.  Each process counts its descriptors when it has warmed up and
 * later; this one, which holds the sockets that the others inherit, before and after all.
 */
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS = 3, PROCESSES = 2 * PAIRS, WARM = 50, SLACK = 4, PATIENCE_MS = 10000 };
/* What a process may know of others that were killed before it finds out. */
#define REMEMBERED (kills ? 160 : 0)

static struct shared {
	_Atomic uint32_t stop, failed, deaths;
	_Atomic uint64_t given, taken, bare;
	char text[200];
} * s;

static unsigned int seconds = 2;
static int kills, pair[PAIRS][2];
static pid_t child[PROCESSES];

static void complain(const char *what, long value)
{
	if (!atomic_fetch_add(&s->failed, 1))
		snprintf(s->text, sizeof s->text, "%s: %ld (%s)", what, value, strerror(errno));
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(2 * sizeof(int))];
};

/* 1, or 0 if the other end is gone. */
static int give(int fd, const int *fds)
{
	union control c;
	struct iovec iov = {(char[1]){'m'}, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
	ssize_t n;

	memset(&c, 0, sizeof c);
	c.align.cmsg_level = SOL_SOCKET;
	c.align.cmsg_type = SCM_RIGHTS;
	c.align.cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(&c.align), fds, 2 * sizeof(int));
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		complain("sendmsg", n);
	return n == 1;
}

/* The byte, if nobody died, and then the end of file. */
static void await_end(int fd, const char *what)
{
	long end = now_ms() + PATIENCE_MS;
	uint32_t deaths = atomic_load(&s->deaths);
	int bytes = 0;
	char c;

	for (;;) {
		struct pollfd p = {fd, POLLIN, 0};
		ssize_t n;

		if (poll(&p, 1, 1000) <= 0) {
			if (now_ms() < end)
				continue;
			complain(what, bytes);
			return;
		}
		n = read(fd, &c, 1);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		bytes += n == 1;
	}
	/* whoever had it was killed: it need not have written */
	if (bytes > 1 || (!bytes && !kills && deaths == atomic_load(&s->deaths)))
		complain("bytes through a descriptor", bytes);
}

static int grown(int before)
{
	int now = descriptors();

	if (now > before + SLACK + REMEMBERED)
		complain("descriptors of a process, more than before", now - before);
	return now > before + SLACK + REMEMBERED;
}

static void be_giver(int fd)
{
	int before = 0;

	for (unsigned int i = 0; !atomic_load(&s->stop); i++) {
		int pipes[2], sockets[2], fds[2];

		if (pipe2(pipes, O_CLOEXEC) < 0 ||
		    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) {
			complain("making what is given", -1);
			return;
		}
		fds[0] = pipes[1];
		fds[1] = sockets[1];
		give(fd, fds);
		close(fds[0]);
		close(fds[1]);
		await_end(pipes[0], "end of a pipe");
		await_end(sockets[0], "end of a socket");
		close(pipes[0]);
		close(sockets[0]);
		atomic_fetch_add(&s->given, 1);
		if (i == WARM)
			before = descriptors();
		if (i > WARM && i % WARM == 0 && grown(before))
			return;
	}
}

static void use(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (write(fds[i], "x", 1) != 1 && errno != EPIPE)
			complain("write", (long)i);
		close(fds[i]);
	}
	*(n ? &s->taken : &s->bare) += 1;
}

static void be_taker(int fd)
{
	int before = 0;

	for (unsigned int i = 0;; i++) {
		union control c;
		char byte;
		struct iovec iov = {&byte, 1};
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
		ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
		struct cmsghdr *head = n == 1 ? CMSG_FIRSTHDR(&msg) : NULL;
		int fds[2];

		if (n != 1 && errno != EINTR)
			complain("recvmsg", n);
		if (n == 1 && byte == 'e')
			return;
		if (head)
			memcpy(fds, CMSG_DATA(head), sizeof fds);
		if (n == 1)
			use(fds, head ? (head->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0);
		if (i == WARM)
			before = descriptors();
		if (i > WARM && i % WARM == 0 && grown(before))
			return;
	}
}

static void start(unsigned int i)
{
	child[i] = tap_fork();
	if (child[i])
		return;
	signal(SIGPIPE, SIG_IGN);
	if (i % 2)
		be_taker(pair[i / 2][1]);
	else
		be_giver(pair[i / 2][0]);
	_exit(0);
}

static void disturb(void)
{
	long end = now_ms() + (long)seconds * 1000;

	while (now_ms() < end && !atomic_load(&s->failed)) {
		unsigned int i = (unsigned int)tap_below(PROCESSES);

		usleep(1000 + (useconds_t)tap_below(8000));
		if (tap_below(3) == 0) {
			kill(child[i], SIGSTOP);
			usleep((useconds_t)tap_below(10000));
			kill(child[i], SIGCONT);
		}
		if (kills && tap_below(2) == 0) {
			atomic_fetch_add(&s->deaths, 1);
			tap_kill(child[i]);
			start(i);
		}
	}
}

static void come_to_an_end(void)
{
	atomic_store(&s->stop, 1);
	for (unsigned int i = 0; i < PROCESSES; i++) {
		long end = now_ms() + 2 * PATIENCE_MS;
		int status = 0;

		/* the giver is at its end, so nothing of its is on the way */
		if (i % 2)
			CHECK(send(pair[i / 2][0], "e", 1, MSG_NOSIGNAL) == 1);
		while (waitpid(child[i], &status, WNOHANG) == 0 && now_ms() < end)
			usleep(1000);
		CHECK(now_ms() < end);
		CHECK_EQ(status, 0);
	}
}

static void run(void)
{
	static const int types[PAIRS] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
	int before;

	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(s != MAP_FAILED);
	tap_seed(4711);
	for (int i = 0; i < PAIRS; i++)
		NEED(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC, 0, pair[i]) == 0);
	before = descriptors();
	for (unsigned int i = 0; i < PROCESSES; i++)
		start(i);
	disturb();
	come_to_an_end();
	if (atomic_load(&s->failed))
		tap_failed(__FILE__, __LINE__, "%s", s->text);
	CHECK(descriptors() <= before + 2 * PAIRS + REMEMBERED);
	CHECK(atomic_load(&s->taken) > 0);
	if (!kills)
		CHECK_EQ(atomic_load(&s->bare), 0);
	CHECK(atomic_load(&s->bare) <= atomic_load(&s->deaths));
	tap_note("%llu given, %llu taken, %llu messages without their descriptors, %u processes were killed",
		 (unsigned long long)atomic_load(&s->given), (unsigned long long)atomic_load(&s->taken),
		 (unsigned long long)atomic_load(&s->bare), atomic_load(&s->deaths));
}

static void run_stops(void)
{
	run();
}

static void run_kills(void)
{
	kills = 1;
	run();
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"descriptors while processes are stopped", run_stops},
		{"descriptors while processes are killed", run_kills},
	};

	if (argc > 1)
		seconds = (unsigned int)strtoul(argv[1], NULL, 10);
	return tap_run(cases, sizeof cases / sizeof *cases, seconds + 80, argc > 2 ? argv[2] : NULL);
}
