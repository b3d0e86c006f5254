/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Datagram sockets: what the calls refuse, and in which order they look. */
#include "conform.h"

#include <linux/sockios.h>

static char big[212992];

/* sv[0] has the pending error that sv[1] caused by going away from it with messages unread. */
static void make_pending_error(int sv[2])
{
	EQ(tell(sv[0], "unread"), 6);
	dissolve(sv[1]);
}

CASE(dgram_fresh, 0)
{
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	int fd = unix_socket(SOCK_DGRAM);

	EQ(get_int_option(fd, SO_TYPE), SOCK_DGRAM);
	EQ(get_int_option(fd, SO_DOMAIN), AF_UNIX);
	EQ(get_int_option(fd, SO_PROTOCOL), 0);
	EQ(get_int_option(fd, SO_ACCEPTCONN), 0);
	OK(getsockname(fd, ANY(&un), &len));
	EQ(len, 2);
	EQ(un.sun_family, AF_UNIX);
	FAILS(getpeername(fd, ANY(&un), &len), ENOTCONN);
	EMPTY(fd);
	OK(close(fd));
}

CASE(dgram_raw_is_dgram, 0)
{
	struct name a = abstract_name("a"), b = path_name("b");
	int raw = unix_socket(SOCK_RAW), d = bound_to(SOCK_DGRAM, &b);

	EQ(get_int_option(raw, SO_TYPE), SOCK_DGRAM);
	OK(bind(raw, NAME(&a)));
	EQ(send_to(d, &a, "to raw"), 6);
	MESSAGE_FROM(raw, "to raw", &b);
	EQ(send_to(raw, &b, "from raw"), 8);
	MESSAGE_FROM(d, "from raw", &a);
	OK(close(raw));
	OK(close(d));
	EQ(unlink("b"), 0);
}

CASE(dgram_raw_takes_dgram_names, 0)
{
	struct name a = abstract_name("a");
	int d = bound_to(SOCK_DGRAM, &a), raw = unix_socket(SOCK_RAW);

	FAILS(bind(raw, NAME(&a)), EADDRINUSE);
	OK(close(d));
	OK(bind(raw, NAME(&a)));
	OK(close(raw));
}

CASE(dgram_raw_pair, 0)
{
	int sv[2];

	unix_pair(SOCK_RAW, sv);
	EQ(get_int_option(sv[0], SO_TYPE), SOCK_DGRAM);
	EQ(tell(sv[0], "one"), 3);
	EQ(tell(sv[0], "two"), 3);
	MESSAGE(sv[1], "one");
	MESSAGE(sv[1], "two");
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(dgram_listen_is_refused, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_DGRAM), sv[2];

	FAILS(listen(fd, 1), EOPNOTSUPP);
	OK(bind(fd, NAME(&a)));
	FAILS(listen(fd, 1), EOPNOTSUPP);
	unix_pair(SOCK_DGRAM, sv);
	FAILS(listen(sv[0], 1), EOPNOTSUPP);
	OK(close(fd));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(dgram_accept_is_refused, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_DGRAM), sv[2];

	FAILS(accept(fd, NULL, NULL), EOPNOTSUPP);
	OK(bind(fd, NAME(&a)));
	FAILS(accept(fd, NULL, NULL), EOPNOTSUPP);
	FAILS(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), EOPNOTSUPP);
	/* The flags are looked at first, the address not at all. */
	FAILS(accept4(fd, NULL, NULL, 1), EINVAL);
	FAILS(accept(fd, bad_pointer(), bad_pointer()), EOPNOTSUPP);
	unix_pair(SOCK_DGRAM, sv);
	FAILS(accept(sv[0], NULL, NULL), EOPNOTSUPP);
	OK(close(fd));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(dgram_bind_lengths, 0)
{
	struct name a = abstract_name("a");
	char buf[256] = {0};
	int fd = unix_socket(SOCK_DGRAM);

	memcpy(buf, &a.un, a.len);
	FAILS(bind(fd, bad_pointer(), 129), EINVAL);
	FAILS(bind(fd, bad_pointer(), 20), EFAULT);
	FAILS(bind(fd, ANY(buf), 111), EINVAL);
	FAILS(bind(fd, ANY(buf), 1), EINVAL);
	FAILS(bind(fd, bad_pointer(), 0), EINVAL);
	buf[0] = AF_INET;
	FAILS(bind(fd, ANY(buf), 20), EINVAL);
	buf[0] = AF_UNSPEC;
	FAILS(bind(fd, ANY(buf), 20), EINVAL);
	OK(bind(fd, NAME(&a)));
	OK(close(fd));
}

CASE(dgram_bind_twice, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b"), p = path_name("p");
	struct stat st;
	int fd = bound_to(SOCK_DGRAM, &a), other = bound_to(SOCK_DGRAM, &b);

	/* For abstract names before the name is looked for. */
	FAILS(bind(fd, NAME(&a)), EINVAL);
	FAILS(bind(fd, NAME(&b)), EINVAL);
	FAILS(bind(fd, NAME(&p)), EINVAL);
	EQ(lstat("p", &st), -1);
	OK(close(fd));
	OK(close(other));
}

CASE(dgram_bind_in_use, 0)
{
	struct name a = abstract_name("a"), p = path_name("p");
	int one = bound_to(SOCK_DGRAM, &a), two = unix_socket(SOCK_DGRAM), three = bound_to(SOCK_DGRAM, &p);

	FAILS(bind(two, NAME(&a)), EADDRINUSE);
	FAILS(bind(two, NAME(&p)), EADDRINUSE);
	OK(close(one));
	OK(close(three));
	/* An abstract name goes with its socket, the inode stays. */
	FAILS(bind(two, NAME(&p)), EADDRINUSE);
	OK(bind(two, NAME(&a)));
	OK(close(two));
	EQ(unlink("p"), 0);
}

CASE(dgram_connect_lengths, 0)
{
	struct name a = abstract_name("a");
	char buf[256] = {0};
	int fd = unix_socket(SOCK_DGRAM), target = bound_to(SOCK_DGRAM, &a);

	memcpy(buf, &a.un, a.len);
	FAILS(connect(fd, bad_pointer(), 129), EINVAL);
	FAILS(connect(fd, bad_pointer(), 20), EFAULT);
	FAILS(connect(fd, ANY(buf), 0), EINVAL);
	FAILS(connect(fd, ANY(buf), 1), EINVAL);
	FAILS(connect(fd, ANY(buf), 2), EINVAL);
	FAILS(connect(fd, ANY(buf), 111), EINVAL);
	buf[0] = AF_INET;
	FAILS(connect(fd, ANY(buf), a.len), EINVAL);
	OK(connect(fd, NAME(&a)));
	OK(close(fd));
	OK(close(target));
}

CASE(dgram_connect_unspec_of_any_length, 0)
{
	char buf[128] = {0};
	int fd = unix_socket(SOCK_DGRAM);

	/* AF_UNSPEC is 0; also without a peer. */
	FAILS(connect(fd, ANY(buf), 1), EINVAL);
	OK(connect(fd, ANY(buf), 2));
	OK(connect(fd, ANY(buf), 3));
	OK(connect(fd, ANY(buf), 111));
	OK(connect(fd, ANY(buf), 128));
	FAILS(connect(fd, ANY(buf), 129), EINVAL);
	OK(close(fd));
}

CASE(dgram_path_errors, 0)
{
	static const struct {
		const char *path;
		int error;
	} table[] = {
		{"missing", ENOENT},	{"missing/a", ENOENT},	{"file/a", ENOTDIR},	{"loop", ELOOP},
		{"dangling", ENOENT},	{"file", ECONNREFUSED}, {".", ECONNREFUSED},	{"bound/", ENOTDIR},
		{"dead", ECONNREFUSED}, {"stream", EPROTOTYPE}, {"packet", EPROTOTYPE},
	};
	struct name bound = path_name("bound"), dead = path_name("dead"), stream = path_name("stream"),
		    packet = path_name("packet");
	int f = open("file", O_CREAT | O_WRONLY, 0644), fd = unix_socket(SOCK_DGRAM);
	int b = bound_to(SOCK_DGRAM, &bound), s = listen_at(SOCK_STREAM, &stream, 1),
	    q = listen_at(SOCK_SEQPACKET, &packet, 1);

	close(f);
	EQ(symlink("loop", "loop"), 0);
	EQ(symlink("nowhere", "dangling"), 0);
	OK(close(bound_to(SOCK_DGRAM, &dead)));
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct name n = path_name(table[i].path);

		FAILS(connect(fd, NAME(&n)), table[i].error);
		FAILS(send_to(fd, &n, "x"), table[i].error);
	}
	/* None of it spoiled the socket. */
	EQ(send_to(fd, &bound, "x"), 1);
	OK(connect(fd, NAME(&bound)));
	EQ(tell(fd, "y"), 1);
	MESSAGE(b, "x");
	MESSAGE(b, "y");
	OK(close(fd));
	OK(close(b));
	OK(close(s));
	OK(close(q));
	EQ(unlink("file") | unlink("loop") | unlink("dangling") | unlink("bound") | unlink("dead") |
		   unlink("stream") | unlink("packet"),
	   0);
}

CASE(dgram_through_a_symbolic_link, 0)
{
	struct name a = path_name("a"), link = path_name("link");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	EQ(symlink("a", "link"), 0);
	EQ(send_to(s, &link, "x"), 1);
	OK(connect(s, NAME(&link)));
	EQ(tell(s, "y"), 1);
	MESSAGE(r, "x");
	MESSAGE(r, "y");
	OK(close(r));
	OK(close(s));
	EQ(unlink("a") | unlink("link"), 0);
}

CASE(dgram_failed_connect_keeps_the_peer, 0)
{
	struct name a = abstract_name("a"), none = abstract_name("none"), missing = path_name("missing");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	FAILS(connect(s, NAME(&none)), ECONNREFUSED);
	FAILS(connect(s, NAME(&missing)), ENOENT);
	FAILS(connect(s, ANY(&a.un), 2), EINVAL);
	EQ(tell(s, "x"), 1);
	MESSAGE(r, "x");
	OK(close(r));
	OK(close(s));
}

CASE(dgram_send_without_a_peer, 0)
{
	struct name a = abstract_name("a");
	struct iovec iov = {(char[]){'x'}, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int fd = unix_socket(SOCK_DGRAM);

	FAILS(send(fd, "x", 1, 0), ENOTCONN);
	FAILS(write(fd, "x", 1), ENOTCONN);
	FAILS(writev(fd, &iov, 1), ENOTCONN);
	FAILS(sendmsg(fd, &m, 0), ENOTCONN);
	FAILS(send(fd, "", 0, 0), ENOTCONN);
	/* A length of nothing is no address, nor is a null pointer. */
	FAILS(sendto(fd, "x", 1, 0, ANY(&a.un), 0), ENOTCONN);
	FAILS(sendto(fd, "x", 1, 0, NULL, a.len), ENOTCONN);
	OK(close(fd));
}

CASE(dgram_sendto_malformed_address, 0)
{
	char buf[256] = {0};
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	memcpy(buf, &a.un, a.len);
	FAILS(sendto(s, "x", 1, 0, ANY(buf), 1), EINVAL);
	FAILS(sendto(s, "x", 1, 0, ANY(buf), 2), EINVAL);
	FAILS(sendto(s, "x", 1, 0, ANY(buf), 111), EINVAL);
	FAILS(sendto(s, "x", 1, 0, ANY(buf), 129), EINVAL);
	FAILS(sendto(s, "x", 1, 0, bad_pointer(), 20), EFAULT);
	buf[0] = AF_INET;
	FAILS(sendto(s, "x", 1, 0, ANY(buf), a.len), EINVAL);
	buf[0] = AF_UNSPEC;
	FAILS(sendto(s, "x", 1, 0, ANY(buf), a.len), EINVAL);
	/* Nothing of that reached the peer. */
	EMPTY(r);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_sendmsg_long_name_is_cut, 0)
{
	char buf[256] = {0};
	struct name a = abstract_name("a");
	struct iovec iov = {(char[]){'x'}, 1};
	struct msghdr m = {.msg_name = buf, .msg_namelen = 200, .msg_iov = &iov, .msg_iovlen = 1};
	int s = unix_socket(SOCK_DGRAM);

	memcpy(buf, &a.un, a.len);
	/* To 128, which is too long as well. */
	FAILS(sendmsg(s, &m, 0), EINVAL);
	OK(close(s));
}

CASE(dgram_order_oob_then_address, 0)
{
	char bad[2] = {AF_UNIX, 0};
	int fd = unix_socket(SOCK_DGRAM);

	FAILS(send(fd, "x", 1, MSG_OOB), EOPNOTSUPP);
	FAILS(sendto(fd, "x", 1, MSG_OOB, ANY(bad), 2), EOPNOTSUPP);
	FAILS(sendto(fd, big, sizeof big, 0, ANY(bad), 2), EINVAL);
	OK(close(fd));
}

CASE(dgram_order_size_then_state, 0)
{
	struct name missing = path_name("missing");
	int fd = unix_socket(SOCK_DGRAM);

	need_default_buffer(fd);
	FAILS(send(fd, big, sizeof big, 0), EMSGSIZE);
	FAILS(sendto(fd, big, sizeof big, 0, NAME(&missing)), EMSGSIZE);
	OK(shutdown(fd, SHUT_WR));
	FAILS(send(fd, big, sizeof big, 0), EMSGSIZE);
	OK(close(fd));
}

CASE_ON_DGRAM(dgram_order_size_then_error, 0)
{
	need_default_buffer(sv[0]);
	make_pending_error(sv);
	FAILS(send(sv[0], big, sizeof big, 0), EMSGSIZE);
	/* Still there. */
	FAILS(tell(sv[0], "x"), ECONNRESET);
	EQ(get_int_option(sv[0], SO_ERROR), 0);
}

CASE_ON_DGRAM(dgram_order_error_then_shutdown, 0)
{
	make_pending_error(sv);
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(tell(sv[0], "x"), ECONNRESET);
	FAILS(tell(sv[0], "x"), EPIPE);
}

CASE_ON_DGRAM(dgram_order_shutdown_then_full, 0)
{
	fill_messages(sv[0], NULL, 1000);
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(tell(sv[0], "x"), EPIPE);
}

CASE(dgram_order_shutdown_then_peer, 0)
{
	struct name missing = path_name("missing");
	int fd = unix_socket(SOCK_DGRAM);

	OK(shutdown(fd, SHUT_WR));
	FAILS(tell(fd, "x"), EPIPE);
	FAILS(send_to(fd, &missing, "x"), EPIPE);
	FAILS(send(fd, bad_pointer(), 1, 0), EPIPE);
	OK(close(fd));
}

CASE_ON_DGRAM(dgram_order_full_then_data_and_lookup, 0)
{
	struct name missing = path_name("missing");

	fill_messages(sv[0], NULL, 1000);
	FAILS(send(sv[0], bad_pointer(), 1, MSG_DONTWAIT), EAGAIN);
	FAILS(send_to(sv[0], &missing, "x"), EAGAIN);
}

CASE(dgram_order_data_then_lookup, 0)
{
	struct name missing = path_name("missing");
	int fd = unix_socket(SOCK_DGRAM);

	FAILS(sendto(fd, bad_pointer(), 1, 0, NAME(&missing)), EFAULT);
	FAILS(send(fd, bad_pointer(), 1, 0), EFAULT);
	FAILS(send(fd, bad_pointer(), 0, 0), ENOTCONN);
	OK(close(fd));
}

CASE(dgram_order_permission_then_shutdown, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), other = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	OK(connect(r, NAME(&b)));
	OK(shutdown(r, SHUT_RD));
	FAILS(send_to(s, &a, "x"), EPERM);
	OK(close(r));
	OK(close(other));
	OK(close(s));
}

CASE(dgram_order_receivers_shutdown_then_queue, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	fill_messages(s, &a, 1);
	FAILS(send_to(s, &a, "x"), EAGAIN);
	OK(shutdown(r, SHUT_RD));
	FAILS(send_to(s, &a, "x"), EPIPE);
	OK(close(r));
	OK(close(s));
}

CASE_ON_DGRAM(dgram_bad_data_queues_nothing, 0)
{
	FAILS(send(sv[0], bad_pointer(), 10, 0), EFAULT);
	EMPTY(sv[1]);
	EQ(tell(sv[0], "x"), 1);
	MESSAGE(sv[1], "x");
}

CASE_ON_DGRAM(dgram_recv_oob_is_refused, 0)
{
	char c;

	FAILS(recv(sv[1], &c, 1, MSG_OOB), EOPNOTSUPP);
	EQ(tell(sv[0], "x"), 1);
	FAILS(recv(sv[1], &c, 1, MSG_OOB), EOPNOTSUPP);
	MESSAGE(sv[1], "x");
	/* Looked at before the pending error. */
	make_pending_error(sv);
	FAILS(recv(sv[0], &c, 1, MSG_OOB), EOPNOTSUPP);
	FAILS(recv(sv[0], &c, 1, MSG_DONTWAIT), ECONNRESET);
}

CASE_ON_DGRAM(dgram_recv_takes_the_error_before_messages, 0)
{
	EQ(tell(sv[1], "queued"), 6);
	make_pending_error(sv);
	FAILS(recv(sv[0], (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	MESSAGE(sv[0], "queued");
	EMPTY(sv[0]);
}

CASE_ON_DGRAM(dgram_peek_takes_the_error, 0)
{
	EQ(tell(sv[1], "queued"), 6);
	make_pending_error(sv);
	FAILS(recv(sv[0], (char[1]){0}, 1, MSG_PEEK), ECONNRESET);
	EQ(recv(sv[0], (char[1]){0}, 1, MSG_PEEK), 1);
	MESSAGE(sv[0], "queued");
}

CASE(dgram_epipe_without_signal, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a);

	count_signal(SIGPIPE, 0);
	OK(shutdown(r, SHUT_RD));
	FAILS(write(s, "x", 1), EPIPE);
	FAILS(send(s, "x", 1, 0), EPIPE);
	OK(shutdown(s, SHUT_WR));
	FAILS(write(s, "x", 1), EPIPE);
	EQ(atomic_load(&signals_seen), 0);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_shutdown_arguments, 0)
{
	int fd = unix_socket(SOCK_DGRAM);

	FAILS(shutdown(fd, 3), EINVAL);
	FAILS(shutdown(fd, -1), EINVAL);
	OK(shutdown(fd, SHUT_RD));
	OK(shutdown(fd, SHUT_RD));
	OK(shutdown(fd, SHUT_RDWR));
	OK(close(fd));
}

CASE(dgram_no_mark, 0)
{
	int sv[2], n = 5;

	unix_pair(SOCK_DGRAM, sv);
	FAILS(ioctl(sv[0], SIOCATMARK, &n), EOPNOTSUPP);
	EQ(tell(sv[1], "x"), 1);
	FAILS(ioctl(sv[0], SIOCATMARK, &n), EOPNOTSUPP);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(dgram_inq_option_is_unknown, 0)
{
	int fd = unix_socket(SOCK_DGRAM), one = 1;
	socklen_t len = sizeof one;

	FAILS(setsockopt(fd, SOL_SOCKET, 84, &one, sizeof one), ENOPROTOOPT);
	FAILS(getsockopt(fd, SOL_SOCKET, 84, &one, &len), ENOPROTOOPT);
	OK(close(fd));
}

CASE(dgram_peer_credentials, 0)
{
	struct name a = abstract_name("a");
	struct ucred cred;
	socklen_t len = sizeof cred;
	int r = bound_to(SOCK_DGRAM, &a), s = connect_to(SOCK_DGRAM, &a), sv[2];

	/* Nobody recorded them, which is no error. */
	OK(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &len));
	EQ(cred.pid, 0);
	EQ(cred.uid, (uid_t)-1);
	EQ(cred.gid, (gid_t)-1);
	unix_pair(SOCK_DGRAM, sv);
	OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &cred, &len));
	EQ(cred.pid, getpid());
	EQ(cred.uid, geteuid());
	OK(close(r));
	OK(close(s));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(dgram_order_control_then_oob_and_address, 0)
{
	union {
		struct cmsghdr c;
		char bytes[64];
	} control = {.c = {.cmsg_len = 3, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {(char[]){'x'}, 1};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int fd = unix_socket(SOCK_DGRAM);

	FAILS(sendmsg(fd, &m, MSG_OOB), EINVAL);
	OK(shutdown(fd, SHUT_WR));
	FAILS(sendmsg(fd, &m, 0), EINVAL);
	/* Too short for one header it is no control message at all. */
	m.msg_controllen = sizeof control.c - 1;
	FAILS(sendmsg(fd, &m, MSG_OOB), EOPNOTSUPP);
	OK(close(fd));
}

CASE(dgram_bad_descriptors, 0)
{
	struct name a = abstract_name("a");
	int p[2];

	EQ(pipe(p), 0);
	FAILS(sendto(-1, "x", 1, 0, NAME(&a)), EBADF);
	FAILS(sendto(p[1], "x", 1, 0, NAME(&a)), ENOTSOCK);
	FAILS(sendto(p[1], "x", 1, 0, bad_pointer(), 129), ENOTSOCK);
	FAILS(recv(p[0], (char[1]){0}, 1, 0), ENOTSOCK);
	/* connect() alone looks at the address first. */
	FAILS(connect(p[0], bad_pointer(), 129), EINVAL);
	FAILS(bind(p[0], bad_pointer(), 129), ENOTSOCK);
	close(p[0]);
	close(p[1]);
}
