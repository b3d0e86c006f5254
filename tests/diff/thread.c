/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A thread of the main process that makes one call, which may sleep while the sequence
 * goes on.  After every operation the sequence waits until the thread is either done or
 * asleep again, so that what happens doesn't depend on who is faster.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "diff.h"

enum {
	LOOK_US = 150,
	/* A call that another process has a part in may seem asleep for a while. */
	PATIENT_LOOKS = 20,
	QUICK_LOOKS = 2,
	INTERRUPTIONS = 300,
};

static struct {
	struct op op;
	pthread_t thread;
	bool running, told;
	_Atomic int tid;
	_Atomic bool done;
	long result;
	int error;
	char out[4096];
} it;

static void *thread_main(void *arg)
{
	sigset_t set;

	/* The tick is for the main thread. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	note_privately(it.out, sizeof(it.out));
	it.tid = (int)syscall(SYS_gettid);
	errno = 0;
	it.result = it.op.call->run(it.op.arg);
	it.error = errno;
	note_privately(NULL, 0);
	it.done = true;
	return NULL;
}

static void look_later(void)
{
	nanosleep(&(struct timespec){0, LOOK_US * 1000}, NULL);
}

static bool asleep(int tid)
{
	char path[64], text[256], *state;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	state = strrchr(text, ')');
	return state && state[1] && state[2] == 'S';
}

static void wait_settled(void)
{
	const char *name = it.op.call->name;
	int need = !strcmp(name, "accept") || !strcmp(name, "connect") ? PATIENT_LOOKS : QUICK_LOOKS;
	int seen = 0;

	while (!it.done && seen < need) {
		seen = it.tid && asleep(it.tid) ? seen + 1 : 0;
		look_later();
	}
}

void thread_start(const struct op *op)
{
	if (it.running) {
		note(" busy");
		return;
	}
	it.op = *op;
	it.op.process = 0;
	it.out[0] = '\0';
	it.tid = 0;
	it.done = it.told = false;
	if (pthread_create(&it.thread, NULL, thread_main, NULL) != 0)
		abort();
	it.running = shared->thread = true;
	if (op->call == call_find("accept"))
		shared->vague = true;
}

void thread_settle(void)
{
	if (!it.running || it.told)
		return;
	wait_settled();
	it.told = it.done;
	/* Before the end of the operation's line. */
	if (it.told)
		note(" [thread done]");
}

void thread_forget(void)
{
	it.running = false;
}

bool thread_join(void)
{
	if (!it.running)
		return false;
	wait_settled();
	for (int i = 0; !it.done; i++) {
		if (i == INTERRUPTIONS)
			abort();
		pthread_kill(it.thread, SIGUSR1);
		for (int k = 0; k < 50 && !it.done; k++)
			look_later();
	}
	pthread_join(it.thread, NULL);
	it.running = shared->thread = false;
	note(" thread:");
	op_result_note(&it.op, it.result, it.error);
	note("%s", it.out);
	return true;
}
