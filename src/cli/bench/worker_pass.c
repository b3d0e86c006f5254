/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What goes with a message: a descriptor, or who sent it.
 *
 * The server's process sends a byte at a time as fast as it may, and the client receives
 * one at a time with recvmsg(); the figure is the time from one to the next, that is, of
 * the slower side.  A received descriptor is closed at once, which is part of the figure.
 * Each message must have brought its control message; that the descriptor is the pipe's
 * is looked at for the first and the last.
 */
#include "cli/bench/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/bench/cpu.h"

/* Receives between two looks at the clock. */
enum { CLOCK_EVERY = 64 };

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(struct ucred))];
};

struct receiver {
	const struct afu_bench_job *job;
	int type; /* of the control message */
	int fd;
	int last; /* a copy of the first descriptor that came, for comparing */
	pid_t sender;
	uid_t uid;
	uint64_t messages;
};

static void send_one(const struct afu_bench_job *job, int fd, int passed)
{
	char byte = 0;
	struct iovec iov = {&byte, 1};
	union control control;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (passed >= 0) {
		memset(&control, 0, sizeof(control));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(passed));
		memcpy(CMSG_DATA(&control.align), &passed, sizeof(passed));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(sizeof(passed));
	}
	while (sendmsg(fd, &msg, job->flags) != 1)
		if (errno != EINTR && !(job->flags && errno == EAGAIN))
			afu_bench_fail(errno, "sendmsg");
}

/* What the server's process passes: a pipe's end, or nothing but who it is. */
struct giver {
	struct afu_bench_page *page;
	int passed;
};

static void give(const struct afu_bench_job *job, int listener, void *arg)
{
	const struct giver *giver = arg;
	const int fd = afu_bench_answer(job, listener);
	uint64_t total = 0;
	char ready;

	close(listener);
	/* The client has asked for credentials by now: they come with every message. */
	if (!afu_bench_recv(fd, &ready, 1, job->flags))
		afu_bench_fail(0, "the client closed the connection");
	/* relaxed: a late look sends one message more. */
	while (!atomic_load_explicit(&giver->page->stop, memory_order_relaxed)) {
		send_one(job, fd, giver->passed);
		total++;
	}
	/* release: pairs with the acquire in measure(), after the end of file. */
	atomic_store_explicit(&giver->page->total, total, memory_order_release);
	close(fd);
}

static void same_file(int one, int other)
{
	struct stat a, b;

	if (fstat(one, &a) < 0 || fstat(other, &b) < 0)
		afu_bench_fail(errno, "fstat of a received descriptor");
	if (a.st_dev != b.st_dev || a.st_ino != b.st_ino || !S_ISFIFO(a.st_mode))
		afu_bench_fail(0, "a received descriptor is not the one that was sent");
}

static void take_descriptor(struct receiver *receiver, const void *data)
{
	int fd;

	memcpy(&fd, data, sizeof(fd));
	if (receiver->last < 0) {
		receiver->last = fd;
		return;
	}
	if (receiver->messages == 1)
		same_file(fd, receiver->last);
	if (close(fd) < 0)
		afu_bench_fail(errno, "close of a received descriptor");
}

static void take_credentials(const struct receiver *receiver, const void *data)
{
	struct ucred who;

	memcpy(&who, data, sizeof(who));
	if (who.pid != receiver->sender || who.uid != receiver->uid)
		afu_bench_fail(0, "the credentials are not the sender's");
}

/* False at the end of file. */
static bool receive(struct receiver *receiver)
{
	const size_t size = receiver->type == SCM_RIGHTS ? sizeof(int) : sizeof(struct ucred);
	char byte;
	struct iovec iov = {&byte, 1};
	union control control;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = CMSG_SPACE(size)};
	ssize_t got;

	while ((got = recvmsg(receiver->fd, &msg, receiver->job->flags)) < 0)
		if (errno != EINTR && !(receiver->job->flags && errno == EAGAIN))
			afu_bench_fail(errno, "recvmsg");
	if (got == 0)
		return false;
	if (msg.msg_controllen < CMSG_LEN(size) || control.align.cmsg_len != CMSG_LEN(size) ||
	    control.align.cmsg_level != SOL_SOCKET || control.align.cmsg_type != receiver->type)
		afu_bench_fail(0, "a message came without its control message");
	if (receiver->type == SCM_RIGHTS)
		take_descriptor(receiver, CMSG_DATA(&control.align));
	else
		take_credentials(receiver, CMSG_DATA(&control.align));
	receiver->messages++;
	return true;
}

/* Receives for that long; the time it really took. */
static uint64_t receive_for(struct receiver *receiver, uint64_t duration_ns)
{
	const uint64_t begin = afu_bench_now();
	uint64_t now;

	do {
		for (int i = 0; i < CLOCK_EVERY; i++)
			if (!receive(receiver))
				afu_bench_fail(0, "the sender closed the connection");
		now = afu_bench_now();
	} while (now - begin < duration_ns);
	return now - begin;
}

static double measure(const struct afu_bench_job *job, int type, int passed)
{
	struct giver giver = {afu_bench_page_new(), passed};
	struct receiver receiver = {.job = job, .type = type, .last = -1};
	struct afu_bench_server server;
	const char ready = 0;
	const int on = 1;
	uint64_t elapsed, messages;

	afu_bench_server_start(&server, job, give, &giver);
	receiver.sender = server.pid;
	receiver.uid = getuid();
	receiver.fd = afu_bench_dial(&server, 0);
	if (type == SCM_CREDENTIALS && setsockopt(receiver.fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		afu_bench_fail(errno, "setsockopt SO_PASSCRED");
	afu_bench_send(receiver.fd, &ready, 1, job->flags);
	receive_for(&receiver, job->duration_ns / 8);
	messages = receiver.messages;
	elapsed = receive_for(&receiver, job->duration_ns);
	messages = receiver.messages - messages;

	atomic_store_explicit(&giver.page->stop, 1, memory_order_relaxed); /* relaxed: see give(). */
	while (receive(&receiver))
		;
	afu_bench_server_finish(&server);
	/* acquire: pairs with the release in give(). */
	if (receiver.messages != atomic_load_explicit(&giver.page->total, memory_order_acquire))
		afu_bench_fail(0, "the receiver did not get as many messages as were sent");
	if (type == SCM_RIGHTS)
		same_file(receiver.last, passed);
	close(receiver.fd);
	return (double)elapsed / (double)messages / 1e3;
}

double afu_bench_pass_descriptor(const struct afu_bench_job *job)
{
	int ends[2];
	double us;

	if (pipe(ends) < 0)
		afu_bench_fail(errno, "pipe");
	us = measure(job, SCM_RIGHTS, ends[0]);
	close(ends[0]);
	close(ends[1]);
	return us;
}

double afu_bench_pass_credentials(const struct afu_bench_job *job)
{
	return measure(job, SCM_CREDENTIALS, -1);
}
