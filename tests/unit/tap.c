/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_FAILED 1
#define EXIT_SKIPPED 77
#define NOTES_MAX 20

static unsigned int failures;
static uint64_t state = 1;

static void print(const char *head, const char *format, va_list ap)
{
	char line[512];

	vsnprintf(line, sizeof line, format, ap);
	printf("# %s%s\n", head, line);
	fflush(stdout);
}

void tap_note(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	print("", format, ap);
	va_end(ap);
}

void tap_failed(const char *file, int line, const char *format, ...)
{
	const char *name = strrchr(file, '/');
	char head[128];
	va_list ap;

	if (failures++ >= NOTES_MAX)
		return;
	snprintf(head, sizeof head, "%s:%d: ", name ? name + 1 : file, line);
	va_start(ap, format);
	print(head, format, ap);
	va_end(ap);
}

unsigned int tap_failures(void)
{
	return failures;
}

void tap_leave(void)
{
	if (failures > NOTES_MAX)
		printf("# %u checks failed\n", failures);
	fflush(stdout);
	_exit(failures ? EXIT_FAILED : 0);
}

void tap_skip(const char *why)
{
	printf("# skipped: %s\n", why);
	fflush(stdout);
	_exit(failures ? EXIT_FAILED : EXIT_SKIPPED);
}

pid_t tap_fork(void)
{
	pid_t parent = getpid(), pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(EXIT_FAILED);
	}
	return pid;
}

int tap_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1000;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void tap_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	tap_wait(pid);
}

void tap_seed(uint64_t seed)
{
	state = seed * 2 + 1;
}

/* xorshift64* */
uint64_t tap_random(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * UINT64_C(2685821657736338717);
}

uint64_t tap_below(uint64_t limit)
{
	return tap_random() % limit;
}

static int run_case(const struct tap_case *c, unsigned int seconds, unsigned int number)
{
	pid_t pid = tap_fork();
	int status;

	if (pid == 0) {
		alarm(seconds);
		c->run();
		tap_leave();
	}
	status = pid < 0 ? -1000 : tap_wait(pid);
	if (status == -SIGALRM)
		printf("# not done after %u s\n", seconds);
	else if (status < 0)
		printf("# ended by signal %d\n", -status);
	printf("%s %u - %s%s\n", status == 0 || status == EXIT_SKIPPED ? "ok" : "not ok", number, c->name,
	       status == EXIT_SKIPPED ? " # SKIP see above" : "");
	fflush(stdout);
	return status != 0 && status != EXIT_SKIPPED;
}

int tap_run(const struct tap_case *cases, size_t n, unsigned int seconds, const char *only)
{
	unsigned int number = 0, failed = 0;

	for (size_t i = 0; i < n; i++)
		number += !only || strstr(cases[i].name, only);
	printf("1..%u\n", number);
	number = 0;
	for (size_t i = 0; i < n; i++) {
		if (!only || strstr(cases[i].name, only))
			failed += (unsigned int)run_case(&cases[i], seconds, ++number);
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
