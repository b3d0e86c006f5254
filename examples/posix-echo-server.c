/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A plain POSIX echo server: one poll() over the listener and its connections.  It
 * knows nothing of afunix; "afunix run -- posix-echo-server PATH" makes it use it.
 *
 *   posix-echo-server PATH [N]    serve for ever, or until the Nth connection ended
 *
 * A PATH that begins with '@' is an abstract name.
 */
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CONNECTIONS 100

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t put = send(fd, p, n, MSG_NOSIGNAL);
		if (put < 0)
			return -1;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static char buf[65536];
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct pollfd fds[1 + MAX_CONNECTIONS] = {{.events = POLLIN}};
	nfds_t n = 1;

	if (argc < 2 || strlen(argv[1]) >= sizeof(addr.sun_path)) {
		fprintf(stderr, "usage: posix-echo-server PATH [CONNECTIONS]\n");
		return 2;
	}
	long left = argc > 2 ? strtol(argv[2], NULL, 10) : -1;
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(argv[1]));
	memcpy(addr.sun_path, argv[1], strlen(argv[1]));
	if (argv[1][0] == '@')
		addr.sun_path[0] = '\0';

	fds[0].fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fds[0].fd < 0 || bind(fds[0].fd, (struct sockaddr *)&addr, len) < 0 || listen(fds[0].fd, 50) < 0)
		die(argv[1]);
	while (left != 0) {
		if (poll(fds, n, -1) < 0)
			die("poll");
		for (nfds_t i = n - 1; i > 0; i--) {
			if (!fds[i].revents)
				continue;
			ssize_t got = recv(fds[i].fd, buf, sizeof(buf), 0);
			if (got > 0 && write_all(fds[i].fd, buf, (size_t)got) == 0)
				continue;
			close(fds[i].fd);
			fds[i] = fds[--n];
			left -= left > 0;
		}
		if (fds[0].revents && n <= MAX_CONNECTIONS) {
			fds[n] = (struct pollfd){.fd = accept(fds[0].fd, NULL, NULL), .events = POLLIN};
			n += fds[n].fd >= 0;
		}
	}
	return addr.sun_path[0] != '\0' && unlink(argv[1]) < 0;
}
