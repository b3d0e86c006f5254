/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A program of cases that reports in TAP.  Each case runs in a process of its own
 * under an alarm, so one that crashes or hangs is one failed line and no more.  A
 * failed CHECK is noted and the case goes on; a failed NEED ends it.  Processes that
 * a case starts with tap_fork() die with the case, however it ends.
 */
#ifndef TESTS_UNIT_TAP_H
#define TESTS_UNIT_TAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tap_case {
	const char *name;
	void (*run)(void);
};

/* Runs the cases, or those whose name contains only (may be NULL); the exit status. */
int tap_run(const struct tap_case *cases, size_t n, unsigned int seconds, const char *only);

void tap_failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Ends the case: with failure if a check failed, else with success. */
void tap_leave(void) __attribute__((noreturn));
void tap_skip(const char *why) __attribute__((noreturn));
void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* How many checks failed in this case so far. */
unsigned int tap_failures(void);

/* A child that is killed when the calling thread's process ends. */
pid_t tap_fork(void);
/* Waits for it; its exit status, or minus the signal that ended it. */
int tap_wait(pid_t pid);
/* The same after SIGKILL. */
void tap_kill(pid_t pid);

/* The same numbers in every run: a failure can be had again. */
uint64_t tap_random(void);
uint64_t tap_below(uint64_t limit);
void tap_seed(uint64_t seed);

#define CHECK(condition)                                                                                     \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			tap_failed(__FILE__, __LINE__, "%s", #condition);                                    \
	} while (0)
#define NEED(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			tap_failed(__FILE__, __LINE__, "%s", #condition);                                    \
			tap_leave();                                                                         \
		}                                                                                            \
	} while (0)
#define CHECK_EQ(got, expected)                                                                              \
	do {                                                                                                 \
		long long tap_got = (long long)(got), tap_expected = (long long)(expected);                  \
		if (tap_got != tap_expected)                                                                 \
			tap_failed(__FILE__, __LINE__, "%s is %lld (0x%llx), expected %lld (0x%llx)", #got,  \
				   tap_got, (unsigned long long)tap_got, tap_expected,                       \
				   (unsigned long long)tap_expected);                                        \
	} while (0)

#endif
