/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The report: a table for people, or JSON with one object in each line.
 */
#ifndef AFU_CLI_BENCH_REPORT_H
#define AFU_CLI_BENCH_REPORT_H

#include <stdbool.h>

#include "cli/bench/metrics.h"
#include "cli/bench/run.h"

enum { AFU_BENCH_ROUNDS_MAX = 99 };

/* The figures of one metric on one target. */
struct afu_bench_series {
	double figures[AFU_BENCH_ROUNDS_MAX];
	unsigned n;
	char reason[AFU_BENCH_REASON_SIZE]; /* of the first failure; empty if there was none */
};

struct afu_bench_result {
	const struct afu_bench_metric *metric;
	struct afu_bench_series kernel, kernel_nonblocking, afunix;
	double cacheline_ns; /* just before this metric; negative: not measured */
	bool impossible;     /* needs two processors, and there is one */
};

struct afu_bench_machine {
	unsigned cpu_count;
	int cpus[2];
	double cacheline_ns;
	unsigned rounds;
	unsigned ms; /* per repetition */
};

struct afu_bench_report {
	bool json;
	unsigned wide, failed, left_behind; /* how many */
};

void afu_bench_report_begin(struct afu_bench_report *report, const struct afu_bench_machine *machine);
/* One metric; sorts the figures of the result. */
void afu_bench_report_result(struct afu_bench_report *report, struct afu_bench_result *result);
void afu_bench_report_end(struct afu_bench_report *report);

#endif
