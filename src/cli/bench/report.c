/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The report: a table for people, or JSON with one object in each line.
 *
 * Both are written line by line as the figures come, so that an interrupted run has said
 * what it knew.  A figure that could not be taken is "failed" or null with its reason, and
 * never left out.
 */
#include "cli/bench/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

/* A range wider than this share of the median is marked: such a figure is to be repeated. */
static const double wide_range = 0.3;

struct summary {
	bool known;
	double value, min, max; /* value: the median, or the best where the metric says so */
};

static int compare_double(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* A series with a failure has no value, however many figures came before it. */
static struct summary summarise(const struct afu_bench_metric *metric, struct afu_bench_series *series)
{
	struct summary s = {false, NAN, NAN, NAN};
	const unsigned n = series->n;

	if (n == 0 || series->reason[0])
		return s;
	qsort(series->figures, n, sizeof(series->figures[0]), compare_double);
	s.known = true;
	s.min = series->figures[0];
	s.max = series->figures[n - 1];
	if (metric->best)
		s.value = metric->higher_is_better ? s.max : s.min;
	else
		s.value = n % 2 ? series->figures[n / 2]
				: (series->figures[n / 2 - 1] + series->figures[n / 2]) / 2;
	return s;
}

static bool is_wide(const struct summary *s)
{
	return s->known && s->max - s->min > wide_range * fabs(s->value);
}

/* How many times better afunix is; NAN if there is no telling. */
static double ratio_of(const struct afu_bench_metric *metric, const struct summary *kernel,
		       const struct summary *afunix)
{
	const double better = metric->higher_is_better ? afunix->value : kernel->value;
	const double worse = metric->higher_is_better ? kernel->value : afunix->value;

	return kernel->known && afunix->known && worse > 0 ? better / worse : NAN;
}

/* "model name" of the first processor; the machine's architecture where there is none. */
static void cpu_model(char *model, size_t size, const char *otherwise)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(model, size, "%s", otherwise);
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		const char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) != 0 || !colon)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(model, size, "%s", colon + 1 + strspn(colon + 1, " "));
		break;
	}
	fclose(file);
}

static void json_string(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", (unsigned)(unsigned char)*text);
		else
			putchar(*text);
	putchar('"');
}

/* JSON has no NaN: what is not known is null. */
static void json_number(const char *key, double value)
{
	if (isfinite(value))
		printf(",\"%s\":%.6g", key, value);
	else
		printf(",\"%s\":null", key);
}

static void json_range(const char *key, const struct summary *s)
{
	if (s->known)
		printf(",\"%s\":[%.6g,%.6g]", key, s->min, s->max);
	else
		printf(",\"%s\":null", key);
}

static void json_reason(const char *key, const struct afu_bench_series *series)
{
	if (series->reason[0]) {
		printf(",\"%s\":", key);
		json_string(series->reason);
	}
}

static void json_result(struct afu_bench_result *result, const struct summary *kernel,
			const struct summary *loop, const struct summary *afunix)
{
	const struct afu_bench_metric *metric = result->metric;

	printf("{\"metric\":\"%s\",\"unit\":\"%s\"", metric->name, metric->unit);
	json_number("kernel", kernel->value);
	json_number("kernel_nonblocking", loop->value);
	json_number("afunix", afunix->value);
	json_number("ratio", ratio_of(metric, kernel, afunix));
	json_number("ratio_nonblocking", ratio_of(metric, loop, afunix));
	printf(",\"better\":\"%s\",\"statistic\":\"%s\"", metric->higher_is_better ? "higher" : "lower",
	       metric->best ? "best" : "median");
	json_range("kernel_range", kernel);
	json_range("kernel_nonblocking_range", loop);
	json_range("afunix_range", afunix);
	json_number("cacheline_rtt_ns", result->cacheline_ns < 0 ? NAN : result->cacheline_ns);
	if (result->impossible)
		printf(",\"note\":\"not possible: needs two processors\"");
	json_reason("kernel_error", &result->kernel);
	json_reason("kernel_nonblocking_error", &result->kernel_nonblocking);
	json_reason("afunix_error", &result->afunix);
	puts("}");
}

/* Three digits that mean something. */
static int number(char *to, size_t size, double value)
{
	const double magnitude = fabs(value);
	const int decimals = magnitude >= 99.95 ? 0 : magnitude >= 9.995 ? 1 : magnitude >= 0.9995 ? 2 : 3;

	return snprintf(to, size, "%.*f", decimals, value);
}

/* "value (min-max)" */
static void cell(char *to, size_t size, const struct summary *s, const struct afu_bench_series *series)
{
	char value[24], min[24], max[24];

	if (!s->known) {
		snprintf(to, size, "%s", series->reason[0] ? "failed" : "-");
		return;
	}
	number(value, sizeof(value), s->value);
	number(min, sizeof(min), s->min);
	number(max, sizeof(max), s->max);
	snprintf(to, size, "%s (%s-%s)%s", value, min, max, is_wide(s) ? "~" : "");
}

static void cell_ratio(char *to, size_t size, double ratio)
{
	if (!isfinite(ratio)) {
		snprintf(to, size, "-");
		return;
	}
	snprintf(to + number(to, size - 1, ratio), 2, "x");
}

static void table_reason(const char *target, const struct afu_bench_series *series)
{
	if (series->reason[0])
		printf("  %s failed: %s\n", target, series->reason);
}

static void table_result(struct afu_bench_result *result, const struct summary *kernel,
			 const struct summary *loop, const struct summary *afunix)
{
	const struct afu_bench_metric *metric = result->metric;
	char k[80], l[24] = "-", a[80], r[32], rl[32], line[32] = "-";

	if (result->impossible) {
		printf("%-23s %-5s not possible: needs two processors\n", metric->name, metric->unit);
		return;
	}
	cell(k, sizeof(k), kernel, &result->kernel);
	cell(a, sizeof(a), afunix, &result->afunix);
	if (loop->known)
		number(l, sizeof(l), loop->value);
	else if (result->kernel_nonblocking.reason[0])
		snprintf(l, sizeof(l), "failed");
	cell_ratio(r, sizeof(r), ratio_of(metric, kernel, afunix));
	cell_ratio(rl, sizeof(rl), ratio_of(metric, loop, afunix));
	if (result->cacheline_ns >= 0)
		snprintf(line, sizeof(line), "%.0f ns", result->cacheline_ns);
	printf("%-23s %-5s %-24s %8s   %-24s %8s %8s %8s\n", metric->name, metric->unit, k, l, a, r, rl,
	       line);
	table_reason("kernel", &result->kernel);
	table_reason("kernel, non-blocking,", &result->kernel_nonblocking);
	table_reason("afunix", &result->afunix);
}

void afu_bench_report_begin(struct afu_bench_report *report, const struct afu_bench_machine *machine)
{
	char model[128], date[32];
	struct utsname system;
	struct tm tm;
	const time_t now = time(NULL);

	uname(&system);
	cpu_model(model, sizeof(model), system.machine);
	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);

	if (report->json) {
		printf("{\"cpu\":");
		json_string(model);
		printf(",\"kernel\":");
		json_string(system.release);
		json_number("cacheline_rtt_ns", machine->cacheline_ns < 0 ? NAN : machine->cacheline_ns);
		printf(",\"cpus\":%u,\"repetitions\":%u,\"repetition_ms\":%u,\"date\":\"%s\"}\n",
		       machine->cpu_count, machine->rounds, machine->ms, date);
		return;
	}
	printf("%s, %u processor%s, Linux %s, %s\n", model, machine->cpu_count,
	       machine->cpu_count == 1 ? "" : "s", system.release, date);
	printf("%u repetition%s of %u ms each, in turn: kernel, kernel with non-blocking calls in a loop, "
	       "afunix\n",
	       machine->rounds, machine->rounds == 1 ? "" : "s", machine->ms);
	if (machine->cacheline_ns >= 0)
		printf("round trip of a cache line between processors %d and %d: %.0f ns\n", machine->cpus[0],
		       machine->cpus[1], machine->cacheline_ns);
	else
		puts("round trip of a cache line: not possible with one processor");
	printf("\n%-23s %-5s %-24s %8s   %-24s %8s %8s %8s\n", "metric", "unit", "kernel (range)", "loop",
	       "afunix (range)", "ratio", "to loop", "line");
}

void afu_bench_report_result(struct afu_bench_report *report, struct afu_bench_result *result)
{
	const struct summary kernel = summarise(result->metric, &result->kernel);
	const struct summary loop = summarise(result->metric, &result->kernel_nonblocking);
	const struct summary afunix = summarise(result->metric, &result->afunix);

	if (report->json)
		json_result(result, &kernel, &loop, &afunix);
	else
		table_result(result, &kernel, &loop, &afunix);
	fflush(stdout);
	report->wide += is_wide(&kernel) || is_wide(&afunix);
	report->failed +=
		result->kernel.reason[0] || result->kernel_nonblocking.reason[0] || result->afunix.reason[0];
}

void afu_bench_report_end(struct afu_bench_report *report)
{
	if (report->left_behind)
		fprintf(stderr, "afunix bench: workers left %u process%s behind, killed\n",
			report->left_behind, report->left_behind == 1 ? "" : "es");
	if (report->json)
		return;
	puts("\nmedian of the rounds, for bystander_read the best (least-most); ratio: how many times\n"
	     "better than the kernel's blocking calls, above 1 is better; line: round trip of a cache\n"
	     "line just before the metric");
	if (report->wide)
		printf("~ in %u metric%s a range is wider than %.0f %% of its median: the machine was busy, "
		       "or its\n"
		       "  processors moved; compare the line column and repeat\n",
		       report->wide, report->wide == 1 ? "" : "s", wide_range * 100);
	if (report->failed)
		printf("%u metric%s FAILED\n", report->failed, report->failed == 1 ? "" : "s");
}
