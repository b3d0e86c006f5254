/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* The rest of what a receiver can ask for: identities as borders in a stream, SCM_PIDFD, SCM_INQ,
 * SO_PASSSEC, the order of the items, names given because of it, namespaces. */
#include "ancillary.h"

#include <linux/sockios.h>
#include <sched.h>
#include <sys/syscall.h>

#ifndef SO_PEERSEC
#define SO_PEERSEC 31
#endif

/* As though sent by another: root may say so. */
static void put_as(int fd, const char *text, pid_t pid, uid_t uid, gid_t gid)
{
	struct control c = {.len = 0};

	control_cred(&c, pid, uid, gid);
	EQ(send_control(fd, text, &c, 0), strlen(text));
}

#define READS(fd, text, flags)                                                                               \
	do {                                                                                                 \
		char read_text[64];                                                                          \
		EQ(recv((fd), read_text, sizeof read_text, MSG_DONTWAIT | (flags)), strlen(text));           \
		BYTES(read_text, text, strlen(text));                                                        \
	} while (0)

static void need_root(void)
{
	if (geteuid() != 0)
		SKIP("needs root to speak for others");
}

CASE_ON_ENDS(border_of_other_identities, 0)
{
	need_root();
	for (int i = 0; i < 2; i++) {
		set_int_option(sv[1], SO_PASSCRED, i == 0);
		set_int_option(sv[1], OPT_PASSPIDFD, i == 1);
		put_as(sv[0], "aa", getpid(), 1, 1);
		put_as(sv[0], "bb", getpid(), 2, 1);
		put_as(sv[0], "cc", getpid(), 2, 1);
		put_as(sv[0], "dd", getpid(), 2, 2);
		put_as(sv[0], "ee", 1, 2, 2);
		put_as(sv[0], "ff", getpid(), 2, 2);
		/* Plain reads stop as well. */
		READS(sv[1], "aa", 0);
		READS(sv[1], "bbcc", 0);
		READS(sv[1], "dd", MSG_WAITALL);
		READS(sv[1], "ee", 0);
		READS(sv[1], "ff", 0);
	}
}

CASE_ON_ENDS(border_of_identities_when_peeking, 0)
{
	need_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	put_as(sv[0], "aa", getpid(), 1, 1);
	put_as(sv[0], "bb", getpid(), 2, 1);
	READS(sv[1], "aa", MSG_PEEK);
	READS(sv[1], "aa", MSG_PEEK);
	READS(sv[1], "aa", 0);
	READS(sv[1], "bb", MSG_PEEK);
	READS(sv[1], "bb", 0);
}

CASE_ON_ENDS(border_of_identities_only_on_demand, 0)
{
	need_root();
	put_as(sv[0], "aa", getpid(), 1, 1);
	put_as(sv[0], "bb", getpid(), 2, 1);
	set_int_option(sv[1], OPT_PASSSEC, 1);
	READS(sv[1], "aabb", 0);
	/* The option at the time of reading counts. */
	put_as(sv[0], "aa", getpid(), 1, 1);
	put_as(sv[0], "bb", getpid(), 2, 1);
	set_int_option(sv[1], SO_PASSCRED, 1);
	READS(sv[1], "aa", 0);
	READS(sv[1], "bb", 0);
}

CASE_ON_ENDS(border_of_known_and_unknown, 0)
{
	put(sv[0], "aa");
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "bb");
	READS(sv[1], "aa", 0);
	READS(sv[1], "bb", 0);
}

CASE_ON_ENDS(border_not_between_claimed_and_real, 0)
{
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "aa");
	put_as(sv[0], "bb", getpid(), getuid(), getgid());
	put(sv[0], "cc");
	READS(sv[1], "aabbcc", 0);
}

static long send_bb(struct actor *a)
{
	return send(a->fd, "bb", 2, 0);
}

CASE_ON_ENDS(border_not_between_threads, 0)
{
	struct actor t = {.fd = sv[0]};

	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "aa");
	actor_start(&t, send_bb);
	RETURNS(&t, 2);
	put(sv[0], "cc");
	READS(sv[1], "aabbcc", 0);
}

CASE_ON_ENDS(border_with_the_item_of_each_side, 0)
{
	struct received r;

	need_root();
	set_int_option(sv[1], SO_PASSCRED, 1);
	put_as(sv[0], "aa", getpid(), 1, 2);
	put_as(sv[0], "bb", getpid(), 3, 4);
	EQ(receive(sv[1], &r, 1, sizeof r.control, 0), 1);
	EQ(r.cred.uid, 1);
	EQ(r.cred.gid, 2);
	EQ(receive(sv[1], &r, 8, sizeof r.control, 0), 1);
	EQ(r.cred.uid, 1);
	EQ(receive(sv[1], &r, 8, sizeof r.control, 0), 2);
	EQ(r.cred.uid, 3);
	EQ(r.cred.gid, 4);
}

static void put_bb(void *arg)
{
	put(*(int *)arg, "bb");
}

static void put_bb_twice(void *arg)
{
	put(*(int *)arg, "bb");
	put(*(int *)arg, "cc");
}

CASE_ON_ENDS(border_between_processes, NEEDS_PROCESSES)
{
	struct received r;

	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "aa");
	pid_t pid = spawn(put_bb_twice, &sv[0]);
	EXITS(pid, 0);
	put(sv[0], "dd");
	READS(sv[1], "aa", 0);
	EQ(RECEIVE(sv[1], &r), 4);
	BYTES(r.data, "bbcc", 4);
	EQ(r.cred.pid, pid);
	READS(sv[1], "dd", 0);
	set_int_option(sv[1], SO_PASSCRED, 0);
	put(sv[0], "aa");
	EXITS(spawn(put_bb, &sv[0]), 0);
	READS(sv[1], "aabb", 0);
}

/* SO_PASSPIDFD. */

/* What the kernel says of the pidfd: the number of its process, -1 for a reaped one. */
static int pid_of(int pidfd)
{
	char path[64], line[128];
	int pid = -2;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
	FILE *f = fopen(path, "re");
	TRUE(f != NULL);
	while (fgets(line, sizeof line, f))
		sscanf(line, "Pid: %d", &pid);
	fclose(f);
	return pid;
}

CASE_ON_TYPES(pidfd_of_the_sender, 0)
{
	struct received r;

	(void)type;
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	put(sv[0], "a");
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.flags, 0);
	EQ(r.items, 1);
	TRUE(r.has_pidfd);
	EQ(((struct cmsghdr *)(void *)r.control)->cmsg_len, 20);
	EQ(pid_of(r.pidfd), getpid());
	EQ(fcntl(r.pidfd, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(r.pidfd, F_GETFL), O_RDWR);
	drop_received(&r);
}

CASE_ON_TYPES(pidfd_peeked_is_new_each_time, 0)
{
	struct received a, b;

	(void)type;
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	put(sv[0], "a");
	EQ(receive(sv[1], &a, 8, sizeof a.control, MSG_PEEK), 1);
	EQ(receive(sv[1], &b, 8, sizeof b.control, MSG_PEEK), 1);
	TRUE(a.has_pidfd && b.has_pidfd && a.pidfd != b.pidfd);
	drop_received(&a);
	drop_received(&b);
	EQ(RECEIVE(sv[1], &a), 1);
	TRUE(a.has_pidfd);
	drop_received(&a);
}

CASE_ON_TYPES(pidfd_needs_its_whole_room, 0)
{
	struct received r;

	(void)type;
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	for (size_t room = 0; room <= 24; room++) {
		put(sv[0], "a");
		EQ(receive(sv[1], &r, 8, room, MSG_DONTWAIT), 1);
		EQ(r.flags, room < 20 ? MSG_CTRUNC : 0);
		EQ(r.has_pidfd, room >= 20);
		EQ(r.control_len, room < 20 ? 0 : room);
		drop_received(&r);
	}
}

CASE_ON_TYPES(pidfd_needs_recorded_credentials, 0)
{
	struct received r;

	(void)type;
	put(sv[0], "a");
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.items, 0);
	EQ(r.flags, 0);
}

CASE_ON_TYPES(pidfd_not_at_the_end_of_file, 0)
{
	struct received r;

	if (type == SOCK_DGRAM)
		OK(shutdown(sv[1], SHUT_RD));
	else
		OK(shutdown(sv[0], SHUT_WR));
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	EQ(receive(sv[1], &r, 8, sizeof r.control, 0), 0);
	EQ(r.items, 0);
	EQ(r.flags, 0);
}

CASE_ON_TYPES(pidfd_with_the_table_full, 0)
{
	struct received r;
	struct rlimit limit, small;
	int top;

	(void)type;
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	put(sv[0], "a");
	top = OK(open("/dev/null", O_RDONLY | O_CLOEXEC));
	EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	small = limit;
	small.rlim_cur = (rlim_t)top + 1;
	EQ(setrlimit(RLIMIT_NOFILE, &small), 0);
	EQ(RECEIVE(sv[1], &r), 1);
	/* An item that holds the error. */
	TRUE(r.has_pidfd);
	EQ(r.pidfd, -EMFILE);
	EQ(r.flags, 0);
	EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	OK(close(top));
}

static void put_a(void *arg)
{
	put(*(int *)arg, "a");
}

CASE_ON_TYPES(pidfd_of_the_dead, NEEDS_PROCESSES)
{
	struct received r;
	siginfo_t info;

	(void)type;
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	pid_t pid = spawn(put_a, &sv[0]);
	EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_PEEK), 1);
	TRUE(r.has_pidfd && r.pidfd >= 0);
	EQ(pid_of(r.pidfd), pid);
	drop_received(&r);
	EXITS(pid, 0);
	/* Reaped: there is nothing more to ask, but it is there. */
	EQ(RECEIVE(sv[1], &r), 1);
	TRUE(r.has_pidfd && r.pidfd >= 0);
	EQ(pid_of(r.pidfd), -1);
	EQ(poll(&(struct pollfd){.fd = r.pidfd, .events = POLLIN}, 1, 5000), 1);
	drop_received(&r);
}

CASE_ON_TYPES(pidfd_of_a_claim, 0)
{
	struct received r;

	(void)type;
	need_root();
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	put_as(sv[0], "a", getppid(), 0, 0);
	EQ(RECEIVE(sv[1], &r), 1);
	TRUE(r.has_pidfd);
	EQ(pid_of(r.pidfd), getppid());
	drop_received(&r);
}

CASE_ON_TYPES(pidfd_waits_for_its_process, NEEDS_PROCESSES)
{
	struct received r;
	struct latch go;

	(void)type;
	latch_init(&go);
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	pid_t pid = OK(fork());
	if (pid == 0) {
		put(sv[0], "a");
		latch_pass(&go);
		_exit(3);
	}
	EQ(receive(sv[1], &r, 8, sizeof r.control, 0), 1);
	TRUE(r.has_pidfd);
	EQ(poll(&(struct pollfd){.fd = r.pidfd, .events = POLLIN}, 1, 0), 0);
	latch_open(&go);
	EQ(poll(&(struct pollfd){.fd = r.pidfd, .events = POLLIN}, 1, 5000), 1);
	EXITS(pid, 3);
	drop_received(&r);
	latch_fini(&go);
}

/* SO_INQ. */

CASE_ON_ENDS(inq_tells_what_is_left, 0)
{
	struct received r;

	set_int_option(sv[1], OPT_INQ, 1);
	put(sv[0], "abcdef");
	put(sv[0], "gh");
	EQ(receive(sv[1], &r, 2, sizeof r.control, 0), 2);
	EQ(r.flags, 0);
	EQ(r.items, 1);
	EQ(r.inq, 6);
	EQ(receive(sv[1], &r, 1, sizeof r.control, MSG_PEEK), 1);
	EQ(r.inq, 6);
	EQ(receive(sv[1], &r, 5, sizeof r.control, 0), 5);
	EQ(r.inq, 1);
	EQ(receive(sv[1], &r, 5, sizeof r.control, 0), 1);
	EQ(r.inq, 0);
	FAILS(RECEIVE(sv[1], &r), EAGAIN);
	OK(shutdown(sv[0], SHUT_WR));
	EQ(RECEIVE(sv[1], &r), 0);
	TRUE(r.has_inq);
	EQ(r.inq, 0);
}

CASE_ON_ENDS(inq_needs_room, 0)
{
	struct received r;

	set_int_option(sv[1], OPT_INQ, 1);
	for (size_t room = 0; room < 16; room++) {
		put(sv[0], "a");
		EQ(receive(sv[1], &r, 8, room, 0), 1);
		EQ(r.items, 0);
		EQ(r.flags, MSG_CTRUNC);
	}
	put(sv[0], "a");
	EQ(receive(sv[1], &r, 8, 20, 0), 1);
	EQ(r.flags, 0);
	EQ(r.inq, 0);
	set_int_option(sv[1], OPT_INQ, 0);
	put(sv[0], "a");
	EQ(receive(sv[1], &r, 8, sizeof r.control, 0), 1);
	EQ(r.items, 0);
}

CASE(inq_option, 0)
{
	static const int refused[] = {2, -1, INT_MAX};
	int value = 1, s = unix_socket(SOCK_STREAM), d = unix_socket(SOCK_DGRAM),
	    q = unix_socket(SOCK_SEQPACKET);
	long wide = 1;
	socklen_t len = sizeof value;

	for (size_t i = 0; i < 3; i++)
		FAILS(setsockopt(s, SOL_SOCKET, OPT_INQ, &refused[i], sizeof refused[i]), EINVAL);
	FAILS(setsockopt(s, SOL_SOCKET, OPT_INQ, &wide, sizeof wide), EINVAL);
	OK(setsockopt(s, SOL_SOCKET, OPT_INQ, &value, sizeof value));
	FAILS(getsockopt(s, SOL_SOCKET, OPT_INQ, &value, &len), ENOPROTOOPT);
	FAILS(setsockopt(d, SOL_SOCKET, OPT_INQ, &value, sizeof value), ENOPROTOOPT);
	FAILS(setsockopt(q, SOL_SOCKET, OPT_INQ, &value, sizeof value), ENOPROTOOPT);
	OK(close(s));
	OK(close(d));
	OK(close(q));
}

/* SO_PASSSEC. */

CASE_ON_TYPES(passsec_without_labels, 0)
{
	struct received r;
	char label[256];
	socklen_t len = sizeof label;

	(void)type;
	if (getsockopt(sv[0], SOL_SOCKET, SO_PEERSEC, label, &len) == 0)
		SKIP("a security module gives labels");
	set_int_option(sv[1], OPT_PASSSEC, 1);
	put(sv[0], "a");
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.items, 0);
	EQ(r.flags, 0);
	put(sv[0], "a");
	EQ(receive(sv[1], &r, 8, 0, 0), 1);
	EQ(r.flags, MSG_CTRUNC);
}

/* All together. */

CASE_ON_TYPES(items_in_their_order, 0)
{
	struct received r;
	int fd = OK(open("/dev/null", O_RDONLY | O_CLOEXEC));
	size_t i = 0;

	set_int_option(sv[1], SO_PASSCRED, 1);
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	set_int_option(sv[1], SO_TIMESTAMP, 1);
	if (type == SOCK_STREAM)
		set_int_option(sv[1], OPT_INQ, 1);
	EQ(send_right(sv[0], "a", fd), 1);
	OK(close(fd));
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.flags, 0);
	EQ(r.items, 4);
	if (type != SOCK_STREAM)
		EQ(r.types[i++], SO_TIMESTAMP);
	EQ(r.types[i++], SCM_CREDENTIALS);
	EQ(r.types[i++], SCM_RIGHTS);
	EQ(r.types[i++], ITEM_PIDFD);
	if (type == SOCK_STREAM)
		EQ(r.types[i++], ITEM_INQ);
	drop_received(&r);
}

CASE_ON_TYPES(items_as_far_as_there_is_room, 0)
{
	struct received r;
	int p[2];

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	for (size_t room = 0; room <= 80; room += 4) {
		watched_pipe(p);
		EQ(send_rights(sv[0], "a", (int[]){p[1], p[1]}, 2), 1);
		OK(close(p[1]));
		EQ(receive(sv[1], &r, 8, room, MSG_DONTWAIT), 1);
		/* 32 for the credentials, 24 each for two descriptors and for the pidfd. */
		EQ(r.has_cred, room >= 16);
		EQ(r.n_fds, room < 52 ? -1 : room < 56 ? 1 : 2);
		EQ(r.has_pidfd, room >= 76);
		EQ(r.flags, room < 76 ? MSG_CTRUNC : 0);
		drop_received(&r);
		DROPPED(p);
		OK(close(p[0]));
	}
}

/* A name comes by itself to who tells others about itself: unix(7). */

static socklen_t name_length(int fd)
{
	struct sockaddr_un un;
	socklen_t len = sizeof un;

	OK(getsockname(fd, ANY(&un), &len));
	if (len > 2) {
		EQ(len, 8);
		EQ(un.sun_path[0], 0);
		for (int i = 1; i < 6; i++)
			TRUE(strchr("0123456789abcdef", un.sun_path[i]) && un.sun_path[i]);
	}
	return len;
}

CASE_ON_TYPES(autobind_by_sending, 0)
{
	static const int options[] = {SO_PASSCRED, OPT_PASSPIDFD};

	set_int_option(sv[0], OPT_PASSSEC, 1);
	put(sv[0], "a");
	EQ(name_length(sv[0]), 2);
	for (int i = 0; i < 2; i++) {
		set_int_option(sv[i], options[i], 1);
		EQ(name_length(sv[i]), 2);
		put(sv[i], "a");
		EQ(name_length(sv[i]), type == SOCK_STREAM ? 2 : 8);
	}
}

CASE(autobind_by_sending_in_vain, 0)
{
	struct name a = abstract_name("a");
	int d = unix_socket(SOCK_DGRAM), e = unix_socket(SOCK_DGRAM);

	set_int_option(d, SO_PASSCRED, 1);
	set_int_option(e, SO_PASSCRED, 1);
	FAILS(sendto(d, "a", 1, 0, NAME(&a)), ECONNREFUSED);
	EQ(name_length(d), 8);
	FAILS(send(e, "a", 1, 0), ENOTCONN);
	EQ(name_length(e), 8);
	OK(close(d));
	OK(close(e));
}

CASE_ON_TYPES(autobind_by_connecting, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(type), again = unix_socket(type), t = bound_to(type, &a);

	(void)sv;
	if (type != SOCK_DGRAM)
		OK(listen(t, 5));
	set_int_option(fd, OPT_PASSPIDFD, 1);
	OK(connect(fd, NAME(&a)));
	EQ(name_length(fd), 8);
	OK(close(t));
	/* Before the other is looked for. */
	set_int_option(again, SO_PASSCRED, 1);
	FAILS(connect(again, NAME(&a)), ECONNREFUSED);
	EQ(name_length(again), 8);
	OK(close(fd));
	OK(close(again));
}

CASE(autobind_not_by_leaving_a_peer, 0)
{
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	int d = unix_socket(SOCK_DGRAM);

	set_int_option(d, SO_PASSCRED, 1);
	OK(connect(d, &none, sizeof none));
	EMPTY(d);
	EQ(name_length(d), 2);
	OK(close(d));
}

/* Namespaces: what cannot be named there. */

static void reads_in_a_pid_namespace(void *arg)
{
	struct received r;

	EQ(getpid(), 1);
	EQ(receive(*(int *)arg, &r, 8, sizeof r.control, 0), 1);
	TRUE(r.has_cred);
	EQ(r.cred.pid, 0);
	EQ(r.cred.uid, getuid());
}

static void enter_a_pid_namespace(void *arg)
{
	if (unshare(CLONE_NEWPID) < 0)
		_exit(77);
	EXITS(spawn(reads_in_a_pid_namespace, arg), 0);
}

CASE_ON_TYPES(cred_seen_from_a_pid_namespace, NEEDS_PROCESSES)
{
	int status;

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	pid_t pid = spawn(enter_a_pid_namespace, &sv[1]);
	EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("no pid namespaces");
	EQ(status, 0);
}

static void reads_in_a_user_namespace(void *arg)
{
	struct received r;

	/* Nothing is mapped there. */
	if (unshare(CLONE_NEWUSER) < 0)
		_exit(77);
	EQ(receive(*(int *)arg, &r, 8, sizeof r.control, 0), 1);
	TRUE(r.has_cred);
	EQ(r.cred.pid, getppid());
	EQ(r.cred.uid, NOBODY);
	EQ(r.cred.gid, NOBODY);
}

/* What was received before does not tell how the same sender looks from there. */
static void enters_and_reads(void *arg)
{
	struct received r;

	EQ(receive(*(int *)arg, &r, 1, sizeof r.control, 0), 1);
	TRUE(r.has_cred);
	EQ(r.cred.uid, getuid());
	reads_in_a_user_namespace(arg);
}

CASE_ON_TYPES(cred_seen_before_and_in_a_user_namespace, NEEDS_PROCESSES)
{
	int status;

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	put(sv[0], "b");
	pid_t pid = spawn(enters_and_reads, &sv[1]);
	EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("no user namespaces");
	EQ(status, 0);
}

static void speaks_from_a_user_namespace(void *arg)
{
	if (unshare(CLONE_NEWUSER) < 0)
		_exit(77);
	put(*(int *)arg, "a");
}

CASE_ON_TYPES(cred_of_who_has_no_name_in_its_user_namespace, NEEDS_PROCESSES)
{
	struct received r;
	int status;

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(speaks_from_a_user_namespace, &sv[0]);
	EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("no user namespaces");
	EQ(status, 0);
	EQ(RECEIVE(sv[1], &r), 1);
	TRUE(r.has_cred);
	EQ(r.cred.pid, pid);
	EQ(r.cred.uid, getuid());
	EQ(r.cred.gid, getgid());
}

CASE_ON_TYPES(cred_seen_from_a_user_namespace, NEEDS_PROCESSES)
{
	int status;

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	pid_t pid = spawn(reads_in_a_user_namespace, &sv[1]);
	EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("no user namespaces");
	EQ(status, 0);
}
