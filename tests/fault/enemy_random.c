/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Requests at random.  What the broker gave is used again: ids, flows, descriptors; some of
 * the memory is scribbled into.
 */
#include "enemy_random.h"

#include "base/sys.h"
#include "enemy.h"
#include "tap.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

#define POOL 48
#define SCRIBBLED 4096

static struct enemy link;
static int pool[POOL];
static uint64_t ids[POOL];
static unsigned int n_ids;

static void keep_fd(int fd)
{
	int *place = &pool[tap_below(POOL)];

	enemy_close(*place);
	*place = fd;
}

static void keep_id(uint64_t id)
{
	if (!id)
		return;
	ids[n_ids < POOL ? n_ids++ : tap_below(POOL)] = id;
}

static int foreign(void)
{
	int ends[2];

	switch (tap_below(5)) {
	case 0:
		return (int)afu_sys(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);
	case 1:
		return (int)afu_sys(SYS_openat, AT_FDCWD, "/tmp", O_PATH | O_CLOEXEC, 0);
	case 2:
		return (int)afu_sys(SYS_memfd_create, "x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	case 3:
		if (afu_sys(SYS_pipe2, ends, O_CLOEXEC | O_NONBLOCK) < 0)
			return -1;
		keep_fd(ends[0]);
		return ends[1];
	default:
		if (afu_sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) <
		    0)
			return -1;
		keep_fd(ends[0]);
		return ends[1];
	}
}

static uint64_t any_value(void)
{
	switch (tap_below(6)) {
	case 0:
		return tap_random();
	case 1:
	case 2:
		return n_ids ? ids[tap_below(n_ids)] : 0;
	case 3:
		return tap_below(2) ? SOCK_DGRAM : SOCK_STREAM;
	default:
		return tap_below(8);
	}
}

/* An address that others may have too, or noise. */
static void fill_data(struct afu_request *req)
{
	static const uint32_t lengths[] = {0, 1, 2, 3, 110, 111, 112, 128, 129, UINT32_MAX};

	if (tap_below(3)) {
		req->length = 5;
		memcpy(req->data, "\1\0\0h", 4);
		req->data[4] = (uint8_t)('0' + tap_below(6));
		return;
	}
	for (unsigned int i = 0; i < sizeof req->data; i++)
		req->data[i] = (uint8_t)tap_random();
	if (tap_below(2))
		req->data[0] = (uint8_t)tap_below(5);
	req->length = lengths[tap_below(sizeof lengths / sizeof *lengths)];
}

static void fill(struct afu_request *req)
{
	static const uint8_t often[] = {AFU_OP_SOCKET,	      AFU_OP_PAIR,  AFU_OP_SENDTO, AFU_OP_CONNECT,
					AFU_OP_ENTRUST,	      AFU_OP_CLAIM, AFU_OP_ACCEPT, AFU_OP_LISTEN,
					AFU_OP_BIND_ABSTRACT, AFU_OP_FLOWS};

	memset(req, 0, sizeof *req);
	req->op = tap_below(2) ? often[tap_below(sizeof often)] : (uint32_t)tap_below(AFU_OPS + 1);
	req->socket = n_ids && tap_below(12) ? ids[tap_below(n_ids)] : tap_random();
	for (int i = 0; i < 3; i++)
		req->arg[i] = any_value();
	if (req->op == AFU_OP_SOCKET || req->op == AFU_OP_PAIR)
		req->arg[0] = tap_below(8) ? 1 + tap_below(2) : any_value();
	if (req->op == AFU_OP_ENTRUST || req->op == AFU_OP_CLAIM)
		req->arg[1] = tap_below(3);
	if ((req->op == AFU_OP_ENTRUST || req->op == AFU_OP_CLAIM || req->op == AFU_OP_PARKING) &&
	    tap_below(2))
		req->arg[0] = 0;
	fill_data(req);
	if (tap_below(10) == 0) {
		req->n_numbers = tap_below(2) ? 3 : (uint32_t)tap_random();
		for (int i = 0; i < AFU_MESSAGE_FDS; i++)
			req->number[i] = tap_below(2) ? pool[tap_below(POOL)] : (int)tap_random();
	}
}

static void scribble(int fd)
{
	void *p = afu_sys_mmap(SCRIBBLED, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	uint32_t *word = p;

	if (afu_sys_failed(p))
		return;
	if (afu_sys(SYS_lseek, fd, 0, SEEK_END) >= SCRIBBLED) {
		for (uint64_t n = tap_below(20); n; n--)
			word[tap_below(tap_below(2) ? 1024 : 128)] =
				tap_below(2) ? (uint32_t)tap_random() : (uint32_t)tap_below(16);
	}
	afu_sys_munmap(p, SCRIBBLED);
}

static int again(void)
{
	enemy_close(link.fd);
	return enemy_attach(&link);
}

static int one(void)
{
	struct afu_request req;
	struct answer a;
	int fds[AFU_MESSAGE_FDS];
	unsigned int n = tap_below(3) ? (unsigned int)tap_below(3) : (unsigned int)tap_below(AFU_MESSAGE_FDS);

	fill(&req);
	if (req.op == AFU_OP_ENTRUST || req.op == AFU_OP_SHOW)
		n = 1;
	for (unsigned int i = 0; i < n; i++) {
		do
			fds[i] = pool[tap_below(POOL)];
		while (fds[i] < 0);
	}
	if (tap_below(300) == 0) {
		enemy_send(&link, &req, tap_below(sizeof req + 1), fds, n);
		return again();
	}
	if (enemy_ask(&link, &req, fds, n, &a) < 0)
		return again();
	if (!a.reply.cause) {
		keep_id(a.reply.socket);
		keep_id(a.reply.arg[0]);
		keep_id(a.reply.arg[1]);
		for (unsigned int i = 0; i < a.reply.length / 8 && i < 16; i++) {
			uint64_t id;

			memcpy(&id, a.reply.data + 8 * i, 8);
			if (tap_below(4) == 0)
				keep_id(id);
		}
	}
	while (a.n) {
		if (tap_below(3) == 0)
			scribble(a.fd[a.n - 1]);
		keep_fd(a.fd[--a.n]);
	}
	return 0;
}

int enemy_random(uint64_t seed, int64_t until_ns)
{
	struct timespec t;
	unsigned int n = 0;

	tap_seed(seed);
	for (int i = 0; i < POOL; i++)
		pool[i] = -1;
	for (int i = 0; i < POOL; i++)
		pool[i] = foreign();
	link.fd = -1;
	if (again() < 0)
		return -1;
	do {
		if (one() < 0)
			return -1;
		if (tap_below(20) == 0)
			keep_fd(foreign());
		n++;
		clock_gettime(CLOCK_MONOTONIC, &t);
	} while ((int64_t)t.tv_sec * 1000000000 + t.tv_nsec < until_ns);
	tap_note("%u requests", n);
	return 0;
}
