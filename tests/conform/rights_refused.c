/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Descriptors and control data that are refused for what they are, and what is looked at first. */
#include "ancillary.h"

#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/syscall.h>

CASE_ON_TYPES(rights_of_an_io_uring, 0)
{
	struct io_uring_params params = {0};
	int p[2], ring = (int)syscall(SYS_io_uring_setup, 2, &params);

	(void)type;
	if (ring < 0)
		SKIP("no io_uring here");
	watched_pipe(p);
	FAILS(send_right(sv[0], "a", ring), EINVAL);
	FAILS(send_rights(sv[0], "a", (int[]){p[1], ring}, 2), EINVAL);
	OK(close(p[1]));
	DROPPED(p);
	EMPTY(sv[1]);
	OK(close(p[0]));
	OK(close(ring));
}

CASE_ON_TYPES(control_up_to_the_limit, 0)
{
	long limit = 0;
	FILE *f = fopen("/proc/sys/net/core/optmem_max", "re");

	(void)type;
	TRUE(f != NULL && fscanf(f, "%ld", &limit) == 1);
	fclose(f);
	struct iovec iov = {(char[]){'a'}, 1};
	struct cmsghdr *cmsg = calloc(1, (size_t)limit);
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = cmsg};
	TRUE(cmsg != NULL);
	/* One item for somebody else fills all of it. */
	for (long n = limit - 2; n <= limit + 1; n++) {
		m.msg_controllen = (size_t)n;
		cmsg->cmsg_level = 6;
		cmsg->cmsg_len = (size_t)n;
		if (n < limit) {
			EQ(sendmsg(sv[0], &m, 0), 1);
			GETS(sv[1], "a");
		} else if (n == limit) {
			FAILS(sendmsg(sv[0], &m, 0), ENOBUFS);
		}
	}
	free(cmsg);
}

CASE_ON_TYPES(control_lengths_with_a_null_pointer, 0)
{
	struct iovec iov = {(char[]){'a'}, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	(void)type;
	m.msg_controllen = 24;
	FAILS(sendmsg(sv[0], &m, 0), EFAULT);
	EMPTY(sv[1]);
	/* Receiving without any need of it does not touch it. */
	put(sv[0], "a");
	EQ(recvmsg(sv[1], &m, 0), 1);
	EQ(m.msg_controllen, 0);
	EQ(m.msg_flags, 0);
}

CASE_ON_TYPES(control_is_looked_at_when_there_is_no_data, 0)
{
	struct control c = {.len = 0};

	(void)type;
	control_rights(&c, (int[]){-1}, 1);
	FAILS(send_control(sv[0], "", &c, 0), EBADF);
	c.len = 0;
	control_cred(&c, getpid(), (uid_t)-1, 0);
	FAILS(send_control(sv[0], "", &c, 0), EINVAL);
	c.len = 0;
	control_add(&c, 99, NULL, 0);
	FAILS(send_control(sv[0], "", &c, 0), EINVAL);
	EMPTY(sv[1]);
}

CASE_ON_TYPES(control_items_in_turn, 0)
{
	struct control c = {.len = 0};

	(void)type;
	/* The first that is wrong decides. */
	control_rights(&c, (int[]){-1}, 1);
	control_add(&c, 99, NULL, 0);
	FAILS(send_control(sv[0], "a", &c, 0), EBADF);
	c.len = 0;
	control_add(&c, 99, NULL, 0);
	control_rights(&c, (int[]){-1}, 1);
	FAILS(send_control(sv[0], "a", &c, 0), EINVAL);
	EMPTY(sv[1]);
}

/* A datagram to somebody by name, or to nobody, with a right and with data of this kind. */
static ssize_t send_datagram(int fd, const struct name *to, int right, bool bad_data)
{
	struct iovec iov = {bad_data ? bad_pointer() : (char[]){'a'}, 1};
	struct control c = {.len = 0};

	control_rights(&c, &right, 1);
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = c.len};
	struct sockaddr_un un;
	if (to) {
		un = to->un;
		m.msg_name = &un;
		m.msg_namelen = to->len;
	}
	return sendmsg(fd, &m, MSG_DONTWAIT);
}

CASE(rights_and_data_before_the_receiver, 0)
{
	struct name none = abstract_name("none"), a = abstract_name("a");
	int fd = unix_socket(SOCK_DGRAM), d = bound_to(SOCK_DGRAM, &a), third = unix_socket(SOCK_DGRAM);

	FAILS(send_datagram(fd, &none, -1, true), EBADF);
	FAILS(send_datagram(fd, &none, fd, true), EFAULT);
	FAILS(send_datagram(fd, &none, fd, false), ECONNREFUSED);
	FAILS(send_datagram(fd, NULL, fd, true), EFAULT);
	FAILS(send_datagram(fd, NULL, fd, false), ENOTCONN);
	/* Of the receiver: connected elsewhere, deaf, unwilling, in this order. */
	set_int_option(d, OPT_PASSRIGHTS, 0);
	FAILS(send_datagram(fd, &a, fd, false), EPERM);
	OK(shutdown(d, SHUT_RD));
	FAILS(send_datagram(fd, &a, fd, false), EPIPE);
	struct name b = abstract_name("b");
	OK(bind(third, NAME(&b)));
	OK(connect(d, NAME(&b)));
	FAILS(send_datagram(fd, &a, fd, false), EPERM);
	OK(close(fd));
	OK(close(d));
	OK(close(third));
}

CASE(rights_to_an_unwilling_receiver_that_is_full, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_DGRAM), d = bound_to(SOCK_DGRAM, &a);

	set_int_option(d, OPT_PASSRIGHTS, 0);
	while (sendto(fd, "a", 1, MSG_DONTWAIT, NAME(&a)) == 1)
		;
	/* It does not want them: that there is no room does not matter any more. */
	FAILS(send_datagram(fd, &a, fd, false), EPERM);
	set_int_option(d, OPT_PASSRIGHTS, 1);
	FAILS(send_datagram(fd, &a, fd, false), EAGAIN);
	OK(close(fd));
	OK(close(d));
}

CASE_ON_TYPES(rights_through_what_carries_none, 0)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int p[2], internet = OK(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	struct stat before, after;

	(void)type;
	OK(pipe2(p, O_CLOEXEC));
	OK(bind(internet, (struct sockaddr *)&in, sizeof in));
	OK(getsockname(internet, (struct sockaddr *)&in, &(socklen_t){sizeof in}));
	OK(connect(internet, (struct sockaddr *)&in, sizeof in));
	OK(fstat(sv[1], &before));
	FAILS(send_right(-1, "a", sv[1]), EBADF);
	FAILS(send_right(p[1], "a", sv[1]), ENOTSOCK);
	EQ(send_right(internet, "a", sv[1]), 1);
	/* It is the same socket as before. */
	OK(fstat(sv[1], &after));
	EQ(after.st_ino, before.st_ino);
	put(sv[0], "b");
	GETS(sv[1], "b");
	OK(close(internet));
	OK(close(p[0]));
	OK(close(p[1]));
}
