/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Datagram sockets and names: who a message is from, whom a name finds, and names that come by themselves. */
#include "conform.h"

/* The socket's name, and its length; 2 without one. */
static socklen_t own_name(int fd, struct sockaddr_un *un)
{
	socklen_t len = sizeof *un;

	OK(getsockname(fd, ANY(un), &len));
	return len;
}

/* NUL and five hexadecimal digits. */
static void expect_autobound(int fd)
{
	struct sockaddr_un un;

	EQ(own_name(fd, &un), 8);
	EQ(un.sun_path[0], 0);
	for (int i = 1; i < 6; i++)
		TRUE(memchr("0123456789abcdef", un.sun_path[i], 16));
}

static void expect_unnamed(int fd)
{
	struct sockaddr_un un;

	EQ(own_name(fd, &un), 2);
}

CASE(dgram_from_unnamed, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);
	char c, name[16];
	socklen_t len = sizeof name;

	EQ(send_to(s, &a, "x"), 1);
	memset(name, 0x5a, sizeof name);
	EQ(recvfrom(r, &c, 1, 0, ANY(name), &len), 1);
	EQ(len, 0);
	EQ(name[0], 0x5a);
	/* With nothing to write even a bad buffer is good. */
	EQ(send_to(s, &a, "x"), 1);
	len = 16;
	EQ(recvfrom(r, &c, 1, 0, bad_pointer(), &len), 1);
	EQ(len, 0);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_from_abstract_and_path, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b"), p = path_name("p");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b), t = bound_to(SOCK_DGRAM, &p);

	EQ(send_to(s, &a, "abstract"), 8);
	EQ(send_to(t, &a, "path"), 4);
	MESSAGE_FROM(r, "abstract", &b);
	MESSAGE_FROM(r, "path", &p);
	OK(close(r));
	OK(close(s));
	OK(close(t));
	EQ(unlink("p"), 0);
}

CASE(dgram_from_path_without_terminator, 0)
{
	struct name a = abstract_name("a"), p = path_name("p"), bare = p;
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	/* The terminator comes back all the same. */
	bare.len--;
	OK(bind(s, NAME(&bare)));
	EQ(send_to(s, &a, "x"), 1);
	MESSAGE_FROM(r, "x", &p);
	EQ(send_to(r, &bare, "y"), 1);
	MESSAGE_FROM(s, "y", &a);
	OK(close(r));
	OK(close(s));
	EQ(unlink("p"), 0);
}

CASE(dgram_from_path_of_108_bytes, 0)
{
	struct name a = abstract_name("a"), p = path_name("");
	struct {
		struct sockaddr_un un;
		char more[8];
	} shown;
	socklen_t len = sizeof shown;
	char c;

	memset(p.un.sun_path, '/', sizeof p.un.sun_path);
	memcpy(p.un.sun_path, "./", 2);
	p.un.sun_path[107] = 'p';
	p.len = sizeof p.un;
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &p);
	EQ(send_to(s, &a, "x"), 1);
	memset(&shown, 0x5a, sizeof shown);
	EQ(recvfrom(r, &c, 1, 0, ANY(&shown), &len), 1);
	EQ(len, 111);
	BYTES(&shown, &p.un, 110);
	EQ(shown.more[0], 0);
	/* With all of its bytes it leads back, with one more not. */
	FAILS(sendto(r, "y", 1, 0, ANY(&shown), 111), EINVAL);
	EQ(sendto(r, "y", 1, 0, ANY(&shown), 110), 1);
	MESSAGE(s, "y");
	OK(close(r));
	OK(close(s));
	EQ(unlink("p"), 0);
}

CASE(dgram_from_name_is_cut, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);
	struct sockaddr_un un;
	socklen_t len = 4;
	char c;

	memset(&un, 0x5a, sizeof un);
	EQ(send_to(s, &a, "x"), 1);
	EQ(recvfrom(r, &c, 1, 0, ANY(&un), &len), 1);
	EQ(len, b.len);
	BYTES(&un, &b.un, 4);
	EQ(((char *)&un)[4], 0x5a);
	EQ(send_to(s, &a, "x"), 1);
	len = 0;
	EQ(recvfrom(r, &c, 1, 0, bad_pointer(), &len), 1);
	EQ(len, b.len);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_from_who_bound_late, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	EQ(send_to(s, &a, "before"), 6);
	OK(bind(s, NAME(&b)));
	MESSAGE_FROM(r, "before", &b);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_from_who_is_gone, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b"), p = path_name("p");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b), t = bound_to(SOCK_DGRAM, &p);

	EQ(send_to(s, &a, "one"), 3);
	EQ(send_to(t, &a, "two"), 3);
	OK(close(s));
	OK(close(t));
	EQ(unlink("p"), 0);
	/* Also when the name is another's by now. */
	s = bound_to(SOCK_DGRAM, &b);
	MESSAGE_FROM(r, "one", &b);
	MESSAGE_FROM(r, "two", &p);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_from_keeps_the_bound_string, 0)
{
	struct name a = abstract_name("a"), p = path_name("./p");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &p);

	EQ(send_to(s, &a, "x"), 1);
	EQ(rename("p", "q"), 0);
	MESSAGE_FROM(r, "x", &p);
	OK(close(r));
	OK(close(s));
	EQ(unlink("q"), 0);
}

CASE(dgram_from_peek_tells_the_name, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	char c;

	EQ(send_to(s, &a, "x"), 1);
	EQ(recvfrom(r, &c, 1, MSG_PEEK, ANY(&un), &len), 1);
	EQ(len, b.len);
	BYTES(&un, &b.un, b.len);
	MESSAGE_FROM(r, "x", &b);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_from_recvmsg, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	struct sockaddr_un un;
	char c;
	struct iovec iov = {&c, 1};
	struct msghdr m = {.msg_name = &un, .msg_namelen = sizeof un, .msg_iov = &iov, .msg_iovlen = 1};
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b), t = unix_socket(SOCK_DGRAM);

	EQ(send_to(s, &a, "x"), 1);
	EQ(send_to(t, &a, "y"), 1);
	EQ(recvmsg(r, &m, 0), 1);
	EQ(m.msg_namelen, b.len);
	BYTES(&un, &b.un, b.len);
	m.msg_namelen = sizeof un;
	EQ(recvmsg(r, &m, 0), 1);
	EQ(m.msg_namelen, 0);
	/* Nothing is changed where nothing came. */
	m.msg_namelen = 7;
	FAILS(recvmsg(r, &m, MSG_DONTWAIT), EAGAIN);
	EQ(m.msg_namelen, 7);
	OK(close(r));
	OK(close(s));
	OK(close(t));
}

CASE(dgram_from_name_length_errors, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);
	struct sockaddr_un un;
	socklen_t len = (socklen_t)-1;
	char c;

	/* The message is taken before the address is told. */
	EQ(send_to(s, &a, "1"), 1);
	FAILS(recvfrom(r, &c, 1, MSG_DONTWAIT, ANY(&un), bad_pointer()), EFAULT);
	EMPTY(r);
	EQ(send_to(s, &a, "2"), 1);
	FAILS(recvfrom(r, &c, 1, MSG_DONTWAIT, ANY(&un), &len), EINVAL);
	EMPTY(r);
	EQ(send_to(s, &a, "3"), 1);
	len = sizeof un;
	FAILS(recvfrom(r, &c, 1, MSG_DONTWAIT, bad_pointer(), &len), EFAULT);
	EMPTY(r);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_reply_to_the_senders_name, 0)
{
	struct name a = abstract_name("a"), b = path_name("b");
	int server = bound_to(SOCK_DGRAM, &a), client = bound_to(SOCK_DGRAM, &b);
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	char c;

	OK(connect(client, NAME(&a)));
	EQ(tell(client, "?"), 1);
	EQ(recvfrom(server, &c, 1, 0, ANY(&un), &len), 1);
	EQ(sendto(server, "!", 1, 0, ANY(&un), len), 1);
	MESSAGE_FROM(client, "!", &a);
	OK(close(server));
	OK(close(client));
	EQ(unlink("b"), 0);
}

CASE(dgram_abstract_names_per_type, 0)
{
	struct name a = abstract_name("a");
	int st = listen_at(SOCK_STREAM, &a, 1), sp = listen_at(SOCK_SEQPACKET, &a, 1),
	    s = unix_socket(SOCK_DGRAM);

	/* Other types are not seen: nobody is there, rather than somebody of the wrong kind. */
	FAILS(send_to(s, &a, "x"), ECONNREFUSED);
	FAILS(connect(s, NAME(&a)), ECONNREFUSED);
	int r = bound_to(SOCK_DGRAM, &a);
	EQ(send_to(s, &a, "x"), 1);
	MESSAGE(r, "x");
	int c = connect_to(SOCK_STREAM, &a), d = connect_to(SOCK_SEQPACKET, &a);
	OK(close(c));
	OK(close(d));
	OK(close(r));
	OK(close(s));
	OK(close(st));
	OK(close(sp));
}

CASE(dgram_path_of_another_type, 0)
{
	struct name p = path_name("p");
	int r = bound_to(SOCK_DGRAM, &p), st = unix_socket(SOCK_STREAM), sp = unix_socket(SOCK_SEQPACKET);

	FAILS(connect(st, NAME(&p)), EPROTOTYPE);
	FAILS(connect(sp, NAME(&p)), EPROTOTYPE);
	/* Nobody there any more: no longer of the wrong kind. */
	OK(close(r));
	FAILS(connect(st, NAME(&p)), ECONNREFUSED);
	OK(close(st));
	OK(close(sp));
	EQ(unlink("p"), 0);
}

CASE(dgram_abstract_name_is_all_its_bytes, 0)
{
	struct name one = abstract_name("a"), two = one, cut = one;
	int r = bound_to(SOCK_DGRAM, &one), s = unix_socket(SOCK_DGRAM);

	/* A NUL at the end is a byte like others. */
	two.len++;
	cut.len--;
	FAILS(send_to(s, &two, "x"), ECONNREFUSED);
	FAILS(send_to(s, &cut, "x"), ECONNREFUSED);
	int q = bound_to(SOCK_DGRAM, &two);
	EQ(send_to(s, &two, "two"), 3);
	EQ(send_to(s, &one, "one"), 3);
	MESSAGE(r, "one");
	MESSAGE(q, "two");
	OK(close(r));
	OK(close(q));
	OK(close(s));
}

CASE(dgram_renamed_path, 0)
{
	struct name p = path_name("p"), q = path_name("q");
	int r = bound_to(SOCK_DGRAM, &p), s = connect_to(SOCK_DGRAM, &p), t = unix_socket(SOCK_DGRAM);

	EQ(rename("p", "q"), 0);
	FAILS(send_to(t, &p, "x"), ENOENT);
	EQ(send_to(t, &q, "new"), 3);
	/* A connection is to the socket, not to the name. */
	EQ(tell(s, "old"), 3);
	MESSAGE(r, "new");
	MESSAGE(r, "old");
	OK(close(r));
	OK(close(s));
	OK(close(t));
	EQ(unlink("q"), 0);
}

CASE(dgram_unlinked_and_rebound_path, 0)
{
	struct name p = path_name("p");
	int old = bound_to(SOCK_DGRAM, &p), s = connect_to(SOCK_DGRAM, &p), t = unix_socket(SOCK_DGRAM);

	EQ(unlink("p"), 0);
	FAILS(send_to(t, &p, "x"), ENOENT);
	int new = bound_to(SOCK_DGRAM, &p);
	EQ(send_to(t, &p, "new"), 3);
	EQ(tell(s, "old"), 3);
	MESSAGE(old, "old");
	MESSAGE(new, "new");
	EMPTY(old);
	EMPTY(new);
	OK(close(old));
	OK(close(new));
	OK(close(s));
	OK(close(t));
	EQ(unlink("p"), 0);
}

CASE(dgram_hard_link, 0)
{
	struct name p = path_name("p"), q = path_name("q");
	int r = bound_to(SOCK_DGRAM, &p), s = unix_socket(SOCK_DGRAM);

	EQ(link("p", "q"), 0);
	EQ(unlink("p"), 0);
	EQ(send_to(s, &q, "x"), 1);
	MESSAGE(r, "x");
	OK(close(r));
	OK(close(s));
	EQ(unlink("q"), 0);
}

CASE(dgram_peer_name, 0)
{
	struct name a = abstract_name("a"), p = path_name("p");
	struct sockaddr_un un;
	socklen_t len = sizeof un;
	int r = bound_to(SOCK_DGRAM, &a), q = bound_to(SOCK_DGRAM, &p), s = connect_to(SOCK_DGRAM, &a), sv[2];

	OK(getpeername(s, ANY(&un), &len));
	EQ(len, a.len);
	BYTES(&un, &a.un, a.len);
	/* The other way round nothing is connected. */
	FAILS(getpeername(r, ANY(&un), &len), ENOTCONN);
	OK(connect(s, NAME(&p)));
	len = sizeof un;
	OK(getpeername(s, ANY(&un), &len));
	EQ(len, p.len);
	BYTES(&un, &p.un, p.len);
	dissolve(s);
	FAILS(getpeername(s, ANY(&un), &len), ENOTCONN);
	unix_pair(SOCK_DGRAM, sv);
	len = sizeof un;
	OK(getpeername(sv[0], ANY(&un), &len));
	EQ(len, 2);
	OK(bind(sv[1], ANY(&un), 2));
	len = sizeof un;
	OK(getpeername(sv[0], ANY(&un), &len));
	EQ(len, 8);
	OK(close(r));
	OK(close(q));
	OK(close(s));
	OK(close(sv[0]));
	OK(close(sv[1]));
	EQ(unlink("p"), 0);
}

CASE(dgram_autobind, 0)
{
	struct name any = {.un = {.sun_family = AF_UNIX}, .len = 2}, a = abstract_name("a"), own = {.len = 8};
	int r = unix_socket(SOCK_DGRAM), s = bound_to(SOCK_DGRAM, &a);

	OK(bind(r, NAME(&any)));
	expect_autobound(r);
	EQ(own_name(r, &own.un), 8);
	OK(bind(r, NAME(&any)));
	FAILS(bind(r, NAME(&a)), EINVAL);
	EQ(send_to(s, &own, "x"), 1);
	MESSAGE_FROM(r, "x", &a);
	EQ(send_to(r, &a, "y"), 1);
	MESSAGE_FROM(s, "y", &own);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_autobind_of_a_named_socket, 0)
{
	struct name any = {.un = {.sun_family = AF_UNIX}, .len = 2}, a = abstract_name("a");
	struct sockaddr_un un;
	int r = bound_to(SOCK_DGRAM, &a);

	OK(bind(r, NAME(&any)));
	EQ(own_name(r, &un), a.len);
	BYTES(&un, &a.un, a.len);
	OK(close(r));
}

CASE(dgram_autobind_names_differ, 0)
{
	struct name any = {.un = {.sun_family = AF_UNIX}, .len = 2};
	struct sockaddr_un un[8];
	int fd[8];

	for (int i = 0; i < 8; i++) {
		fd[i] = bound_to(SOCK_DGRAM, &any);
		EQ(own_name(fd[i], &un[i]), 8);
		for (int j = 0; j < i; j++)
			TRUE(memcmp(&un[i], &un[j], 8));
	}
	for (int i = 0; i < 8; i++)
		OK(close(fd[i]));
}

CASE(dgram_passcred_names_the_sender, 0)
{
	struct name a = abstract_name("a"), own = {.len = 8};
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	set_int_option(s, SO_PASSCRED, 1);
	expect_unnamed(s);
	EQ(send_to(s, &a, "x"), 1);
	expect_autobound(s);
	own_name(s, &own.un);
	MESSAGE_FROM(r, "x", &own);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_passcred_names_who_connects, 0)
{
	struct name a = abstract_name("a"), none = abstract_name("none");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM), t = unix_socket(SOCK_DGRAM);

	set_int_option(s, SO_PASSCRED, 1);
	OK(connect(s, NAME(&a)));
	expect_autobound(s);
	/* Also for nothing, since it comes before the search. */
	set_int_option(t, SO_PASSCRED, 1);
	FAILS(connect(t, NAME(&none)), ECONNREFUSED);
	expect_autobound(t);
	OK(close(r));
	OK(close(s));
	OK(close(t));
}

CASE(dgram_passcred_names_a_failed_sender, 0)
{
	struct name none = abstract_name("none");
	int s = unix_socket(SOCK_DGRAM), t = unix_socket(SOCK_DGRAM);

	set_int_option(s, SO_PASSCRED, 1);
	FAILS(send_to(s, &none, "x"), ECONNREFUSED);
	expect_autobound(s);
	set_int_option(t, SO_PASSCRED, 1);
	FAILS(tell(t, "x"), ENOTCONN);
	expect_autobound(t);
	OK(close(s));
	OK(close(t));
}

CASE(dgram_passcred_names_not_for_these, 0)
{
	int s = unix_socket(SOCK_DGRAM);

	set_int_option(s, SO_PASSCRED, 1);
	EMPTY(s);
	expect_unnamed(s);
	dissolve(s);
	expect_unnamed(s);
	OK(shutdown(s, SHUT_RD));
	expect_unnamed(s);
	OK(close(s));
}

CASE(dgram_passcred_off_names_nobody, 0)
{
	struct name a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	set_int_option(s, SO_PASSCRED, 1);
	set_int_option(s, SO_PASSCRED, 0);
	/* The receiver's option is nothing to the sender. */
	set_int_option(r, SO_PASSCRED, 1);
	EQ(send_to(s, &a, "x"), 1);
	OK(connect(s, NAME(&a)));
	expect_unnamed(s);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_passcred_keeps_a_name, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int r = bound_to(SOCK_DGRAM, &a), s = bound_to(SOCK_DGRAM, &b);

	set_int_option(s, SO_PASSCRED, 1);
	EQ(send_to(s, &a, "x"), 1);
	MESSAGE_FROM(r, "x", &b);
	OK(close(r));
	OK(close(s));
}

static void passcred_names_an_end(int type)
{
	int sv[2];

	unix_pair(type, sv);
	set_int_option(sv[0], SO_PASSCRED, 1);
	EQ(tell(sv[0], "x"), 1);
	expect_autobound(sv[0]);
	expect_unnamed(sv[1]);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(dgram_passcred_names_an_end_of_a_pair, 0)
{
	passcred_names_an_end(SOCK_DGRAM);
}

CASE(seqpacket_passcred_names_an_end_of_a_pair, 0)
{
	passcred_names_an_end(SOCK_SEQPACKET);
}

CASE(seqpacket_passcred_names_who_connects, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 1), c = unix_socket(SOCK_SEQPACKET);

	set_int_option(c, SO_PASSCRED, 1);
	OK(connect(c, NAME(&a)));
	expect_autobound(c);
	OK(close(c));
	OK(close(l));
}

CASE(dgram_end_of_a_pair_may_bind, 0)
{
	struct name a = abstract_name("a");
	int sv[2], s = unix_socket(SOCK_DGRAM);

	unix_pair(SOCK_DGRAM, sv);
	OK(bind(sv[0], NAME(&a)));
	EQ(tell(sv[0], "x"), 1);
	MESSAGE_FROM(sv[1], "x", &a);
	/* It has a peer, and strangers are not that. */
	FAILS(send_to(s, &a, "y"), EPERM);
	OK(close(s));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(dgram_end_of_a_pair_sends_elsewhere, 0)
{
	struct name a = abstract_name("a");
	int sv[2], r = bound_to(SOCK_DGRAM, &a);

	unix_pair(SOCK_DGRAM, sv);
	EQ(send_to(sv[0], &a, "elsewhere"), 9);
	EQ(tell(sv[0], "peer"), 4);
	MESSAGE_FROM(r, "elsewhere", NULL);
	MESSAGE_FROM(sv[1], "peer", NULL);
	OK(close(r));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE(dgram_abstract_name_of_nothing_but_nul, 0)
{
	struct name one = bytes_name("\0", 1), two = bytes_name("\0\0", 2);
	int s = unix_socket(SOCK_DGRAM), r = unix_socket(SOCK_DGRAM);

	/* A legal name, and there is one of it for the whole system. */
	if (bind(r, NAME(&one)) < 0)
		SKIP("another program has the name of one NUL");
	FAILS(send_to(s, &two, "x"), ECONNREFUSED);
	EQ(send_to(s, &one, "x"), 1);
	MESSAGE(r, "x");
	EQ(send_to(r, &one, "y"), 1);
	MESSAGE_FROM(r, "y", &one);
	OK(close(r));
	OK(close(s));
}

CASE(dgram_path_without_permission, 0)
{
	struct name p = path_name("p"), a = abstract_name("a");
	int r = bound_to(SOCK_DGRAM, &p), q = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	if (geteuid())
		SKIP("needs to be root, to become somebody else");
	EQ(chmod(".", 0755), 0);
	EQ(chmod("p", 0755), 0);
	EQ(seteuid(65534), 0);
	FAILS(send_to(s, &p, "x"), EACCES);
	FAILS(connect(s, NAME(&p)), EACCES);
	/* Abstract names are open to all. */
	EQ(send_to(s, &a, "x"), 1);
	EQ(seteuid(0), 0);
	EQ(chmod("p", 0722), 0);
	EQ(seteuid(65534), 0);
	EQ(send_to(s, &p, "y"), 1);
	EQ(seteuid(0), 0);
	MESSAGE(q, "x");
	MESSAGE(r, "y");
	OK(close(r));
	OK(close(q));
	OK(close(s));
	EQ(unlink("p"), 0);
}

CASE(dgram_permission_is_asked_at_connect_only, 0)
{
	struct name p = path_name("p");
	int r = bound_to(SOCK_DGRAM, &p), s = connect_to(SOCK_DGRAM, &p);

	if (geteuid())
		SKIP("needs to be root, to become somebody else");
	EQ(chmod("p", 0), 0);
	EQ(seteuid(65534), 0);
	EQ(tell(s, "x"), 1);
	FAILS(send_to(s, &p, "x"), EACCES);
	EQ(seteuid(0), 0);
	MESSAGE(r, "x");
	OK(close(r));
	OK(close(s));
	EQ(unlink("p"), 0);
}

CASE(dgram_relative_path_after_chdir, 0)
{
	struct name p = path_name("p"), up = path_name("../p");
	int r = bound_to(SOCK_DGRAM, &p), s = unix_socket(SOCK_DGRAM);

	EQ(mkdir("d", 0755), 0);
	EQ(chdir("d"), 0);
	FAILS(send_to(s, &p, "x"), ENOENT);
	EQ(send_to(s, &up, "y"), 1);
	EQ(chdir(".."), 0);
	EQ(send_to(s, &p, "z"), 1);
	MESSAGE(r, "y");
	MESSAGE(r, "z");
	OK(close(r));
	OK(close(s));
	EQ(rmdir("d") | unlink("p"), 0);
}
