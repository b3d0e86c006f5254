/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Readiness: an echo server on a level-triggered epoll instance, as most servers are
 * built, and a client which keeps one request outstanding on each of its connections.
 *
 * The work per request is a chain of multiplications, timed before the connections exist.
 * It is counted in steps, not by the clock: a process that lost its processor meanwhile has
 * done no work.
 */
#include "cli/bench/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cli/bench/cpu.h"

enum {
	EVENTS = 64,
	/* Requests between two looks at the clock. */
	CLOCK_EVERY = 50,
	WORK_PROBE = 20000, /* steps, some 20 us */
	WORK_PROBES = 50,
};

static void work(unsigned steps)
{
	static volatile uint64_t sink;
	uint64_t x = sink;

	/* Each step needs the one before it, so the processor cannot shorten the chain. */
	for (unsigned i = 0; i < steps; i++)
		x = x * 6364136223846793005u + 1442695040888963407u;
	sink = x;
}

static unsigned steps_for(unsigned ns)
{
	uint64_t best = UINT64_MAX;

	if (ns == 0)
		return 0;
	for (int i = 0; i < WORK_PROBES; i++) {
		const uint64_t begin = afu_bench_now();
		uint64_t took;

		work(WORK_PROBE);
		took = afu_bench_now() - begin;
		if (took < best)
			best = took;
	}
	return (unsigned)((uint64_t)ns * WORK_PROBE / (best ? best : 1));
}

static void watch(int epfd, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0)
		afu_bench_fail(errno, "epoll_ctl");
}

/* False when the client has closed this connection. */
static bool serve_one(const struct afu_bench_job *job, int fd, char *buf, unsigned steps)
{
	const ssize_t got = recv(fd, buf, job->metric->size, job->flags);

	if (got < 0) {
		/* Readiness is a hint to a reader who does not wait; epoll will say it again. */
		if (errno == EINTR || (job->flags && errno == EAGAIN))
			return true;
		afu_bench_fail(errno, "recv");
	}
	if (got == 0)
		return false;
	if (steps)
		work(steps);
	afu_bench_send(fd, buf, (size_t)got, job->flags);
	return true;
}

static void serve(const struct afu_bench_job *job, int listener, void *arg)
{
	unsigned left = job->metric->connections;
	const unsigned steps = steps_for(job->metric->work_ns);
	char *buf = afu_bench_buffer(job->metric->size);
	struct epoll_event events[EVENTS];
	const int epfd = epoll_create1(EPOLL_CLOEXEC);

	(void)arg;
	if (epfd < 0)
		afu_bench_fail(errno, "epoll_create1");
	for (unsigned i = 0; i < left; i++)
		watch(epfd, afu_bench_answer(job, listener));
	close(listener);
	while (left > 0) {
		const int n = epoll_wait(epfd, events, EVENTS, job->flags ? 0 : -1);

		if (n < 0 && errno != EINTR)
			afu_bench_fail(errno, "epoll_wait");
		for (int i = 0; i < n; i++) {
			if (serve_one(job, events[i].data.fd, buf, steps))
				continue;
			close(events[i].data.fd);
			left--;
		}
	}
	close(epfd);
	free(buf);
}

struct client {
	int flags;
	unsigned connections;
	size_t size;
	int *fds;
	char *out, *in;
	uint64_t requests;
};

/* A request on every connection, then every answer. */
static void ask_all(struct client *client)
{
	for (unsigned i = 0; i < client->connections; i++) {
		const uint64_t serial = client->requests + i;

		memcpy(client->out, &serial, sizeof(serial));
		afu_bench_send(client->fds[i], client->out, client->size, client->flags);
	}
	for (unsigned i = 0; i < client->connections; i++) {
		const uint64_t serial = client->requests + i;

		if (!afu_bench_recv(client->fds[i], client->in, client->size, client->flags))
			afu_bench_fail(0, "the server closed the connection");
		if (memcmp(client->in, &serial, sizeof(serial)) != 0)
			afu_bench_fail(0, "an answer is not the one to its request");
	}
	client->requests += client->connections;
}

/* Requests for that long; the time it really took. */
static uint64_t ask_for(struct client *client, uint64_t duration_ns)
{
	const uint64_t begin = afu_bench_now();
	uint64_t now;

	do {
		for (unsigned n = 0; n < CLOCK_EVERY; n += client->connections)
			ask_all(client);
		now = afu_bench_now();
	} while (now - begin < duration_ns);
	return now - begin;
}

double afu_bench_epoll(const struct afu_bench_job *job)
{
	const unsigned connections = job->metric->connections;
	struct client client = {.flags = job->flags, .connections = connections, .size = job->metric->size};
	struct afu_bench_server server;
	uint64_t before, elapsed, requests;

	client.fds = afu_bench_buffer(connections * sizeof(*client.fds));
	client.out = afu_bench_buffer(client.size);
	client.in = afu_bench_buffer(client.size);
	afu_bench_server_start(&server, job, serve, NULL);
	for (unsigned i = 0; i < connections; i++)
		client.fds[i] = afu_bench_dial(&server, 0);
	ask_for(&client, job->duration_ns / 8);
	before = client.requests;
	elapsed = ask_for(&client, job->duration_ns);
	requests = client.requests - before;

	for (unsigned i = 0; i < connections; i++)
		close(client.fds[i]);
	afu_bench_server_finish(&server);
	free(client.fds);
	free(client.out);
	free(client.in);
	return (double)requests / (double)elapsed * 1e6;
}
