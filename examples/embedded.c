/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * afunix inside one process: two threads talk through a socketpair, then through an
 * abstract name.  Nothing is started, nothing is left behind; its names are its own.
 */
#include <afunix/afunix.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 1000

static const struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0embedded-example"};
static const socklen_t name_len = offsetof(struct sockaddr_un, sun_path) + sizeof("\0embedded-example") - 1;

static int check(int result, const char *call)
{
	if (result >= 0)
		return result;
	perror(call);
	exit(1);
}

/* Sends back what arrives, until end of file; the argument points at the socket. */
static void *echo(void *arg)
{
	int fd = *(int *)arg;
	char buf[256];
	ssize_t n;

	while ((n = afunix_recv(fd, buf, sizeof(buf), 0)) > 0)
		check((int)afunix_send(fd, buf, (size_t)n, MSG_NOSIGNAL), "afunix_send");
	check((int)n, "afunix_recv");
	check(afunix_close(fd), "afunix_close");
	return NULL;
}

static void *connect_and_echo(void *arg)
{
	int fd = check(afunix_socket(AF_UNIX, SOCK_STREAM, 0), "afunix_socket");
	check(afunix_connect(fd, (const struct sockaddr *)&name, name_len), "afunix_connect");
	return echo(&fd);
}

static void talk(int fd, const char *how)
{
	for (int i = 0; i < MESSAGES; i++) {
		char out[32] = {0}, in[32] = {0};
		snprintf(out, sizeof(out), "message %d", i);
		check((int)afunix_send(fd, out, sizeof(out), MSG_NOSIGNAL), "afunix_send");
		check((int)afunix_recv(fd, in, sizeof(in), MSG_WAITALL), "afunix_recv");
		if (memcmp(in, out, sizeof(in)) != 0)
			exit((fprintf(stderr, "%s: sent \"%s\", got \"%s\"\n", how, out, in), 1));
	}
	check(afunix_close(fd), "afunix_close");
	printf("%s: %d messages there and back\n", how, MESSAGES);
}

int main(void)
{
	pthread_t peer;
	int sv[2];

	check(afunix_socketpair(AF_UNIX, SOCK_STREAM, 0, sv), "afunix_socketpair");
	check(-pthread_create(&peer, NULL, echo, &sv[1]), "pthread_create");
	talk(sv[0], "socketpair");
	pthread_join(peer, NULL);

	int listener = check(afunix_socket(AF_UNIX, SOCK_STREAM, 0), "afunix_socket");
	check(afunix_bind(listener, (const struct sockaddr *)&name, name_len), "afunix_bind");
	check(afunix_listen(listener, 1), "afunix_listen");
	check(-pthread_create(&peer, NULL, connect_and_echo, NULL), "pthread_create");
	talk(check(afunix_accept(listener, NULL, NULL), "afunix_accept"), "abstract name");
	pthread_join(peer, NULL);
	return afunix_close(listener) < 0;
}
