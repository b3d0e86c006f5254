/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * One-way throughput: the server's process sends as fast as it may, the client receives.
 * Of a stream it receives as much as there is, of the other types a message at a time.
 *
 * The receiver counts over a fixed time, after a warm-up, while the sender never stops, so
 * neither the start nor what is in flight at the end is in the figure.  Then it drains the
 * stream to its end and compares the bytes of both sides.  Contents are sampled: the first
 * and the last byte of every receive must be those of their place in the stream.
 */
#include "cli/bench/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/bench/cpu.h"

enum {
	RECV_SIZE = 64 * 1024,
	/* Receives between two looks at the clock, which may cost more than a receive. */
	CLOCK_EVERY = 64,
};

struct receiver {
	int fd;
	int flags;
	size_t mask; /* message size less one, a power of two */
	size_t size; /* of buf */
	unsigned char *buf;
	uint64_t bytes;
};

static unsigned char pattern(uint64_t at)
{
	return (unsigned char)(at * 31 + (at >> 8) + 7);
}

static void pour(const struct afu_bench_job *job, int listener, void *arg)
{
	const size_t size = job->metric->size;
	struct afu_bench_page *page = arg;
	unsigned char *buf = afu_bench_buffer(size);
	const int fd = afu_bench_answer(job, listener);
	uint64_t total = 0;

	close(listener);
	for (size_t i = 0; i < size; i++)
		buf[i] = pattern(i);
	/* relaxed: a late look sends one message more. */
	while (!atomic_load_explicit(&page->stop, memory_order_relaxed)) {
		afu_bench_send(fd, buf, size, job->flags);
		total += size;
	}
	/* release: pairs with the acquire in throughput(), after the end of file. */
	atomic_store_explicit(&page->total, total, memory_order_release);
	afu_bench_hang_up(job, fd);
	free(buf);
}

static size_t receive(struct receiver *receiver)
{
	const size_t got = afu_bench_recv_some(receiver->fd, receiver->buf, receiver->size, receiver->flags);

	if (got == 0)
		return 0;
	if (receiver->buf[0] != pattern(receiver->bytes & receiver->mask) ||
	    receiver->buf[got - 1] != pattern((receiver->bytes + got - 1) & receiver->mask))
		afu_bench_fail(0, "received bytes are not those that were sent");
	receiver->bytes += got;
	return got;
}

/* Receives for that long; the time it really took. */
static uint64_t receive_for(struct receiver *receiver, uint64_t duration_ns)
{
	const uint64_t begin = afu_bench_now();
	uint64_t now;

	do {
		for (int i = 0; i < CLOCK_EVERY; i++)
			if (receive(receiver) == 0)
				afu_bench_fail(0, "the sender closed the connection");
		now = afu_bench_now();
	} while (now - begin < duration_ns);
	return now - begin;
}

/* Bytes per nanosecond. */
static double throughput(const struct afu_bench_job *job)
{
	const size_t size = job->metric->size;
	struct afu_bench_page *page = afu_bench_page_new();
	struct receiver receiver = {
		.flags = job->flags, .mask = size - 1, .size = size > RECV_SIZE ? size : RECV_SIZE};
	struct afu_bench_server server;
	uint64_t before, elapsed, bytes;

	receiver.buf = afu_bench_buffer(receiver.size);
	afu_bench_server_start(&server, job, pour, page);
	receiver.fd = afu_bench_dial(&server, 0);
	receive_for(&receiver, job->duration_ns / 8);
	before = receiver.bytes;
	elapsed = receive_for(&receiver, job->duration_ns);
	bytes = receiver.bytes - before;

	atomic_store_explicit(&page->stop, 1, memory_order_relaxed); /* relaxed: see pour(). */
	while (receive(&receiver) > 0)
		;
	afu_bench_server_finish(&server);
	/* acquire: pairs with the release in pour(). */
	if (receiver.bytes != atomic_load_explicit(&page->total, memory_order_acquire))
		afu_bench_fail(0, "the receiver did not get as many bytes as were sent");
	close(receiver.fd);
	free(receiver.buf);
	return (double)bytes / (double)elapsed;
}

double afu_bench_messages(const struct afu_bench_job *job)
{
	return throughput(job) / (double)job->metric->size * 1e3;
}

double afu_bench_bandwidth(const struct afu_bench_job *job)
{
	return throughput(job);
}
