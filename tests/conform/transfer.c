/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Large transfers, verified to the byte, and several threads at one end. */
#include "conform.h"

enum { LARGE = 100 * 1000 * 1000 };

/* Sizes that are no power of anything, from one byte to several chunks. */
static size_t odd_size(uint64_t *state, size_t max)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	uint64_t r = *state >> 33;

	return 1 + (size_t)((r & 7) == 0 ? r % max : (r & 7) < 3 ? r % 300 : r % 20000);
}

static void send_pattern(int fd, uint64_t total, size_t max)
{
	static _Thread_local unsigned char buf[300000];
	uint64_t at = 0, state = 12345;

	while (at < total) {
		size_t n = odd_size(&state, max);
		n = n < total - at ? n : (size_t)(total - at);
		pattern_bytes(buf, at, n);
		EQ(send(fd, buf, n, 0), n);
		at += n;
	}
}

static void receive_pattern(int fd, uint64_t total, size_t max)
{
	static _Thread_local unsigned char buf[300000], want[300000];
	uint64_t at = 0, state = 999;

	while (at < total) {
		size_t n = odd_size(&state, max);
		ssize_t got = OK(recv(fd, buf, n, 0));
		TRUE(got > 0);
		pattern_bytes(want, at, (size_t)got);
		if (memcmp(buf, want, (size_t)got))
			conform_bytes(HERE, "received", buf, want, (size_t)got);
		at += (uint64_t)got;
	}
	EQ(at, total);
}

static long run_send_pattern(struct actor *a)
{
	send_pattern(a->fd, a->n, 250000);
	return 0;
}

CASE_ON_ENDS(transfer_between_threads, TAKES_LONG)
{
	struct actor t = {.fd = sv[0], .n = LARGE};

	actor_start(&t, run_send_pattern);
	receive_pattern(sv[1], LARGE, 250000);
	RETURNS(&t, 0);
	close_end(&sv[0]);
	AT_EOF(sv[1]);
}

static long run_receive_pattern(struct actor *a)
{
	receive_pattern(a->fd, a->n, 100000);
	return 0;
}

CASE_ON_ENDS(transfer_both_ways_at_once, TAKES_LONG)
{
	enum { N = LARGE / 4 };
	struct actor t[3] = {{.fd = sv[0], .n = N}, {.fd = sv[1], .n = N}, {.fd = sv[0], .n = N}};

	actor_start(&t[0], run_send_pattern);
	actor_start(&t[1], run_send_pattern);
	actor_start(&t[2], run_receive_pattern);
	receive_pattern(sv[1], N, 100000);
	for (int i = 0; i < 3; i++)
		RETURNS(&t[i], 0);
}

struct pipeline {
	int fd, other;
};

static void child_sends(void *arg)
{
	struct pipeline *p = arg;

	OK(close(p->other));
	send_pattern(p->fd, LARGE, 250000);
}

CASE_ON_ENDS(transfer_between_processes, TAKES_LONG | NEEDS_PROCESSES)
{
	struct pipeline p = {sv[0], sv[1]};
	pid_t pid = spawn(child_sends, &p);

	close_end(&sv[0]);
	receive_pattern(sv[1], LARGE, 250000);
	EQ(read(sv[1], (char[1]){0}, 1), 0);
	EXITS(pid, 0);
}

CASE_ON_ENDS(transfer_nonblocking_with_poll, TAKES_LONG)
{
	enum { N = LARGE / 4 };
	static unsigned char out[70000], in[70000], want[70000];
	uint64_t sent = 0, got = 0, state = 5;

	set_nonblocking(sv[0], true);
	set_nonblocking(sv[1], true);
	/* One thread drives both ends. */
	while (got < N) {
		struct pollfd p[2] = {{.fd = sv[0], .events = sent < N ? POLLOUT : 0},
				      {.fd = sv[1], .events = POLLIN}};
		TRUE(OK(poll(p, 2, -1)) > 0);
		if (p[0].revents & POLLOUT) {
			size_t n = odd_size(&state, sizeof out);
			n = n < N - sent ? n : (size_t)(N - sent);
			pattern_bytes(out, sent, n);
			ssize_t done = OK(write(sv[0], out, n));
			TRUE(done > 0);
			sent += (uint64_t)done;
		}
		if (p[1].revents & POLLIN) {
			ssize_t done = OK(read(sv[1], in, odd_size(&state, sizeof in)));
			TRUE(done > 0);
			pattern_bytes(want, got, (size_t)done);
			BYTES(in, want, (size_t)done);
			got += (uint64_t)done;
		}
	}
	EQ(sent, N);
	FAILS(read(sv[1], in, 1), EAGAIN);
}

enum { RECORDS = 3000, RECORD = 3000 };

/* Records that fit one buffer are never mixed with those of other writers. */
static long write_records(struct actor *a)
{
	unsigned char record[RECORD];

	memset(record, (int)a->n, sizeof record);
	for (int i = 0; i < RECORDS; i++)
		if (write(a->fd, record, sizeof record) != RECORD)
			return -1;
	return RECORDS;
}

CASE_ON_ENDS(transfer_several_writers_do_not_mix_small_sends, TAKES_LONG)
{
	struct actor t[3];
	int seen[4] = {0};
	unsigned char record[RECORD];

	for (int i = 0; i < 3; i++) {
		t[i] = (struct actor){.fd = sv[0], .n = (size_t)i + 1};
		actor_start(&t[i], write_records);
	}
	for (int i = 0; i < 3 * RECORDS; i++) {
		EQ(recv(sv[1], record, sizeof record, MSG_WAITALL), RECORD);
		TRUE(record[0] >= 1 && record[0] <= 3);
		for (int j = 1; j < RECORD; j++)
			if (record[j] != record[0])
				conform_fail(HERE, "a record of writer %d holds a byte of %d", record[0],
					     record[j]);
		seen[record[0]]++;
	}
	for (int i = 0; i < 3; i++) {
		RETURNS(&t[i], RECORDS);
		EQ(seen[i + 1], RECORDS);
	}
	EMPTY(sv[1]);
}

/* Several readers: each byte goes to exactly one of them. */
static long sum_bytes(struct actor *a)
{
	unsigned char buf[777];
	long *sum = a->arg, n = 0;

	for (ssize_t got; (got = recv(a->fd, buf, sizeof buf, 0)) != 0; n += got) {
		if (got < 0)
			return -1;
		for (ssize_t i = 0; i < got; i++)
			*sum += buf[i];
	}
	return n;
}

CASE_ON_ENDS(transfer_several_readers_share_the_stream, TAKES_LONG)
{
	enum { N = 5000000 };
	static unsigned char out[N];
	struct actor t[3];
	long sums[3] = {0}, want = 0, count = 0;

	pattern_bytes(out, 0, N);
	for (int i = 0; i < N; i++)
		want += out[i];
	for (int i = 0; i < 3; i++) {
		t[i] = (struct actor){.fd = sv[1], .arg = &sums[i]};
		actor_start(&t[i], sum_bytes);
	}
	EQ(write(sv[0], out, N), N);
	OK(shutdown(sv[0], SHUT_WR));
	for (int i = 0; i < 3; i++)
		count += OK(actor_join(&t[i]));
	EQ(count, N);
	EQ(sums[0] + sums[1] + sums[2], want);
}

CASE_ON_ENDS(transfer_ping_pong, TAKES_LONG)
{
	enum { ROUNDS = 20000 };
	struct actor t;
	uint32_t n;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		/* In a thread now and then, in line mostly: both ends asleep and both awake are met. */
		if (i % 100 == 0) {
			start_recv(&t, sv[1], &n, sizeof n, MSG_WAITALL);
			EQ(write(sv[0], &i, sizeof i), sizeof i);
			RETURNS(&t, sizeof n);
		} else {
			EQ(write(sv[0], &i, sizeof i), sizeof i);
			EQ(read(sv[1], &n, sizeof n), sizeof n);
		}
		EQ(n, i);
		EQ(write(sv[1], &n, sizeof n), sizeof n);
		n = 0;
		EQ(read(sv[0], &n, sizeof n), sizeof n);
		EQ(n, i);
	}
}

static void echo_child(void *arg)
{
	struct pipeline *p = arg;
	uint32_t n;

	OK(close(p->other));
	while (OK(recv(p->fd, &n, sizeof n, MSG_WAITALL)) == sizeof n) {
		n = ~n;
		EQ(write(p->fd, &n, sizeof n), sizeof n);
	}
}

CASE_ON_ENDS(transfer_round_trips_between_processes, TAKES_LONG | NEEDS_PROCESSES)
{
	struct pipeline p = {sv[1], sv[0]};
	pid_t pid = spawn(echo_child, &p);

	close_end(&sv[1]);
	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t n = 0;
		EQ(write(sv[0], &i, sizeof i), sizeof i);
		EQ(recv(sv[0], &n, sizeof n, MSG_WAITALL), sizeof n);
		EQ(n, ~i);
	}
	close_end(&sv[0]);
	EXITS(pid, 0);
}
