/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Seqpacket sockets: listen(), connect(), accept(), and the order in which send and receive look at things.
 */
#include "conform.h"

static char big[212992];

/* sv[0] has the pending error of a peer that closed with messages unread. */
static void make_pending_error(int sv[2])
{
	EQ(tell(sv[0], "unread"), 6);
	close_end(&sv[1]);
}

CASE(seqpacket_fresh, 0)
{
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	int fd = unix_socket(SOCK_SEQPACKET);

	EQ(get_int_option(fd, SO_TYPE), SOCK_SEQPACKET);
	EQ(get_int_option(fd, SO_ACCEPTCONN), 0);
	OK(getsockname(fd, ANY(&un), &len));
	EQ(len, 2);
	FAILS(getpeername(fd, ANY(&un), &len), ENOTCONN);
	OK(close(fd));
}

CASE(seqpacket_listen_states, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_SEQPACKET), sv[2];

	FAILS(listen(fd, 1), EINVAL);
	OK(bind(fd, NAME(&a)));
	OK(listen(fd, 1));
	EQ(get_int_option(fd, SO_ACCEPTCONN), 1);
	OK(listen(fd, 5));
	unix_connection(SOCK_SEQPACKET, sv);
	FAILS(listen(sv[0], 1), EINVAL);
	FAILS(listen(sv[1], 1), EINVAL);
	OK(close(sv[0]));
	OK(close(sv[1]));
	OK(close(fd));
}

CASE(seqpacket_accept_states, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_SEQPACKET), sv[2];

	FAILS(accept(fd, NULL, NULL), EINVAL);
	FAILS(accept4(fd, NULL, NULL, 1), EINVAL);
	OK(bind(fd, NAME(&a)));
	FAILS(accept(fd, NULL, NULL), EINVAL);
	unix_pair(SOCK_SEQPACKET, sv);
	FAILS(accept(sv[0], NULL, NULL), EINVAL);
	OK(listen(fd, 1));
	set_nonblocking(fd, true);
	FAILS(accept(fd, NULL, NULL), EAGAIN);
	OK(close(sv[0]));
	OK(close(sv[1]));
	OK(close(fd));
}

CASE(seqpacket_connect_and_accept, 0)
{
	struct name a = abstract_name("a"), b = path_name("b");
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	int l = listen_at(SOCK_SEQPACKET, &a, 5), c = bound_to(SOCK_SEQPACKET, &b);

	OK(connect(c, NAME(&a)));
	int s = OK(accept4(l, ANY(&un), &len, SOCK_CLOEXEC | SOCK_NONBLOCK));
	EQ(len, b.len);
	BYTES(&un, &b.un, b.len);
	EQ(get_int_option(s, SO_TYPE), SOCK_SEQPACKET);
	EQ(fcntl(s, F_GETFD), FD_CLOEXEC);
	FAILS(read(s, (char[1]){0}, 1), EAGAIN);
	len = sizeof un;
	OK(getsockname(s, ANY(&un), &len));
	EQ(len, a.len);
	len = sizeof un;
	OK(getpeername(c, ANY(&un), &len));
	EQ(len, a.len);
	BYTES(&un, &a.un, a.len);
	OK(close(s));
	OK(close(c));
	OK(close(l));
	EQ(unlink("b"), 0);
}

CASE(seqpacket_tells_the_senders_name, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	int l = listen_at(SOCK_SEQPACKET, &a, 5), c = connect_to(SOCK_SEQPACKET, &a);
	int s = OK(accept(l, NULL, NULL));
	char buf[8];

	EQ(tell(s, "from server"), 11);
	MESSAGE_FROM(c, "from server", &a);
	EQ(tell(c, "from nobody"), 11);
	MESSAGE_FROM(s, "from nobody", NULL);
	EQ(tell(c, "bound late"), 10);
	OK(bind(c, NAME(&b)));
	OK(close(c));
	MESSAGE_FROM(s, "bound late", &b);
	/* The end is nobody's. */
	EQ(recvfrom(s, buf, sizeof buf, 0, ANY(&un), &len), 0);
	EQ(len, 0);
	OK(close(s));
	OK(close(l));
}

CASE(seqpacket_path_errors, 0)
{
	struct name stream = path_name("stream"), dgram = path_name("dgram"), bound = path_name("bound"),
		    missing = path_name("missing"), self = path_name(".");
	int st = listen_at(SOCK_STREAM, &stream, 1), d = bound_to(SOCK_DGRAM, &dgram),
	    b = bound_to(SOCK_SEQPACKET, &bound), fd = unix_socket(SOCK_SEQPACKET);

	FAILS(connect(fd, NAME(&stream)), EPROTOTYPE);
	FAILS(connect(fd, NAME(&dgram)), EPROTOTYPE);
	FAILS(connect(fd, NAME(&bound)), ECONNREFUSED);
	FAILS(connect(fd, NAME(&missing)), ENOENT);
	FAILS(connect(fd, NAME(&self)), ECONNREFUSED);
	OK(listen(b, 1));
	OK(connect(fd, NAME(&bound)));
	OK(close(fd));
	OK(close(b));
	OK(close(st));
	OK(close(d));
	EQ(unlink("stream") | unlink("dgram") | unlink("bound"), 0);
}

CASE(seqpacket_abstract_of_another_type, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int st = listen_at(SOCK_STREAM, &a, 1), d = bound_to(SOCK_DGRAM, &b),
	    fd = unix_socket(SOCK_SEQPACKET);

	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	FAILS(connect(fd, NAME(&b)), ECONNREFUSED);
	OK(close(fd));
	OK(close(st));
	OK(close(d));
}

CASE(seqpacket_connect_addresses, 0)
{
	struct name a = abstract_name("a");
	char buf[128] = {0};
	int fd = unix_socket(SOCK_SEQPACKET), l = listen_at(SOCK_SEQPACKET, &a, 1);

	memcpy(buf, &a.un, a.len);
	FAILS(connect(fd, ANY(buf), 2), EINVAL);
	FAILS(connect(fd, ANY(buf), 111), EINVAL);
	/* Nothing is dissolved here. */
	buf[0] = AF_UNSPEC;
	FAILS(connect(fd, ANY(buf), 2), EINVAL);
	FAILS(connect(fd, ANY(buf), a.len), EINVAL);
	OK(connect(fd, NAME(&a)));
	FAILS(connect(fd, ANY(buf), a.len), EINVAL);
	FAILS(connect(fd, NAME(&a)), EISCONN);
	OK(close(l));
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	OK(close(fd));
}

CASE(seqpacket_connect_when_connected, 0)
{
	struct name a = abstract_name("a"), none = abstract_name("none"), full = abstract_name("full");
	int l = listen_at(SOCK_SEQPACKET, &a, 1), f = listen_at(SOCK_SEQPACKET, &full, 0);
	int waiting = connect_to(SOCK_SEQPACKET, &full), sv[2];

	unix_pair(SOCK_SEQPACKET, sv);
	set_nonblocking(sv[0], true);
	FAILS(connect(sv[0], NAME(&none)), ECONNREFUSED);
	FAILS(connect(sv[0], NAME(&full)), EAGAIN);
	FAILS(connect(sv[0], NAME(&a)), EISCONN);
	OK(close(sv[1]));
	FAILS(connect(sv[0], NAME(&a)), EISCONN);
	OK(close(sv[0]));
	OK(close(waiting));
	OK(close(l));
	OK(close(f));
}

CASE(seqpacket_connect_from_listener, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int l = listen_at(SOCK_SEQPACKET, &a, 1), m = listen_at(SOCK_SEQPACKET, &b, 1);

	FAILS(connect(l, NAME(&b)), EINVAL);
	FAILS(connect(l, NAME(&a)), EINVAL);
	OK(close(l));
	OK(close(m));
}

CASE(seqpacket_full_backlog, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 0), c = connect_to(SOCK_SEQPACKET, &a),
	    d = unix_socket(SOCK_SEQPACKET);
	struct actor t;

	set_nonblocking(d, true);
	FAILS(connect(d, NAME(&a)), EAGAIN);
	set_nonblocking(d, false);
	set_time_option(d, SO_SNDTIMEO, 30);
	FAILS(connect(d, NAME(&a)), EAGAIN);
	set_time_option(d, SO_SNDTIMEO, 0);
	start_connect(&t, d, &a);
	BLOCKED(&t);
	OK(close(OK(accept(l, NULL, NULL))));
	RETURNS(&t, 0);
	OK(close(c));
	OK(close(d));
	OK(close(l));
}

CASE(seqpacket_blocked_connect_and_a_closing_listener, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 0), c = connect_to(SOCK_SEQPACKET, &a),
	    d = unix_socket(SOCK_SEQPACKET);
	struct actor t;

	start_connect(&t, d, &a);
	BLOCKED(&t);
	OK(close(l));
	RETURNS_ERROR(&t, ECONNREFUSED);
	/* The queued one is reset, though there was nothing unread. */
	FAILS(recv(c, (char[1]){0}, 1, MSG_DONTWAIT), ECONNRESET);
	OK(close(c));
	OK(close(d));
}

CASE(seqpacket_blocked_accept, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 1);
	struct actor t;

	start_accept(&t, l);
	BLOCKED(&t);
	int c = connect_to(SOCK_SEQPACKET, &a);
	OK(close(OK((int)actor_join(&t))));
	start_accept(&t, l);
	BLOCKED(&t);
	OK(shutdown(l, SHUT_RD));
	RETURNS_ERROR(&t, EINVAL);
	OK(close(c));
	OK(close(l));
}

CASE(seqpacket_shut_listener, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5), c = connect_to(SOCK_SEQPACKET, &a),
	    d = unix_socket(SOCK_SEQPACKET);

	OK(shutdown(l, SHUT_RD));
	FAILS(connect(d, NAME(&a)), ECONNREFUSED);
	OK(close(OK(accept(l, NULL, NULL))));
	OK(listen(l, 5));
	FAILS(connect(d, NAME(&a)), ECONNREFUSED);
	OK(close(c));
	OK(close(d));
	OK(close(l));
}

CASE(seqpacket_sends_before_accept, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5), c = connect_to(SOCK_SEQPACKET, &a);

	EQ(tell(c, "one"), 3);
	EQ(tell(c, ""), 0);
	EQ(tell(c, "two"), 3);
	OK(close(c));
	int s = OK(accept(l, NULL, NULL));
	MESSAGE(s, "one");
	MESSAGE(s, "");
	MESSAGE(s, "two");
	AT_EOF(s);
	OK(close(s));
	OK(close(l));
}

CASE(seqpacket_fills_the_buffer_before_accept, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5), c = connect_to(SOCK_SEQPACKET, &a);

	need_default_buffer(c);
	EQ(fill_messages(c, NULL, 1000), 93);
	int s = OK(accept(l, NULL, NULL));
	EQ(take_messages(s), 93);
	OK(close(s));
	OK(close(c));
	OK(close(l));
}

CASE(seqpacket_send_unconnected, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_SEQPACKET), l = listen_at(SOCK_SEQPACKET, &a, 1);

	FAILS(send(fd, "x", 1, 0), ENOTCONN);
	FAILS(write(fd, "", 0), ENOTCONN);
	FAILS(send_to(fd, &a, "x"), ENOTCONN);
	FAILS(tell(l, "x"), ENOTCONN);
	/* Before everything else. */
	FAILS(send(fd, "x", 1, MSG_OOB), ENOTCONN);
	FAILS(send(fd, big, sizeof big, 0), ENOTCONN);
	OK(shutdown(fd, SHUT_WR));
	FAILS(tell(fd, "x"), ENOTCONN);
	OK(close(fd));
	OK(close(l));
}

CASE(seqpacket_recv_unconnected, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_SEQPACKET), l = listen_at(SOCK_SEQPACKET, &a, 1);
	char c;

	FAILS(recv(fd, &c, 1, 0), ENOTCONN);
	FAILS(read(fd, &c, 1), ENOTCONN);
	EQ(read(fd, &c, 0), 0);
	FAILS(recv(fd, &c, 0, 0), ENOTCONN);
	FAILS(recv(fd, &c, 1, MSG_OOB), ENOTCONN);
	OK(bind(fd, ANY(&a.un), 2));
	FAILS(recv(fd, &c, 1, 0), ENOTCONN);
	FAILS(recv(l, &c, 1, 0), ENOTCONN);
	OK(shutdown(fd, SHUT_RD));
	FAILS(recv(fd, &c, 1, 0), ENOTCONN);
	OK(close(fd));
	OK(close(l));
}

CASE_ON_SEQPACKET(seqpacket_address_is_ignored, 0)
{
	struct name none = abstract_name("none"), missing = path_name("missing");
	struct iovec iov = {(char[]){'x'}, 1};
	char garbage[128];
	struct msghdr m = {.msg_name = garbage, .msg_namelen = 128, .msg_iov = &iov, .msg_iovlen = 1};

	memset(garbage, 0x5a, sizeof garbage);
	EQ(send_to(sv[0], &none, "a"), 1);
	EQ(send_to(sv[0], &missing, "b"), 1);
	EQ(sendto(sv[0], "c", 1, 0, ANY(garbage), 1), 1);
	EQ(sendto(sv[0], "d", 1, 0, ANY(garbage), 128), 1);
	EQ(sendmsg(sv[0], &m, 0), 1);
	MESSAGE(sv[1], "a");
	MESSAGE(sv[1], "b");
	MESSAGE(sv[1], "c");
	MESSAGE(sv[1], "d");
	MESSAGE(sv[1], "x");
	/* What everybody's addresses are held to. */
	FAILS(sendto(sv[0], "x", 1, 0, ANY(garbage), 129), EINVAL);
	FAILS(sendto(sv[0], "x", 1, 0, bad_pointer(), 20), EFAULT);
}

CASE_ON_SEQPACKET(seqpacket_order_error_then_all, 0)
{
	make_pending_error(sv);
	FAILS(send(sv[0], "x", 1, MSG_OOB), ECONNRESET);
	FAILS(send(sv[0], "x", 1, MSG_OOB), EOPNOTSUPP);
	FAILS(tell(sv[0], "x"), EPIPE);
}

CASE_ON_SEQPACKET(seqpacket_order_error_then_size, 0)
{
	need_default_buffer(sv[0]);
	make_pending_error(sv);
	FAILS(send(sv[0], big, sizeof big, 0), ECONNRESET);
	/* The size before the end of the connection. */
	FAILS(send(sv[0], big, sizeof big, 0), EMSGSIZE);
	FAILS(send(sv[0], big, 1, 0), EPIPE);
}

CASE_ON_SEQPACKET(seqpacket_order_shutdown_then_full, 0)
{
	fill_messages(sv[0], NULL, 1000);
	OK(shutdown(sv[0], SHUT_WR));
	FAILS(tell(sv[0], "x"), EPIPE);
	FAILS(send(sv[0], bad_pointer(), 1, 0), EPIPE);
}

CASE_ON_SEQPACKET(seqpacket_order_full_then_data, 0)
{
	fill_messages(sv[0], NULL, 1000);
	FAILS(send(sv[0], bad_pointer(), 1, MSG_DONTWAIT), EAGAIN);
}

CASE_ON_SEQPACKET(seqpacket_order_oob_then_error_at_recv, 0)
{
	make_pending_error(sv);
	FAILS(recv(sv[0], (char[1]){0}, 1, MSG_OOB), EOPNOTSUPP);
	FAILS(recv(sv[0], (char[1]){0}, 1, 0), ECONNRESET);
}

/* A control message whose length does not hold its own header. */
static ssize_t send_bad_control(int fd, int flags)
{
	union {
		struct cmsghdr c;
		char bytes[64];
	} control = {.c = {.cmsg_len = 3, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {(char[]){'x'}, 1};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

	return sendmsg(fd, &m, flags);
}

CASE(seqpacket_order_state_then_control, 0)
{
	int fd = unix_socket(SOCK_SEQPACKET), d = unix_socket(SOCK_DGRAM), sv[2];

	FAILS(send_bad_control(fd, 0), ENOTCONN);
	FAILS(send_bad_control(d, 0), EINVAL);
	unix_pair(SOCK_SEQPACKET, sv);
	FAILS(send_bad_control(sv[0], MSG_OOB), EINVAL);
	make_pending_error(sv);
	FAILS(send_bad_control(sv[0], 0), ECONNRESET);
	FAILS(send_bad_control(sv[0], 0), EINVAL);
	OK(close(fd));
	OK(close(d));
	OK(close(sv[0]));
}

CASE(seqpacket_shutdown_before_connect, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5), r = unix_socket(SOCK_SEQPACKET),
	    w = unix_socket(SOCK_SEQPACKET);

	OK(shutdown(r, SHUT_RD));
	OK(connect(r, NAME(&a)));
	int s = OK(accept(l, NULL, NULL));
	READY(s, POLLOUT);
	AT_EOF(r);
	FAILS(tell(s, "x"), EPIPE);
	EQ(tell(r, "y"), 1);
	MESSAGE(s, "y");
	OK(close(s));
	OK(close(r));
	OK(shutdown(w, SHUT_WR));
	OK(connect(w, NAME(&a)));
	s = OK(accept(l, NULL, NULL));
	FAILS(tell(w, "x"), EPIPE);
	EMPTY(s);
	OK(close(s));
	OK(close(w));
	OK(close(l));
}

CASE(seqpacket_peer_credentials, 0)
{
	struct ucred cred;
	int sv[2];

	unix_connection(SOCK_SEQPACKET, sv);
	for (int i = 0; i < 2; i++) {
		socklen_t len = sizeof cred;

		OK(getsockopt(sv[i], SOL_SOCKET, SO_PEERCRED, &cred, &len));
		EQ(cred.pid, getpid());
		EQ(cred.uid, geteuid());
		OK(close(sv[i]));
	}
}

CASE_ON_SEQPACKET(seqpacket_peer_name_outlives_the_peer, 0)
{
	struct sockaddr_un un, old;
	socklen_t len = sizeof un, before = sizeof old;

	OK(getpeername(sv[0], ANY(&old), &before));
	close_end(&sv[1]);
	OK(getpeername(sv[0], ANY(&un), &len));
	EQ(len, before);
	BYTES(&un, &old, len);
}
