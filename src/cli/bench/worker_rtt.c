/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Round trips: a client sends a message, an echo server sends it back.
 *
 * The figure is the median round trip.  Where a round trip takes less than two
 * microseconds, the clock (about 25 ns) would be a good part of it, so 32 of them are
 * timed together and the median is of their means.  Every message carries a number at
 * both ends which the answer must repeat: a round trip with wrong bytes is a failure.
 */
#include "cli/bench/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench/cpu.h"

enum {
	BATCH = 32,
	BATCH_BELOW_NS = 2000,
	SAMPLES = 1 << 20,
	PACE_NS = 1000000,
};

struct client {
	int fd;
	int flags;
	size_t size;
	uint64_t serial;
	char *out, *in;
};

static void echo(const struct afu_bench_job *job, int listener, void *arg)
{
	const size_t size = job->metric->size;
	char *buf = afu_bench_buffer(size);
	const int fd = afu_bench_answer(job, listener);

	(void)arg;
	close(listener);
	while (afu_bench_recv(fd, buf, size, job->flags))
		afu_bench_send(fd, buf, size, job->flags);
	close(fd);
	free(buf);
}

static void client_init(struct client *client, const struct afu_bench_job *job,
			const struct afu_bench_server *server)
{
	client->size = job->metric->size;
	client->flags = job->flags;
	client->serial = 0;
	client->out = afu_bench_buffer(client->size);
	client->in = afu_bench_buffer(client->size);
	client->fd = afu_bench_dial(server, 0);
}

static void client_fini(struct client *client, const struct afu_bench_job *job)
{
	afu_bench_hang_up(job, client->fd);
	free(client->out);
	free(client->in);
}

static void round_trip(struct client *client)
{
	const size_t tail = client->size - sizeof(uint64_t);
	uint64_t first, last;

	client->serial++;
	memcpy(client->out, &client->serial, sizeof(client->serial));
	memcpy(client->out + tail, &client->serial, sizeof(client->serial));
	afu_bench_send(client->fd, client->out, client->size, client->flags);
	if (!afu_bench_recv(client->fd, client->in, client->size, client->flags))
		afu_bench_fail(0, "the echo server closed the connection");
	memcpy(&first, client->in, sizeof(first));
	memcpy(&last, client->in + tail, sizeof(last));
	if (first != client->serial || last != client->serial)
		afu_bench_fail(0, "an answer is not the one to its request");
}

/* Warms up for that long; the mean round trip in ns. */
static uint64_t warm_up(struct client *client, uint64_t duration_ns)
{
	const uint64_t begin = afu_bench_now();
	uint64_t now, n = 0;

	do {
		round_trip(client);
		n++;
		now = afu_bench_now();
	} while (now - begin < duration_ns);
	return (now - begin) / n;
}

double afu_bench_rtt(const struct afu_bench_job *job)
{
	uint32_t *samples = afu_bench_buffer(SAMPLES * sizeof(*samples));
	struct afu_bench_server server;
	struct client client;
	unsigned batch, n = 0;
	uint64_t begin, now, end;
	double us;

	afu_bench_server_start(&server, job, echo, NULL);
	client_init(&client, job, &server);
	batch = warm_up(&client, job->duration_ns / 8) < BATCH_BELOW_NS ? BATCH : 1;

	now = afu_bench_now();
	end = now + job->duration_ns;
	do {
		begin = now;
		for (unsigned i = 0; i < batch; i++)
			round_trip(&client);
		now = afu_bench_now();
		samples[n++] = now - begin < UINT32_MAX ? (uint32_t)(now - begin) : UINT32_MAX;
	} while (now < end && n < SAMPLES);

	client_fini(&client, job);
	afu_bench_server_finish(&server);
	us = (double)afu_bench_median(samples, n) / batch / 1e3;
	free(samples);
	return us;
}

static void sleep_until(uint64_t t)
{
	const struct timespec ts = {(time_t)(t / 1000000000u), (long)(t % 1000000000u)};
	int error;

	while ((error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL)) != 0)
		if (error != EINTR)
			afu_bench_fail(error, "clock_nanosleep");
}

/* One round trip each millisecond: both sides had time to fall asleep before it. */
double afu_bench_rtt_paced(const struct afu_bench_job *job)
{
	uint32_t *samples = afu_bench_buffer(SAMPLES * sizeof(*samples));
	struct afu_bench_server server;
	struct client client;
	uint64_t tick, end;
	unsigned n = 0;
	double us;

	afu_bench_server_start(&server, job, echo, NULL);
	client_init(&client, job, &server);
	tick = afu_bench_now();
	/* What adapts to the pace of its caller is given an eighth of the time to do so. */
	for (end = tick + job->duration_ns / 8; tick < end; tick += PACE_NS) {
		sleep_until(tick);
		round_trip(&client);
	}
	for (end = tick + job->duration_ns; tick < end && n < SAMPLES; tick += PACE_NS) {
		uint64_t begin;

		sleep_until(tick);
		begin = afu_bench_now();
		round_trip(&client);
		samples[n++] = (uint32_t)(afu_bench_now() - begin);
	}
	client_fini(&client, job);
	afu_bench_server_finish(&server);
	us = (double)afu_bench_median(samples, n) / 1e3;
	free(samples);
	return us;
}

static _Noreturn void pair_client(const struct afu_bench_job *job, const struct afu_bench_server *server,
				  struct afu_bench_page *page, unsigned index)
{
	_Atomic uint64_t *count = &page->round_trips[index].count;
	struct client client;

	client_init(&client, job, server);
	/* relaxed: a late look costs a round trip more, which is counted; nothing hangs on it. */
	while (!atomic_load_explicit(&page->stop, memory_order_relaxed)) {
		round_trip(&client);
		/* relaxed: a count for itself, with no other data behind it. */
		atomic_store_explicit(count, client.serial, memory_order_relaxed);
	}
	client_fini(&client, job);
	_exit(0);
}

static uint64_t total_of(const struct afu_bench_page *page, unsigned pairs)
{
	uint64_t total = 0;

	/* relaxed: see pair_client(). */
	for (unsigned i = 0; i < pairs; i++)
		total += atomic_load_explicit(&page->round_trips[i].count, memory_order_relaxed);
	return total;
}

/*
 * Four pairs of processes on two processors, placed by the scheduler: whoever spins takes
 * the processor from somebody who has work.  The figure is wall time over the round trips
 * of all pairs, so that a pair which starves counts.
 */
double afu_bench_rtt_oversubscribed(const struct afu_bench_job *job)
{
	const unsigned pairs = job->metric->connections;
	struct afu_bench_server *servers = afu_bench_buffer(pairs * sizeof(*servers));
	pid_t *clients = afu_bench_buffer(pairs * sizeof(*clients));
	struct afu_bench_page *page = afu_bench_page_new();
	uint64_t begin, end, before, after;

	for (unsigned i = 0; i < pairs; i++)
		afu_bench_server_start(&servers[i], job, echo, NULL);
	for (unsigned i = 0; i < pairs; i++) {
		clients[i] = afu_bench_fork();
		if (clients[i] == 0)
			pair_client(job, &servers[i], page, i);
	}
	sleep_until(afu_bench_now() + job->duration_ns / 4);
	before = total_of(page, pairs);
	begin = afu_bench_now();
	sleep_until(begin + job->duration_ns);
	after = total_of(page, pairs);
	end = afu_bench_now();

	atomic_store_explicit(&page->stop, 1, memory_order_relaxed); /* relaxed: see pair_client(). */
	for (unsigned i = 0; i < pairs; i++) {
		afu_bench_join(clients[i]);
		afu_bench_server_finish(&servers[i]);
	}
	free(servers);
	free(clients);
	if (after == before)
		afu_bench_fail(0, "no round trip was made");
	return (double)(end - begin) / (double)(after - before) / 1e3;
}
