/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What a client of the domain can do to its broker: run under 'afunix run', the broker of
 * which is the parent.  Two honest processes exchange data and descriptors meanwhile; at the
 * end they must not have noticed anything, and the broker must be there.  By hand:
 * hostile-client [PART OF A CASE'S NAME [SEED]]
 */
#include "enemy.h"
#include "enemy_random.h"

#include "base/cause.h"
#include "base/memory.h"
#include "base/sys.h"
#include "channel/channel.h"
#include "channel/endpoint.h"
#include "tap.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FUZZ_SECONDS 2
#define FUZZERS 2
#define PACED_US 500

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static pid_t broker;
static uint64_t seed = 1;

/* What the honest ones say of themselves. */
static struct honest {
	_Atomic int stop, failed;
	_Atomic uint32_t rounds;
	_Atomic int64_t slowest_ns;
} * honest;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void must(int condition, int line)
{
	if (condition)
		return;
	atomic_store(&honest->failed, line);
	_exit(1);
}
#define MUST(condition) must((condition) != 0, __LINE__)

static int send_number(int fd, uint32_t number, int with)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} anc = {.bytes = {0}};
	struct iovec iov = {&number, sizeof number};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (with >= 0) {
		anc.align.cmsg_level = SOL_SOCKET;
		anc.align.cmsg_type = SCM_RIGHTS;
		anc.align.cmsg_len = CMSG_LEN(sizeof with);
		memcpy(CMSG_DATA(&anc.align), &with, sizeof with);
		msg.msg_control = anc.bytes;
		msg.msg_controllen = sizeof anc.bytes;
	}
	return sendmsg(fd, &msg, 0) == (ssize_t)sizeof number;
}

/* with: -1 if no descriptor came. */
static int receive_number(int fd, uint32_t *number, int *with)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} anc;
	struct iovec iov = {number, sizeof *number};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = anc.bytes,
			     .msg_controllen = sizeof anc.bytes};
	ssize_t n = recvmsg(fd, &msg, 0);
	struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);

	*with = -1;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(with, CMSG_DATA(c), sizeof *with);
	return n == (ssize_t)sizeof *number;
}

/* Answers with the number; what came with it gets it too. */
static void answer_honestly(int stream, int datagrams)
{
	uint32_t number;
	int with;

	while (receive_number(stream, &number, &with)) {
		if (with >= 0) {
			MUST(write(with, &number, sizeof number) == (ssize_t)sizeof number);
			MUST(close(with) == 0);
		}
		MUST(send_number(datagrams, number, -1));
	}
}

/* A descriptor of the kernel's, or one of ours, whose other end tells that it arrived. */
static void carried(int stream, uint32_t number)
{
	int ends[2], got;
	uint32_t there = 0;

	if (number % 8)
		MUST(pipe(ends) == 0);
	else
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	MUST(send_number(stream, number, ends[1]));
	MUST(close(ends[1]) == 0);
	MUST(read(ends[0], &there, sizeof there) == (ssize_t)sizeof there && there == number);
	got = (int)read(ends[0], &there, sizeof there);
	MUST(got == 0);
	MUST(close(ends[0]) == 0);
}

static void ask_honestly(int stream, int datagrams)
{
	for (uint32_t number = 1; !atomic_load(&honest->stop); number++) {
		int64_t begin = now_ns(), took;
		uint32_t back = 0;
		int with;

		if (number % 4)
			MUST(send_number(stream, number, -1));
		else
			carried(stream, number);
		MUST(receive_number(datagrams, &back, &with) && back == number);
		took = now_ns() - begin;
		if (took > atomic_load(&honest->slowest_ns))
			atomic_store(&honest->slowest_ns, took);
		atomic_store(&honest->rounds, number);
		usleep(PACED_US);
	}
}

static void start_honest(pid_t pid[2])
{
	int stream[2], datagrams[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, stream) < 0 ||
	    socketpair(AF_UNIX, SOCK_DGRAM, 0, datagrams) < 0)
		abort();
	for (int i = 0; i < 2; i++) {
		pid[i] = tap_fork();
		if (pid[i])
			continue;
		close(stream[1 - i]);
		close(datagrams[1 - i]);
		if (i)
			answer_honestly(stream[1], datagrams[1]);
		else
			ask_honestly(stream[0], datagrams[0]);
		_exit(0);
	}
	for (int i = 0; i < 2; i++) {
		close(stream[i]);
		close(datagrams[i]);
	}
}

static void honest_went_on(void)
{
	uint32_t before = atomic_load(&honest->rounds);

	for (int i = 0; i < 100 && atomic_load(&honest->rounds) == before; i++)
		usleep(50000);
	CHECK(atomic_load(&honest->rounds) != before);
	CHECK_EQ(atomic_load(&honest->failed), 0);
	tap_note("%u rounds, the slowest took %lld us", atomic_load(&honest->rounds),
		 (long long)atomic_load(&honest->slowest_ns) / 1000);
}

static void garbage_of_two(void)
{
	struct enemy_socket s[2][2];
	struct enemy e;

	NEED(enemy_attach(&e) == 0);
	for (int i = 0; i < 2; i++)
		NEED(enemy_pair(&e, SOCK_STREAM, s[i], NULL) == 0);
	/* each in the other's queue */
	CHECK_EQ(enemy_entrust(&e, s[0][1].id, 0, s[1][0].token), 0);
	CHECK_EQ(enemy_entrust(&e, s[1][1].id, 0, s[0][0].token), 0);
	for (int i = 0; i < 4; i++)
		enemy_drop(&s[i / 2][i % 2]);
	CHECK_EQ(enemy_sync(&e), 0);
}

static void queue_of_nobody(void)
{
	struct enemy_socket s[2], t[2];
	struct enemy e;

	NEED(enemy_attach(&e) == 0);
	NEED(enemy_pair(&e, SOCK_STREAM, s, NULL) == 0);
	NEED(enemy_pair(&e, SOCK_STREAM, t, NULL) == 0);
	enemy_drop(&s[1]);
	CHECK_EQ(enemy_sync(&e), 0);
	CHECK_EQ(enemy_entrust(&e, s[0].id, 0, t[0].token), 0);
	enemy_drop(&t[0]);
	CHECK_EQ(enemy_sync(&e), 0);
	enemy_drop(&t[1]);
	CHECK_EQ(enemy_sync(&e), 0);
	enemy_drop(&s[0]);
	CHECK_EQ(enemy_sync(&e), 0);
}

/* The same with a flow that is kept for its sender only. */
static void flow_to_nobody(void)
{
	struct afu_request req = {.op = AFU_OP_FLOWS};
	struct enemy_socket s[2], t[2];
	struct answer a;
	struct enemy e;

	NEED(enemy_attach(&e) == 0);
	NEED(enemy_pair(&e, SOCK_DGRAM, s, NULL) == 0);
	NEED(enemy_pair(&e, SOCK_STREAM, t, NULL) == 0);
	req.socket = s[0].id;
	NEED(enemy_ask(&e, &req, NULL, 0, &a) == 0);
	enemy_drop(&s[1]);
	CHECK_EQ(enemy_sync(&e), 0);
	CHECK_EQ(enemy_entrust(&e, s[0].id, a.reply.arg[1], t[0].token), 0);
	enemy_drop(&t[0]);
	enemy_drop(&t[1]);
	CHECK_EQ(enemy_sync(&e), 0);
	enemy_drop(&s[0]);
	CHECK_EQ(enemy_sync(&e), 0);
}

/* Each lies in the queue of the one before: whoever follows them must not do so on its stack. */
static void deep_queues(void)
{
	enum { DEPTH = 5000 };
	static struct enemy_socket s[DEPTH][2];
	struct rlimit files;
	struct enemy e;

	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < 3 * DEPTH)
		tap_skip("the broker may not have so many descriptors");
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	NEED(enemy_attach(&e) == 0);
	for (int i = 0; i < DEPTH; i++) {
		NEED(enemy_pair(&e, SOCK_STREAM, s[i], NULL) == 0);
		enemy_close(s[i][0].memory);
		s[i][0].memory = -1;
		if (i == 0)
			continue;
		NEED(enemy_entrust(&e, s[i - 1][1].id, 0, s[i][0].token) == 0);
		enemy_drop(&s[i - 1][1]);
	}
	for (int i = 1; i < DEPTH; i++)
		enemy_drop(&s[i][0]);
	CHECK_EQ(enemy_sync(&e), 0);
	enemy_drop(&s[DEPTH - 1][1]);
	CHECK_EQ(enemy_sync(&e), 0);
	enemy_drop(&s[0][0]);
	CHECK_EQ(enemy_sync(&e), 0);
}

static void empty_messages(void)
{
	int fds[AFU_MESSAGE_FDS], before, after = 0;
	struct enemy e;

	for (int i = 0; i < AFU_MESSAGE_FDS; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	NEED(enemy_attach(&e) == 0);
	before = enemy_count(broker);
	for (int i = 0; i < 8; i++) {
		struct enemy other;

		NEED(enemy_connect(&other) == 0);
		CHECK_EQ(enemy_send(&other, "", 0, fds, AFU_MESSAGE_FDS), 0);
		enemy_close(other.fd);
	}
	for (int i = 0; i < 40; i++) {
		CHECK_EQ(enemy_sync(&e), 0);
		after = enemy_count(broker);
		if (after < before + AFU_MESSAGE_FDS)
			break;
		usleep(50000);
	}
	CHECK(after < before + AFU_MESSAGE_FDS);
}

/* Whoever could seal the inbox would be the last who can send to its owner. */
static void seals(void)
{
	struct afu_request req = {.op = AFU_OP_FLOWS};
	struct enemy_socket s[2];
	struct answer a;
	struct enemy e;
	int channel;

	NEED(enemy_attach(&e) == 0);
	NEED(enemy_pair(&e, SOCK_DGRAM, s, NULL) == 0);
	req.socket = s[0].id;
	NEED(enemy_ask(&e, &req, NULL, 0, &a) == 0);
	req.op = AFU_OP_FLOW;
	req.arg[0] = a.reply.arg[1];
	NEED(enemy_ask(&e, &req, NULL, 0, &a) == 0);
	NEED(a.n == 2);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(afu_sys(SYS_fcntl, a.fd[i], F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -EPERM);
	enemy_close_all(&a);
	NEED(enemy_pair(&e, SOCK_STREAM, s, &channel) == 0);
	CHECK_EQ(afu_sys(SYS_fcntl, channel, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -EPERM);
	CHECK_EQ(afu_sys(SYS_fcntl, s[0].memory, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -EPERM);
}

/* The broker answers others within a second. */
static void answers(struct enemy *e, int line)
{
	int64_t begin = now_ns();

	if (enemy_sync(e) != 0 || now_ns() - begin > 1000000000)
		tap_failed(__FILE__, line, "the broker was busy for %lld ms",
			   (long long)(now_ns() - begin) / 1000000);
}

static int lingering(void)
{
	int fd = enemy_lingering();

	if (fd < 0)
		tap_skip("no TCP on the loopback");
	return fd;
}

/* The broker is the last who has it: it is stopped until our own is closed, which would wait otherwise. */
static int give_away(struct enemy *e, const struct afu_request *req, int fd)
{
	struct answer a;

	kill(broker, SIGSTOP);
	enemy_send(e, req, sizeof *req, &fd, 1);
	close(fd);
	kill(broker, SIGCONT);
	return enemy_answer(e, &a) < 0 ? -1 : (int)a.reply.cause;
}

static void slow_to_close(void)
{
	struct afu_request req = {.op = AFU_OP_SYNC};
	struct enemy e, other;
	int fd;

	NEED(enemy_attach(&e) == 0 && enemy_attach(&other) == 0);
	fd = lingering();
	CHECK_EQ(give_away(&other, &req, fd), 0);
	answers(&e, __LINE__);
	/* what the broker hangs up on is still to be read: a message that is none, and one with a descriptor
	 */
	fd = lingering();
	kill(broker, SIGSTOP);
	enemy_send(&other, "x", 1, NULL, 0);
	enemy_send(&other, &req, sizeof req, &fd, 1);
	close(fd);
	enemy_close(other.fd);
	kill(broker, SIGCONT);
	answers(&e, __LINE__);
	answers(&e, __LINE__);
}

/* A parking in which lies a message of no bytes. */
static void slow_parking(void)
{
	struct afu_request req = {.op = AFU_OP_PARKING, .arg = {0, 1}};
	struct enemy_socket s[2];
	struct enemy e, other, parking;
	struct answer a;
	int fd;

	NEED(enemy_attach(&e) == 0 && enemy_attach(&other) == 0);
	NEED(enemy_pair(&e, SOCK_STREAM, s, NULL) == 0);
	req.socket = s[0].id;
	NEED(enemy_ask(&e, &req, NULL, 0, &a) == 0 && a.n == 1);
	parking.fd = a.fd[0];
	fd = lingering();
	enemy_send(&parking, "", 0, &fd, 1);
	close(fd);
	enemy_close(parking.fd);
	enemy_drop(&s[0]);
	enemy_drop(&s[1]);
	answers(&other, __LINE__);
	answers(&other, __LINE__);
}

/* Says so when the page is touched that nobody will ever provide. */
struct trap {
	int fault, told;
};

static void *tell_fault(void *arg)
{
	const struct trap *t = arg;
	struct pollfd p = {.fd = t->fault, .events = POLLIN};

	if (poll(&p, 1, 10000) != 1 || write(t->told, "", 1) != 1)
		_exit(1);
	return NULL;
}

/* Receives into that page: the kernel stops in the middle, with what it has locked. */
static void receive_for_ever(int fd, int told)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	struct trap trap = {(int)afu_sys(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), told};
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;

	reg.range.start = (uintptr_t)page;
	reg.range.len = 4096;
	if (trap.fault < 0 || ioctl(trap.fault, UFFDIO_API, &api) < 0 || ioctl(trap.fault, UFFDIO_REGISTER, &reg) < 0 ||
	    pthread_create(&thread, NULL, tell_fault, &trap))
		_exit(1);
	afu_sys(SYS_recvfrom, fd, page, 4096, 0, NULL, NULL);
	_exit(1);
}

/* A byte with which descriptors come, by what the record says. */
static void announce(int channel, const struct enemy_socket *s)
{
	const uint64_t words[AFU_RING_WORDS] = {1};
	struct iovec iov = {(char[1]){'x'}, 1};
	struct afu_iter it = {&iov, 1, 0};
	struct afu_channel *ch;
	struct afu_ring ring;
	void *page;

	NEED(afu_channel_map(channel, 0, &ch) == 0 && afu_memory_map(s->memory, AFU_ENDPOINT_SIZE, 1, &page) == 0);
	ring = afu_channel_ring(ch, 0);
	NEED(afu_ring_put(&ring, &((struct afu_endpoint *)page)->tx, words, &it, 1, AFU_RECORD_RIGHTS | 1, 1) == 0);
	afu_channel_unmap(ch, 0);
	munmap(page, AFU_ENDPOINT_SIZE);
}

/* A pair with a parking, in which something lies that is being fetched and never will be. */
static pid_t stop_in_fetch(struct enemy *e, struct enemy_socket s[2])
{
	struct afu_request req = {.op = AFU_OP_PARKING, .arg = {0, 1}};
	int told[2], parking[2], channel;
	struct answer a;
	char byte;
	pid_t pid;

	NEED(enemy_pair(e, SOCK_STREAM, s, &channel) == 0 && pipe2(told, O_CLOEXEC) == 0);
	announce(channel, &s[0]);
	close(channel);
	for (int i = 0; i < 2; i++) {
		req.socket = s[i].id;
		req.arg[1] = !i;
		NEED(enemy_ask(e, &req, NULL, 0, &a) == 0 && a.n == 1);
		parking[i] = a.fd[0];
	}
	NEED(afu_sys(SYS_sendto, parking[0], "parcel", 6, 0, NULL, 0) == 6);
	pid = tap_fork();
	if (pid == 0)
		receive_for_ever(parking[1], told[1]);
	close(told[1]);
	enemy_close(parking[0]);
	enemy_close(parking[1]);
	if (read(told[0], &byte, 1) != 1) {
		tap_wait(pid);
		tap_skip("no userfaultfd(2)");
	}
	close(told[0]);
	return pid;
}

static void stopped_in_fetch(void)
{
	struct afu_request req = {.op = AFU_OP_MOVE};
	struct enemy_socket s[2];
	struct enemy e, other;
	struct answer a;
	pid_t pid;

	NEED(enemy_attach(&e) == 0 && enemy_attach(&other) == 0);
	pid = stop_in_fetch(&e, s);
	req.socket = s[0].id;
	for (int i = 0; i < 20; i++)
	{
		NEED(enemy_ask(&e, &req, NULL, 0, &a) == 0);
		CHECK_EQ(a.reply.arg[0], AFU_MOVE_NEVER);
		CHECK_EQ(a.reply.cause, 0);
	}
	answers(&other, __LINE__);
	enemy_drop(&s[0]);
	enemy_drop(&s[1]);
	answers(&other, __LINE__);
	answers(&other, __LINE__);
	kill(pid, SIGKILL);
	tap_wait(pid);
}

static void slow_name(void)
{
	struct afu_request req = {.op = AFU_OP_SOCKET, .arg = {SOCK_STREAM}};
	struct enemy e, other;
	struct answer a;
	int fd;

	NEED(enemy_attach(&e) == 0 && enemy_attach(&other) == 0);
	NEED(enemy_ask(&e, &req, NULL, 0, &a) == 0);
	req.socket = a.reply.socket;
	fd = lingering();
	req.op = AFU_OP_BIND_BEGIN;
	CHECK_EQ(enemy_ask(&e, &req, NULL, 0, &(struct answer){.n = 0}), 0);
	usleep(20000);
	fchmod(fd, 0600); /* changes its time */
	req.op = AFU_OP_BIND_PATH;
	req.length = 4;
	memcpy(req.data, "\1\0/a", 4);
	CHECK(give_away(&e, &req, fd) > 0);
	enemy_close_all(&a);
	answers(&other, __LINE__);
	answers(&other, __LINE__);
}

/* A name is what it says: of AF_UNIX, and abstract ones are the broker's to give. */
static void false_names(void)
{
	struct afu_request req = {.op = AFU_OP_SOCKET, .arg = {SOCK_STREAM}};
	char path[64];
	struct enemy e;
	struct answer a;
	int fd;

	NEED(enemy_attach(&e) == 0);
	NEED(enemy_ask(&e, &req, NULL, 0, &a) == 0);
	req.socket = a.reply.socket;
	enemy_close(a.fd[1]);
	req.op = AFU_OP_BIND_BEGIN;
	CHECK_EQ(enemy_ask(&e, &req, NULL, 0, &(struct answer){.n = 0}), 0);
	snprintf(path, sizeof path, "/tmp/hostile-%d", (int)getpid());
	usleep(20000);
	NEED(mknod(path, S_IFSOCK | 0600, 0) == 0);
	fd = open(path, O_PATH | O_CLOEXEC);
	req.op = AFU_OP_BIND_PATH;
	req.length = 6;
	memcpy(req.data, "\1\0\0abc", 6);
	CHECK(enemy_ask(&e, &req, &fd, 1, &(struct answer){.n = 0}) != 0);
	memcpy(req.data, "\2\0/abc", 6);
	CHECK(enemy_ask(&e, &req, &fd, 1, &(struct answer){.n = 0}) != 0);
	memcpy(req.data, "\1\0/abc", 6);
	CHECK_EQ(enemy_ask(&e, &req, &fd, 1, &(struct answer){.n = 0}), 0);
	unlink(path);
	close(fd);
}

/* A socket of ours with an exposed name, and what is shown as the kernel's of that name.  The cause. */
static int expose(struct enemy *e, int type, int kernel, struct answer *socket)
{
	static int number;
	struct afu_request req = {.op = AFU_OP_SOCKET, .arg = {(uint64_t)type}};
	struct answer a;

	NEED(enemy_ask(e, &req, NULL, 0, socket) == 0);
	req.op = AFU_OP_BIND_ABSTRACT;
	req.socket = socket->reply.socket;
	memcpy(req.data, "\1\0", 3);
	req.length = 3 + (uint32_t)snprintf((char *)req.data + 3, 32, "enemy-%d-%d", (int)getpid(), number++);
	return enemy_ask(e, &req, &kernel, 1, &a);
}

/* A message that holds on to what takes long to close; its bytes may be none. */
static void put_lingering(int to, size_t bytes)
{
	struct enemy out = {to};
	int fd = lingering();

	CHECK_EQ(enemy_send(&out, "x", bytes, &fd, 1), (long)bytes);
	close(fd);
}

/* What is shown as the kernel socket of an exposed name waits, or holds what waits, or is none. */
static void false_outsides(void)
{
	static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
	struct enemy e, other;
	struct answer a;
	int pipes[2], pair[2], tcp;

	NEED(enemy_attach(&e) == 0 && enemy_attach(&other) == 0);
	NEED(pipe2(pipes, O_CLOEXEC) == 0);
	CHECK_EQ(expose(&e, SOCK_STREAM, pipes[0], &a), AFU_CAUSE_REQUEST_FORM);
	enemy_close_all(&a);
	tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(expose(&e, SOCK_STREAM, tcp, &a), AFU_CAUSE_REQUEST_FORM);
	enemy_close_all(&a);
	for (unsigned int i = 0; i < sizeof types / sizeof *types; i++) {
		NEED(afu_sys(SYS_socketpair, AF_UNIX, types[i] | SOCK_CLOEXEC, 0, pair) == 0);
		CHECK_EQ(expose(&e, types[(i + 1) % 3], pair[0], &a), AFU_CAUSE_REQUEST_FORM);
		enemy_close_all(&a);
		CHECK_EQ(expose(&e, types[i], pair[0], &a), 0);
		put_lingering(pair[1], types[i] == SOCK_STREAM);
		enemy_close(pair[0]);
		answers(&other, __LINE__);
		/* the broker's is the last, and so is the close of ours */
		enemy_close_all(&a);
		answers(&other, __LINE__);
		answers(&other, __LINE__);
		enemy_close(pair[1]);
	}
}

/* A listener that waits in accept(), if it is asked, with a visitor who has brought something, or without one. */
static void waiting_outside(int visited)
{
	const struct sockaddr_un any = {.sun_family = AF_UNIX};
	struct sockaddr_un name;
	socklen_t length = sizeof name;
	struct enemy e, other;
	struct answer a;
	int l, visitor;

	NEED(enemy_attach(&e) == 0 && enemy_attach(&other) == 0);
	l = (int)afu_sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	visitor = (int)afu_sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	NEED(afu_sys(SYS_bind, l, &any, sizeof any.sun_family) == 0 && afu_sys(SYS_listen, l, 5) == 0 &&
	     afu_sys(SYS_getsockname, l, &name, &length) == 0);
	CHECK_EQ(expose(&e, SOCK_STREAM, l, &a), 0);
	if (visited) {
		CHECK_EQ(afu_sys(SYS_connect, visitor, &name, length), 0);
		put_lingering(visitor, 1);
	}
	enemy_close(l);
	answers(&other, __LINE__);
	enemy_close_all(&a);
	answers(&other, __LINE__);
	answers(&other, __LINE__);
	enemy_close(visitor);
}

static void outside_that_waits(void)
{
	waiting_outside(0);
	waiting_outside(1);
}

/* Closes descriptors of its sockets without end. */
static void close_and_close(void)
{
	struct enemy_socket s[16];
	struct enemy e;
	char path[sizeof s / sizeof *s][32];

	if (enemy_attach(&e) < 0)
		_exit(1);
	for (unsigned int i = 0; i < 16; i += 2) {
		if (enemy_pair(&e, SOCK_STREAM, s + i, NULL) < 0)
			_exit(1);
		for (unsigned int j = i; j < i + 2; j++)
			snprintf(path[j], sizeof path[j], "/proc/self/fd/%d", s[j].memory);
	}
	for (unsigned int i = 0;; i++)
		enemy_close((int)afu_sys(SYS_openat, AT_FDCWD, path[i % 16], O_WRONLY | O_CLOEXEC, 0));
}

static void closes_without_end(void)
{
	pid_t pid[3];
	struct enemy e;

	NEED(enemy_attach(&e) == 0);
	for (int i = 0; i < 3; i++) {
		pid[i] = tap_fork();
		if (pid[i] == 0)
			close_and_close();
	}
	usleep(100000);
	for (int i = 0; i < 20; i++)
		answers(&e, __LINE__);
	for (int i = 0; i < 3; i++)
		tap_kill(pid[i]);
}

/* Many speak at one end, one after the other, and end. */
static void many_voices(void)
{
	enum { SPEAKERS = 400 };
	struct afu_request req = {.op = AFU_OP_SHOW};
	struct enemy_socket s[2];
	struct answer a;
	struct enemy e;
	int before;

	NEED(enemy_attach(&e) == 0);
	NEED(enemy_pair(&e, SOCK_STREAM, s, NULL) == 0);
	before = enemy_count(broker);
	for (int i = 0; i < SPEAKERS; i++) {
		pid_t pid = tap_fork();

		if (pid == 0) {
			struct enemy own;

			if (enemy_attach(&own) < 0 || enemy_ask(&own, &req, &s[0].token, 1, &a))
				_exit(1);
			req.op = AFU_OP_IDENTITY;
			req.socket = s[0].id;
			_exit(enemy_ask(&own, &req, NULL, 0, &a) != 0);
		}
		if (tap_wait(pid) != 0)
			tap_failed(__FILE__, __LINE__, "speaker %d is refused", i);
	}
	CHECK_EQ(enemy_sync(&e), 0);
	CHECK(enemy_count(broker) < before + SPEAKERS / 2);
}

/* Parks a descriptor where nothing can be parked any more, and announces it. */
static void announce_nothing(int fd)
{
	struct afu_request req = {.op = AFU_OP_SHOW};
	struct answer a;
	struct enemy e;

	if (enemy_attach(&e) < 0 || enemy_ask(&e, &req, &fd, 1, &a))
		_exit(1);
	req.op = AFU_OP_PARKING;
	req.socket = a.reply.socket;
	req.arg[1] = 1;
	if (enemy_ask(&e, &req, NULL, 0, &a) || a.n != 1)
		_exit(1);
	afu_sys(SYS_shutdown, a.fd[0], SHUT_WR);
	_exit(!send_number(fd, 1, 1));
}

static void parking_shut_down(void)
{
	uint32_t number = 0;
	int s[2], with;
	pid_t pid;

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	pid = tap_fork();
	if (pid == 0)
		announce_nothing(s[1]);
	CHECK_EQ(tap_wait(pid), 0);
	pid = tap_fork();
	if (pid == 0) {
		alarm(5);
		_exit(!receive_number(s[0], &number, &with) || number != 1 || with != -1);
	}
	CHECK_EQ(tap_wait(pid), 0);
}

static void at_random(void)
{
	int before = enemy_count(broker), after = 0;
	int64_t until = now_ns() + FUZZ_SECONDS * INT64_C(1000000000);
	pid_t pid[FUZZERS];

	for (int i = 0; i < FUZZERS; i++) {
		pid[i] = tap_fork();
		if (pid[i] == 0)
			_exit(enemy_random(seed + (uint64_t)i, until) ? 1 : (fflush(stdout), 0));
	}
	for (int i = 0; i < FUZZERS; i++)
		CHECK_EQ(tap_wait(pid[i]), 0);
	/* nothing of theirs is left; a few are the broker's for the honest ones, who go on */
	for (int i = 0; i < 100; i++) {
		after = enemy_count(broker);
		if (after <= before + 16)
			break;
		usleep(50000);
	}
	CHECK(after <= before + 16);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"two sockets in each other's queues are closed", garbage_of_two},
		{"a socket is put where nobody receives", queue_of_nobody},
		{"a socket is put into a flow to nobody", flow_to_nobody},
		{"sockets in queues of sockets in queues", deep_queues},
		{"descriptors come with empty messages", empty_messages},
		{"the memory of others is sealed", seals},
		{"descriptors that take long to close", slow_to_close},
		{"descriptors that take long to close are parked", slow_parking},
		{"a fetch from a parking is stopped in its middle", stopped_in_fetch},
		{"a descriptor that takes long to close is a name", slow_name},
		{"names that are not what they say", false_names},
		{"kernel sockets of exposed names that are not what they say", false_outsides},
		{"a kernel socket of an exposed name that waits", outside_that_waits},
		{"descriptors are closed without end", closes_without_end},
		{"many speak and end", many_voices},
		{"a parking is shut down", parking_shut_down},
		{"requests at random", at_random},
		{"the honest ones went on", honest_went_on},
	};
	pid_t pid[2];
	int status;

	broker = getppid();
	honest = mmap(NULL, sizeof *honest, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (honest == MAP_FAILED || !getenv("AFUNIX_DOMAIN")) {
		puts("Bail out! to be run by 'afunix run'");
		return EXIT_FAILURE;
	}
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10);
	start_honest(pid);
	status = tap_run(cases, sizeof cases / sizeof *cases, 60, argc > 1 ? argv[1] : NULL);
	atomic_store(&honest->stop, 1);
	for (int i = 0; i < 2; i++)
		tap_wait(pid[i]);
	return status;
}
