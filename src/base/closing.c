/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/closing.h"

#include "base/clock.h"
#include "base/sys.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

/* So many closes can hang; those that come then wait for one of them to end. */
#define CLOSERS_MAX 256
#define STACK 65536

struct closing {
	int fd;
	int waited, done;
	struct closing *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_done = PTHREAD_COND_INITIALIZER;
static struct closing *first, **last = &first;
static unsigned int running, under_way;

static void *closer(void *unused)
{
	pthread_mutex_lock(&lock);
	while (first) {
		struct closing *c = first;

		first = c->next;
		if (!first)
			last = &first;
		pthread_mutex_unlock(&lock);
		afu_sys_close(c->fd);
		pthread_mutex_lock(&lock);
		under_way--;
		c->done = 1;
		if (c->waited)
			pthread_cond_broadcast(&one_done);
		else
			free(c);
	}
	running--;
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Without a thread they stay in the list: the caller must not hang, and the next one tries again. */
static void start_closer(void)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int failed;

	if (running == CLOSERS_MAX)
		return;
	/* the process may be an application's, whose handlers are not for this stack */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	failed = pthread_create(&thread, &attr, closer, NULL);
	pthread_attr_destroy(&attr);
	if (failed == EINVAL) {
		/* what the process keeps for each thread doesn't fit: as large as others have it */
		failed = pthread_create(&thread, NULL, closer, NULL);
		if (!failed)
			pthread_detach(thread);
	}
	running += !failed;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Without memory it stays open: that is better than to hang. */
static struct closing *enter(int fd, int waited)
{
	struct closing *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->fd = fd;
	c->waited = waited;
	pthread_mutex_lock(&lock);
	*last = c;
	last = &c->next;
	under_way++;
	start_closer();
	pthread_mutex_unlock(&lock);
	return c;
}

unsigned int afu_close_under_way(void)
{
	unsigned int n;

	pthread_mutex_lock(&lock);
	n = under_way;
	pthread_mutex_unlock(&lock);
	return n;
}

void afu_close_apart(int fd)
{
	enter(fd, 0);
}

int64_t afu_close_within(int fd, int64_t ns)
{
	int64_t begin = afu_clock_ns();
	struct timespec until;
	struct closing *c = enter(fd, 1);

	if (!c)
		return 0;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (until.tv_nsec + ns) / 1000000000;
	until.tv_nsec = (until.tv_nsec + ns) % 1000000000;
	pthread_mutex_lock(&lock);
	while (!c->done && pthread_cond_timedwait(&one_done, &lock, &until) == 0)
		;
	c->waited = 0;
	if (c->done)
		free(c);
	pthread_mutex_unlock(&lock);
	return afu_clock_ns() - begin;
}

int afu_close_queued(int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} anc;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int on = 1;
	long got;

	afu_sys(SYS_shutdown, fd, SHUT_RDWR);
	/* credentials tell an empty message from the end; the descriptors have no room and stay where they
	 * are */
	afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	do {
		msg.msg_control = anc.bytes;
		msg.msg_controllen = sizeof anc.bytes;
		got = afu_sys(SYS_recvmsg, fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	} while (got == -ECONNRESET || got == -EINTR);
	return got > 0 || (got == 0 && msg.msg_controllen > 0);
}
