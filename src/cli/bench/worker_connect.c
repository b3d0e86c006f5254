/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Connections: what it costs to make one and to close it.
 *
 * Three ways of use.  "connect": the client waits for the end of file which the server's
 * close makes, so a connection is wholly done before the next begins.  "connect_stream":
 * the client waits for nothing, and runs ahead of the server as far as the backlog lets it;
 * this is the rate of the slower side.  "connect_request": one request and its answer, as a
 * short-lived client does.
 *
 * The last connection always waits for its end of file: a backlog is first in, first out,
 * so all before it were accepted then, and time and count are complete.
 */
#include "cli/bench/worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench/cpu.h"

enum way {
	WAIT_FOR_END,
	WAIT_FOR_NOTHING,
	WAIT_FOR_ANSWER,
};

/* Connections between two looks at the clock. */
enum { CLOCK_EVERY = 8 };

struct client {
	const struct afu_bench_server *server;
	int flags;
	size_t size;
	char *buf;
	uint64_t made;
};

static void serve(const struct afu_bench_job *job, int listener, void *arg)
{
	struct afu_bench_page *page = arg;
	const size_t size = job->metric->size;
	char *buf = afu_bench_buffer(size + 1);
	uint64_t accepted = 0;

	/* acquire: pairs with the release in measure(), made before the last connection. */
	while (accepted < atomic_load_explicit(&page->total, memory_order_acquire)) {
		const int fd = afu_bench_answer(job, listener);

		accepted++;
		if (size > 0) {
			if (!afu_bench_recv(fd, buf, size, job->flags))
				afu_bench_fail(0, "a client closed before its request");
			afu_bench_send(fd, buf, size, job->flags);
		}
		close(fd);
	}
	close(listener);
	free(buf);
}

static void wait_for_end(struct client *client, int fd)
{
	char byte;

	if (afu_bench_recv_some(fd, &byte, 1, client->flags) != 0)
		afu_bench_fail(0, "bytes where the end of file was due");
}

static void ask(struct client *client, int fd)
{
	memcpy(client->buf, &client->made, sizeof(client->made));
	afu_bench_send(fd, client->buf, client->size, client->flags);
	memset(client->buf, 0, sizeof(client->made));
	if (!afu_bench_recv(fd, client->buf, client->size, client->flags))
		afu_bench_fail(0, "the server closed before its answer");
	if (memcmp(client->buf, &client->made, sizeof(client->made)) != 0)
		afu_bench_fail(0, "an answer is not the one to its request");
}

static void one(struct client *client, enum way way)
{
	const int fd = afu_bench_dial(client->server, client->flags);

	client->made++;
	if (client->size > 0)
		ask(client, fd);
	if (way == WAIT_FOR_END)
		wait_for_end(client, fd);
	close(fd);
}

static void run_for(struct client *client, enum way way, uint64_t duration_ns)
{
	const uint64_t begin = afu_bench_now();

	do
		for (int i = 0; i < CLOCK_EVERY; i++)
			one(client, way);
	while (afu_bench_now() - begin < duration_ns);
}

static double measure(const struct afu_bench_job *job, enum way way)
{
	struct afu_bench_page *page = afu_bench_page_new();
	struct afu_bench_server server;
	struct client client = {.server = &server, .flags = job->flags, .size = job->metric->size};
	uint64_t begin, elapsed, before;

	client.buf = afu_bench_buffer(client.size + sizeof(uint64_t));
	afu_bench_server_start(&server, job, serve, page);
	run_for(&client, way, job->duration_ns / 8);
	one(&client, WAIT_FOR_END);

	before = client.made;
	begin = afu_bench_now();
	run_for(&client, way, job->duration_ns);
	/* release: pairs with the acquire in serve(), which gets there by the next connection. */
	atomic_store_explicit(&page->total, client.made + 1, memory_order_release);
	one(&client, WAIT_FOR_END);
	elapsed = afu_bench_now() - begin;

	afu_bench_server_finish(&server);
	free(client.buf);
	return (double)elapsed / (double)(client.made - before) / 1e3;
}

double afu_bench_connect(const struct afu_bench_job *job)
{
	return measure(job, WAIT_FOR_END);
}

double afu_bench_connect_stream(const struct afu_bench_job *job)
{
	return measure(job, WAIT_FOR_NOTHING);
}

double afu_bench_connect_request(const struct afu_bench_job *job)
{
	return measure(job, WAIT_FOR_ANSWER);
}
