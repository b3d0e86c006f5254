/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Addresses as bytes: the lengths that bind() and connect() take, what the calls that
 * return an address write and cut off, abstract names and autobind.
 */
#include "conform.h"

#define HEAD ((socklen_t)offsetof(struct sockaddr_un, sun_path))

static void expect_name(int fd, const struct name *want)
{
	char buf[128];
	socklen_t len = sizeof buf;

	memset(buf, 0x5a, sizeof buf);
	OK(getsockname(fd, ANY(buf), &len));
	EQ(len, want->len);
	BYTES(buf, &want->un, want->len);
	/* Nothing is written behind the address. */
	EQ(buf[len], 0x5a);
}

CASE(bind_length_rules, 0)
{
	static const socklen_t bad[] = {0, 1, 111, 112, 128, 129, 4096, (socklen_t)-1, (socklen_t)INT_MIN};
	struct name a = abstract_name("a");
	char buf[128] = {0};
	int fd = unix_socket(SOCK_STREAM);

	memcpy(buf, &a.un, a.len);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		FAILS(bind(fd, ANY(buf), bad[i]), EINVAL);
	/* The length is looked at before the pointer, and 0 bytes need none. */
	FAILS(bind(fd, ANY(bad_pointer()), 129), EINVAL);
	FAILS(bind(fd, ANY(bad_pointer()), 0), EINVAL);
	FAILS(bind(fd, ANY(bad_pointer()), 10), EFAULT);
	FAILS(bind(fd, ANY(bad_pointer()), 2), EFAULT);
	FAILS(bind(fd, NULL, 0), EINVAL);
	FAILS(bind(fd, NULL, 16), EFAULT);
	/* The longest. */
	OK(bind(fd, ANY(buf), 110));
	OK(close(fd));
}

CASE(bind_wrong_family, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_STREAM);

	a.un.sun_family = AF_INET;
	FAILS(bind(fd, NAME(&a)), EINVAL);
	FAILS(bind(fd, ANY(&a.un), 2), EINVAL);
	a.un.sun_family = AF_UNSPEC;
	FAILS(bind(fd, NAME(&a)), EINVAL);
	FAILS(bind(fd, ANY(&a.un), 2), EINVAL);
	a.un.sun_family = AF_UNIX;
	OK(bind(fd, NAME(&a)));
	OK(close(fd));
}

CASE(connect_length_rules, 0)
{
	static const socklen_t bad[] = {0, 1, 2, 111, 128, 129, (socklen_t)-1};
	struct name a = abstract_name("a");
	char buf[128] = {0};
	int l = listen_at(SOCK_STREAM, &a, 5), fd = unix_socket(SOCK_STREAM);

	memcpy(buf, &a.un, a.len);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		FAILS(connect(fd, ANY(buf), bad[i]), EINVAL);
	FAILS(connect(fd, ANY(bad_pointer()), 10), EFAULT);
	a.un.sun_family = AF_UNSPEC;
	FAILS(connect(fd, NAME(&a)), EINVAL);
	a.un.sun_family = AF_INET;
	FAILS(connect(fd, NAME(&a)), EINVAL);
	a.un.sun_family = AF_UNIX;
	OK(connect(fd, NAME(&a)));
	OK(close(fd));
	OK(close(l));
}

CASE(path_of_108_bytes, 0)
{
	char text[108], buf[128];
	socklen_t len = sizeof buf;

	/* The name in the directory may be 255 bytes long, so all of it can be one component. */
	memset(text, 'p', sizeof text);
	struct name a = bytes_name(text, sizeof text);
	EQ(a.len, 110);
	int l = listen_at(SOCK_STREAM, &a, 5);
	memset(buf, 0x5a, sizeof buf);
	OK(getsockname(l, ANY(buf), &len));
	EQ(len, 111);
	BYTES(buf + HEAD, text, sizeof text);
	EQ(buf[110], 0);
	EQ(buf[111], 0x5a);
	/* What getsockname() gave cannot be given back as it is. */
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, ANY(buf), 111), EINVAL);
	OK(connect(fd, ANY(buf), 110));
	/* A structure's worth of bytes takes the NUL away. */
	struct sockaddr_un un;
	len = sizeof un;
	OK(getpeername(fd, ANY(&un), &len));
	EQ(len, 111);
	BYTES(un.sun_path, text, sizeof text);
	OK(close(fd));
	OK(close(l));
	memset(buf, 'p', 108);
	buf[108] = '\0';
	EQ(unlink(buf), 0);
}

CASE(path_ends_at_first_nul, 0)
{
	struct name a = bytes_name("ab\0garbage", 10), want = path_name("ab");
	int l = listen_at(SOCK_STREAM, &a, 5);

	expect_name(l, &want);
	EQ(access("ab", F_OK), 0);
	/* Other garbage leads there too. */
	struct name b = bytes_name("ab\0other", 8);
	int fd = connect_to(SOCK_STREAM, &b);
	OK(close(fd));
	OK(close(l));
	EQ(unlink("ab"), 0);
}

CASE(path_without_terminator, 0)
{
	struct name a = bytes_name("abc", 3), want = path_name("abc"), cut = bytes_name("abc", 2);
	int l = listen_at(SOCK_STREAM, &a, 5);

	expect_name(l, &want);
	/* The length decides where it ends. */
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&cut)), ENOENT);
	OK(connect(fd, NAME(&want)));
	OK(close(fd));
	OK(close(l));
	EQ(unlink("abc"), 0);
}

CASE(abstract_every_byte_counts, 0)
{
	struct name a = abstract_name("x"), longer = a, nul = a, padded = a;
	int fd = unix_socket(SOCK_STREAM);

	longer.un.sun_path[longer.len - HEAD] = 'y';
	longer.len++;
	nul.len++;
	/* What a caller gets who passes sizeof(struct sockaddr_un). */
	padded.len = sizeof padded.un;
	int la = listen_at(SOCK_STREAM, &a, 5);
	FAILS(connect(fd, NAME(&longer)), ECONNREFUSED);
	FAILS(connect(fd, NAME(&nul)), ECONNREFUSED);
	FAILS(connect(fd, NAME(&padded)), ECONNREFUSED);
	int ll = listen_at(SOCK_STREAM, &longer, 5), ln = listen_at(SOCK_STREAM, &nul, 5);
	int lp = listen_at(SOCK_STREAM, &padded, 5);
	expect_name(la, &a);
	expect_name(ll, &longer);
	expect_name(ln, &nul);
	expect_name(lp, &padded);
	OK(connect(fd, NAME(&nul)));
	set_nonblocking(la, true);
	set_nonblocking(lp, true);
	FAILS(accept(la, NULL, NULL), EAGAIN);
	FAILS(accept(lp, NULL, NULL), EAGAIN);
	OK(close(OK(accept(ln, NULL, NULL))));
	OK(close(fd));
	OK(close(la));
	OK(close(ll));
	OK(close(ln));
	OK(close(lp));
}

CASE(abstract_embedded_nul_and_any_byte, 0)
{
	char bytes[60];

	memset(bytes, 0, sizeof bytes);
	snprintf(bytes + 1, sizeof bytes - 1, "conform.%d", (int)getpid());
	bytes[40] = '\n';
	bytes[41] = (char)0xff;
	bytes[42] = '/';
	struct name a = bytes_name(bytes, 50);
	bytes[45] = 1;
	struct name b = bytes_name(bytes, 50);
	int l = listen_at(SOCK_STREAM, &a, 5), fd = unix_socket(SOCK_STREAM);
	expect_name(l, &a);
	FAILS(connect(fd, NAME(&b)), ECONNREFUSED);
	OK(connect(fd, NAME(&a)));
	OK(close(fd));
	OK(close(l));
}

CASE(abstract_in_use, 0)
{
	struct name a = abstract_name("a");
	int one = bound_to(SOCK_STREAM, &a), two = unix_socket(SOCK_STREAM);

	FAILS(bind(two, NAME(&a)), EADDRINUSE);
	set_int_option(two, SO_REUSEADDR, 1);
	FAILS(bind(two, NAME(&a)), EADDRINUSE);
	OK(close(one));
	OK(bind(two, NAME(&a)));
	OK(close(two));
}

CASE(abstract_free_at_once_after_close, 0)
{
	struct name a = abstract_name("a");

	for (int i = 0; i < 200; i++)
		OK(close(listen_at(SOCK_STREAM, &a, 5)));
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	OK(close(fd));
}

CASE(abstract_free_while_connections_live, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);
	int client = connect_to(SOCK_STREAM, &a), server = OK(accept(l, NULL, NULL));

	OK(close(l));
	int fd = unix_socket(SOCK_STREAM);
	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	int again = listen_at(SOCK_STREAM, &a, 5);
	/* The old connection keeps the name it was accepted under. */
	expect_name(server, &a);
	put(client, "x");
	GETS(server, "x");
	OK(connect(fd, NAME(&a)));
	OK(close(fd));
	OK(close(again));
	OK(close(client));
	OK(close(server));
}

CASE(abstract_held_by_dup, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5), copy = OK(dup(l)), other = unix_socket(SOCK_STREAM);

	OK(close(l));
	FAILS(bind(other, NAME(&a)), EADDRINUSE);
	OK(close(connect_to(SOCK_STREAM, &a)));
	OK(close(copy));
	OK(bind(other, NAME(&a)));
	OK(close(other));
}

static void expect_autobound(int fd, struct name *got)
{
	*got = (struct name){.len = sizeof got->un};
	OK(getsockname(fd, ANY(&got->un), &got->len));
	EQ(got->len, HEAD + 6);
	EQ(got->un.sun_family, AF_UNIX);
	EQ(got->un.sun_path[0], 0);
	for (int i = 1; i < 6; i++)
		TRUE(strchr("0123456789abcdef", got->un.sun_path[i]) != NULL);
}

CASE(autobind, 0)
{
	struct sockaddr_un family = {.sun_family = AF_UNIX};
	struct name one, two, again, other = abstract_name("other");
	int a = unix_socket(SOCK_STREAM), b = unix_socket(SOCK_STREAM);

	OK(bind(a, ANY(&family), 2));
	OK(bind(b, ANY(&family), 2));
	expect_autobound(a, &one);
	expect_autobound(b, &two);
	TRUE(memcmp(one.un.sun_path, two.un.sun_path, 6) != 0);
	/* Again is no error and no change; a name of one's own choice comes too late. */
	OK(bind(a, ANY(&family), 2));
	expect_autobound(a, &again);
	BYTES(again.un.sun_path, one.un.sun_path, 6);
	FAILS(bind(a, NAME(&other)), EINVAL);
	/* It is a name like any other. */
	int fd = unix_socket(SOCK_STREAM);
	FAILS(bind(fd, NAME(&one)), EADDRINUSE);
	OK(close(fd));
	OK(listen(a, 5));
	OK(close(connect_to(SOCK_STREAM, &one)));
	OK(close(a));
	OK(close(b));
}

CASE(autobind_of_bound_socket_changes_nothing, 0)
{
	struct sockaddr_un family = {.sun_family = AF_UNIX};
	struct name a = abstract_name("a"), b = path_name("b");
	int x = bound_to(SOCK_STREAM, &a), y = bound_to(SOCK_STREAM, &b);

	OK(bind(x, ANY(&family), 2));
	OK(bind(y, ANY(&family), 2));
	expect_name(x, &a);
	expect_name(y, &b);
	OK(close(x));
	OK(close(y));
	EQ(unlink("b"), 0);
}

static void expect_unnamed(const void *buf, socklen_t len)
{
	const unsigned char *bytes = buf;
	sa_family_t family;

	EQ(len, 2);
	memcpy(&family, buf, sizeof family);
	EQ(family, AF_UNIX);
	EQ(bytes[2], 0x5a);
}

CASE(unnamed_address_is_the_family, 0)
{
	char buf[128];
	socklen_t len = sizeof buf;
	int sv[2], fd = unix_socket(SOCK_STREAM);

	unix_pair(SOCK_STREAM, sv);
	memset(buf, 0x5a, sizeof buf);
	OK(getsockname(fd, ANY(buf), &len));
	expect_unnamed(buf, len);
	len = sizeof buf;
	memset(buf, 0x5a, sizeof buf);
	OK(getsockname(sv[0], ANY(buf), &len));
	expect_unnamed(buf, len);
	len = sizeof buf;
	memset(buf, 0x5a, sizeof buf);
	OK(getpeername(sv[1], ANY(buf), &len));
	expect_unnamed(buf, len);
	OK(close(fd));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(names_of_a_connection, 0)
{
	struct name a = path_name("a"), late = abstract_name("late"), late2 = path_name("late2");
	char buf[128];
	socklen_t len = sizeof buf;
	int l = listen_at(SOCK_STREAM, &a, 5), client = connect_to(SOCK_STREAM, &a);

	memset(buf, 0x5a, sizeof buf);
	int server = OK(accept(l, ANY(buf), &len));
	expect_unnamed(buf, len);
	/* The accepted socket has the listener's name. */
	expect_name(server, &a);
	len = sizeof buf;
	OK(getpeername(client, ANY(buf), &len));
	EQ(len, a.len);
	BYTES(buf, &a.un, a.len);
	len = sizeof buf;
	memset(buf, 0x5a, sizeof buf);
	OK(getpeername(server, ANY(buf), &len));
	expect_unnamed(buf, len);
	/* The client may take a name late, and the server sees it; the accepted one has its own already. */
	FAILS(bind(server, NAME(&late)), EINVAL);
	OK(bind(client, NAME(&late)));
	FAILS(bind(client, NAME(&late2)), EINVAL);
	len = sizeof buf;
	OK(getpeername(server, ANY(buf), &len));
	EQ(len, late.len);
	BYTES(buf, &late.un, late.len);
	OK(close(client));
	OK(close(server));
	OK(close(l));
	EQ(unlink("a"), 0);
}

CASE(accept_tells_the_clients_name, 0)
{
	struct name a = abstract_name("a"), b = path_name("b");
	char buf[128];
	socklen_t len = sizeof buf;
	int l = listen_at(SOCK_STREAM, &a, 5), client = bound_to(SOCK_STREAM, &b);

	OK(connect(client, NAME(&a)));
	OK(close(client));
	/* Also after the client has gone. */
	int server = OK(accept(l, ANY(buf), &len));
	EQ(len, b.len);
	BYTES(buf, &b.un, b.len);
	len = sizeof buf;
	OK(getpeername(server, ANY(buf), &len));
	EQ(len, b.len);
	BYTES(buf, &b.un, b.len);
	OK(close(server));
	OK(close(l));
	EQ(unlink("b"), 0);
}

CASE(pair_ends_may_be_bound, 0)
{
	struct name a = abstract_name("a");
	char buf[128];
	socklen_t len = sizeof buf;
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	OK(bind(sv[0], NAME(&a)));
	OK(getpeername(sv[1], ANY(buf), &len));
	EQ(len, a.len);
	BYTES(buf, &a.un, a.len);
	/* Bound and connected is not something that can listen. */
	FAILS(listen(sv[0], 1), EINVAL);
	OK(close(sv[0]));
	/* The peer's name outlives the peer. */
	len = sizeof buf;
	OK(getpeername(sv[1], ANY(buf), &len));
	EQ(len, a.len);
	OK(close(sv[1]));
}

CASE(address_results_are_cut, 0)
{
	struct name a = path_name("a-name-of-some-length"), b = abstract_name("b");
	char buf[128];
	int l = listen_at(SOCK_STREAM, &a, 64);

	for (socklen_t have = 0; have <= a.len + 2; have++) {
		socklen_t len = have, cut = have < a.len ? have : a.len;
		memset(buf, 0x5a, sizeof buf);
		OK(getsockname(l, ANY(buf), &len));
		EQ(len, a.len);
		BYTES(buf, &a.un, cut);
		EQ(buf[cut], 0x5a);
	}
	int client = bound_to(SOCK_STREAM, &b);
	OK(connect(client, NAME(&a)));
	for (socklen_t have = 0; have <= a.len; have += 5) {
		socklen_t len = have;
		memset(buf, 0x5a, sizeof buf);
		OK(getpeername(client, ANY(buf), &len));
		EQ(len, a.len);
		BYTES(buf, &a.un, have);
		EQ(buf[have], 0x5a);
	}
	socklen_t len = 5;
	memset(buf, 0x5a, sizeof buf);
	int server = OK(accept(l, ANY(buf), &len));
	EQ(len, b.len);
	BYTES(buf, &b.un, 5);
	EQ(buf[5], 0x5a);
	OK(close(server));
	OK(close(client));
	OK(close(l));
	EQ(unlink("a-name-of-some-length"), 0);
}

CASE(address_result_errors, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	socklen_t len = sizeof un, negative = (socklen_t)-1, zero = 0;
	int p[2], l = listen_at(SOCK_STREAM, &a, 5);
	int client = connect_to(SOCK_STREAM, &a);

	EQ(pipe(p), 0);
	FAILS(getsockname(-1, ANY(&un), &len), EBADF);
	FAILS(getsockname(p[0], ANY(&un), &len), ENOTSOCK);
	FAILS(getpeername(-1, ANY(&un), &len), EBADF);
	FAILS(getpeername(p[0], ANY(&un), &len), ENOTSOCK);
	/* No peer is found out before the pointers are looked at. */
	FAILS(getpeername(l, NULL, NULL), ENOTCONN);
	FAILS(getpeername(l, ANY(&un), &len), ENOTCONN);
	FAILS(getsockname(l, ANY(&un), NULL), EFAULT);
	FAILS(getsockname(l, ANY(&un), &negative), EINVAL);
	FAILS(getsockname(l, NULL, &len), EFAULT);
	FAILS(getsockname(l, ANY(bad_pointer()), &len), EFAULT);
	FAILS(getpeername(client, ANY(&un), NULL), EFAULT);
	FAILS(getpeername(client, ANY(&un), &negative), EINVAL);
	FAILS(getpeername(client, NULL, &len), EFAULT);
	/* Nothing is to be written into 0 bytes. */
	OK(getsockname(l, NULL, &zero));
	EQ(zero, a.len);
	close(p[0]);
	close(p[1]);
	OK(close(client));
	OK(close(l));
}

CASE(getpeername_of_unconnected, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	int fd = unix_socket(SOCK_STREAM);

	FAILS(getpeername(fd, ANY(&un), &len), ENOTCONN);
	OK(bind(fd, NAME(&a)));
	FAILS(getpeername(fd, ANY(&un), &len), ENOTCONN);
	EQ(len, sizeof un);
	OK(close(fd));
}

CASE(getpeername_after_the_peer_closed, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	int l = listen_at(SOCK_STREAM, &a, 5), client = connect_to(SOCK_STREAM, &a);
	int server = OK(accept(l, NULL, NULL));

	OK(close(l));
	OK(shutdown(client, SHUT_RDWR));
	OK(close(server));
	OK(getpeername(client, ANY(&un), &len));
	EQ(len, a.len);
	BYTES(&un, &a.un, a.len);
	OK(close(client));
}
