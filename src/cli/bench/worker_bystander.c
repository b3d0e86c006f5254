/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The bystander: a program that runs under afunix and has no socket.
 *
 * Every read() it makes passes the preloaded library, which must find out that the
 * descriptor is none of its own.  /dev/zero is the cheapest read there is, so this shows
 * the largest share such a look can have.
 *
 * The figure is what the fastest fiftieth of the batches took at most, not the median: the
 * look adds the same to every read, a few nanoseconds, while a processor whose sibling is
 * busy makes all of them a third slower for as long as that lasts.
 */
#include "cli/bench/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/bench/cpu.h"

enum {
	BATCH = 256,
	SAMPLES = 1 << 16,
	FLOOR_SHARE = 50,
};

double afu_bench_bystander_read(const struct afu_bench_job *job)
{
	uint32_t *samples = afu_bench_buffer(SAMPLES * sizeof(*samples));
	const ssize_t size = (ssize_t)job->metric->size;
	char buf[64];
	unsigned n = 0;
	uint64_t begin, now, start;
	double ns;
	const int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		afu_bench_fail(errno, "/dev/zero");
	if (size > (ssize_t)sizeof(buf))
		afu_bench_fail(0, "the metric's size is larger than the buffer");
	if (afu_bench_pin(job->cpus[0], job->cpus[0]) < 0)
		afu_bench_fail(errno, "sched_setaffinity");
	now = start = afu_bench_now();
	while (now - start < job->duration_ns * 9 / 8 && n < SAMPLES) {
		begin = now;
		for (int i = 0; i < BATCH; i++)
			if (read(fd, buf, (size_t)size) != size)
				afu_bench_fail(errno, "read");
		now = afu_bench_now();
		/* The first eighth is the warm-up. */
		if (now - start > job->duration_ns / 8)
			samples[n++] = (uint32_t)(now - begin);
	}
	close(fd);
	if (n == 0)
		afu_bench_fail(0, "no read was timed");
	afu_bench_median(samples, n); /* for its sorting */
	ns = (double)samples[n / FLOOR_SHARE] / BATCH;
	free(samples);
	return ns;
}
