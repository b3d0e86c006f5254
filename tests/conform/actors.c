/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Threads, child processes and signals of cases.
 *
 * "Blocked" is seen, not guessed from the clock: a thread that has announced its call
 * and is asleep in several looks at /proc is in that call.  Compiled like a case.
 */
#include "conform.h"

#include <sys/syscall.h>

_Atomic int signals_seen;

static void sleep_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	/* Through clock_nanosleep so that a case that counts signals is not disturbed by EINTR. */
	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
		;
}

long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The state letter of a task, 0 if it is gone. */
static char task_state(pid_t pid, pid_t tid)
{
	char path[64], text[512];

	snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	FILE *f = fopen(path, "re");
	if (!f)
		return 0;
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	/* The name in parentheses may hold anything. */
	const char *end = strrchr(text, ')');
	return end && end[1] ? end[2] : '\0';
}

/* Whether it sleeps for an answer of the broker's, which is on the way into a call and not the call. */
static int asks_broker(pid_t pid, pid_t tid)
{
	char path[64];
	long number = -1;
	FILE *f;

	if (!strcmp(conform_suite(), "kernel"))
		return 0;
	snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", (int)pid, (int)tid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%ld", &number) != 1)
		number = -1;
	if (f)
		fclose(f);
	return number == SYS_recvmsg;
}

static void await_asleep(pid_t pid, pid_t tid, const _Atomic int *done)
{
	for (int looks = 0; looks < 4 && !(done && atomic_load(done));) {
		char state = task_state(pid, tid);

		if (!state)
			return;
		looks = state == 'S' && !asks_broker(pid, tid) ? looks + 1 : 0;
		sleep_ms(1);
	}
}

static void *actor_main(void *arg)
{
	struct actor *a = arg;

	atomic_store(&a->tid, (int)syscall(SYS_gettid));
	errno = 0;
	a->result = a->run(a);
	a->error = errno;
	atomic_store(&a->done, 1);
	return NULL;
}

void actor_start(struct actor *a, long (*run)(struct actor *))
{
	a->run = run;
	a->result = -2;
	a->error = 0;
	atomic_store(&a->tid, 0);
	atomic_store(&a->done, 0);
	EQ(pthread_create(&a->thread, NULL, actor_main, a), 0);
}

static long run_recv(struct actor *a)
{
	return recv(a->fd, a->buf, a->n, a->flags);
}

static long run_send(struct actor *a)
{
	return send(a->fd, a->buf, a->n, a->flags);
}

static long run_accept(struct actor *a)
{
	return accept(a->fd, NULL, NULL);
}

static long run_connect(struct actor *a)
{
	return connect(a->fd, NAME(&a->name));
}

static long run_poll(struct actor *a)
{
	return poll(a->buf, (nfds_t)a->n, a->flags);
}

void start_recv(struct actor *a, int fd, void *buf, size_t n, int flags)
{
	*a = (struct actor){.fd = fd, .buf = buf, .n = n, .flags = flags};
	actor_start(a, run_recv);
}

void start_send(struct actor *a, int fd, const void *buf, size_t n, int flags)
{
	/* The one member serves both directions; send() does not write to it. */
	*a = (struct actor){.fd = fd, .buf = (void *)(uintptr_t)buf, .n = n, .flags = flags};
	actor_start(a, run_send);
}

void start_accept(struct actor *a, int fd)
{
	*a = (struct actor){.fd = fd};
	actor_start(a, run_accept);
}

void start_connect(struct actor *a, int fd, const struct name *name)
{
	*a = (struct actor){.fd = fd, .name = *name};
	actor_start(a, run_connect);
}

void start_poll(struct actor *a, struct pollfd *fds, nfds_t n, int timeout_ms)
{
	*a = (struct actor){.buf = fds, .n = n, .flags = timeout_ms};
	actor_start(a, run_poll);
}

void expect_blocked(struct actor *a, const char *file, int line)
{
	conform_at(file, line, "BLOCKED");
	while (!atomic_load(&a->tid))
		sleep_ms(1);
	await_asleep(getpid(), atomic_load(&a->tid), &a->done);
	if (atomic_load(&a->done))
		conform_fail(file, line, "expected a blocked call, it returned %ld (%s)", a->result,
			     conform_errno_name(a->result == -1 ? a->error : 0));
}

void interrupt_until_done(struct actor *a, int sig)
{
	while (!atomic_load(&a->done)) {
		pthread_kill(a->thread, sig);
		for (int i = 0; i < 20 && !atomic_load(&a->done); i++)
			sleep_ms(1);
	}
}

long actor_join(struct actor *a)
{
	EQ(pthread_join(a->thread, NULL), 0);
	errno = a->error;
	return a->result;
}

pid_t spawn(void (*run)(void *), void *arg)
{
	fflush(NULL);
	pid_t pid = OK(fork());

	if (pid == 0) {
		run(arg);
		_exit(0);
	}
	return pid;
}

void expect_exit(pid_t pid, const char *file, int line, int want)
{
	int status = 0;

	conform_at(file, line, "EXITS");
	if (waitpid(pid, &status, 0) != pid)
		conform_fail(file, line, "waitpid: %s", conform_errno_name(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != want)
		conform_fail(file, line, "child: expected exit status %d, got %s %d", want,
			     WIFEXITED(status) ? "exit status" : "signal",
			     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

void expect_killed(pid_t pid, const char *file, int line, int want)
{
	int status = 0;

	conform_at(file, line, "KILLED");
	if (waitpid(pid, &status, 0) != pid)
		conform_fail(file, line, "waitpid: %s", conform_errno_name(errno));
	if (!WIFSIGNALED(status) || WTERMSIG(status) != want)
		conform_fail(file, line, "child: expected signal %d, got %s %d", want,
			     WIFEXITED(status) ? "exit status" : "signal",
			     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

void await_sleeping(pid_t pid)
{
	await_asleep(pid, pid, NULL);
}

void latch_init(struct latch *l)
{
	EQ(pipe2(l->fd, O_CLOEXEC), 0);
}

void latch_open(struct latch *l)
{
	EQ(write(l->fd[1], "x", 1), 1);
}

void latch_pass(struct latch *l)
{
	char c;

	EQ(read(l->fd[0], &c, 1), 1);
}

void latch_fini(struct latch *l)
{
	close(l->fd[0]);
	close(l->fd[1]);
}

void talk_init(struct talk *t)
{
	unix_pair(SOCK_STREAM, t->sv);
	latch_init(&t->go);
	latch_init(&t->done);
}

void talk_fini(struct talk *t)
{
	for (int i = 0; i < 2; i++)
		if (t->sv[i] >= 0)
			OK(close(t->sv[i]));
	latch_fini(&t->go);
	latch_fini(&t->done);
}

static void count(int sig)
{
	(void)sig;
	atomic_fetch_add(&signals_seen, 1);
}

void count_signal(int sig, int flags)
{
	struct sigaction act = {.sa_handler = count, .sa_flags = flags};

	sigemptyset(&act.sa_mask);
	OK(sigaction(sig, &act, NULL));
	atomic_store(&signals_seen, 0);
}
