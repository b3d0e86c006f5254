/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What the process of a case tells the runner, in memory that both map.  Owned by
 * the runner, which clears it before each case; any thread or forked child of the
 * case adds to it.
 */
#ifndef CONFORM_REPORT_H
#define CONFORM_REPORT_H

#include "conform.h"

#define CONFORM_EXIT_FAILED 1
#define CONFORM_EXIT_SKIPPED 77
#define CONFORM_LEFT_MAX 16

struct conform_report {
	_Atomic unsigned int failures;
	/* The last check begun; pointers into the text of the program, the same in every fork. */
	const char *file;
	const char *text;
	int line;
	char skip[128];
	char left[CONFORM_LEFT_MAX][128];
	_Atomic size_t used;
	char notes[32768];
};

/* NULL in a program started with --exec. */
extern struct conform_report *conform_report;

void conform_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
