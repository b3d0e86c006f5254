/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What cases on datagram and seqpacket sockets share: ends, whole messages, limits and
 * edges.  Compiled like a case: against the library in the library suite.
 */
#include "conform.h"

void unix_named(int type, int sv[2])
{
	static _Atomic int number;
	struct name names[2];

	for (int i = 0; i < 2; i++) {
		char text[32];

		snprintf(text, sizeof text, "named.%d", atomic_fetch_add(&number, 1));
		names[i] = abstract_name(text);
		sv[i] = bound_to(type, &names[i]);
	}
	OK(connect(sv[0], NAME(&names[1])));
	OK(connect(sv[1], NAME(&names[0])));
}

void run_on_named(int type, void (*body)(int sv[2]))
{
	int sv[2];

	unix_named(type, sv);
	body(sv);
	for (int i = 0; i < 2; i++)
		if (sv[i] >= 0)
			close_end(&sv[i]);
}

void dissolve(int fd)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	OK(connect(fd, &none, sizeof none.sa_family));
}

ssize_t send_to(int fd, const struct name *to, const char *text)
{
	return sendto(fd, text, strlen(text), MSG_DONTWAIT, NAME(to));
}

ssize_t tell(int fd, const char *text)
{
	return send(fd, text, strlen(text), MSG_DONTWAIT);
}

int fill_messages(int fd, const struct name *to, size_t n)
{
	static const char zeros[1 << 18];
	const struct sockaddr *address = to ? (const struct sockaddr *)&to->un : NULL;
	int count = 0;

	for (;;) {
		ssize_t sent = sendto(fd, zeros, n, MSG_DONTWAIT, address, to ? to->len : 0);
		int error = errno;

		if (sent < 0 && error == EAGAIN)
			return count;
		if (sent != (ssize_t)n)
			conform_fail(HERE, "message %d of %zu bytes: %zd (%s)", count, n, sent,
				     conform_errno_name(sent < 0 ? error : 0));
		count++;
	}
}

int take_messages(int fd)
{
	int count = 0;

	for (;; count++) {
		ssize_t got = recv(fd, (char[1]){0}, 1, MSG_DONTWAIT);
		int error = errno;

		if (got < 0 && error == EAGAIN)
			return count;
		if (got < 0)
			conform_fail(HERE, "after %d messages: %s", count, conform_errno_name(error));
	}
}

void need_default_queue(void)
{
	int limit = 0;
	FILE *f = fopen("/proc/sys/net/unix/max_dgram_qlen", "re");

	TRUE(f != NULL);
	EQ(fscanf(f, "%d", &limit), 1);
	fclose(f);
	if (limit != 10)
		SKIP("counts are for net.unix.max_dgram_qlen = 10");
}

void need_default_buffer(int fd)
{
	if (get_int_option(fd, SO_SNDBUF) != 212992)
		SKIP("counts are for net.core.wmem_default = 212992");
}

/* n bytes of text came in; complains if they are not the text. */
static void compare_message(const char *file, int line, const char *text, const char *got, ssize_t n,
			    int error)
{
	if (n < 0)
		conform_fail(file, line, "expected message \"%s\", got %s", text, conform_errno_name(error));
	if ((size_t)n != strlen(text) || memcmp(got, text, (size_t)n))
		conform_fail(file, line, "expected message \"%s\", got \"%.*s\" (%zd)", text, (int)n, got, n);
}

void expect_message(int fd, const char *file, int line, const char *text)
{
	char buf[256];

	conform_at(file, line, "MESSAGE");
	ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
	compare_message(file, line, text, buf, n, errno);
}

void expect_message_from(int fd, const char *file, int line, const char *text, const struct name *from)
{
	char buf[256], shown[2 * sizeof(struct sockaddr_un)];
	socklen_t len = sizeof shown;

	conform_at(file, line, "MESSAGE_FROM");
	ssize_t n = recvfrom(fd, buf, sizeof buf, MSG_DONTWAIT, ANY(shown), &len);
	compare_message(file, line, text, buf, n, errno);
	if (len != (from ? from->len : 0))
		conform_fail(file, line, "sender of \"%s\": expected a name of %u bytes, got %u", text,
			     from ? from->len : 0, len);
	if (from)
		conform_bytes(file, line, "name of the sender", shown, &from->un, from->len);
}

int watch_edges(int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events | EPOLLET, .data.fd = fd};
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	return ep;
}

uint32_t next_edge(int ep)
{
	struct epoll_event ev = {0};
	int n = OK(epoll_wait(ep, &ev, 1, 0));

	return n ? ev.events : 0;
}

static long run_send_to(struct actor *a)
{
	return sendto(a->fd, a->buf, a->n, 0, NAME(&a->name));
}

void start_send_to(struct actor *a, int fd, const struct name *to, const char *text)
{
	*a = (struct actor){.fd = fd, .buf = (void *)(uintptr_t)text, .n = strlen(text), .name = *to};
	actor_start(a, run_send_to);
}
