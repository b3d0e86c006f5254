/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The worker: one figure of one metric, taken with the calls of POSIX alone.
 *
 * It is the same program whether the kernel carries its sockets or afunix does; which of
 * them is decided by how the driver started it.  The clock runs only after both processes
 * are up, connected and warm, so that what it costs to start a program under afunix is in
 * no figure.
 */
#include "cli/bench/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/bench/bench.h"
#include "cli/bench/cpu.h"

enum {
	DEFAULT_MS = 1000,
	/* The driver ends a worker earlier; this is for a worker whose driver was killed. */
	ALARM_S = 90,
	BACKLOG = 128,
};

void afu_bench_fail(int errnum, const char *what)
{
	if (errnum)
		fprintf(stderr, "bench-worker: %s: %s\n", what, strerror(errnum));
	else
		fprintf(stderr, "bench-worker: %s\n", what);
	_exit(1);
}

struct afu_bench_page *afu_bench_page_new(void)
{
	struct afu_bench_page *page =
		mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		afu_bench_fail(errno, "mmap");
	atomic_init(&page->total, UINT64_MAX);
	return page;
}

void *afu_bench_buffer(size_t n)
{
	void *buf = malloc(n);

	if (!buf)
		afu_bench_fail(ENOMEM, "malloc");
	memset(buf, 1, n);
	return buf;
}

void afu_bench_place(const struct afu_bench_job *job, bool server)
{
	int first = job->cpus[0], second = job->cpus[0];

	if (job->metric->place == AFU_BENCH_CROSS)
		first = second = job->cpus[server ? 1 : 0];
	else if (job->metric->place == AFU_BENCH_FREE)
		second = job->cpus[1];
	if (afu_bench_pin(first, second) < 0)
		afu_bench_fail(errno, "sched_setaffinity");
}

pid_t afu_bench_fork(void)
{
	const pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		afu_bench_fail(errno, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return pid;
}

void afu_bench_join(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			afu_bench_fail(errno, "waitpid");
	if (WIFSIGNALED(status))
		afu_bench_fail(0, "the other process was killed by a signal");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		afu_bench_fail(0, "the other process failed");
}

void afu_bench_name(struct sockaddr_un *address, socklen_t *len)
{
	static unsigned serial;
	int n;

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	n = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "afunix-bench-%ld-%u",
		     (long)getpid(), serial++);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static int socket_of(int type)
{
	const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		afu_bench_fail(errno, "socket");
	return fd;
}

static int type_of(const struct afu_bench_job *job)
{
	return job->metric->type ? job->metric->type : SOCK_STREAM;
}

int afu_bench_bound(const struct afu_bench_job *job, const struct sockaddr_un *address, socklen_t len)
{
	const int fd = socket_of(type_of(job));

	if (bind(fd, (const struct sockaddr *)address, len) < 0)
		afu_bench_fail(errno, "bind");
	if (job->flags && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		afu_bench_fail(errno, "fcntl O_NONBLOCK");
	return fd;
}

void afu_bench_server_start(struct afu_bench_server *server, const struct afu_bench_job *job,
			    afu_bench_serve serve, void *arg)
{
	int ready[2], listener;
	char byte = 0;

	memset(server, 0, sizeof(*server));
	server->type = type_of(job);
	afu_bench_name(&server->address, &server->address_len);
	if (pipe(ready) < 0)
		afu_bench_fail(errno, "pipe");
	server->pid = afu_bench_fork();
	if (server->pid == 0) {
		close(ready[0]);
		afu_bench_place(job, true);
		listener = afu_bench_bound(job, &server->address, server->address_len);
		if (server->type != SOCK_DGRAM && listen(listener, BACKLOG) < 0)
			afu_bench_fail(errno, "listen");
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		close(ready[1]);
		serve(job, listener, arg);
		_exit(0);
	}
	close(ready[1]);
	afu_bench_place(job, false);
	if (read(ready[0], &byte, 1) != 1)
		afu_bench_fail(0, "the server ended before it listened");
	close(ready[0]);
}

void afu_bench_server_finish(struct afu_bench_server *server)
{
	afu_bench_join(server->pid);
}

/* The client of datagrams: named, so that it can be answered, and heard. */
static void say_hello(int fd, int flags)
{
	const char hello = 0;

	afu_bench_send(fd, &hello, 1, flags);
}

int afu_bench_dial(const struct afu_bench_server *server, int flags)
{
	const int fd = socket_of(server->type | (flags ? SOCK_NONBLOCK : 0));
	struct sockaddr_un own;
	socklen_t len;

	if (server->type == SOCK_DGRAM) {
		afu_bench_name(&own, &len);
		if (bind(fd, (const struct sockaddr *)&own, len) < 0)
			afu_bench_fail(errno, "bind");
	}
	/* EAGAIN is a full backlog, which a blocking connect sleeps for. */
	while (connect(fd, (const struct sockaddr *)&server->address, server->address_len) < 0)
		if (errno != EINTR && !(flags && errno == EAGAIN))
			afu_bench_fail(errno, "connect");
	if (server->type == SOCK_DGRAM)
		say_hello(fd, flags);
	return fd;
}

/* The socket itself, connected to who says hello; a duplicate, since the listener is closed. */
static int answer_hello(int fd, int flags)
{
	struct sockaddr_un from;
	socklen_t len = sizeof(from);
	char hello;

	while (recvfrom(fd, &hello, 1, flags, (struct sockaddr *)&from, &len) < 0)
		if (errno != EINTR && !(flags && errno == EAGAIN))
			afu_bench_fail(errno, "recvfrom");
	if (connect(fd, (const struct sockaddr *)&from, len) < 0)
		afu_bench_fail(errno, "connect back");
	fd = dup(fd);
	if (fd < 0)
		afu_bench_fail(errno, "dup");
	return fd;
}

int afu_bench_answer(const struct afu_bench_job *job, int listener)
{
	int fd;

	if (type_of(job) == SOCK_DGRAM)
		return answer_hello(listener, job->flags);
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		if (errno != EINTR && !(job->flags && errno == EAGAIN))
			afu_bench_fail(errno, "accept4");
	return fd;
}

void afu_bench_hang_up(const struct afu_bench_job *job, int fd)
{
	while (type_of(job) == SOCK_DGRAM && send(fd, "", 0, job->flags) < 0)
		if (errno != EINTR && !(job->flags && errno == EAGAIN))
			afu_bench_fail(errno, "send of the end");
	close(fd);
}

void afu_bench_send(int fd, const void *buf, size_t n, int flags)
{
	const char *p = buf;

	while (n > 0) {
		const ssize_t sent = send(fd, p, n, flags);

		if (sent < 0) {
			if (errno == EINTR || (flags && errno == EAGAIN))
				continue;
			afu_bench_fail(errno, "send");
		}
		if (sent == 0 || (size_t)sent > n)
			afu_bench_fail(0, "send returned an impossible count");
		p += sent;
		n -= (size_t)sent;
	}
}

size_t afu_bench_recv_some(int fd, void *buf, size_t n, int flags)
{
	ssize_t got;

	while ((got = recv(fd, buf, n, flags)) < 0)
		if (errno != EINTR && !(flags && errno == EAGAIN))
			afu_bench_fail(errno, "recv");
	if ((size_t)got > n)
		afu_bench_fail(0, "recv returned an impossible count");
	return (size_t)got;
}

bool afu_bench_recv(int fd, void *buf, size_t n, int flags)
{
	size_t have = 0;

	while (have < n) {
		const size_t got = afu_bench_recv_some(fd, (char *)buf + have, n - have, flags);

		if (got == 0) {
			if (have > 0)
				afu_bench_fail(0, "end of file inside a message");
			return false;
		}
		have += got;
	}
	return true;
}

static int usage(void)
{
	fputs("usage: afunix bench-worker METRIC blocking|nonblocking [MILLISECONDS]\n", stderr);
	return 2;
}

int afu_cli_bench_worker(int argc, char **argv)
{
	struct afu_bench_job job = {0};
	unsigned long ms = DEFAULT_MS;
	char *end = NULL;

	if (argc < 3 || argc > 4)
		return usage();
	job.metric = afu_bench_metric_find(argv[1]);
	if (!job.metric)
		return usage();
	if (strcmp(argv[2], "nonblocking") == 0)
		job.flags = MSG_DONTWAIT;
	else if (strcmp(argv[2], "blocking") != 0)
		return usage();
	if (argc == 4) {
		ms = strtoul(argv[3], &end, 10);
		if (*end || ms < 1 || ms > 60000)
			return usage();
	}
	job.duration_ns = (uint64_t)ms * 1000000u;

	alarm((unsigned)(ms / 1000) + ALARM_S);
	signal(SIGPIPE, SIG_IGN);
	if (afu_bench_cpus(&job.cpu_count, job.cpus) < 0)
		afu_bench_fail(errno, "sched_getaffinity");
	if (job.metric->place == AFU_BENCH_CROSS && job.cpu_count < 2)
		afu_bench_fail(0, "needs two processors");
	printf("%.9g\n", job.metric->measure(&job));
	return fflush(stdout) == 0 ? 0 : 1;
}
