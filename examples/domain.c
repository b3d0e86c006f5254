/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A program that is linked with the library joins a lasting domain, one that afunixd
 * serves, and talks to a server in it.  The server may be any program, such as
 *
 *   afunixd demo &
 *   afunix run --domain demo -- posix-echo-server /tmp/echo &
 *   domain demo /tmp/echo
 *
 * Without afunix_attach() the variable AFUNIX_DOMAIN would choose the domain.
 */
#include <afunix/afunix.h>
#include <stdio.h>
#include <string.h>

static int failed(const char *what)
{
	const struct afunix_cause *cause = afunix_cause();

	perror(what);
	if (cause)
		fprintf(stderr, "%s: %s %s\n", cause->id, cause->text, cause->detail);
	return 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	static const char hello[] = "hello from the library";
	char answer[sizeof(hello)] = {0};

	if (argc != 3 || strlen(argv[2]) >= sizeof(addr.sun_path)) {
		fprintf(stderr, "usage: domain NAME PATH\n");
		return 2;
	}
	strcpy(addr.sun_path, argv[2]);

	if (afunix_attach(argv[1]) < 0)
		return failed(argv[1]);
	int fd = afunix_socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || afunix_connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return failed(argv[2]);
	/* A name outside the domain is the kernel's; then this is a kernel socket. */
	printf("connected %s\n", afunix_is_socket(fd) ? "inside the domain" : "through the kernel");
	if (afunix_send(fd, hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello) ||
	    afunix_recv(fd, answer, sizeof(answer), MSG_WAITALL) != sizeof(answer))
		return failed("echo");
	printf("%s\n", answer);
	return afunix_close(fd) < 0 || strcmp(answer, hello) != 0;
}
