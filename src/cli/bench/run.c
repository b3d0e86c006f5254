/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Running one worker as a child process, with a limit of time and nothing left behind.
 *
 * The worker leads a process group of its own, so it can be killed with its children.  The
 * driver is a subreaper: a broker that outlives the program it was started for becomes the
 * driver's child, is given a moment to end, and is killed if it does not.  Only descendants
 * of the driver are ever signalled.
 */
#include "cli/bench/run.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench/cpu.h"
#include "cli/bench/tree.h"

enum {
	SLICE_MS = 200, /* how late an interrupt may be noticed */
	LEFT_MAX = 64,
};

/* How long a broker may take to end after its program. */
#define GRACE_NS UINT64_C(1000000000)

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

int afu_bench_run_interrupted(void)
{
	return interrupted;
}

int afu_bench_run_init(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	/* An inherited SIG_IGN would reap the workers before their status is read. */
	if (signal(SIGCHLD, SIG_DFL) == SIG_ERR || sigaction(SIGINT, &action, NULL) < 0 ||
	    sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGHUP, &action, NULL) < 0)
		return -1;
	return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* What a worker writes to one of its two outputs; longer output is read and dropped. */
struct output {
	int fd;
	size_t n;
	char text[1024];
};

static void output_drain(struct output *output)
{
	char spill[1024];
	ssize_t got;

	while ((got = read(output->fd, spill, sizeof(spill))) > 0) {
		size_t take = sizeof(output->text) - 1 - output->n;

		if (take > (size_t)got)
			take = (size_t)got;
		memcpy(output->text + output->n, spill, take);
		output->n += take;
	}
	output->text[output->n] = '\0';
	if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(output->fd);
		output->fd = -1; /* which poll() passes over */
	}
}

static void output_close(struct output *output)
{
	if (output->fd >= 0)
		output_drain(output);
	if (output->fd >= 0)
		close(output->fd);
	output->fd = -1;
}

static _Noreturn void become(char *const argv[], int out, int err)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	const int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	/*
	 * Both targets start from the same environment: without a domain, and without what an
	 * outer `afunix run` may have preloaded, or the kernel's figures would not be its own.
	 */
	unsetenv("LD_PRELOAD");
	unsetenv("AFUNIX_DOMAIN");
	execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static pid_t start(char *const argv[], struct output *out, struct output *err)
{
	int out_pipe[2], err_pipe[2];
	pid_t pid = -1;

	if (pipe2(out_pipe, O_CLOEXEC) < 0)
		return -1;
	if (pipe2(err_pipe, O_CLOEXEC) == 0) {
		fflush(NULL);
		pid = fork();
		if (pid == 0)
			become(argv, out_pipe[1], err_pipe[1]);
		close(err_pipe[1]);
		err->fd = err_pipe[0];
	}
	close(out_pipe[1]);
	out->fd = out_pipe[0];
	if (pid < 0)
		return -1;
	setpgid(pid, pid); /* here too, so that the group exists whichever of the two is first */
	fcntl(out->fd, F_SETFL, O_NONBLOCK);
	fcntl(err->fd, F_SETFL, O_NONBLOCK);
	return pid;
}

static unsigned kill_descendants(void)
{
	unsigned killed = 0;
	pid_t left[LEFT_MAX];
	const size_t n = afu_bench_tree_below(getpid(), left, LEFT_MAX);

	for (size_t i = 0; i < n; i++)
		killed += kill(left[i], SIGKILL) == 0;
	return killed;
}

/* Reads the outputs until the process ends; false if it did not in time. */
static int await(pid_t pid, int limit_ms, struct output *out, struct output *err, int *status)
{
	const uint64_t end = afu_bench_now() + (uint64_t)limit_ms * 1000000u;
	/* By number: libc has a wrapper only since 2.36. */
	const int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int ended = 0;

	while (!ended && !interrupted && afu_bench_now() < end) {
		struct pollfd fds[] = {{out->fd, POLLIN, 0}, {err->fd, POLLIN, 0}, {pidfd, POLLIN, 0}};

		/* Without pidfds (before Linux 5.3) the end is noticed by asking often. */
		if (poll(fds, 3, pidfd < 0 ? 5 : SLICE_MS) > 0) {
			if (fds[0].revents)
				output_drain(out);
			if (fds[1].revents)
				output_drain(err);
		}
		ended = waitpid(pid, status, WNOHANG) == pid;
	}
	if (pidfd >= 0)
		close(pidfd);
	return ended;
}

/*
 * Reaps what the worker left to the driver; what does not end within the grace is killed.
 * Again and again, since a descendant may fork while it is being looked for, but not for
 * ever: one that sleeps in the kernel would hold up the driver.
 */
static unsigned reap_rest(void)
{
	const struct timespec pause = {0, 2000000};
	const uint64_t end = afu_bench_now() + GRACE_NS;
	unsigned killed = 0;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 && afu_bench_now() < end + GRACE_NS) {
		if (pid > 0)
			continue;
		if (afu_bench_now() >= end || interrupted) {
			const unsigned n = kill_descendants();

			killed = n > killed ? n : killed;
		}
		nanosleep(&pause, NULL);
	}
	return killed;
}

/* The first line, fit for a table and for JSON: printable ASCII. */
static void first_line(const char *text, char *line, size_t size)
{
	size_t n = 0;

	for (; text[n] && text[n] != '\n' && n < size - 1; n++)
		line[n] = (unsigned char)text[n] < ' ' || (unsigned char)text[n] > '~' ? ' ' : text[n];
	line[n] = '\0';
}

/* The reason, and what the worker itself said first. */
__attribute__((format(printf, 3, 4))) static void explain(struct afu_bench_run *run, const struct output *err,
							  const char *format, ...)
{
	const size_t size = sizeof(run->reason);
	char line[160];
	va_list args;
	size_t n;

	va_start(args, format);
	vsnprintf(run->reason, size, format, args);
	va_end(args);
	first_line(err->text, line, sizeof(line));
	n = strlen(run->reason);
	if (line[0])
		snprintf(run->reason + n, size - n, ": %s", line);
}

/* The figure must be the whole output: anything else is not a worker's. */
static int parse(const struct output *out, double *figure)
{
	char *end;

	*figure = strtod(out->text, &end);
	return end != out->text && strcmp(end, "\n") == 0 && isfinite(*figure);
}

int afu_bench_run(char *const argv[], int limit_ms, struct afu_bench_run *run)
{
	struct output out = {.fd = -1}, err = {.fd = -1};
	int status = 0, ended;
	const pid_t pid = start(argv, &out, &err);
	const int error = errno;

	memset(run, 0, sizeof(*run));
	if (pid < 0) {
		explain(run, &err, "cannot start a process: %s", strerror(error));
		output_close(&out);
		output_close(&err);
		return -1;
	}
	ended = await(pid, limit_ms, &out, &err, &status);
	if (!ended) {
		/* The tree first: once its leader is dead, a process of another group has no trace to here.
		 */
		kill_descendants();
		kill(-pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	output_close(&out);
	output_close(&err);
	run->left_behind = reap_rest();

	if (interrupted)
		explain(run, &err, "interrupted by signal %d", (int)interrupted);
	else if (!ended)
		explain(run, &err, "no figure in %d ms, killed", limit_ms);
	else if (WIFSIGNALED(status))
		explain(run, &err, "killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		explain(run, &err, "ended with status %d", WEXITSTATUS(status));
	else if (!parse(&out, &run->figure))
		explain(run, &err, "ended well, but its output is not a figure");
	else
		return 0;
	return -1;
}
