/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Connections under load become the kernel's while nobody holds still:
 * moving PROGRAM [ROUNDS [NAME [SEED]]]
 *
 * A plain program of sockets: it runs on the kernel and under "afunix run".  In each round two processes
 * send each other numbered data through one pair, waiting in different ways, with descriptors on the way.
 * Meanwhile PROGRAM, which is this one linked statically, is started from another thread and inherits one
 * of the ends; or it takes over in the middle of what is sent or received.  Others hold both ends, look at
 * them, fork, and are killed.  Nothing may be lost, doubled or out of order, nobody may hang, and in the
 * end there are as many descriptors as before, the broker's too.
 */
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	MESSAGES = 400,
	LONGEST = 6000,
	PIECE = 20000,
	STREAM = 1 << 20,
	GIFT_EACH = 7,
	GUARD_S = 20,
	SLACK = 4
};
enum { BLOCKING, BY_POLL, BY_EPOLL, BY_EDGES, WAYS };

extern char **environ;

/* What the two processes and the static programs know of a round. */
struct plan {
	int type;
	uint64_t seed;
	int gifts; /* descriptors are on the way */
};

/* One direction. */
struct lane {
	struct plan plan;
	int fd, way, side, epoll;
	uint64_t at, total; /* bytes of a stream, or messages */
	uint64_t gift;
	uint64_t handover; /* where the static program takes over; 0: nowhere */
};

static struct shared {
	_Atomic uint32_t failed;
	_Atomic uint64_t progress[2];
	char text[300];
} * s;

static const char *program = "";
static unsigned int rounds = 30;
static uint64_t seed; /* of all rounds; 0: each has its own */
static _Atomic int stop;

static void fail(const struct lane *l, const char *what, long value)
{
	if (s && !atomic_fetch_add(&s->failed, 1))
		snprintf(s->text, sizeof s->text,
			 "%s: %ld (%s), type %d, seed %llx, way %d, side %d, at %llu of %llu", what, value,
			 strerror(errno), l->plan.type, (unsigned long long)l->plan.seed, l->way, l->side,
			 (unsigned long long)l->at, (unsigned long long)l->total);
	if (!s)
		fprintf(stderr, "# %s: %ld (%s) in the static program, type %d, at %llu of %llu\n", what,
			value, strerror(errno), l->plan.type, (unsigned long long)l->at,
			(unsigned long long)l->total);
	_exit(1);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ x >> 32;
}

static char content(const struct lane *l, uint64_t at, uint64_t i)
{
	uint64_t word = l->plan.type == SOCK_STREAM ? (at + i) / 8 : at * 1000 + i / 8;
	uint64_t shift = l->plan.type == SOCK_STREAM ? (at + i) % 8 : i % 8;

	return (char)(mix(word + l->plan.seed) >> (8 * shift));
}

static size_t length_at(const struct lane *l, uint64_t at)
{
	uint64_t r = mix(l->plan.seed + at * 77);

	if (l->plan.type == SOCK_STREAM)
		return 1 + r % PIECE;
	return 1 + r % (r % 8 ? 200 : LONGEST);
}

/* Waits in the lane's own way until the socket may be ready. */
static void wait_for(struct lane *l, short events)
{
	struct pollfd p = {l->fd, events, 0};
	struct epoll_event e = {.events = (uint32_t)events | (l->way == BY_EDGES ? (uint32_t)EPOLLET : 0)};

	if (l->way == BLOCKING || l->way == BY_POLL) {
		if (poll(&p, 1, GUARD_S * 1000) != 1)
			fail(l, "poll", p.revents);
		return;
	}
	if (l->epoll < 0) {
		l->epoll = epoll_create1(EPOLL_CLOEXEC);
		if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->fd, &e) < 0)
			fail(l, "epoll_ctl", 0);
	}
	if (epoll_wait(l->epoll, &e, 1, GUARD_S * 1000) != 1)
		fail(l, "epoll_wait", 0);
}

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(2 * sizeof(int))];
};

/* The reading end of a pipe, and a socket whose other end is closed already; the number lies in both. */
static void wrap_gift(struct lane *l, struct msghdr *msg, union control *c, int fds[2])
{
	int ends[2], sockets[2];

	if (pipe2(ends, O_CLOEXEC) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0 ||
	    write(ends[1], &l->gift, 8) != 8 || send(sockets[1], &l->gift, 8, 0) != 8)
		fail(l, "a gift", 0);
	close(ends[1]);
	close(sockets[1]);
	fds[0] = ends[0];
	fds[1] = sockets[0];
	msg->msg_control = c;
	msg->msg_controllen = sizeof *c;
	memset(c, 0, sizeof *c);
	c->align.cmsg_level = SOL_SOCKET;
	c->align.cmsg_type = SCM_RIGHTS;
	c->align.cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(&c->align), fds, 2 * sizeof(int));
}

static void unwrap_gift(struct lane *l, const union control *c)
{
	struct pollfd end = {.events = POLLIN};
	uint64_t number[2] = {0, 0};
	int fds[2];
	char more;

	memcpy(fds, CMSG_DATA(&c->align), sizeof fds);
	end.fd = fds[1];
	if (read(fds[0], &number[0], 8) != 8 || number[0] != l->gift)
		fail(l, "the pipe in a gift", (long)number[0]);
	if (recv(fds[1], &number[1], 8, MSG_DONTWAIT) != 8 || number[1] != l->gift)
		fail(l, "the socket in a gift", (long)number[1]);
	/* a child that was forked in that moment may have the other end a little longer */
	if (poll(&end, 1, GUARD_S * 1000) != 1 || recv(fds[1], &more, 1, MSG_DONTWAIT) != 0)
		fail(l, "the end of the socket in a gift", 1);
	close(fds[0]);
	close(fds[1]);
	l->gift++;
}

static void send_next(struct lane *l)
{
	static __thread char buf[PIECE];
	size_t len = length_at(l, l->at);
	int flags = MSG_NOSIGNAL | (l->way == BLOCKING ? 0 : MSG_DONTWAIT), fds[2];
	int gift = l->plan.gifts && mix(l->at) % GIFT_EACH == 0;
	union control c;
	ssize_t n;

	if (l->plan.type == SOCK_STREAM && len > l->total - l->at)
		len = (size_t)(l->total - l->at);
	for (size_t i = 0; i < len; i++)
		buf[i] = content(l, l->at, i);
	struct iovec iov = {buf, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	if (gift)
		wrap_gift(l, &msg, &c, fds);
	while ((n = sendmsg(l->fd, &msg, flags)) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || l->way == BLOCKING)
			fail(l, "sendmsg", n);
		wait_for(l, POLLOUT);
	}
	/* also a blocking one may be cut short when another thread forks */
	if (n != (ssize_t)len && l->plan.type != SOCK_STREAM)
		fail(l, "sendmsg sent less", n - (long)len);
	if (gift) {
		close(fds[0]);
		close(fds[1]);
		l->gift++;
	}
	l->at += l->plan.type == SOCK_STREAM ? (uint64_t)n : 1;
}

static void receive_next(struct lane *l)
{
	static __thread char buf[PIECE];
	size_t room = l->plan.type == SOCK_STREAM ? 1 + mix(l->at) % PIECE : sizeof buf;
	int flags = MSG_CMSG_CLOEXEC | (l->way == BLOCKING ? 0 : MSG_DONTWAIT);
	union control c = {.align = {0}};
	struct iovec iov = {buf, room};
	struct msghdr msg;
	ssize_t n;

	for (;;) {
		msg = (struct msghdr){
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c};
		if (l->plan.gifts || l->at % 2)
			n = recvmsg(l->fd, &msg, flags);
		else
			n = recv(l->fd, buf, room, flags);
		if (n >= 0)
			break;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || l->way == BLOCKING)
			fail(l, "recv", n);
		wait_for(l, POLLIN);
	}
	if (n == 0)
		fail(l, "an early end", 0);
	if (l->plan.type != SOCK_STREAM && n != (ssize_t)length_at(l, l->at))
		fail(l, "length of a message", n - (long)length_at(l, l->at));
	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] != content(l, l->at, (uint64_t)i))
			fail(l, "content", i);
	}
	if (l->plan.gifts && msg.msg_controllen)
		unwrap_gift(l, &c);
	if (l->plan.gifts && l->plan.type != SOCK_STREAM &&
	    (msg.msg_controllen != 0) != (mix(l->at) % GIFT_EACH == 0))
		fail(l, "a gift is missing", (long)l->gift);
	l->at += l->plan.type == SOCK_STREAM ? (uint64_t)n : 1;
}

static void last_of(struct lane *l)
{
	char c;

	if (l->plan.type == SOCK_DGRAM)
		return;
	while (l->way != BLOCKING && recv(l->fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN)
		wait_for(l, POLLIN);
	if (recv(l->fd, &c, 1, 0) != 0)
		fail(l, "the end", 1);
}

/* The static program's command line; it stands for a lane's state. */
static void arguments(char text[8][24], char *argv[10], const char *what, const struct lane *l, int fd)
{
	const uint64_t values[8] = {
		(uint64_t)fd, (uint64_t)l->plan.type, l->plan.seed, (uint64_t)l->plan.gifts, l->at, l->total,
		l->gift,      (uint64_t)l->way};

	argv[0] = (char *)(uintptr_t)program;
	argv[1] = (char *)(uintptr_t)what;
	for (int i = 0; i < 8; i++) {
		snprintf(text[i], sizeof text[i], "%llu", (unsigned long long)values[i]);
		argv[2 + i] = text[i];
	}
}

/* Starts the static program with a duplicate of the lane's socket, by fork() or by posix_spawn(). */
static pid_t start_static(const char *what, const struct lane *l, int by_spawn)
{
	char text[8][24], *argv[11] = {NULL};
	int fd = fcntl(l->fd, by_spawn ? F_DUPFD : F_DUPFD_CLOEXEC, 3);
	pid_t pid = -1;

	if (fd < 0)
		fail(l, "dup", fd);
	arguments(text, argv, what, l, fd);
	if (by_spawn) {
		if (posix_spawn(&pid, program, NULL, NULL, argv, environ))
			fail(l, "posix_spawn", 0);
	} else {
		pid = fork();
		if (pid == 0) {
			fcntl(fd, F_SETFD, 0);
			execv(program, argv);
			_exit(127);
		}
	}
	close(fd);
	if (pid < 0)
		fail(l, "starting the static program", pid);
	return pid;
}

static void hand_over(struct lane *l, const char *what)
{
	int status;

	if (waitpid(start_static(what, l, l->plan.seed >> 7 & 1), &status, 0) < 0 || status)
		fail(l, what, status);
	l->at = l->total;
}

static void *sender(void *arg)
{
	struct lane *l = arg;

	while (l->at < l->total) {
		if (l->handover && l->at >= l->handover) {
			hand_over(l, "send");
			break;
		}
		send_next(l);
		atomic_store(&s->progress[l->side], l->at);
	}
	atomic_store(&s->progress[l->side], UINT64_MAX);
	if (l->plan.type != SOCK_DGRAM && shutdown(l->fd, SHUT_WR) < 0)
		fail(l, "shutdown", 0);
	return NULL;
}

static void *receiver(void *arg)
{
	struct lane *l = arg;

	while (l->at < l->total) {
		if (l->handover && l->at >= l->handover) {
			hand_over(l, "receive");
			break;
		}
		receive_next(l);
	}
	last_of(l);
	return NULL;
}

/* At some moment a static program comes, and stays to the end. */
static void *mover(void *arg)
{
	struct lane *l = arg;
	uint64_t when = mix(l->plan.seed + 5) % l->total;
	pid_t pid;

	while (atomic_load(&s->progress[l->side]) < when)
		usleep(100);
	pid = start_static("hold", l, l->plan.seed >> 8 & 1);
	while (!atomic_load(&stop))
		usleep(300);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return NULL;
}

/* Looks at an end in ways that leave no trace. */
static void look_at(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	socklen_t len = sizeof(int);
	int type, copy;
	char c;

	poll(&p, 1, 0);
	recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
	copy = dup(fd);
	fcntl(fd, F_GETFL);
	p.fd = copy;
	poll(&p, 1, 0);
	close(copy);
}

/* Another thread of the process: numbers come and go, children are born. */
static void *disturber(void *arg)
{
	struct lane *l = arg;

	for (unsigned int i = 0; !atomic_load(&stop); i++) {
		pid_t pid;

		look_at(l->fd);
		usleep(50);
		if (i % 16)
			continue;
		pid = fork();
		if (pid == 0) {
			look_at(l->fd);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	return NULL;
}

static struct lane lane_of(const struct plan *plan, int fd, int side, int from)
{
	uint64_t r = mix(plan->seed * 4 + (uint64_t)(2 * side + from));
	struct lane l = {.plan = *plan, .fd = fd, .side = side, .epoll = -1, .way = (int)(r % WAYS)};

	l.plan.seed += (uint64_t)from << 32;
	l.total = plan->type == SOCK_STREAM ? STREAM : MESSAGES;
	if (r >> 8 & 1)
		l.handover = 1 + mix(r) % l.total;
	/* only one may take over, or the others' ways are never seen */
	if (side != (int)(plan->seed & 1) || from != (int)(plan->seed >> 1 & 1))
		l.handover = 0;
	return l;
}

static void side(const struct plan *plan, int fd, int i)
{
	struct lane out = lane_of(plan, fd, i, i), in = lane_of(plan, fd, i, 1 - i);
	void *(*const body[])(void *) = {sender, receiver, disturber, mover};
	struct lane *const arg[] = {&out, &in, &in, &out};
	int n = (plan->seed >> 3 & 1) == (uint64_t)i || plan->seed >> 4 & 1 ? 4 : 3;
	pthread_t thread[4];

	alarm(GUARD_S + 5);
	for (int k = 0; k < n; k++) {
		if (pthread_create(&thread[k], NULL, body[k], arg[k]))
			fail(&out, "pthread_create", k);
	}
	for (int k = 0; k < n; k++) {
		if (k == 2)
			atomic_store(&stop, 1);
		pthread_join(thread[k], NULL);
	}
	_exit(0);
}

/* Has both ends and is killed over them. */
static pid_t start_victim(const int pair[2])
{
	pid_t pid = tap_fork();

	if (pid)
		return pid;
	alarm(GUARD_S);
	for (;;) {
		look_at(pair[0]);
		look_at(pair[1]);
	}
}

static void check_over(const struct plan *plan, int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);

	if (plan->type == SOCK_DGRAM)
		CHECK(n < 0 && errno == EAGAIN);
	else
		CHECK_EQ(n, 0);
}

static void play(const struct plan *plan)
{
	int victims = (int)(plan->seed >> 5 & 1), keeps = (int)(plan->seed >> 6 & 1), pair[2];
	pid_t pid[2], victim = 0;

	NEED(socketpair(AF_UNIX, plan->type | SOCK_CLOEXEC, 0, pair) == 0);
	atomic_store(&s->progress[0], 0);
	atomic_store(&s->progress[1], 0);
	for (int i = 0; i < 2; i++) {
		pid[i] = tap_fork();
		if (pid[i] == 0) {
			close(pair[1 - i]);
			side(plan, pair[i], i);
		}
	}
	for (int i = 0; victims && i < 6; i++) {
		victim = start_victim(pair);
		usleep((useconds_t)tap_below(4000));
		tap_kill(victim);
	}
	for (int i = 0; !keeps && i < 2; i++)
		close(pair[i]);
	for (int i = 0; i < 2; i++) {
		int status = tap_wait(pid[i]);

		if (status)
			tap_failed(__FILE__, __LINE__, "type %d, seed %llx, side %d: %d %s", plan->type,
				   (unsigned long long)plan->seed, i, status, s->text);
	}
	for (int i = 0; keeps && i < 2; i++) {
		if (!tap_failures())
			check_over(plan, pair[i]);
		close(pair[i]);
	}
}

static int descriptors_of(pid_t pid)
{
	char path[40];
	DIR *d;
	int n = 0;

	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static pid_t broker;

/* All is closed when the last process was reaped; what the broker closes apart may come a moment later. */
static void check_descriptors(pid_t pid, int before)
{
	for (int i = 0; i < 200 && descriptors_of(pid) > before + SLACK; i++)
		usleep(10000);
	CHECK(descriptors_of(pid) <= before + SLACK);
}

static void run(int type, int gifts)
{
	int own = 0, brokers = 0;

	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(s != MAP_FAILED);
	tap_seed((uint64_t)type * 10 + (uint64_t)gifts);
	for (unsigned int i = 0; i < rounds && !tap_failures(); i++) {
		struct plan plan = {type, seed ? seed : tap_random(), gifts};

		play(&plan);
		if (i == rounds / 3) {
			own = descriptors_of(getpid());
			brokers = broker ? descriptors_of(broker) : 0;
		}
	}
	check_descriptors(getpid(), own);
	if (broker)
		check_descriptors(broker, brokers);
}

static void stream(void)
{
	run(SOCK_STREAM, 0);
}

static void packets(void)
{
	run(SOCK_SEQPACKET, 0);
}

static void datagrams(void)
{
	run(SOCK_DGRAM, 0);
}

static void stream_gifts(void)
{
	run(SOCK_STREAM, 1);
}

static void packet_gifts(void)
{
	run(SOCK_SEQPACKET, 1);
}

static void datagram_gifts(void)
{
	run(SOCK_DGRAM, 1);
}

/* The static program: a part of a lane, or only a holder. */
static int be_static(char **argv)
{
	struct lane l = {.epoll = -1};
	uint64_t value[8];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(GUARD_S);
	for (int i = 0; i < 8; i++)
		value[i] = strtoull(argv[2 + i], NULL, 10);
	l.fd = (int)value[0];
	l.plan = (struct plan){(int)value[1], value[2], (int)value[3]};
	l.at = value[4];
	l.total = value[5];
	l.gift = value[6];
	l.way = (int)value[7];
	if (strcmp(argv[1], "hold") == 0)
		pause();
	while (l.at < l.total) {
		if (strcmp(argv[1], "send") == 0)
			send_next(&l);
		else
			receive_next(&l);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"a stream moves", stream},
		{"packets move", packets},
		{"datagrams move", datagrams},
		{"a stream moves with descriptors", stream_gifts},
		{"packets move with descriptors", packet_gifts},
		{"datagrams move with descriptors", datagram_gifts},
	};

	if (argc == 10)
		return be_static(argv);
	if (argc > 1)
		program = argv[1];
	if (argc > 2)
		rounds = (unsigned int)strtoul(argv[2], NULL, 10);
	if (argc > 4)
		seed = strtoull(argv[4], NULL, 16);
	if (getenv("AFUNIX_DOMAIN"))
		broker = getppid();
	return tap_run(cases, sizeof cases / sizeof *cases, 100, argc > 3 ? argv[3] : NULL);
}
