/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* ioctl() on sockets: what waits to be read, what is not consumed yet, the node of a name,
 * owners, and what is no business of sockets.  SIOCATMARK is in oob.c. */
#include "ancillary.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <termios.h>

/* linux/un.h, which cannot be included together with sys/un.h. */
#define UNIX_FILE (SIOCPROTOPRIVATE + 0)

static int ask(int fd, unsigned long request)
{
	int value = -1;

	OK(ioctl(fd, request, &value));
	return value;
}

CASE_ON_TYPES(ioctl_unread, 0)
{
	char buf[8];

	EQ(ask(sv[1], SIOCINQ), 0);
	put(sv[0], "abc");
	put(sv[0], "defgh");
	/* A datagram socket tells of its first message, the others of everything. */
	EQ(ask(sv[1], FIONREAD), type == SOCK_DGRAM ? 3 : 8);
	EQ(recv(sv[1], buf, 2, MSG_PEEK), 2);
	EQ(ask(sv[1], SIOCINQ), type == SOCK_DGRAM ? 3 : 8);
	EQ(recv(sv[1], buf, 2, 0), 2);
	EQ(ask(sv[1], SIOCINQ), type == SOCK_STREAM ? 6 : 5);
	EQ(ask(sv[0], SIOCINQ), 0);
	/* Of who has left as well. */
	close_end(&sv[0]);
	EQ(ask(sv[1], SIOCINQ), type == SOCK_STREAM ? 6 : 5);
	EQ(drain(sv[1]), type == SOCK_STREAM ? 6 : 5);
	EQ(ask(sv[1], SIOCINQ), 0);
}

CASE_ON_TYPES(ioctl_unread_of_empty_messages, 0)
{
	if (type == SOCK_STREAM)
		EQ(write(sv[0], "", 0), 0);
	else
		EQ(send(sv[0], "", 0, 0), 0);
	EQ(ask(sv[1], SIOCINQ), 0);
	put(sv[0], "abc");
	EQ(ask(sv[1], SIOCINQ), type == SOCK_DGRAM ? 0 : 3);
}

CASE_ON_TYPES(ioctl_unread_without_a_peer, 0)
{
	struct name a = abstract_name("a");
	int fd = bound_to(type, &a), value;

	(void)sv;
	EQ(ask(fd, SIOCINQ), 0);
	EQ(ask(fd, SIOCOUTQ), 0);
	if (type != SOCK_DGRAM) {
		OK(listen(fd, 1));
		FAILS(ioctl(fd, SIOCINQ, &value), EINVAL);
		int c = connect_to(type, &a);
		put(c, "abc");
		FAILS(ioctl(fd, SIOCINQ, &value), EINVAL);
		EQ(ask(fd, SIOCOUTQ), 0);
		TRUE(ask(c, SIOCOUTQ) > 0);
		OK(close(c));
	}
	OK(close(fd));
}

CASE_ON_TYPES(ioctl_unconsumed, 0)
{
	char buf[8];

	EQ(ask(sv[0], SIOCOUTQ), 0);
	put(sv[0], "abc");
	/* What it takes up, not how many bytes it is. */
	EQ(ask(sv[0], SIOCOUTQ), 768);
	put(sv[0], "def");
	EQ(ask(sv[0], TIOCOUTQ), 1536);
	EQ(recv(sv[1], buf, 3, MSG_PEEK), 3);
	EQ(ask(sv[0], SIOCOUTQ), 1536);
	EQ(recv(sv[1], buf, 2, 0), 2);
	/* A stream gives nothing back for a part. */
	EQ(ask(sv[0], SIOCOUTQ), type == SOCK_STREAM ? 1536 : 768);
	drain(sv[1]);
	EQ(ask(sv[0], SIOCOUTQ), 0);
	EQ(ask(sv[1], SIOCOUTQ), 0);
	put(sv[0], "abc");
	close_end(&sv[1]);
	EQ(ask(sv[0], SIOCOUTQ), 0);
}

CASE(ioctl_unconsumed_of_several_receivers, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int x = bound_to(SOCK_DGRAM, &a), y = bound_to(SOCK_DGRAM, &b), s = unix_socket(SOCK_DGRAM);

	EQ(sendto(s, "a", 1, 0, NAME(&a)), 1);
	EQ(sendto(s, "b", 1, 0, NAME(&b)), 1);
	EQ(ask(s, SIOCOUTQ), 1536);
	GETS(x, "a");
	EQ(ask(s, SIOCOUTQ), 768);
	OK(close(y));
	EQ(ask(s, SIOCOUTQ), 0);
	OK(close(x));
	OK(close(s));
}

CASE_ON_TYPES(ioctl_bad_pointers, 0)
{
	static const unsigned long requests[] = {SIOCINQ,   SIOCOUTQ,  FIONBIO,	  FIOASYNC,
						 FIOSETOWN, FIOGETOWN, SIOCSPGRP, SIOCGPGRP};

	(void)type;
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
		FAILS(ioctl(sv[0], requests[i], bad_pointer()), EFAULT);
}

CASE_ON_TYPES(ioctl_of_other_devices, 0)
{
	static const unsigned long requests[] = {TCGETS, TIOCGWINSZ,	 TIOCSTI,   0x8906,
						 0x8907, 0x89ff - 0x100, 0xdeadbeef};
	char buf[256];

	(void)type;
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
		FAILS(ioctl(sv[0], requests[i], buf), ENOTTY);
	EQ(isatty(sv[0]), 0);
}

CASE_ON_TYPES(ioctl_of_interfaces, 0)
{
	struct ifreq r = {.ifr_name = "lo"};

	(void)type;
	OK(ioctl(sv[0], SIOCGIFINDEX, &r));
	EQ(r.ifr_ifindex, if_nametoindex("lo"));
	strcpy(r.ifr_name, "nosuchif");
	FAILS(ioctl(sv[0], SIOCGIFINDEX, &r), ENODEV);
	struct ifconf c = {.ifc_len = 0};
	OK(ioctl(sv[0], SIOCGIFCONF, &c));
	TRUE(c.ifc_len >= 0);
}

CASE_ON_TYPES(ioctl_nonblocking, 0)
{
	int on = 1, off = 0;

	(void)type;
	OK(ioctl(sv[0], FIONBIO, &on));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR | O_NONBLOCK);
	FAILS(read_one(sv[0]), EAGAIN);
	OK(ioctl(sv[0], FIONBIO, &off));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR);
}

CASE_ON_TYPES(ioctl_async, 0)
{
	int on = 1, off = 0;

	(void)type;
	OK(ioctl(sv[0], FIOASYNC, &on));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR | O_ASYNC);
	OK(ioctl(sv[0], FIOASYNC, &off));
	EQ(fcntl(sv[0], F_GETFL), O_RDWR);
}

CASE_ON_TYPES(ioctl_close_on_exec, 0)
{
	(void)type;
	OK(ioctl(sv[0], FIOCLEX));
	EQ(fcntl(sv[0], F_GETFD), FD_CLOEXEC);
	OK(ioctl(sv[0], FIONCLEX));
	EQ(fcntl(sv[0], F_GETFD), 0);
}

CASE_ON_TYPES(ioctl_owner, 0)
{
	static const unsigned long sets[] = {FIOSETOWN, SIOCSPGRP};
	int self = getpid(), none = 0, group = -getpgrp(), missing = INT_MAX;

	(void)type;
	EQ(ask(sv[0], FIOGETOWN), 0);
	for (size_t i = 0; i < 2; i++) {
		OK(ioctl(sv[0], sets[i], &self));
		EQ(ask(sv[0], FIOGETOWN), self);
		EQ(ask(sv[0], SIOCGPGRP), self);
		EQ(fcntl(sv[0], F_GETOWN), self);
		OK(ioctl(sv[0], sets[i], &group));
		EQ(ask(sv[0], FIOGETOWN), group);
		FAILS(ioctl(sv[0], sets[i], &missing), ESRCH);
		EQ(ask(sv[0], FIOGETOWN), group);
		OK(ioctl(sv[0], sets[i], &none));
		EQ(ask(sv[0], FIOGETOWN), 0);
	}
	OK(fcntl(sv[0], F_SETOWN, self));
	EQ(ask(sv[0], SIOCGPGRP), self);
	EQ(ask(sv[1], SIOCGPGRP), 0);
}

/* The node of a name. */

static void need_privilege(void)
{
	if (geteuid() != 0)
		SKIP("needs CAP_NET_ADMIN");
}

CASE_ON_TYPES(ioctl_node_of_a_path, 0)
{
	struct name a = path_name("a");
	struct stat node, got;

	(void)sv;
	need_privilege();
	int fd = bound_to(type, &a);
	EQ(stat("a", &node), 0);
	for (int i = 0; i < 2; i++) {
		int n = OK(ioctl(fd, UNIX_FILE));
		EQ(fcntl(n, F_GETFD), FD_CLOEXEC);
		EQ(fcntl(n, F_GETFL) & O_PATH, O_PATH);
		EQ(fstat(n, &got), 0);
		EQ(got.st_ino, node.st_ino);
		EQ(got.st_dev, node.st_dev);
		TRUE(S_ISSOCK(got.st_mode));
		OK(close(n));
		/* The second time round there is no name any more. */
		if (i == 0)
			EQ(unlink("a"), 0);
	}
	OK(close(fd));
}

CASE_ON_TYPES(ioctl_node_of_no_path, 0)
{
	struct name a = abstract_name("a");

	(void)type;
	need_privilege();
	FAILS(ioctl(sv[0], UNIX_FILE), ENOENT);
	OK(bind(sv[0], NAME(&a)));
	FAILS(ioctl(sv[0], UNIX_FILE), ENOENT);
}

CASE(ioctl_node_of_accepted_sockets, 0)
{
	need_privilege();
	for (int i = 0; i < 2; i++) {
		int type = i ? SOCK_SEQPACKET : SOCK_STREAM;
		struct name a = path_name("a");
		int l = listen_at(type, &a, 1), c = connect_to(type, &a), s = OK(accept(l, NULL, NULL));
		struct stat node, got;
		EQ(stat("a", &node), 0);
		OK(close(l));
		int n = OK(ioctl(s, UNIX_FILE));
		EQ(fstat(n, &got), 0);
		EQ(got.st_ino, node.st_ino);
		OK(close(n));
		FAILS(ioctl(c, UNIX_FILE), ENOENT);
		OK(close(c));
		OK(close(s));
		EQ(unlink("a"), 0);
	}
}

static void refuse_node(void *arg)
{
	const int *fds = arg;

	FAILS(ioctl(fds[0], UNIX_FILE), EPERM);
	/* Before it is looked whether there is one. */
	FAILS(ioctl(fds[1], UNIX_FILE), EPERM);
}

CASE(ioctl_node_without_privilege, 0)
{
	struct name a = path_name("a");
	int fds[2] = {bound_to(SOCK_STREAM, &a), unix_socket(SOCK_STREAM)};
	bool root = geteuid() == 0;

	if (root)
		EQ(seteuid(NOBODY), 0);
	refuse_node(fds);
	if (root)
		EQ(seteuid(0), 0);
	OK(close(fds[0]));
	OK(close(fds[1]));
	EQ(unlink("a"), 0);
}

CASE(ioctl_node_as_nobody, NEEDS_PROCESSES)
{
	struct name a = path_name("a");
	int fds[2] = {bound_to(SOCK_STREAM, &a), unix_socket(SOCK_STREAM)};

	EXPECT_LEFT("a");
	as_nobody(refuse_node, fds);
	OK(close(fds[0]));
	OK(close(fds[1]));
	EQ(unlink("a"), 0);
}

CASE(ioctl_node_with_the_table_full, 0)
{
	struct name a = path_name("a");
	struct rlimit limit, small;

	need_privilege();
	int fd = bound_to(SOCK_STREAM, &a), top = OK(open("/dev/null", O_RDONLY | O_CLOEXEC));
	EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	small = limit;
	small.rlim_cur = (rlim_t)top + 1;
	EQ(setrlimit(RLIMIT_NOFILE, &small), 0);
	FAILS(ioctl(fd, UNIX_FILE), EMFILE);
	EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	OK(close(top));
	OK(close(fd));
	EQ(unlink("a"), 0);
}
