/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What cases share to make sockets and names, to move data and to look at readiness.
 * Compiled like a case: against the library in the library suite.
 */
#include "conform.h"

int conform_socket_for_target(void);

int conform_socket_for_target(void)
{
	return unix_socket(SOCK_STREAM);
}

void *bad_pointer(void)
{
	return (void *)8;
}

struct name path_name(const char *path)
{
	struct name n = {.un = {.sun_family = AF_UNIX}};
	size_t len = strlen(path);

	if (len >= sizeof n.un.sun_path)
		conform_fail(HERE, "path of %zu bytes", len);
	memcpy(n.un.sun_path, path, len + 1);
	n.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return n;
}

struct name bytes_name(const void *bytes, size_t len)
{
	struct name n = {.un = {.sun_family = AF_UNIX}};

	memcpy(n.un.sun_path, bytes, len);
	n.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return n;
}

struct name abstract_name(const char *text)
{
	char bytes[100];
	/* The group is the case: its children mean the same name. */
	int len = snprintf(bytes, sizeof bytes, "%cconform.%d.%s", '\0', (int)getpgrp(), text);

	return bytes_name(bytes, (size_t)len);
}

int unix_socket(int type)
{
	return OK(socket(AF_UNIX, type, 0));
}

void unix_pair(int type, int sv[2])
{
	OK(socketpair(AF_UNIX, type, 0, sv));
}

int bound_to(int type, const struct name *name)
{
	int fd = unix_socket(type);

	OK(bind(fd, NAME(name)));
	return fd;
}

int listen_at(int type, const struct name *name, int backlog)
{
	int fd = bound_to(type, name);

	OK(listen(fd, backlog));
	return fd;
}

int connect_to(int type, const struct name *name)
{
	int fd = unix_socket(type);

	OK(connect(fd, NAME(name)));
	return fd;
}

void unix_connection(int type, int sv[2])
{
	static _Atomic int number;
	char text[32];

	snprintf(text, sizeof text, "connection.%d.%d", (int)getpid(), atomic_fetch_add(&number, 1));
	struct name name = abstract_name(text);
	int listener = listen_at(type, &name, 1);

	sv[0] = connect_to(type, &name);
	sv[1] = OK(accept(listener, NULL, NULL));
	OK(close(listener));
}

void close_end(int *fd)
{
	OK(close(*fd));
	*fd = -1;
}

static void run_on(int sv[2], void (*body)(int sv[2]))
{
	body(sv);
	for (int i = 0; i < 2; i++)
		if (sv[i] >= 0)
			close_end(&sv[i]);
}

void run_on_pair(int type, void (*body)(int sv[2]))
{
	int sv[2];

	unix_pair(type, sv);
	run_on(sv, body);
}

void run_on_connection(int type, void (*body)(int sv[2]))
{
	int sv[2];

	unix_connection(type, sv);
	run_on(sv, body);
}

void set_nonblocking(int fd, bool on)
{
	int flags = OK(fcntl(fd, F_GETFL));

	OK(fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK));
}

void set_int_option(int fd, int option, int value)
{
	OK(setsockopt(fd, SOL_SOCKET, option, &value, sizeof value));
}

int get_int_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof value;

	OK(getsockopt(fd, SOL_SOCKET, option, &value, &len));
	EQ(len, sizeof value);
	return value;
}

void set_time_option(int fd, int option, long ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	OK(setsockopt(fd, SOL_SOCKET, option, &tv, sizeof tv));
}

static void expect_eagain(void)
{
	int error = errno;

	if (error != EAGAIN)
		conform_fail(HERE, "expected EAGAIN at the end, got %s", conform_errno_name(error));
}

size_t fill(int fd, size_t n)
{
	static const char zeros[1 << 20];
	size_t total = 0;

	for (;;) {
		ssize_t sent = send(fd, zeros, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0) {
			expect_eagain();
			return total;
		}
		total += (size_t)sent;
	}
}

size_t drain(int fd)
{
	char buf[65536];
	size_t total = 0;

	for (;;) {
		ssize_t got = recv(fd, buf, sizeof buf, MSG_DONTWAIT);

		if (got < 0) {
			expect_eagain();
			return total;
		}
		if (got == 0)
			return total;
		total += (size_t)got;
	}
}

void put(int fd, const char *text)
{
	size_t n = strlen(text);

	EQ(write(fd, text, n), n);
}

int read_one(int fd)
{
	char c;

	return (int)read(fd, &c, 1);
}

void expect_text(int fd, const char *file, int line, const char *text)
{
	size_t n = strlen(text), have = 0;
	char buf[256];

	conform_at(file, line, "GETS");
	while (have < n) {
		ssize_t got = read(fd, buf + have, n - have);

		if (got < 0)
			conform_fail(file, line, "expected \"%s\", got %s", text, conform_errno_name(errno));
		if (got == 0)
			conform_fail(file, line, "expected \"%s\", got end of file after %zu bytes", text,
				     have);
		have += (size_t)got;
	}
	if (memcmp(buf, text, n))
		conform_fail(file, line, "expected \"%s\", got \"%.*s\"", text, (int)n, buf);
}

static void ready_by_poll(const char *file, int line, const char *text, int fd, int want)
{
	char a[96], b[96];
	/* The normal and band bits follow IN and OUT; RDBAND never shows. */
	int norm = want | (want & POLLIN ? POLLRDNORM : 0) | (want & POLLOUT ? POLLWRNORM | POLLWRBAND : 0);
	struct pollfd all = {.fd = fd, .events = 0x7fff & ~POLLNVAL};
	struct pollfd none = {.fd = fd, .events = 0};
	int n = poll(&all, 1, 0);

	if (n != (want ? 1 : 0) || all.revents != norm)
		conform_fail(file, line, "poll of %s: expected %s, got %s (%d)", text,
			     conform_poll_text(norm, a, sizeof a),
			     conform_poll_text(all.revents, b, sizeof b), n);
	poll(&none, 1, 0);
	if (none.revents != (want & (POLLERR | POLLHUP)))
		conform_fail(file, line, "poll of %s without events: expected %s, got %s", text,
			     conform_poll_text(want & (POLLERR | POLLHUP), a, sizeof a),
			     conform_poll_text(none.revents, b, sizeof b));
}

static void ready_by_select(const char *file, int line, const char *text, int fd, int want)
{
	struct timeval zero = {0, 0};
	fd_set r, w, e;

	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&e);
	FD_SET(fd, &r);
	FD_SET(fd, &w);
	FD_SET(fd, &e);
	int n = select(fd + 1, &r, &w, &e, &zero);
	bool in = want & (POLLIN | POLLHUP | POLLERR), out = want & (POLLOUT | POLLERR), pri = want & POLLPRI;

	if (!!FD_ISSET(fd, &r) != in || !!FD_ISSET(fd, &w) != out || !!FD_ISSET(fd, &e) != pri ||
	    n != in + out + pri)
		conform_fail(file, line, "select of %s: expected %d%d%d, got %d%d%d (%d)", text, in, out, pri,
			     !!FD_ISSET(fd, &r), !!FD_ISSET(fd, &w), !!FD_ISSET(fd, &e), n);
}

static void ready_by_epoll(const char *file, int line, const char *text, int fd, int want)
{
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP, .data.u64 = 1};
	char a[96], b[96];

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		conform_fail(file, line, "epoll for %s: %s", text, conform_errno_name(errno));
	ev.events = 0;
	int n = epoll_wait(ep, &ev, 1, 0);
	/* epoll's bits have the values of poll's. */
	if (n != (want ? 1 : 0) || (want && ev.events != (uint32_t)want))
		conform_fail(file, line, "epoll of %s: expected %s, got %s (%d)", text,
			     conform_poll_text(want, a, sizeof a),
			     conform_poll_text(n > 0 ? (int)ev.events : 0, b, sizeof b), n);
	close(ep);
}

void expect_ready(const char *file, int line, const char *text, int fd, int want)
{
	conform_at(file, line, text);
	ready_by_poll(file, line, text, fd, want);
	ready_by_select(file, line, text, fd, want);
	ready_by_epoll(file, line, text, fd, want);
}

enum { NOISE_LENGTH = 65521 };
static unsigned char noise[NOISE_LENGTH];

static void make_noise(void)
{
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < NOISE_LENGTH; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		noise[i] = (unsigned char)(x >> 32);
	}
}

/* A table of noise with a prime length, changed by the lap: a lost, doubled or swapped block shows. */
void pattern_bytes(void *buf, uint64_t position, size_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	unsigned char *out = buf;

	pthread_once(&once, make_noise);
	while (n > 0) {
		size_t at = (size_t)(position % NOISE_LENGTH), m = NOISE_LENGTH - at;
		unsigned char lap = (unsigned char)(position / NOISE_LENGTH);

		m = m < n ? m : n;
		for (size_t i = 0; i < m; i++)
			out[i] = (unsigned char)(noise[at + i] ^ lap);
		out += m;
		position += m;
		n -= m;
	}
}
