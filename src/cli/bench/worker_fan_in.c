/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Many senders to one receiver: datagrams to a name, as programs write to a log.
 *
 * The receiver is connected to nobody, so its queue is short and shared by all senders, and
 * most of these sleep for room in it.  The receiver counts over a fixed time, after a
 * warm-up.  Every message says who sent it and which of that sender's it is: one lost,
 * doubled or out of its order is a failure.
 */
#include "cli/bench/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench/cpu.h"

/* Receives between two looks at the clock. */
enum { CLOCK_EVERY = 64 };

#define LAST (UINT64_C(1) << 63)

struct note {
	uint64_t sender, serial; /* LAST: the sender ends */
};

struct receiver {
	int fd;
	unsigned senders, ended;
	size_t size;
	char *buf;
	uint64_t *expected;
	uint64_t messages;
};

static _Noreturn void speak(const struct afu_bench_job *job, const struct sockaddr_un *to, socklen_t len,
			    struct afu_bench_page *page, uint64_t index)
{
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char *buf = afu_bench_buffer(job->metric->size);
	struct note note = {.sender = index};

	afu_bench_place(job, true);
	if (fd < 0 || connect(fd, (const struct sockaddr *)to, len) < 0)
		afu_bench_fail(errno, "a sender's socket");
	while (!(note.serial & LAST)) {
		/* relaxed: a late look sends one message more. */
		if (atomic_load_explicit(&page->stop, memory_order_relaxed))
			note.serial |= LAST;
		memcpy(buf, &note, sizeof(note));
		afu_bench_send(fd, buf, job->metric->size, 0);
		note.serial += note.serial & LAST ? 0 : 1;
	}
	_exit(0);
}

static void receive(struct receiver *receiver)
{
	struct note note;

	if (afu_bench_recv_some(receiver->fd, receiver->buf, receiver->size, 0) != receiver->size)
		afu_bench_fail(0, "a message was cut");
	memcpy(&note, receiver->buf, sizeof(note));
	if (note.sender >= receiver->senders || (note.serial & ~LAST) != receiver->expected[note.sender]++)
		afu_bench_fail(0, "a message is not the next one of its sender");
	receiver->ended += (note.serial & LAST) != 0;
	receiver->messages++;
}

/* Receives for that long; the time it really took. */
static uint64_t receive_for(struct receiver *receiver, uint64_t duration_ns)
{
	const uint64_t begin = afu_bench_now();
	uint64_t now;

	do {
		for (int i = 0; i < CLOCK_EVERY; i++)
			receive(receiver);
		now = afu_bench_now();
	} while (now - begin < duration_ns);
	return now - begin;
}

double afu_bench_fan_in(const struct afu_bench_job *job)
{
	const unsigned senders = job->metric->connections;
	struct receiver receiver = {.senders = senders, .size = job->metric->size};
	struct afu_bench_page *page = afu_bench_page_new();
	pid_t *pids = afu_bench_buffer(senders * sizeof(*pids));
	struct sockaddr_un name;
	uint64_t elapsed, messages;
	socklen_t len;

	receiver.buf = afu_bench_buffer(receiver.size);
	receiver.expected = calloc(senders, sizeof(*receiver.expected));
	if (!receiver.expected)
		afu_bench_fail(ENOMEM, "calloc");
	afu_bench_name(&name, &len);
	receiver.fd = afu_bench_bound(job, &name, len);
	for (unsigned i = 0; i < senders; i++) {
		pids[i] = afu_bench_fork();
		if (pids[i] == 0)
			speak(job, &name, len, page, i);
	}
	afu_bench_place(job, false);
	receive_for(&receiver, job->duration_ns / 4);
	messages = receiver.messages;
	elapsed = receive_for(&receiver, job->duration_ns);
	messages = receiver.messages - messages;

	atomic_store_explicit(&page->stop, 1, memory_order_relaxed); /* relaxed: see speak(). */
	while (receiver.ended < senders)
		receive(&receiver);
	for (unsigned i = 0; i < senders; i++)
		afu_bench_join(pids[i]);
	close(receiver.fd);
	free(receiver.expected);
	free(receiver.buf);
	free(pids);
	return (double)messages / (double)elapsed * 1e6;
}
