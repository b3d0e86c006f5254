/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* SCM_RIGHTS with the kernel's own descriptors: parsing, limits, delivery, loss.  Sockets in
 * flight are in rights_sockets.c, the borders in a stream in rights_stream.c. */
#include "ancillary.h"

#include <sys/eventfd.h>
#include <netinet/in.h>
#include <sys/mman.h>

static int null_file(void)
{
	return OK(open("/dev/null", O_RDWR | O_CLOEXEC));
}

CASE_ON_TYPES(rights_one_descriptor, 0)
{
	int p[2];

	(void)type;
	watched_pipe(p);
	EQ(send_right(sv[0], "a", p[1]), 1);
	OK(close(p[1]));
	HELD(p);
	int fd = TAKE_RIGHT(sv[1], "a");
	EQ(write(fd, "x", 1), 1);
	EQ(read_one(p[0]), 1);
	HELD(p);
	OK(close(fd));
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_ENDS(rights_over_a_connection_both_ways, 0)
{
	int p[2];

	watched_pipe(p);
	EQ(send_right(sv[0], "a", p[1]), 1);
	EQ(send_right(sv[1], "b", p[0]), 1);
	int w = TAKE_RIGHT(sv[1], "a"), r = TAKE_RIGHT(sv[0], "b");
	EQ(write(w, "x", 1), 1);
	EQ(read_one(r), 1);
	OK(close(w));
	OK(close(r));
	OK(close(p[0]));
	OK(close(p[1]));
}

CASE_ON_TYPES(rights_form_of_the_item, 0)
{
	struct received r;
	int fds[3];

	(void)type;
	for (int i = 0; i < 3; i++)
		fds[i] = null_file();
	for (size_t n = 1; n <= 3; n++) {
		EQ(send_rights(sv[0], "a", fds, n), 1);
		EQ(RECEIVE(sv[1], &r), 1);
		EQ(r.flags, 0);
		EQ(r.items, 1);
		EQ(r.n_fds, n);
		/* The length is exact, what is used up is aligned. */
		EQ(((struct cmsghdr *)(void *)r.control)->cmsg_len, CMSG_LEN(n * sizeof(int)));
		EQ(r.control_len, CMSG_SPACE(n * sizeof(int)));
		drop_received(&r);
	}
	for (int i = 0; i < 3; i++)
		OK(close(fds[i]));
}

CASE_ON_TYPES(rights_keep_their_order, 0)
{
	struct received r;
	int out[20];

	(void)type;
	for (int i = 0; i < 20; i++)
		out[i] = OK(eventfd(100 + (unsigned int)i, EFD_CLOEXEC));
	EQ(send_rights(sv[0], "a", out, 20), 1);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.n_fds, 20);
	for (int i = 0; i < 20; i++) {
		uint64_t value = 0;
		EQ(read(r.fds[i], &value, sizeof value), sizeof value);
		EQ(value, 100 + i);
		OK(close(out[i]));
	}
	drop_received(&r);
}

CASE_ON_TYPES(rights_take_the_lowest_numbers, 0)
{
	struct received r;
	int hole[5], fd = null_file();
	int fds[3] = {fd, fd, fd};

	(void)type;
	for (int i = 0; i < 5; i++)
		hole[i] = null_file();
	EQ(send_rights(sv[0], "a", fds, 3), 1);
	OK(close(hole[0]));
	OK(close(hole[2]));
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.n_fds, 3);
	EQ(r.fds[0], hole[0]);
	EQ(r.fds[1], hole[2]);
	TRUE(r.fds[2] > hole[4]);
	drop_received(&r);
	OK(close(hole[1]));
	OK(close(hole[3]));
	OK(close(hole[4]));
	OK(close(fd));
}

CASE_ON_TYPES(rights_close_on_exec, 0)
{
	struct received r;
	int plain = OK(open("/dev/null", O_RDWR)), marked = null_file();
	int fds[2] = {plain, marked};

	(void)type;
	/* The sender's flags are not carried. */
	EQ(send_rights(sv[0], "a", fds, 2), 1);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.flags, 0);
	EQ(fcntl(r.fds[0], F_GETFD), 0);
	EQ(fcntl(r.fds[1], F_GETFD), 0);
	drop_received(&r);
	EQ(send_rights(sv[0], "a", fds, 2), 1);
	EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_CMSG_CLOEXEC), 1);
	EQ(r.flags, MSG_CMSG_CLOEXEC);
	EQ(fcntl(r.fds[0], F_GETFD), FD_CLOEXEC);
	EQ(fcntl(r.fds[1], F_GETFD), FD_CLOEXEC);
	drop_received(&r);
	/* The flag is told also when it had nothing to do. */
	EQ(send(sv[0], "a", 1, 0), 1);
	EQ(receive(sv[1], &r, 8, 0, MSG_CMSG_CLOEXEC), 1);
	EQ(r.flags, MSG_CMSG_CLOEXEC);
	OK(close(plain));
	OK(close(marked));
}

CASE_ON_TYPES(rights_share_the_open_file, 0)
{
	int fd = OK(memfd_create("rights", MFD_CLOEXEC));

	(void)type;
	EQ(write(fd, "abcdef", 6), 6);
	EQ(lseek(fd, 2, SEEK_SET), 2);
	EQ(send_right(sv[0], "a", fd), 1);
	int copy = TAKE_RIGHT(sv[1], "a");
	SAME_FILE(fd, copy);
	GETS(copy, "cd");
	EQ(lseek(fd, 0, SEEK_CUR), 4);
	OK(fcntl(fd, F_SETFL, O_APPEND));
	EQ(fcntl(copy, F_GETFL) & O_APPEND, O_APPEND);
	OK(close(fd));
	GETS(copy, "ef");
	OK(close(copy));
}

CASE_ON_TYPES(rights_of_a_path_descriptor, 0)
{
	int fd = OK(open(".", O_PATH | O_CLOEXEC));

	(void)type;
	EQ(send_right(sv[0], "a", fd), 1);
	int copy = TAKE_RIGHT(sv[1], "a");
	SAME_FILE(fd, copy);
	EQ(fcntl(copy, F_GETFL) & O_PATH, O_PATH);
	OK(close(copy));
	OK(close(fd));
}

CASE_ON_TYPES(rights_of_the_kernels_kinds, 0)
{
	int fds[6];

	(void)type;
	fds[0] = OK(open("f", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	watched_pipe(&fds[1]);
	fds[3] = OK(eventfd(0, EFD_CLOEXEC));
	fds[4] = OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	fds[5] = OK(epoll_create1(EPOLL_CLOEXEC));
	EQ(unlink("f"), 0);
	for (int i = 0; i < 6; i++) {
		EQ(send_right(sv[0], "a", fds[i]), 1);
		int copy = TAKE_RIGHT(sv[1], "a");
		SAME_FILE(fds[i], copy);
		OK(close(copy));
		OK(close(fds[i]));
	}
}

CASE_ON_TYPES(rights_of_a_tcp_connection, 0)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof in;
	int l = OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

	(void)type;
	OK(bind(l, ANY(&in), sizeof in));
	OK(listen(l, 1));
	OK(getsockname(l, ANY(&in), &len));
	int c = OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	OK(connect(c, ANY(&in), sizeof in));
	EQ(send_right(sv[0], "a", l), 1);
	OK(close(l));
	l = TAKE_RIGHT(sv[1], "a");
	int s = OK(accept(l, NULL, NULL));
	EQ(send_right(sv[0], "a", c), 1);
	OK(close(c));
	c = TAKE_RIGHT(sv[1], "a");
	put(c, "hello");
	GETS(s, "hello");
	OK(close(c));
	EQ(read_one(s), 0);
	OK(close(s));
	OK(close(l));
}

CASE_ON_TYPES(rights_at_the_limit, 0)
{
	struct received r;
	int fd = null_file(), fds[RIGHTS_MAX + 1];

	(void)type;
	for (int i = 0; i <= RIGHTS_MAX; i++)
		fds[i] = fd;
	FAILS(send_rights(sv[0], "a", fds, RIGHTS_MAX + 1), EINVAL);
	EMPTY(sv[1]);
	EQ(send_rights(sv[0], "a", fds, RIGHTS_MAX), 1);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.n_fds, RIGHTS_MAX);
	for (int i = 0; i < RIGHTS_MAX; i++)
		SAME_FILE(r.fds[i], fd);
	drop_received(&r);
	OK(close(fd));
}

CASE_ON_TYPES(rights_in_several_items_become_one, 0)
{
	struct received r;
	struct control c = {.len = 0};
	int p[2], q[2];

	(void)type;
	watched_pipe(p);
	watched_pipe(q);
	control_rights(&c, (int[]){p[0], p[1]}, 2);
	control_rights(&c, NULL, 0);
	control_rights(&c, (int[]){q[0]}, 1);
	control_rights(&c, (int[]){q[1]}, 1);
	EQ(send_control(sv[0], "a", &c, 0), 1);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.items, 1);
	EQ(r.n_fds, 4);
	SAME_FILE(r.fds[0], p[0]);
	SAME_FILE(r.fds[1], p[1]);
	SAME_FILE(r.fds[2], q[0]);
	SAME_FILE(r.fds[3], q[1]);
	drop_received(&r);
	for (int i = 0; i < 2; i++) {
		OK(close(p[i]));
		OK(close(q[i]));
	}
}

CASE_ON_TYPES(rights_limit_counts_all_items, 0)
{
	struct control c = {.len = 0};
	int fd = null_file(), fds[RIGHTS_MAX];

	(void)type;
	for (int i = 0; i < RIGHTS_MAX; i++)
		fds[i] = fd;
	control_rights(&c, fds, 200);
	control_rights(&c, fds, 53);
	EQ(send_control(sv[0], "a", &c, 0), 1);
	GETS_RIGHTS(sv[1], "a", 253);
	control_rights(&c, fds, 1);
	FAILS(send_control(sv[0], "a", &c, 0), EINVAL);
	EMPTY(sv[1]);
	OK(close(fd));
}

CASE_ON_TYPES(rights_item_with_an_odd_tail, 0)
{
	int fds[2] = {null_file(), -1};

	(void)type;
	/* One to three bytes more than a number are none. */
	for (size_t extra = 0; extra < 4; extra++) {
		struct control c = {.len = 0};
		control_add(&c, SCM_RIGHTS, fds, sizeof(int) + extra);
		EQ(send_control(sv[0], "a", &c, 0), 1);
		GETS_RIGHTS(sv[1], "a", 1);
		c.len = 0;
		control_add(&c, SCM_RIGHTS, &fds[1], extra);
		EQ(send_control(sv[0], "a", &c, 0), 1);
		GETS_RIGHTS(sv[1], "a", 0);
	}
	OK(close(fds[0]));
}

CASE_ON_TYPES(rights_bad_numbers, 0)
{
	int p[2], closed;

	(void)type;
	watched_pipe(p);
	closed = null_file();
	OK(close(closed));
	FAILS(send_right(sv[0], "a", closed), EBADF);
	FAILS(send_right(sv[0], "a", -1), EBADF);
	FAILS(send_right(sv[0], "a", INT_MIN), EBADF);
	FAILS(send_right(sv[0], "a", INT_MAX), EBADF);
	FAILS(send_right(sv[0], "a", AT_FDCWD), EBADF);
	/* Nothing is sent and nothing kept. */
	FAILS(send_rights(sv[0], "a", (int[]){p[1], closed}, 2), EBADF);
	OK(close(p[1]));
	DROPPED(p);
	EMPTY(sv[1]);
	OK(close(p[0]));
}

/* One item of any form: level, type, cmsg_len, and where the control data ends. */
static ssize_t send_item(int fd, int level, int type, size_t cmsg_len, size_t control_len)
{
	struct control c = {.len = control_len};
	struct cmsghdr *cmsg = (struct cmsghdr *)(void *)c.bytes;

	*cmsg = (struct cmsghdr){.cmsg_level = level, .cmsg_type = type, .cmsg_len = cmsg_len};
	return send_control(fd, "a", &c, 0);
}

CASE_ON_TYPES(control_too_short_for_an_item, 0)
{
	(void)type;
	for (size_t n = 0; n < 16; n++) {
		EQ(send_item(sv[0], SOL_SOCKET, 77, 3, n), 1);
		GETS_RIGHTS(sv[1], "a", 0);
	}
}

CASE_ON_TYPES(control_bad_item_lengths, 0)
{
	(void)type;
	for (size_t n = 0; n < 16; n++)
		FAILS(send_item(sv[0], SOL_SOCKET, SCM_RIGHTS, n, 24), EINVAL);
	FAILS(send_item(sv[0], SOL_SOCKET, SCM_RIGHTS, 25, 24), EINVAL);
	FAILS(send_item(sv[0], SOL_SOCKET, SCM_RIGHTS, SIZE_MAX, 24), EINVAL);
	FAILS(send_item(sv[0], SOL_SOCKET, SCM_RIGHTS, 17, 16), EINVAL);
	/* Also of what would be skipped. */
	FAILS(send_item(sv[0], 6, 1, 15, 24), EINVAL);
	FAILS(send_item(sv[0], 6, 1, 25, 24), EINVAL);
	EMPTY(sv[1]);
	EQ(send_item(sv[0], SOL_SOCKET, SCM_RIGHTS, 16, 16), 1);
	GETS_RIGHTS(sv[1], "a", 0);
}

CASE_ON_TYPES(control_of_other_levels_is_skipped, 0)
{
	struct control c = {.len = 0};
	int fd = null_file();

	(void)type;
	EQ(send_item(sv[0], 0, SCM_RIGHTS, 20, 24), 1);
	EQ(send_item(sv[0], 41, 50, 20, 24), 1);
	GETS(sv[1], "a");
	GETS(sv[1], "a");
	control_add(&c, SCM_RIGHTS, &(int){-1}, sizeof(int));
	((struct cmsghdr *)(void *)c.bytes)->cmsg_level = 6;
	control_rights(&c, &fd, 1);
	EQ(send_control(sv[0], "a", &c, 0), 1);
	GETS_RIGHTS(sv[1], "a", 1);
	OK(close(fd));
}

CASE_ON_TYPES(control_of_unknown_types, 0)
{
	static const int types[] = {0, 3, ITEM_PIDFD, SO_TIMESTAMP, SO_TIMESTAMPNS, ITEM_INQ, 1000, -1};
	int p[2];

	(void)type;
	watched_pipe(p);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		struct control c = {.len = 0};
		control_rights(&c, &p[1], 1);
		control_add(&c, types[i], &(int){0}, sizeof(int));
		FAILS(send_control(sv[0], "a", &c, 0), EINVAL);
	}
	OK(close(p[1]));
	DROPPED(p);
	EMPTY(sv[1]);
	OK(close(p[0]));
}

CASE_ON_TYPES(control_sizes_and_pointers, 0)
{
	struct iovec iov = {(char[]){'a'}, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	(void)type;
	m.msg_control = bad_pointer();
	m.msg_controllen = 24;
	FAILS(sendmsg(sv[0], &m, 0), EFAULT);
	m.msg_controllen = (size_t)INT_MAX + 1;
	FAILS(sendmsg(sv[0], &m, 0), ENOBUFS);
	m.msg_controllen = 0;
	EQ(sendmsg(sv[0], &m, 0), 1);
	GETS(sv[1], "a");
	/* More than net.core.optmem_max; what it holds does not matter. */
	m.msg_control = calloc(1, 1 << 20);
	m.msg_controllen = 1 << 20;
	FAILS(sendmsg(sv[0], &m, 0), ENOBUFS);
	free(m.msg_control);
	EMPTY(sv[1]);
}

CASE_ON_TYPES(rights_cut_to_the_room, 0)
{
	static const struct {
		size_t room;
		int n;
		size_t used;
	} table[] = {
		{16, -1, 0}, {19, -1, 0}, {20, 1, 20}, {23, 1, 23}, {24, 2, 24},
		{27, 2, 24}, {28, 3, 28}, {31, 3, 31}, {32, 3, 32}, {64, 3, 32},
	};
	struct received r;

	(void)type;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		int p[2];
		watched_pipe(p);
		EQ(send_rights(sv[0], "a", (int[]){p[1], p[1], p[1]}, 3), 1);
		OK(close(p[1]));
		EQ(receive(sv[1], &r, 8, table[i].room, MSG_DONTWAIT), 1);
		EQ(r.n_fds, table[i].n);
		EQ(r.flags, table[i].n == 3 ? 0 : MSG_CTRUNC);
		EQ(r.control_len, table[i].used);
		drop_received(&r);
		/* What was cut off is closed. */
		DROPPED(p);
		OK(close(p[0]));
	}
}

CASE_ON_TYPES(rights_without_any_room, 0)
{
	struct received r;
	int p[2];

	(void)type;
	for (size_t room = 0; room < 16; room++) {
		watched_pipe(p);
		EQ(send_right(sv[0], "abc", p[1]), 3);
		OK(close(p[1]));
		EQ(receive(sv[1], &r, 8, room, MSG_DONTWAIT), 3);
		BYTES(r.data, "abc", 3);
		EQ(r.flags, MSG_CTRUNC);
		EQ(r.items, 0);
		DROPPED(p);
		OK(close(p[0]));
	}
}

CASE_ON_TYPES(rights_dropped_by_plain_reads, 0)
{
	char c;

	(void)type;
	for (int i = 0; i < 4; i++) {
		int p[2];
		watched_pipe(p);
		EQ(send_right(sv[0], "a", p[1]), 1);
		OK(close(p[1]));
		HELD(p);
		if (i == 0)
			EQ(read(sv[1], &c, 1), 1);
		else if (i == 1)
			EQ(recv(sv[1], &c, 1, 0), 1);
		else if (i == 2)
			EQ(recvfrom(sv[1], &c, 1, 0, NULL, NULL), 1);
		else
			EQ(readv(sv[1], &(struct iovec){&c, 1}, 1), 1);
		EQ(c, 'a');
		DROPPED(p);
		OK(close(p[0]));
	}
}

CASE_ON_TYPES(rights_to_a_bad_control_pointer, 0)
{
	char data[8];
	struct iovec iov = {data, sizeof data};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int p[2];

	(void)type;
	watched_pipe(p);
	m.msg_control = bad_pointer();
	m.msg_controllen = 64;
	EQ(send_right(sv[0], "abc", p[1]), 3);
	OK(close(p[1]));
	EQ(recvmsg(sv[1], &m, MSG_DONTWAIT), 3);
	EQ(m.msg_flags, MSG_CTRUNC);
	BYTES(data, "abc", 3);
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_TYPES(rights_not_taken_by_a_bad_data_pointer, 0)
{
	struct iovec iov = {bad_pointer(), 8};
	_Alignas(struct cmsghdr) char control[64];
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	int p[2];

	watched_pipe(p);
	m.msg_control = control;
	m.msg_controllen = sizeof control;
	EQ(send_right(sv[0], "a", p[1]), 1);
	OK(close(p[1]));
	FAILS(recvmsg(sv[1], &m, MSG_DONTWAIT), EFAULT);
	EQ(m.msg_controllen, sizeof control);
	/* A message is lost with all it carried, a stream has lost nothing. */
	if (type == SOCK_STREAM)
		GETS_RIGHTS(sv[1], "a", 1);
	DROPPED(p);
	EMPTY(sv[1]);
	OK(close(p[0]));
}

CASE_ON_TYPES(rights_peeked_are_new_each_time, 0)
{
	struct received a, b;
	int p[2];

	(void)type;
	watched_pipe(p);
	EQ(send_right(sv[0], "a", p[1]), 1);
	OK(close(p[1]));
	EQ(receive(sv[1], &a, 8, sizeof a.control, MSG_PEEK), 1);
	EQ(a.n_fds, 1);
	EQ(receive(sv[1], &b, 8, sizeof b.control, MSG_PEEK), 1);
	EQ(b.n_fds, 1);
	TRUE(a.fds[0] != b.fds[0]);
	SAME_FILE(a.fds[0], b.fds[0]);
	drop_received(&a);
	drop_received(&b);
	HELD(p);
	GETS_RIGHTS(sv[1], "a", 1);
	DROPPED(p);
	OK(close(p[0]));
}

/* A peek with an offset shows what is behind others, whose descriptors stay as well. */
CASE_ON_TYPES(rights_peeked_behind_others, 0)
{
	struct received r;
	int p[2], q[2];

	(void)type;
	watched_pipe(p);
	watched_pipe(q);
	EQ(send_right(sv[0], "ab", p[1]), 2);
	EQ(send_right(sv[0], "cd", q[1]), 2);
	set_int_option(sv[1], SO_PEEK_OFF, 2);
	EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_PEEK), 2);
	BYTES(r.data, "cd", 2);
	EQ(r.n_fds, 1);
	SAME_FILE(r.fds[0], q[1]);
	drop_received(&r);
	set_int_option(sv[1], SO_PEEK_OFF, -1);
	OK(close(p[1]));
	OK(close(q[1]));
	HELD(p);
	HELD(q);
	GETS_RIGHTS(sv[1], "ab", 1);
	DROPPED(p);
	HELD(q);
	GETS_RIGHTS(sv[1], "cd", 1);
	DROPPED(q);
	OK(close(p[0]));
	OK(close(q[0]));
}

CASE_ON_TYPES(rights_peeked_without_room_stay, 0)
{
	struct received r;
	int p[2];

	(void)type;
	watched_pipe(p);
	EQ(send_right(sv[0], "a", p[1]), 1);
	OK(close(p[1]));
	EQ(receive(sv[1], &r, 8, 0, MSG_PEEK), 1);
	EQ(r.flags, MSG_CTRUNC);
	EQ(recv(sv[1], r.data, 1, MSG_PEEK), 1);
	HELD(p);
	GETS_RIGHTS(sv[1], "a", 1);
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_TYPES(rights_outlive_the_sender, 0)
{
	int p[2];

	(void)type;
	watched_pipe(p);
	EQ(send_right(sv[0], "a", p[1]), 1);
	OK(close(p[1]));
	close_end(&sv[0]);
	HELD(p);
	GETS_RIGHTS(sv[1], "a", 1);
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_TYPES(rights_are_dropped_with_the_receiver, 0)
{
	int p[2];

	(void)type;
	watched_pipe(p);
	EQ(send_right(sv[0], "a", p[1]), 1);
	EQ(send_rights(sv[0], "b", (int[]){p[1], p[1]}, 2), 1);
	OK(close(p[1]));
	HELD(p);
	close_end(&sv[1]);
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_TYPES(rights_survive_shutdown, 0)
{
	int p[2];

	(void)type;
	watched_pipe(p);
	EQ(send_right(sv[0], "a", p[1]), 1);
	OK(close(p[1]));
	OK(shutdown(sv[1], SHUT_RDWR));
	HELD(p);
	GETS_RIGHTS(sv[1], "a", 1);
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_TYPES(rights_on_nothing, 0)
{
	struct received r;
	int p[2];

	watched_pipe(p);
	EQ(send_right(sv[0], "", p[1]), 0);
	OK(close(p[1]));
	if (type == SOCK_STREAM) {
		/* Gone without a word. */
		EMPTY(sv[1]);
	} else {
		HELD(p);
		EQ(RECEIVE(sv[1], &r), 0);
		EQ(r.n_fds, 1);
		drop_received(&r);
	}
	DROPPED(p);
	OK(close(p[0]));
}

CASE_ON_TYPES(rights_with_the_table_full, 0)
{
	struct received r;
	struct rlimit limit, small;
	int p[2], top;

	(void)type;
	watched_pipe(p);
	EQ(send_rights(sv[0], "a", (int[]){p[1], p[1], p[1]}, 3), 1);
	EQ(send_right(sv[0], "b", p[1]), 1);
	OK(close(p[1]));
	top = null_file();
	EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	small = limit;
	/* The number of the pipe's end was taken by the file; two are left. */
	small.rlim_cur = (rlim_t)top + 3;
	EQ(setrlimit(RLIMIT_NOFILE, &small), 0);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.n_fds, 2);
	EQ(r.flags, MSG_CTRUNC);
	EQ(r.control_len, CMSG_SPACE(2 * sizeof(int)));
	BYTES(r.data, "a", 1);
	struct received none;
	EQ(RECEIVE(sv[1], &none), 1);
	EQ(none.items, 0);
	EQ(none.flags, MSG_CTRUNC);
	EQ(none.control_len, 0);
	BYTES(none.data, "b", 1);
	EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	drop_received(&r);
	DROPPED(p);
	OK(close(top));
	OK(close(p[0]));
}

CASE_ON_TYPES(rights_refused_by_the_receiver, 0)
{
	int p[2];

	watched_pipe(p);
	EQ(get_int_option(sv[1], OPT_PASSRIGHTS), 1);
	/* What is under way is delivered. */
	EQ(send_right(sv[0], "a", p[1]), 1);
	set_int_option(sv[1], OPT_PASSRIGHTS, 0);
	EQ(get_int_option(sv[1], OPT_PASSRIGHTS), 0);
	FAILS(send_right(sv[0], "b", p[1]), EPERM);
	if (type == SOCK_STREAM)
		EQ(send_right(sv[0], "", p[1]), 0);
	else
		FAILS(send_right(sv[0], "", p[1]), EPERM);
	/* Without descriptors there is nothing to refuse, and the other direction is another matter. */
	EQ(send_rights(sv[0], "c", NULL, 0), 1);
	EQ(send_right(sv[1], "d", p[1]), 1);
	GETS_RIGHTS(sv[0], "d", 1);
	GETS_RIGHTS(sv[1], "a", 1);
	GETS_RIGHTS(sv[1], "c", 0);
	set_int_option(sv[1], OPT_PASSRIGHTS, 1);
	EQ(send_right(sv[0], "e", p[1]), 1);
	GETS_RIGHTS(sv[1], "e", 1);
	OK(close(p[1]));
	DROPPED(p);
	OK(close(p[0]));
}

CASE(rights_refused_urgently, 0)
{
	struct control c = {.len = 0};
	int sv[2], fd = null_file();

	unix_pair(SOCK_STREAM, sv);
	set_int_option(sv[1], OPT_PASSRIGHTS, 0);
	control_rights(&c, &fd, 1);
	FAILS(send_control(sv[0], "x", &c, MSG_OOB), EPERM);
	READY(sv[1], POLLOUT);
	OK(close(fd));
	OK(close(sv[0]));
	OK(close(sv[1]));
}
