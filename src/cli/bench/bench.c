/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * afunix bench: the same worker on the kernel's sockets and on afunix, in turn.
 *
 * The processors of a virtual machine float and other programs come and go, so figures are
 * only ever compared within one run: each round takes every metric's figure on each target
 * right after the other, and the report gives medians and ranges of the rounds.  The driver
 * measures nothing but the cache line; see worker.c for the rest.
 */
#include "cli/bench/bench.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench/cpu.h"
#include "cli/bench/report.h"
#include "cli/bench/run.h"

enum {
	ROUNDS = 5,
	FULL_MS = 1000,
	QUICK_MS = 100,
	/* How long a worker may take to answer, above the time it measures. */
	LIMIT_MS = 60000,
	CACHELINE_MS = 5,
	RUNNER_WORDS = 16,
	CHOSEN_MAX = 128,
};

struct options {
	bool json, list, help;
	unsigned ms, rounds;
	char *runner; /* words between spaces, cut in place; NULL: this program's "run" */
	const struct afu_bench_metric *chosen[CHOSEN_MAX];
	size_t chosen_count;
};

struct driver {
	char self[PATH_MAX];
	char *runner[RUNNER_WORDS];
	size_t runner_words;
	struct afu_bench_machine machine;
	struct afu_bench_report report;
};

static void usage(FILE *to)
{
	fputs("usage: afunix bench [--quick] [--json] [--rounds N] [--time MS] [--runner 'CMD ARGS'] "
	      "[METRIC...]\n"
	      "       afunix bench --list\n"
	      "\n"
	      "Measures afunix and the kernel's sockets side by side; without METRIC, everything.\n"
	      "\n"
	      "  --quick     100 ms for each repetition instead of 1 s\n"
	      "  --json      one JSON object in each line: the machine, then the metrics\n"
	      "  --rounds N  repetitions, 5 if not given\n"
	      "  --time MS   milliseconds for each repetition\n"
	      "  --runner    what runs a program on afunix, instead of `afunix run --`\n"
	      "  --list      the metrics\n",
	      to);
}

static int usage_error(const char *what, const char *which)
{
	fprintf(stderr, "afunix bench: %s%s\n", what, which);
	return 2;
}

static bool parse_number(const char *text, unsigned long min, unsigned long max, unsigned *value)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || n < min || n > max)
		return false;
	*value = (unsigned)n;
	return true;
}

static int parse_metrics(struct options *options, char **names, int n)
{
	if (n > CHOSEN_MAX)
		return usage_error("too many metrics", "");
	for (int i = 0; i < n; i++) {
		options->chosen[i] = afu_bench_metric_find(names[i]);
		if (!options->chosen[i]) {
			fprintf(stderr, "afunix bench: no metric '%s'; `afunix bench --list` shows them\n",
				names[i]);
			return 2;
		}
		options->chosen_count++;
	}
	if (n == 0)
		for (size_t i = 0; i < afu_bench_metric_count && i < CHOSEN_MAX; i++)
			options->chosen[options->chosen_count++] = &afu_bench_metrics[i];
	return 0;
}

/* 0, or the status to end with. */
static int parse(struct options *options, int argc, char **argv)
{
	static const struct option table[] = {
		{"quick", no_argument, NULL, 'q'},	  {"json", no_argument, NULL, 'j'},
		{"list", no_argument, NULL, 'l'},	  {"help", no_argument, NULL, 'h'},
		{"rounds", required_argument, NULL, 'r'}, {"time", required_argument, NULL, 't'},
		{"runner", required_argument, NULL, 'R'}, {NULL, 0, NULL, 0},
	};
	int c;

	*options = (struct options){.ms = FULL_MS, .rounds = ROUNDS};
	opterr = 0;
	optind = 0; /* 0, not 1: glibc starts anew, the caller may have parsed options of its own */
	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case 'q':
			options->ms = QUICK_MS;
			break;
		case 'j':
			options->json = true;
			break;
		case 'l':
			options->list = true;
			break;
		case 'h':
			options->help = true;
			break;
		case 'r':
			if (!parse_number(optarg, 1, AFU_BENCH_ROUNDS_MAX, &options->rounds))
				return usage_error("--rounds must be 1 to 99, not ", optarg);
			break;
		case 't':
			if (!parse_number(optarg, 10, 30000, &options->ms))
				return usage_error("--time must be 10 to 30000 milliseconds, not ", optarg);
			break;
		case 'R':
			options->runner = optarg;
			break;
		default:
			return usage_error("unknown option, or one without its value: ", argv[optind - 1]);
		}
	}
	return parse_metrics(options, argv + optind, argc - optind);
}

static void list(void)
{
	for (size_t i = 0; i < afu_bench_metric_count; i++)
		printf("%-23s %-5s %s\n", afu_bench_metrics[i].name, afu_bench_metrics[i].unit,
		       afu_bench_metrics[i].text);
}

static int driver_init(struct driver *driver, struct options *options)
{
	static char run[] = "run", end_of_options[] = "--";
	struct afu_bench_machine *machine = &driver->machine;
	/* Resolved: under a runner, /proc/self/exe would be the runner. */
	const ssize_t n = readlink("/proc/self/exe", driver->self, sizeof(driver->self) - 1);

	if (n < 0 || afu_bench_cpus(&machine->cpu_count, machine->cpus) < 0 || afu_bench_run_init() < 0) {
		fprintf(stderr, "afunix bench: %s\n", strerror(errno));
		return -1;
	}
	driver->self[n] = '\0';
	if (options->runner) {
		for (char *word = strtok(options->runner, " "); word; word = strtok(NULL, " ")) {
			if (driver->runner_words == RUNNER_WORDS) {
				usage_error("--runner has too many words", "");
				return -1;
			}
			driver->runner[driver->runner_words++] = word;
		}
		/* Without a runner both columns would be the kernel's. */
		if (driver->runner_words == 0) {
			usage_error("--runner is empty", "");
			return -1;
		}
	} else {
		driver->runner[driver->runner_words++] = driver->self;
		driver->runner[driver->runner_words++] = run;
		driver->runner[driver->runner_words++] = end_of_options;
	}
	machine->rounds = options->rounds;
	machine->ms = options->ms;
	machine->cacheline_ns = afu_bench_cacheline_ns(machine->cpus, CACHELINE_MS * 4 * 1000000u);
	driver->report.json = options->json;
	return 0;
}

/* One figure into the series.  A target that failed is not asked again: it may take a minute. */
static void take(struct driver *driver, const struct afu_bench_metric *metric, bool afunix, const char *mode,
		 struct afu_bench_series *series)
{
	char worker[] = "bench-worker", name[64], how[16], ms[16];
	char *argv[RUNNER_WORDS + 6];
	struct afu_bench_run run;
	size_t n = 0;

	if (series->reason[0] || afu_bench_run_interrupted())
		return;
	snprintf(name, sizeof(name), "%s", metric->name);
	snprintf(how, sizeof(how), "%s", mode);
	snprintf(ms, sizeof(ms), "%u", driver->machine.ms);
	for (size_t i = 0; afunix && i < driver->runner_words; i++)
		argv[n++] = driver->runner[i];
	argv[n++] = driver->self;
	argv[n++] = worker;
	argv[n++] = name;
	argv[n++] = how;
	argv[n++] = ms;
	argv[n] = NULL;
	if (afu_bench_run(argv, LIMIT_MS + (int)driver->machine.ms, &run) == 0)
		series->figures[series->n++] = run.figure;
	else
		snprintf(series->reason, sizeof(series->reason), "%s", run.reason);
	driver->report.left_behind += run.left_behind;
}

static void measure(struct driver *driver, const struct afu_bench_metric *metric)
{
	struct afu_bench_result result = {.metric = metric, .cacheline_ns = -1};
	const struct afu_bench_machine *machine = &driver->machine;

	result.impossible = metric->place == AFU_BENCH_CROSS && machine->cpu_count < 2;
	if (!result.impossible) {
		result.cacheline_ns = afu_bench_cacheline_ns(machine->cpus, CACHELINE_MS * 1000000u);
		for (unsigned i = 0; i < machine->rounds; i++) {
			take(driver, metric, false, "blocking", &result.kernel);
			if (metric->nonblocking)
				take(driver, metric, false, "nonblocking", &result.kernel_nonblocking);
			take(driver, metric, true, "blocking", &result.afunix);
		}
	}
	/* An interrupted metric has medians of fewer rounds than the report says: not shown. */
	if (!afu_bench_run_interrupted())
		afu_bench_report_result(&driver->report, &result);
}

int afu_cli_bench(int argc, char **argv)
{
	struct driver driver = {0};
	struct options options;
	const int status = parse(&options, argc, argv);

	if (status)
		return status;
	if (options.help || options.list) {
		if (options.help)
			usage(stdout);
		else
			list();
		return 0;
	}
	if (driver_init(&driver, &options) < 0)
		return 2;
	afu_bench_report_begin(&driver.report, &driver.machine);
	for (size_t i = 0; i < options.chosen_count && !afu_bench_run_interrupted(); i++)
		measure(&driver, options.chosen[i]);
	if (afu_bench_run_interrupted())
		return 128 + afu_bench_run_interrupted();
	afu_bench_report_end(&driver.report);
	return driver.report.failed ? 1 : 0;
}
