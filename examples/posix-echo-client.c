/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A plain POSIX client of posix-echo-server: sends a message, waits for its echo,
 * compares, N times; then prints the round trips per second and, from a timestamp
 * taken after each, the 50th and 99th percentile of their time.
 *
 *   posix-echo-client PATH [N [SIZE]]
 */
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char out[65536], in[65536];

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 10000;
	size_t size = argc > 3 ? strtoul(argv[3], NULL, 10) : 64;

	if (argc < 2 || strlen(argv[1]) >= sizeof(addr.sun_path) || n == 0 || size == 0 || size > sizeof(out)) {
		fprintf(stderr, "usage: posix-echo-client PATH [ROUND-TRIPS [SIZE]]\n");
		return 2;
	}
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(argv[1]));
	memcpy(addr.sun_path, argv[1], strlen(argv[1]));
	if (argv[1][0] == '@')
		addr.sun_path[0] = '\0';
	int64_t *took = calloc(n, sizeof(*took));
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (!took || fd < 0)
		return perror("posix-echo-client"), 1;
	for (int tries = 0; connect(fd, (struct sockaddr *)&addr, len) < 0; tries++)
		if (tries == 500 || poll(NULL, 0, 10) < 0) /* the server may need a moment to start */
			return perror(argv[1]), 1;

	int64_t start = now_ns(), before = start, after = start;
	for (size_t i = 0; i < n; i++, before = after) {
		memset(out, (int)(i % 251), size);
		if (send(fd, out, size, MSG_NOSIGNAL) != (ssize_t)size)
			return perror("send"), 1;
		for (size_t have = 0; have < size;) {
			ssize_t got = recv(fd, in + have, size - have, 0);
			if (got <= 0)
				return fprintf(stderr, "the server is gone\n"), 1;
			have += (size_t)got;
		}
		if (memcmp(in, out, size) != 0)
			return fprintf(stderr, "round trip %zu: the echo differs\n", i), 1;
		took[i] = (after = now_ns()) - before;
	}
	qsort(took, n, sizeof(*took), ascending);
	printf("%.0f round trips per second, p50 %.2f us, p99 %.2f us\n", (double)n * 1e9 / (double)(after - start),
	       (double)took[n / 2] / 1e3, (double)took[n * 99 / 100] / 1e3);
	free(took);
	return close(fd) < 0;
}
