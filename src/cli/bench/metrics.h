/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The table of what `afunix bench` measures.
 *
 * One row says everything about a metric: its name and unit for the reader, where its
 * processes run, and the worker's function with its parameters.  The driver, the worker
 * and --list read the same table, so a metric is added by one row.
 */
#ifndef AFU_CLI_BENCH_METRICS_H
#define AFU_CLI_BENCH_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct afu_bench_job;

enum afu_bench_place {
	AFU_BENCH_CROSS, /* the two processes each on a processor of its own */
	AFU_BENCH_SAME,	 /* both on one processor */
	AFU_BENCH_FREE,	 /* on the pair of processors, placed by the scheduler */
};

struct afu_bench_metric {
	const char *name;
	const char *unit;
	const char *text; /* one line, for --list */
	bool higher_is_better;
	/*
	 * The kernel's sockets are also measured with non-blocking calls in a loop.  Only
	 * where each process has a processor: elsewhere such a loop measures the slices of
	 * the scheduler, and nobody would write it.
	 */
	bool nonblocking;
	/*
	 * The best round is the figure, not the median: for what adds a few per cent to every
	 * call, where a busy neighbour of the processor adds a third to a whole round.
	 */
	bool best;
	enum afu_bench_place place;
	int type; /* of the socket; 0: SOCK_STREAM */
	double (*measure)(const struct afu_bench_job *job);
	size_t size;	      /* bytes in a message */
	unsigned connections; /* how many at once */
	unsigned work_ns;     /* computing per request in the server */
};

/* One run of a worker. */
struct afu_bench_job {
	const struct afu_bench_metric *metric;
	uint64_t duration_ns; /* how long to measure, warm-up excluded */
	int flags;	      /* 0, or MSG_DONTWAIT for the non-blocking loop */
	unsigned cpu_count;   /* processors this process may use */
	int cpus[2];	      /* the client's and the server's; equal where there is one */
};

extern const struct afu_bench_metric afu_bench_metrics[];
extern const size_t afu_bench_metric_count;

/* NULL if there is no such metric. */
const struct afu_bench_metric *afu_bench_metric_find(const char *name);

/* The measuring functions; each ends the process with a message if it cannot measure. */
double afu_bench_rtt(const struct afu_bench_job *job);
double afu_bench_rtt_paced(const struct afu_bench_job *job);
double afu_bench_rtt_oversubscribed(const struct afu_bench_job *job);
double afu_bench_messages(const struct afu_bench_job *job);
double afu_bench_bandwidth(const struct afu_bench_job *job);
double afu_bench_fan_in(const struct afu_bench_job *job);
double afu_bench_pass_descriptor(const struct afu_bench_job *job);
double afu_bench_pass_credentials(const struct afu_bench_job *job);
double afu_bench_connect(const struct afu_bench_job *job);
double afu_bench_connect_stream(const struct afu_bench_job *job);
double afu_bench_connect_request(const struct afu_bench_job *job);
double afu_bench_epoll(const struct afu_bench_job *job);
double afu_bench_idle_memory(const struct afu_bench_job *job);
double afu_bench_idle_fds(const struct afu_bench_job *job);
double afu_bench_bystander_read(const struct afu_bench_job *job);

#endif
