/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The calls: each takes its arguments as numbers, makes the call and notes what it
 * brought besides its value.  The value and errno are noted by op_run().
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>
#include <linux/sockios.h>

#include "diff.h"

enum { PIECES = 8, MESSAGES = 4 };

static int fd(long slot)
{
	return fd_of[slot];
}

/*
 * What takes the kernel several steps may be interleaved with what the thread does, so
 * while there is one, transfers in the main thread are small, and single.
 */
static bool beside_thread(void)
{
	return shared->thread && !note_is_private();
}

static bool single_only(void)
{
	if (beside_thread())
		note(" not beside a thread");
	return beside_thread();
}

static size_t bounded(long n)
{
	if (beside_thread() && n > 2000)
		return 2000;
	return n < 0 ? 0 : n > BUFFER ? BUFFER : (size_t)n;
}

static long do_socket(const long *a)
{
	int new = socket((int)a[1], (int)(a[2] | a[3]), (int)a[4]);

	if (new >= 0) {
		slot_set(a[0], new);
		if (!(a[3] & SOCK_NONBLOCK))
			shared->blocking = true;
	}
	return new;
}

static long do_socketpair(const long *a)
{
	int sv[2], r = socketpair((int)a[2], (int)(a[3] | a[4]), (int)a[5], sv);

	if (r == 0) {
		number_note(" ", sv[0]);
		number_note(" ", sv[1]);
		slot_set(a[0], sv[0]);
		slot_set(a[1], sv[1]);
		if (!(a[4] & SOCK_NONBLOCK))
			shared->blocking = true;
	}
	return r;
}

static long do_bind(const long *a)
{
	long len;
	const void *address = address_make(a[1], &len);

	return bind(fd(a[0]), address, (socklen_t)len);
}

static long do_connect(const long *a)
{
	long len;
	const void *address = address_make(a[1], &len);

	return connect(fd(a[0]), address, (socklen_t)len);
}

static long do_listen(const long *a)
{
	return listen(fd(a[0]), (int)a[1]);
}

struct result_address {
	char room[160];
	socklen_t len;
};

static struct result_address *result_init(struct result_address *r, long len)
{
	memset(r->room, 0x5a, sizeof(r->room));
	r->len = (socklen_t)len;
	return r;
}

static void result_note(const struct result_address *r, long room)
{
	address_note(r->room, room < 0 ? 0 : (size_t)room, (size_t)r->len);
	for (size_t i = (size_t)(room < 0 ? 0 : room); i < sizeof(r->room); i++)
		if (r->room[i] != 0x5a) {
			note(" WRITTEN BEYOND");
			break;
		}
}

static long do_accept(const long *a)
{
	struct result_address r;
	int new = accept4(fd(a[1]),
			  a[3] == -3   ? NULL
			  : a[3] == -2 ? fault_pointer()
				       : result_init(&r, a[3])->room,
			  a[3] == -3 ? NULL : &result_init(&r, a[3] == -2 ? 110 : a[3])->len, (int)a[2]);

	if (new >= 0) {
		if (a[3] >= 0)
			result_note(&r, a[3]);
		slot_set(a[0], new);
		if (!(a[2] & SOCK_NONBLOCK))
			shared->blocking = true;
	}
	return new;
}

static long name_of(const long *a, int (*call)(int, struct sockaddr *, socklen_t *))
{
	struct result_address r;
	long len = a[1];
	int result;

	result_init(&r, len == -2 ? 110 : len);
	result = call(fd(a[0]), len == -2 ? fault_pointer() : (struct sockaddr *)(void *)r.room,
		      len == -3 ? fault_pointer() : &r.len);
	if (result == 0)
		result_note(&r, len);
	return result;
}

static int real_getsockname(int f, struct sockaddr *address, socklen_t *len)
{
	return getsockname(f, address, len);
}

static int real_getpeername(int f, struct sockaddr *address, socklen_t *len)
{
	return getpeername(f, address, len);
}

static long do_getsockname(const long *a)
{
	return name_of(a, real_getsockname);
}

static long do_getpeername(const long *a)
{
	return name_of(a, real_getpeername);
}

/* Sending. */

static long do_send(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(a[3], n);

	buffer_fill(at, a[3], n);
	return send(fd(a[0]), at, n, (int)a[2]);
}

static long do_write(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(a[2], n);

	buffer_fill(at, a[2], n);
	return write(fd(a[0]), at, n);
}

static long do_sendto(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(BUFFER_GOOD, n);
	long len;
	const void *address = address_make(a[3], &len);

	buffer_fill(at, BUFFER_GOOD, n);
	return sendto(fd(a[0]), at, n, (int)a[2], address, (socklen_t)len);
}

static int pieces(struct iovec *iov, char *at, size_t n, long count)
{
	int k = count < 0 ? 0 : count > PIECES ? PIECES : (int)count;

	for (int i = 0; i < k; i++) {
		size_t part = i == k - 1 ? n : n / (size_t)(k - i);

		iov[i] = (struct iovec){at, part};
		at += part;
		n -= part;
	}
	return k;
}

static long do_writev(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(a[3], n);
	struct iovec iov[PIECES];

	buffer_fill(at, a[3], n);
	return writev(fd(a[0]), iov, pieces(iov, at, n, a[2]));
}

static size_t control_item(char *room, size_t at, int level, int type, const void *data, size_t n)
{
	struct cmsghdr h = {.cmsg_len = CMSG_LEN(n), .cmsg_level = level, .cmsg_type = type};

	memcpy(room + at, &h, sizeof(h));
	memcpy(room + at + CMSG_LEN(0), data, n);
	return at + CMSG_SPACE(n);
}

static size_t control_make(char *room, long control, long slot)
{
	struct ucred cred = {getpid(), geteuid(), getegid()};
	int fds[2] = {fd(slot), fd(slot)};
	size_t n = 0;

	switch (control) {
	case CONTROL_RIGHTS:
		return control_item(room, n, SOL_SOCKET, SCM_RIGHTS, fds, sizeof(int));
	case CONTROL_RIGHTS_TWO:
		fds[1] = fd(SOCKETS + EPOLLS);
		return control_item(room, n, SOL_SOCKET, SCM_RIGHTS, fds, sizeof(fds));
	case CONTROL_RIGHTS_EMPTY:
		return control_item(room, n, SOL_SOCKET, SCM_RIGHTS, fds, 0);
	case CONTROL_RIGHTS_CLOSED:
		fds[0] = 199;
		return control_item(room, n, SOL_SOCKET, SCM_RIGHTS, fds, sizeof(int));
	case CONTROL_CREDENTIALS_FALSE:
		cred.pid = 0x3fffff;
		return control_item(room, n, SOL_SOCKET, SCM_CREDENTIALS, &cred, sizeof(cred));
	case CONTROL_BOTH:
		n = control_item(room, n, SOL_SOCKET, SCM_RIGHTS, fds, sizeof(int));
		return control_item(room, n, SOL_SOCKET, SCM_CREDENTIALS, &cred, sizeof(cred));
	case CONTROL_CREDENTIALS:
		return control_item(room, n, SOL_SOCKET, SCM_CREDENTIALS, &cred, sizeof(cred));
	case CONTROL_SHORT:
		return control_item(room, n, SOL_SOCKET, SCM_CREDENTIALS, &cred, sizeof(cred) - 4);
	case CONTROL_LEVEL:
		return control_item(room, n, 41, 8, fds, sizeof(int));
	default:
		return 0;
	}
}

static long do_sendmsg(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(BUFFER_GOOD, n), control[256] = {0};
	struct iovec iov[PIECES];
	struct msghdr m = {.msg_iov = iov, .msg_control = control};
	struct sockaddr_un name;
	long len;
	const void *address = address_make(a[4], &len);

	buffer_fill(at, BUFFER_GOOD, n);
	m.msg_iovlen = (size_t)pieces(iov, at, n, a[2]);
	m.msg_controllen = control_make(control, a[5], a[6]);
	if (!m.msg_controllen)
		m.msg_control = NULL;
	if (address) {
		bool faults = address == fault_pointer();

		if (!faults)
			memcpy(&name, address, sizeof(name));
		m.msg_name = faults ? fault_pointer() : &name;
		m.msg_namelen = (socklen_t)len;
	}
	return sendmsg(fd(a[0]), &m, (int)a[3]);
}

static long do_sendmmsg(const long *a)
{
	size_t n = bounded(a[2]);
	struct mmsghdr m[MESSAGES] = {0};
	struct iovec iov[MESSAGES];
	char *at = buffer_place(BUFFER_GOOD, n);
	unsigned int count = (unsigned int)a[1] > MESSAGES ? MESSAGES : (unsigned int)a[1];
	int r;

	if (single_only())
		return 0;
	buffer_fill(at, BUFFER_GOOD, n);
	for (unsigned int i = 0; i < count; i++) {
		iov[i] = (struct iovec){at, n};
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	r = sendmmsg(fd(a[0]), m, count, (int)a[3]);
	for (int i = 0; i < r; i++)
		note(" %u", m[i].msg_len);
	return r;
}

/* Receiving. */

static void received_note(const char *at, long r, size_t n)
{
	if (r > 0)
		buffer_note(at, (size_t)r < n ? (size_t)r : n);
}

static long do_recv(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(a[3], n);
	long r;

	if (a[3] != BUFFER_BAD)
		memset(at, 0, a[3] == BUFFER_HALF ? n / 2 : n);
	r = recv(fd(a[0]), at, n, (int)a[2]);
	received_note(at, r, a[3] == BUFFER_HALF ? n / 2 : n);
	return r;
}

static long do_read(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(a[2], n);
	long r = read(fd(a[0]), at, n);

	received_note(at, r, a[2] == BUFFER_HALF ? n / 2 : n);
	return r;
}

static long do_readv(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(BUFFER_GOOD, n);
	struct iovec iov[PIECES];
	long r = readv(fd(a[0]), iov, pieces(iov, at, n, a[2]));

	received_note(at, r, n);
	return r;
}

static long do_recvfrom(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(BUFFER_GOOD, n);
	struct result_address name;
	long r, len = a[3];

	result_init(&name, len == -2 ? 110 : len);
	r = recvfrom(fd(a[0]), at, n, (int)a[2],
		     len == -2 ? fault_pointer() : (struct sockaddr *)(void *)name.room,
		     len == -3 ? fault_pointer() : &name.len);
	received_note(at, r, n);
	if (r >= 0)
		result_note(&name, len);
	return r;
}

static void rights_note(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct stat st = {0};
		char name[8];
		int slot = slot_received(), r = fstat(fds[i], &st), flags = fcntl(fds[i], F_GETFD);

		number_note(" fd", fds[i]);
		note(":%s%s",
		     r < 0		    ? "bad"
		     : S_ISSOCK(st.st_mode) ? "socket"
		     : S_ISFIFO(st.st_mode) ? "pipe"
					    : "other",
		     flags & FD_CLOEXEC ? ":cloexec" : "");
		if (slot < 0) {
			close(fds[i]);
			continue;
		}
		slot_set(slot, fds[i]);
		is_socket[slot] = S_ISSOCK(st.st_mode);
		note("->%s", slot_name(slot, name, sizeof(name)));
	}
}

static void control_note(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = c->cmsg_len - CMSG_LEN(0);

		note(" cmsg(%d,%d,%zu", c->cmsg_level, c->cmsg_type, c->cmsg_len);
		if (c->cmsg_type == SCM_RIGHTS) {
			int fds[256];

			n = n > sizeof(fds) ? sizeof(fds) : n;
			memcpy(fds, CMSG_DATA(c), n);
			rights_note(fds, n / sizeof(int));
		} else if (c->cmsg_type == SCM_CREDENTIALS && n == sizeof(struct ucred)) {
			struct ucred u;

			memcpy(&u, CMSG_DATA(c), sizeof(u));
			note(" %s%d %u %u", u.pid ? "process" : "none", u.pid ? pid_number(u.pid) : 0, u.uid,
			     u.gid);
		}
		note(")");
	}
}

static void message_note(struct msghdr *m, const char *at, long r, size_t n,
			 const struct result_address *name, long room)
{
	char flags[160];

	received_note(at, r, n);
	words_bits(words_message, (unsigned int)m->msg_flags, flags, sizeof(flags));
	note(" flags=%s controllen=%zu", flags, m->msg_controllen);
	if (m->msg_name) {
		struct result_address copy = *name;

		copy.len = m->msg_namelen;
		result_note(&copy, room);
	}
	control_note(m);
}

static long do_recvmsg(const long *a)
{
	_Alignas(struct cmsghdr) char control[512] = {0};
	size_t n = bounded(a[1]);
	char *at = buffer_place(BUFFER_GOOD, n);
	struct iovec iov[PIECES];
	struct result_address name;
	struct msghdr m = {.msg_iov = iov, .msg_flags = -1};
	long r;

	result_init(&name, a[5]);
	m.msg_iovlen = (size_t)pieces(iov, at, n, a[2]);
	m.msg_controllen = a[4] < 0 ? 0 : a[4] > 512 ? 512 : (size_t)a[4];
	m.msg_control = m.msg_controllen ? control : NULL;
	m.msg_name = a[5] > 0 && a[5] <= 128 ? name.room : NULL;
	m.msg_namelen = m.msg_name ? (socklen_t)a[5] : 0;
	r = recvmsg(fd(a[0]), &m, (int)a[3]);
	if (r >= 0)
		message_note(&m, at, r, n, &name, a[5]);
	return r;
}

static long do_recvmmsg(const long *a)
{
	size_t n = bounded(a[2]) / MESSAGES;
	struct mmsghdr m[MESSAGES] = {0};
	struct iovec iov[MESSAGES];
	char *at = buffer_place(BUFFER_GOOD, n * MESSAGES);
	unsigned int count = (unsigned int)a[1] > MESSAGES ? MESSAGES : (unsigned int)a[1];
	int r;

	if (single_only())
		return 0;
	for (unsigned int i = 0; i < count; i++) {
		iov[i] = (struct iovec){at + i * n, n};
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	r = recvmmsg(fd(a[0]), m, count, (int)a[3], NULL);
	for (int i = 0; i < r; i++) {
		note(" %u/%x", m[i].msg_len, m[i].msg_hdr.msg_flags);
		received_note(iov[i].iov_base, m[i].msg_len, n);
	}
	return r;
}

/* Descriptors. */

static long do_shutdown(const long *a)
{
	return shutdown(fd(a[0]), (int)a[1]);
}

static long do_close(const long *a)
{
	int old = fd_of[a[0]];

	fd_of[a[0]] = -1;
	return close(old);
}

static long do_dup(const long *a)
{
	int new = dup(fd(a[1]));

	bool socket_too = is_socket[a[1]];

	if (new >= 0) {
		slot_set(a[0], new);
		is_socket[a[0]] = socket_too;
	}
	return new;
}

static long do_dup2(const long *a)
{
	int new;

	if (fd(a[0]) < 0) /* the number is somebody else's, or none */
		return do_dup(a);
	new = dup2(fd(a[1]), fd(a[0]));
	if (new >= 0)
		is_socket[a[0]] = is_socket[a[1]];
	return new;
}

static long do_fstat(const long *a)
{
	struct stat st;
	int r = fstat(fd(a[0]), &st);

	if (r == 0)
		note(" mode=%o nlink=%d size=%ld", st.st_mode, (int)st.st_nlink, (long)st.st_size);
	return r;
}

static long do_lseek(const long *a)
{
	return lseek(fd(a[0]), a[1], SEEK_SET);
}

static long do_fcntl(const long *a)
{
	long value = a[2], r;

	if (a[1] == F_SETFL && !(value & O_NONBLOCK))
		shared->blocking = true;
	if (a[1] == F_SETOWN)
		value = value ? getpid() : 0;
	r = fcntl(fd(a[0]), (int)a[1], value);
	if (a[1] == F_GETOWN && r > 0)
		r = 1000000 + pid_number(r);
	return r;
}

static long do_ioctl(const long *a)
{
	int value = (int)a[2], r;

	if (a[1] == (long)FIONBIO && !value)
		shared->blocking = true;
	if (a[1] == (long)TCGETS)
		return ioctl(fd(a[0]), (unsigned long)a[1], fault_pointer());
	r = ioctl(fd(a[0]), (unsigned long)a[1], value == -1 ? fault_pointer() : &value);
	if (r == 0)
		note(" %d", value);
	return r;
}

static bool is_time(long option)
{
	return option == SO_RCVTIMEO || option == SO_SNDTIMEO;
}

static long do_setsockopt(const long *a)
{
	char room[64] = {0};
	int value = (int)a[2];
	struct timeval time = {a[2] / 1000000, a[2] % 1000000};

	if (is_time(a[1]))
		memcpy(room, &time, sizeof(time));
	else
		memcpy(room, &value, sizeof(value));
	return setsockopt(fd(a[0]), SOL_SOCKET, (int)a[1], a[3] == -2 ? fault_pointer() : room,
			  a[3] == -2 ? 16 : (socklen_t)a[3]);
}

static long do_getsockopt(const long *a)
{
	unsigned char room[256];
	socklen_t len = (socklen_t)(a[2] == -2 ? 16 : a[2] > 256 ? 256 : a[2]);
	int r;

	memset(room, 0x5a, sizeof(room));
	r = getsockopt(fd(a[0]), SOL_SOCKET, (int)a[1], a[2] == -2 ? fault_pointer() : (void *)room, &len);
	if (r < 0 && a[1] != SO_PEERGROUPS)
		return r;
	note(" len=%d", (int)len);
	if (r == 0 && a[1] == SO_PEERCRED) {
		int pid;

		memcpy(&pid, room, 4);
		if (len >= 4)
			note(" process%d", pid ? pid_number(pid) : -2);
		memset(room, 0, 4);
	}
	if (r == 0 && a[1] == SO_PEERNAME) {
		if (len > 8 || len == 2) /* else it may be a part of any kind of name */
			address_note(room, len, len);
		return r;
	}
	for (socklen_t i = 0; r == 0 && i < 40 && i < sizeof(room); i++)
		if (i < len || room[i] != 0x5a)
			note("%s%02x", i % 4 ? "" : " ", room[i]);
	return r;
}

/* Readiness. */

static long do_poll(const long *a)
{
	struct pollfd p = {.fd = fd(a[0]), .events = (short)a[1]};
	char bits[160];
	int r = poll(&p, 1, 0);

	if (r > 0) {
		words_bits(words_poll, (unsigned short)p.revents, bits, sizeof(bits));
		note(" %s", bits);
	}
	return r;
}

static long do_select(const long *a)
{
	int f = fd(a[0]), r;
	fd_set in, out, except;

	if (f < 0)
		return 0;
	FD_ZERO(&in);
	FD_SET(f, &in);
	out = except = in;
	r = select(f + 1, &in, &out, &except, &(struct timeval){0, 0});
	if (r > 0)
		note("%s%s%s", FD_ISSET(f, &in) ? " in" : "", FD_ISSET(f, &out) ? " out" : "",
		     FD_ISSET(f, &except) ? " except" : "");
	return r;
}

/* For the thread; in the main thread the tick ends it. */
static long do_poll_sleep(const long *a)
{
	struct pollfd p = {.fd = fd(a[0]), .events = (short)a[1]};
	char bits[160];
	int r = poll(&p, 1, -1);

	if (r > 0) {
		words_bits(words_poll, (unsigned short)p.revents, bits, sizeof(bits));
		note(" %s", bits);
	}
	return r;
}

static long do_epoll_create(const long *a)
{
	int new = epoll_create1(EPOLL_CLOEXEC);

	if (new >= 0)
		slot_set(a[0], new);
	return new;
}

static long do_epoll_ctl(const long *a)
{
	struct epoll_event e = {.events = (unsigned int)a[3], .data.u64 = (uint64_t)a[2]};

	return epoll_ctl(fd(a[0]), (int)a[1], fd(a[2]), &e);
}

static int by_slot(const void *a, const void *b)
{
	const struct epoll_event *x = a, *y = b;

	return x->data.u64 != y->data.u64 ? (x->data.u64 < y->data.u64 ? -1 : 1)
					  : (x->events > y->events) - (x->events < y->events);
}

/* The order of events is nobody's promise. */
static long events_of(int instance, long room, int timeout)
{
	struct epoll_event e[32];
	int r = epoll_wait(instance, e, room < 32 ? (int)room : 32, timeout);

	if (r > 0)
		qsort(e, (size_t)r, sizeof(e[0]), by_slot);
	for (int i = 0; i < r; i++) {
		char bits[200], name[8];

		words_bits(words_epoll, e[i].events, bits, sizeof(bits));
		note(" %s=%s",
		     e[i].data.u64 < SLOTS ? slot_name((long)e[i].data.u64, name, sizeof(name)) : "?", bits);
	}
	return r;
}

static long do_epoll_wait(const long *a)
{
	return events_of(fd(a[0]), a[1], 0);
}

static long do_epoll_sleep(const long *a)
{
	return events_of(fd(a[0]), 16, -1);
}

/* Until nothing more fits, or nothing more is there. */

static long do_fill(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(BUFFER_GOOD, n);
	long total = 0, r = 0;
	int calls_made = 0;

	if (single_only())
		return 0;
	buffer_fill(at, BUFFER_GOOD, n);
	while (calls_made < 2000 && (r = send(fd(a[0]), at, n, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
		total += r;
		calls_made++;
	}
	note(" %d*", calls_made);
	if (r < 0)
		note(" %s", errno_word(errno));
	return total;
}

static long do_drain(const long *a)
{
	size_t n = bounded(a[1]);
	char *at = buffer_place(BUFFER_GOOD, n);
	long total = 0, r = 0;
	int calls_made = 0;

	if (single_only())
		return 0;
	while (calls_made < 2000 && (r = recv(fd(a[0]), at, n, MSG_DONTWAIT)) > 0) {
		received_note(at, r, n);
		total += r;
		calls_made++;
	}
	note(" %d*", calls_made);
	if (r < 0)
		note(" %s", errno_word(errno));
	return total;
}

/* Files and processes. */

static long do_unlink(const long *a)
{
	char path[64];

	name_path(a[0], path, sizeof(path));
	return unlink(path);
}

static long do_rename(const long *a)
{
	char from[64], to[64];

	name_path(a[0], from, sizeof(from));
	name_path(a[1], to, sizeof(to));
	return rename(from, to);
}

static long do_link(const long *a)
{
	char from[64], to[64];

	name_path(a[0], from, sizeof(from));
	name_path(a[1], to, sizeof(to));
	return link(from, to);
}

static long do_stat(const long *a)
{
	char path[64];
	struct stat st;
	int r;

	name_path(a[0], path, sizeof(path));
	r = lstat(path, &st);
	if (r == 0)
		note(" mode=%o nlink=%d size=%ld", st.st_mode, (int)st.st_nlink, (long)st.st_size);
	return r;
}

static long do_file(const long *a)
{
	char path[64];
	int f;

	name_path(a[0], path, sizeof(path));
	f = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (f < 0)
		return f;
	close(f);
	return 0;
}

static long do_pipe(const long *a)
{
	int p[2], r = pipe2(p, O_NONBLOCK | O_CLOEXEC);

	if (r == 0) {
		slot_set(SOCKETS + EPOLLS, p[0]);
		slot_set(SOCKETS + EPOLLS + 1, p[1]);
	}
	return r;
}

static long do_watch(const long *a)
{
	shared->watch = true;
	return 0;
}

static long do_fork(const long *a)
{
	return child_fork(a[0]);
}

static long do_join(const long *a)
{
	if (!thread_join())
		note(" none");
	return 0;
}

static long do_exit(const long *a)
{
	return child_exit(a[0], false);
}

static long do_exec(const long *a)
{
	return child_exec();
}

static long do_kill(const long *a)
{
	return child_exit(a[0], true);
}

static long do_static(const long *a)
{
	shared->apart = true;
	return static_run(a[0] & 1);
}

/* The numbers from that of the socket on; those that the sequence doesn't know are none of its business. */
static long do_close_range(const long *a)
{
	int first = fd(a[0]), last = first + (int)a[1], r;

	if (first < 0 || a[1] < 0 || a[1] > 8) {
		note(" refused");
		return 0;
	}
	r = close_range((unsigned int)first, (unsigned int)last, a[2] ? CLOSE_RANGE_CLOEXEC : 0);
	for (int i = 0; i < SLOTS && r == 0 && !a[2]; i++)
		if (fd_of[i] >= first && fd_of[i] <= last)
			fd_of[i] = -1;
	return r;
}

/* For good, so only in a child. */
static long do_setuid(const long *a)
{
	static const uid_t ids[] = {65534, 1000, 1};
	uid_t id = ids[(unsigned long)a[0] % 3];

	if (getpid() == shared->pid[0]) {
		note(" refused");
		return 0;
	}
	return a[1] & 1 ? setresgid(id, id, id) : setresuid(id, id, id);
}

/* A program that is executed then is not preloaded: to the kernel it gains rights. */
static long do_seteuid(const long *a)
{
	if (getpid() == shared->pid[0]) {
		note(" refused");
		return 0;
	}
	return seteuid((uid_t)a[0]);
}

const struct call calls[] = {
	{"socket", "fdtkN", 10, do_socket, RETURNS_FD},
	{"socketpair", "ffdtkN", 6, do_socketpair, 0},
	{"bind", "Ua", 14, do_bind, 0},
	{"listen", "Ub", 8, do_listen, 0},
	{"connect", "Ua", 18, do_connect, MAY_BLOCK},
	{"accept", "fLkx", 12, do_accept, RETURNS_FD | MAY_BLOCK},
	{"send", "FzmB", 30, do_send, MAY_BLOCK},
	{"write", "FzB", 8, do_write, MAY_BLOCK},
	{"writev", "FzcB", 4, do_writev, MAY_BLOCK},
	{"sendto", "Fzma", 10, do_sendto, MAY_BLOCK},
	{"sendmsg", "FzcmaCG", 12, do_sendmsg, MAY_BLOCK},
	{"sendmmsg", "Fczm", 3, do_sendmmsg, MAY_BLOCK},
	{"recv", "FzrB", 30, do_recv, MAY_BLOCK},
	{"read", "FzB", 8, do_read, MAY_BLOCK},
	{"readv", "Fzc", 4, do_readv, MAY_BLOCK},
	{"recvfrom", "Fzrx", 8, do_recvfrom, MAY_BLOCK},
	{"recvmsg", "Fzcrzx", 12, do_recvmsg, MAY_BLOCK},
	{"recvmmsg", "Fczr", 3, do_recvmmsg, MAY_BLOCK},
	{"shutdown", "Fh", 9, do_shutdown, 0},
	{"close", "F", 10, do_close, 0},
	{"close_range", "GNN", 2, do_close_range, 0},
	{"dup", "fG", 3, do_dup, RETURNS_FD},
	{"dup2", "GG", 2, do_dup2, RETURNS_FD},
	{"fstat", "G", 1, do_fstat, 0},
	{"lseek", "FN", 1, do_lseek, 0},
	{"getsockname", "Fx", 4, do_getsockname, 0},
	{"getpeername", "Fx", 4, do_getpeername, 0},
	{"setsockopt", "Fovl", 12, do_setsockopt, 0},
	{"getsockopt", "Fol", 12, do_getsockopt, 0},
	{"fcntl", "FwN", 4, do_fcntl, 0},
	{"ioctl", "FiN", 8, do_ioctl, 0},
	{"poll", "Gp", 5, do_poll, 0},
	{"select", "G", 3, do_select, 0},
	{"epoll_create", "E", 4, do_epoll_create, RETURNS_FD},
	{"epoll_ctl", "EyGe", 12, do_epoll_ctl, 0},
	{"epoll_wait", "EN", 12, do_epoll_wait, 0},
	{"poll_sleep", "Gp", 0, do_poll_sleep, MAY_BLOCK | BLOCKS},
	{"epoll_sleep", "E", 0, do_epoll_sleep, MAY_BLOCK | BLOCKS},
	{"fill", "Fz", 3, do_fill, 0},
	{"drain", "Fz", 3, do_drain, 0},
	{"join", "", 0, do_join, 0},
	{"unlink", "n", 2, do_unlink, 0},
	{"rename", "nn", 1, do_rename, 0},
	{"link", "nn", 1, do_link, 0},
	{"stat", "n", 1, do_stat, 0},
	{"file", "n", 1, do_file, 0},
	{"pipe", "", 1, do_pipe, 0},
	{"watch", "", 0, do_watch, 0},
	{"fork", "K", 3, do_fork, 0},
	{"exit", "K", 10, do_exit, 0},
	{"exec", "", 10, do_exec, 0},
	{"kill", "K", 10, do_kill, 0},
	{"static", "N", 3, do_static, 0},
	{"setuid", "NN", 10, do_setuid, 0},
	{"seteuid", "N", 5, do_seteuid, 0},
	{NULL, NULL, 0, NULL, 0},
};

const struct call *call_find(const char *name)
{
	for (const struct call *c = calls; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}
