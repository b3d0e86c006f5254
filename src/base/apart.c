/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/apart.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define THREADS_MAX 256
#define STACK 65536

struct task {
	void (*work)(void *);
	void (*abandoned)(void *);
	void *arg;
	int waited, done;
	struct task *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_done = PTHREAD_COND_INITIALIZER;
static struct task *first, **last = &first;
static unsigned int running;

/* Under the lock, and again on return. */
static void perform(struct task *t)
{
	void (*abandoned)(void *);

	pthread_mutex_unlock(&lock);
	t->work(t->arg);
	pthread_mutex_lock(&lock);
	t->done = 1;
	if (t->waited) {
		pthread_cond_broadcast(&one_done);
		return;
	}
	abandoned = t->abandoned;
	if (abandoned) {
		pthread_mutex_unlock(&lock);
		abandoned(t->arg);
		pthread_mutex_lock(&lock);
	}
	free(t);
}

static void *worker(void *unused)
{
	pthread_mutex_lock(&lock);
	while (first) {
		struct task *t = first;

		first = t->next;
		if (!first)
			last = &first;
		perform(t);
	}
	running--;
	pthread_mutex_unlock(&lock);
	return unused;
}

/* Without a thread they stay in the list: the caller must not hang, and the next one tries again. */
static void start_worker(void)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int failed;

	if (running == THREADS_MAX)
		return;
	/* the process may be an application's, whose handlers are not for this stack */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	failed = pthread_create(&thread, &attr, worker, NULL);
	pthread_attr_destroy(&attr);
	if (failed == EINVAL) {
		/* what the process keeps for each thread doesn't fit: as large as others have it */
		failed = pthread_create(&thread, NULL, worker, NULL);
		if (!failed)
			pthread_detach(thread);
	}
	running += !failed;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static struct task *enter(struct task is)
{
	struct task *t = malloc(sizeof *t);

	if (!t)
		return NULL;
	*t = is;
	pthread_mutex_lock(&lock);
	*last = t;
	last = &t->next;
	start_worker();
	pthread_mutex_unlock(&lock);
	return t;
}

int afu_apart(void (*work)(void *arg), void *arg)
{
	return enter((struct task){.work = work, .arg = arg}) ? 0 : -ENOMEM;
}

int afu_apart_within(void (*work)(void *arg), void (*abandoned)(void *arg), void *arg, int64_t ns)
{
	struct task *t = enter((struct task){.work = work, .abandoned = abandoned, .arg = arg, .waited = 1});
	struct timespec until;
	int done;

	if (!t)
		return -ENOMEM;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (until.tv_nsec + ns) / 1000000000;
	until.tv_nsec = (until.tv_nsec + ns) % 1000000000;
	pthread_mutex_lock(&lock);
	while (!t->done && pthread_cond_timedwait(&one_done, &lock, &until) == 0)
		;
	t->waited = 0;
	done = t->done;
	if (done)
		free(t);
	pthread_mutex_unlock(&lock);
	return done;
}
