/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Processors: which there are, pinning to them, and how far apart they are.
 *
 * The round trip of a cache line is the floor of everything measured across processors,
 * and in a virtual machine it changes with where the host puts them.  A figure without it
 * cannot be compared with a figure of another hour.
 */
#include "cli/bench/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum {
	LINE_BATCH = 128, /* round trips between two looks at the clock */
	LINE_SAMPLES = 16384,
	/* While another program has one of the processors, samples are few and wrong: wait for more. */
	LINE_SAMPLES_MIN = 64,
	LINE_PATIENCE = 20, /* times the duration */
};

uint64_t afu_bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int compare_u32(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

uint32_t afu_bench_median(uint32_t *values, unsigned n)
{
	qsort(values, n, sizeof(*values), compare_u32);
	return values[n / 2];
}

int afu_bench_cpus(unsigned *count, int cpus[2])
{
	cpu_set_t set;
	unsigned found = 0;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -1;
	cpus[0] = cpus[1] = 0;
	for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++) {
		if (!CPU_ISSET((size_t)cpu, &set))
			continue;
		if (found == 0)
			cpus[0] = cpu;
		cpus[1] = cpu;
		found++;
	}
	*count = (unsigned)CPU_COUNT(&set);
	return 0;
}

int afu_bench_pin(int first, int second)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)first, &set);
	CPU_SET((size_t)second, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

struct line {
	/* Odd: the caller's turn is over; even: the answerer's is; LINE_END: finished. */
	_Alignas(128) _Atomic uint64_t turn;
	_Alignas(128) uint64_t duration_ns;
	int cpus[2];
	bool astray; /* the answerer could not be pinned: it answers, but for nothing */
	unsigned samples;
	uint32_t *sample; /* ns per LINE_BATCH round trips */
};

#define LINE_END UINT64_MAX

static void *answerer_run(void *arg)
{
	struct line *line = arg;

	line->astray = afu_bench_pin(line->cpus[1], line->cpus[1]) < 0;
	for (uint64_t next = 1;; next += 2) {
		uint64_t turn;

		/* acquire and release: each pairs with the other in caller_run(). */
		do
			turn = atomic_load_explicit(&line->turn, memory_order_acquire);
		while (turn != next && turn != LINE_END);
		if (turn == LINE_END)
			return NULL;
		atomic_store_explicit(&line->turn, next + 1, memory_order_release);
	}
}

static void *caller_run(void *arg)
{
	struct line *line = arg;
	uint64_t turn = 0, begin, end, last, now;

	if (afu_bench_pin(line->cpus[0], line->cpus[0]) == 0) {
		now = afu_bench_now();
		end = now + line->duration_ns;
		last = now + line->duration_ns * LINE_PATIENCE;
		do {
			begin = now;
			for (int i = 0; i < LINE_BATCH; i++) {
				turn += 2;
				atomic_store_explicit(&line->turn, turn - 1, memory_order_release);
				while (atomic_load_explicit(&line->turn, memory_order_acquire) != turn)
					;
			}
			now = afu_bench_now();
			line->sample[line->samples++] = (uint32_t)(now - begin);
		} while (now < (line->samples < LINE_SAMPLES_MIN ? last : end) &&
			 line->samples < LINE_SAMPLES);
	}
	atomic_store_explicit(&line->turn, LINE_END, memory_order_release);
	return NULL;
}

double afu_bench_cacheline_ns(const int cpus[2], uint64_t duration_ns)
{
	struct line line = {.duration_ns = duration_ns, .cpus = {cpus[0], cpus[1]}};
	pthread_t answerer, caller;
	double ns = -1;

	if (cpus[0] == cpus[1])
		return -1;
	line.sample = calloc(LINE_SAMPLES, sizeof(*line.sample));
	if (!line.sample)
		return -1;
	if (pthread_create(&answerer, NULL, answerer_run, &line) == 0) {
		if (pthread_create(&caller, NULL, caller_run, &line) == 0)
			pthread_join(caller, NULL);
		else
			atomic_store_explicit(&line.turn, LINE_END, memory_order_release);
		pthread_join(answerer, NULL);
	}
	if (line.samples > 0 && !line.astray)
		ns = (double)afu_bench_median(line.sample, line.samples) / LINE_BATCH;
	free(line.sample);
	return ns;
}
