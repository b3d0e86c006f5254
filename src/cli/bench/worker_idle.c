/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What an idle connection costs: memory and descriptors.
 *
 * Both are the difference between before and after a number of connections was made, over
 * that number.  Every connection has carried one message each way, since a connection that
 * was never used may not have its memory yet.
 *
 * Memory has no one place where it is accounted, so it is a sum of
 *   - Pss less Pss_Shmem, which is private and file pages, of the client, of the server and
 *     of all other processes from the topmost "afunix" above them downwards: the driver
 *     (which does not change), the runner and the broker;
 *   - Shmem of the machine: memfds and shared mappings, whoever maps them, once.  This is
 *     why Pss_Shmem is taken out above;
 *   - Slab, PageTables and KernelStack of the machine: the kernel's sockets, files, inodes
 *     and buffers, which belong to no process.
 * MemAvailable would cover all of them, but moves by more than the whole effect.  The parts
 * that are the machine's do include what others do meanwhile: hence many connections and
 * the median of the driver's repetitions.  The kernel frees much of a socket only after a
 * while, so the first look is taken after a pause.
 */
#include "cli/bench/worker.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench/tree.h"

enum {
	/* Descriptors of a worker besides its connections, with a good margin. */
	SPARE_FDS = 256,
	PROCESSES = 256,
	/* A worker given less time than this, as by `--quick`, makes half the connections. */
	FULL_NS = 500000000,
	SETTLE_MS = 50,
};

struct concerned {
	pid_t pids[PROCESSES];
	size_t n;
};

static void serve(const struct afu_bench_job *job, int listener, void *arg)
{
	char *buf = afu_bench_buffer(job->metric->size);
	int *fds = arg, n = 0;

	/* As many as the client makes; it tells the end by a connection that it closes unused. */
	for (;;) {
		const int fd = afu_bench_answer(job, listener);

		if (!afu_bench_recv(fd, buf, job->metric->size, 0)) {
			close(fd);
			break;
		}
		fds[n++] = fd;
		afu_bench_send(fd, buf, job->metric->size, 0);
	}
	close(listener);
	/* Idle until the client has looked and closes. */
	for (int i = 0; i < n; i++) {
		if (afu_bench_recv(fds[i], buf, job->metric->size, 0))
			afu_bench_fail(0, "bytes on an idle connection");
		close(fds[i]);
	}
	free(buf);
}

/* The number in "KEY:   123 kB" of that file; 0 where the kernel has no such line. */
static long kilobytes(const char *path, const char *key)
{
	const size_t len = strlen(key);
	char line[256];
	long kb = 0;
	FILE *file = fopen(path, "re");

	if (!file)
		afu_bench_fail(errno, path);
	while (fgets(line, sizeof(line), file))
		if (strncmp(line, key, len) == 0 && line[len] == ':') {
			kb = strtol(line + len + 1, NULL, 10);
			break;
		}
	fclose(file);
	return kb;
}

static double memory_kb(const struct concerned *concerned)
{
	long kb = kilobytes("/proc/meminfo", "Shmem") + kilobytes("/proc/meminfo", "Slab") +
		  kilobytes("/proc/meminfo", "PageTables") + kilobytes("/proc/meminfo", "KernelStack");
	char path[64];

	for (size_t i = 0; i < concerned->n; i++) {
		snprintf(path, sizeof(path), "/proc/%ld/smaps_rollup", (long)concerned->pids[i]);
		kb += kilobytes(path, "Pss") - kilobytes(path, "Pss_Shmem");
	}
	return (double)kb;
}

static double descriptors(const struct concerned *concerned)
{
	long total = 0;
	char path[64];

	for (size_t i = 0; i < concerned->n; i++) {
		struct dirent *entry;
		DIR *dir;

		/* By number: the preload may have its own view of /proc/self/fd. */
		snprintf(path, sizeof(path), "/proc/%ld/fd", (long)concerned->pids[i]);
		dir = opendir(path);
		if (!dir)
			afu_bench_fail(errno, path);
		while ((entry = readdir(dir)))
			if (entry->d_name[0] != '.')
				total++;
		closedir(dir);
	}
	return (double)total;
}

/* The client, the server, and the runner and the broker if there are any. */
static void concerned_init(struct concerned *concerned)
{
	concerned->pids[0] = afu_bench_tree_top();
	concerned->n = 1 + afu_bench_tree_below(concerned->pids[0], concerned->pids + 1, PROCESSES - 1);
	if (concerned->n == PROCESSES)
		afu_bench_fail(0, "too many processes below the topmost afunix");
}

/* How many connections the limit of descriptors leaves room for, `wanted` at most. */
static unsigned room_for(unsigned wanted)
{
	struct rlimit limit;
	rlim_t room;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		afu_bench_fail(errno, "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		afu_bench_fail(errno, "setrlimit");
	room = limit.rlim_cur > SPARE_FDS ? limit.rlim_cur - SPARE_FDS : 0;
	if (room < 100)
		afu_bench_fail(0, "RLIMIT_NOFILE leaves no room for 100 connections");
	return room < wanted ? (unsigned)room : wanted;
}

static void connect_one(const struct afu_bench_job *job, const struct afu_bench_server *server, int *fd,
			char *buf)
{
	*fd = afu_bench_dial(server, 0);
	afu_bench_send(*fd, buf, job->metric->size, 0);
	if (!afu_bench_recv(*fd, buf, job->metric->size, 0))
		afu_bench_fail(0, "the server closed the connection");
}

static double difference(const struct afu_bench_job *job, double (*look)(const struct concerned *))
{
	const struct timespec settle = {0, SETTLE_MS * 1000000L};
	const bool quick = job->duration_ns < FULL_NS;
	const unsigned n = room_for(quick ? job->metric->connections / 2 : job->metric->connections);
	int *fds = afu_bench_buffer((n + 1) * sizeof(*fds)), first;
	char *buf = afu_bench_buffer(job->metric->size);
	struct concerned concerned;
	struct afu_bench_server server;
	double before, after;

	afu_bench_server_start(&server, job, serve, fds);
	/* One connection ahead: what the first of a process costs is not what each costs. */
	connect_one(job, &server, &first, buf);
	nanosleep(&settle, NULL);
	concerned_init(&concerned);
	look(&concerned); /* the look's own memory is there before it counts */
	before = look(&concerned);
	for (unsigned i = 0; i < n; i++)
		connect_one(job, &server, &fds[i], buf);
	after = look(&concerned);

	close(afu_bench_dial(&server, 0));
	close(first);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	afu_bench_server_finish(&server);
	free(fds);
	free(buf);
	return (after - before) / n;
}

double afu_bench_idle_memory(const struct afu_bench_job *job)
{
	const double kb = difference(job, memory_kb);

	if (kb <= 0)
		afu_bench_fail(0, "other programs freed more memory meanwhile than the connections took");
	return kb;
}

double afu_bench_idle_fds(const struct afu_bench_job *job)
{
	return difference(job, descriptors);
}
