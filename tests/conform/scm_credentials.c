/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* SCM_CREDENTIALS and SO_PASSCRED: which messages carry an identity, whose it is, what may be
 * claimed.  Borders in a stream and the other items are in scm_items.c. */
#include "ancillary.h"

#include <grp.h>
#include <pthread.h>
#include <sys/syscall.h>

static void expect_cred(const char *file, int line, const struct received *r, pid_t pid, uid_t uid, gid_t gid)
{
	conform_at(file, line, "HAS_CRED");
	if (!r->has_cred)
		conform_fail(file, line, "no credentials came");
	if (r->cred.pid != pid || r->cred.uid != uid || r->cred.gid != gid)
		conform_fail(file, line, "expected credentials %d %u %u, got %d %u %u", (int)pid, uid, gid,
			     (int)r->cred.pid, r->cred.uid, r->cred.gid);
}
#define HAS_CRED(r, pid, uid, gid) expect_cred(HERE, (r), (pid), (uid), (gid))

/* One message is read, and these are its credentials. */
#define GETS_CRED(fd, pid, uid, gid)                                                                         \
	do {                                                                                                 \
		struct received got_cred;                                                                    \
		TRUE(RECEIVE((fd), &got_cred) > 0);                                                          \
		EQ(got_cred.flags, 0);                                                                       \
		HAS_CRED(&got_cred, (pid), (uid), (gid));                                                    \
	} while (0)
#define GETS_NO_CRED(fd)                                                                                     \
	do {                                                                                                 \
		struct received got_none;                                                                    \
		TRUE(RECEIVE((fd), &got_none) > 0);                                                          \
		EQ(got_none.flags, 0);                                                                       \
		EQ(got_none.items, 0);                                                                       \
	} while (0)

static ssize_t send_cred(int fd, const char *text, pid_t pid, uid_t uid, gid_t gid)
{
	struct control c = {.len = 0};

	control_cred(&c, pid, uid, gid);
	return send_control(fd, text, &c, 0);
}

static ssize_t send_own(int fd, const char *text)
{
	return send_cred(fd, text, getpid(), getuid(), getgid());
}

CASE_ON_TYPES(cred_of_the_sender, 0)
{
	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
	EQ(send_own(sv[0], "a"), 1);
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
}

CASE_ON_TYPES(cred_form_of_the_item, 0)
{
	struct received r;

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.items, 1);
	EQ(((struct cmsghdr *)(void *)r.control)->cmsg_len, CMSG_LEN(sizeof(struct ucred)));
	EQ(r.control_len, CMSG_SPACE(sizeof(struct ucred)));
}

CASE_ON_TYPES(cred_only_on_demand, 0)
{
	struct received r;

	(void)type;
	put(sv[0], "a");
	GETS_NO_CRED(sv[1]);
	EQ(send_own(sv[0], "a"), 1);
	GETS_NO_CRED(sv[1]);
	/* Not missed either. */
	EQ(send_own(sv[0], "a"), 1);
	EQ(receive(sv[1], &r, 8, 0, 0), 1);
	EQ(r.flags, 0);
}

CASE_ON_TYPES(cred_option_at_receive_counts, 0)
{
	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	set_int_option(sv[1], SO_PASSCRED, 0);
	GETS_NO_CRED(sv[1]);
}

CASE_ON_TYPES(cred_claimed_before_the_option, 0)
{
	(void)type;
	EQ(send_own(sv[0], "a"), 1);
	set_int_option(sv[1], SO_PASSCRED, 1);
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
}

CASE_ON_TYPES(cred_unknown_before_the_option, 0)
{
	(void)type;
	put(sv[0], "a");
	set_int_option(sv[1], SO_PASSCRED, 1);
	/* Nobody was asked then. */
	GETS_CRED(sv[1], 0, NOBODY, NOBODY);
}

CASE_ON_TYPES(cred_known_by_the_senders_option, 0)
{
	static const int options[] = {SO_PASSCRED, OPT_PASSPIDFD};

	(void)type;
	for (size_t i = 0; i < 2; i++) {
		set_int_option(sv[0], options[i], 1);
		put(sv[0], "a");
		set_int_option(sv[1], SO_PASSCRED, 1);
		GETS_CRED(sv[1], getpid(), getuid(), getgid());
		set_int_option(sv[0], options[i], 0);
		set_int_option(sv[1], SO_PASSCRED, 0);
	}
}

CASE_ON_TYPES(cred_known_by_the_receivers_other_option, 0)
{
	(void)type;
	set_int_option(sv[1], OPT_PASSPIDFD, 1);
	put(sv[0], "a");
	set_int_option(sv[1], OPT_PASSPIDFD, 0);
	set_int_option(sv[1], SO_PASSCRED, 1);
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
}

CASE_ON_TYPES(cred_not_known_by_passsec, 0)
{
	(void)type;
	set_int_option(sv[0], OPT_PASSSEC, 1);
	put(sv[0], "a");
	set_int_option(sv[1], SO_PASSCRED, 1);
	GETS_CRED(sv[1], 0, NOBODY, NOBODY);
}

CASE_ON_TYPES(cred_by_every_way_of_sending, 0)
{
	struct iovec iov = {(char[]){'a'}, 1};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	EQ(write(sv[0], "a", 1), 1);
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
	EQ(writev(sv[0], &iov, 1), 1);
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
	EQ(send(sv[0], "a", 1, 0), 1);
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
	EQ(sendto(sv[0], "a", 1, 0, NULL, 0), 1);
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
	EQ(sendmmsg(sv[0], &m, 1, 0), 1);
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
}

CASE_ON_TYPES(cred_of_an_empty_message, 0)
{
	struct received r;

	set_int_option(sv[1], SO_PASSCRED, 1);
	EQ(send_own(sv[0], ""), 0);
	if (type == SOCK_STREAM) {
		EMPTY(sv[1]);
	} else {
		EQ(RECEIVE(sv[1], &r), 0);
		HAS_CRED(&r, getpid(), getuid(), getgid());
	}
}

CASE_ON_TYPES(cred_peeked, 0)
{
	struct received r;

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	put(sv[0], "a");
	for (int i = 0; i < 2; i++) {
		EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_PEEK), 1);
		HAS_CRED(&r, getpid(), getuid(), getgid());
	}
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
}

CASE_ON_TYPES(cred_at_the_end_of_file, 0)
{
	struct received r;

	if (type == SOCK_DGRAM) {
		/* It has none; what a closed peer had sent has its sender. */
		set_int_option(sv[1], SO_PASSCRED, 1);
		put(sv[0], "a");
		close_end(&sv[0]);
		GETS_CRED(sv[1], getpid(), getuid(), getgid());
		return;
	}
	set_int_option(sv[1], SO_PASSCRED, 1);
	OK(shutdown(sv[0], SHUT_WR));
	for (int i = 0; i < 2; i++) {
		EQ(RECEIVE(sv[1], &r), 0);
		EQ(r.flags, 0);
		if (type == SOCK_STREAM)
			HAS_CRED(&r, 0, 0, 0);
		else
			EQ(r.items, 0);
	}
}

CASE_ON_TYPES(cred_cut_to_the_room, 0)
{
	struct ucred whole = {getpid(), getuid(), getgid()};
	struct received r;

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	for (size_t room = 0; room <= 32; room++) {
		put(sv[0], "a");
		EQ(receive(sv[1], &r, 8, room, MSG_DONTWAIT), 1);
		EQ(r.flags, room < 28 ? MSG_CTRUNC : 0);
		EQ(r.has_cred, room >= 16);
		if (room < 16) {
			EQ(r.control_len, 0);
			continue;
		}
		EQ(r.control_len, room);
		const struct cmsghdr *cmsg = (const struct cmsghdr *)(void *)r.control;
		EQ(cmsg->cmsg_len, room < 28 ? room : 28);
		BYTES(CMSG_DATA(cmsg), &whole, cmsg->cmsg_len - 16);
	}
}

CASE(cred_by_name, 0)
{
	struct name a = abstract_name("a");
	int d = bound_to(SOCK_DGRAM, &a), s = unix_socket(SOCK_DGRAM);

	set_int_option(d, SO_PASSCRED, 1);
	EQ(sendto(s, "a", 1, 0, NAME(&a)), 1);
	GETS_CRED(d, getpid(), getuid(), getgid());
	OK(close(d));
	OK(close(s));
}

CASE(cred_before_accept, 0)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

	for (size_t i = 0; i < 2; i++) {
		struct name a = abstract_name("a");
		int l = listen_at(types[i], &a, 5), c = connect_to(types[i], &a);
		/* Who is not accepted yet might be asked for it: recorded always. */
		put(c, "a");
		int s = OK(accept(l, NULL, NULL));
		put(c, "b");
		set_int_option(s, SO_PASSCRED, 1);
		put(c, "c");
		struct received r;
		/* In a stream the first byte's is told, and who differs is kept apart. */
		EQ(RECEIVE(s, &r), 1);
		HAS_CRED(&r, getpid(), getuid(), getgid());
		EQ(RECEIVE(s, &r), 1);
		HAS_CRED(&r, 0, NOBODY, NOBODY);
		EQ(RECEIVE(s, &r), 1);
		HAS_CRED(&r, getpid(), getuid(), getgid());
		OK(close(c));
		OK(close(s));
		OK(close(l));
	}
}

/* What an accepted socket has from its listener. */

CASE(pass_options_are_inherited, 0)
{
	static const int options[] = {SO_PASSCRED, OPT_PASSPIDFD, OPT_PASSSEC, OPT_PASSRIGHTS};
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

	for (size_t t = 0; t < 2; t++) {
		struct name a = abstract_name("a");
		int l = listen_at(types[t], &a, 5);
		for (size_t i = 0; i < 4; i++) {
			int usual = options[i] == OPT_PASSRIGHTS;
			EQ(get_int_option(l, options[i]), usual);
			int before = connect_to(types[t], &a);
			set_int_option(l, options[i], !usual);
			int during = connect_to(types[t], &a);
			set_int_option(l, options[i], usual);
			/* The moment of connect() counts. */
			int s = OK(accept(l, NULL, NULL)), d = OK(accept(l, NULL, NULL));
			EQ(get_int_option(s, options[i]), usual);
			EQ(get_int_option(d, options[i]), !usual);
			EQ(get_int_option(before, options[i]), usual);
			EQ(get_int_option(during, options[i]), usual);
			int all[] = {before, during, s, d};
			for (size_t j = 0; j < 4; j++)
				OK(close(all[j]));
		}
		OK(close(l));
	}
}

CASE(pass_option_of_a_listener_works_for_the_first_byte, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);

	set_int_option(l, SO_PASSCRED, 1);
	int c = connect_to(SOCK_STREAM, &a);
	put(c, "a");
	int s = OK(accept(l, NULL, NULL));
	GETS_CRED(s, getpid(), getuid(), getgid());
	OK(close(c));
	OK(close(s));
	OK(close(l));
}

CASE(other_options_are_not_inherited, 0)
{
	static const struct {
		int option, value;
	} table[] = {
		{SO_OOBINLINE, 1}, {SO_KEEPALIVE, 1}, {SO_REUSEADDR, 1}, {SO_BROADCAST, 1}, {SO_RCVLOWAT, 7},
		{SO_PRIORITY, 3},  {SO_PEEK_OFF, 2},  {SO_SNDBUF, 9000}, {SO_RCVBUF, 9000}, {SO_TIMESTAMP, 1},
	};
	struct name a = abstract_name("a");
	int fresh = unix_socket(SOCK_STREAM), l = listen_at(SOCK_STREAM, &a, 5);

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		set_int_option(l, table[i].option, table[i].value);
	set_time_option(l, SO_RCVTIMEO, 1000);
	set_time_option(l, SO_SNDTIMEO, 1000);
	set_nonblocking(l, true);
	OK(fcntl(l, F_SETOWN, getpid()));
	OK(fcntl(l, F_SETFL, O_NONBLOCK | O_ASYNC));
	signal(SIGIO, SIG_IGN);
	int c = connect_to(SOCK_STREAM, &a), s = OK(accept(l, NULL, NULL));
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		EQ(get_int_option(s, table[i].option), get_int_option(fresh, table[i].option));
	struct timeval tv = {7, 7};
	socklen_t len = sizeof tv;
	OK(getsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
	EQ(tv.tv_sec + tv.tv_usec, 0);
	EQ(fcntl(s, F_GETFL), O_RDWR);
	EQ(fcntl(s, F_GETOWN), 0);
	OK(close(fresh));
	OK(close(c));
	OK(close(s));
	OK(close(l));
}

/* Claims. */

CASE_ON_TYPES(cred_claims_of_root, 0)
{
	(void)type;
	if (geteuid() != 0)
		SKIP("needs root");
	set_int_option(sv[1], SO_PASSCRED, 1);
	EQ(send_cred(sv[0], "a", getpid(), 12, 34), 1);
	GETS_CRED(sv[1], getpid(), 12, 34);
	EQ(send_cred(sv[0], "a", 1, 0, 0), 1);
	GETS_CRED(sv[1], 1, 0, 0);
	EQ(send_cred(sv[0], "a", getppid(), 65534, 65534), 1);
	GETS_CRED(sv[1], getppid(), 65534, 65534);
	/* Ids that are none come first. */
	FAILS(send_cred(sv[0], "a", getpid(), (uid_t)-1, 0), EINVAL);
	FAILS(send_cred(sv[0], "a", getpid(), 0, (gid_t)-1), EINVAL);
	FAILS(send_cred(sv[0], "a", 0, (uid_t)-1, 0), EINVAL);
	FAILS(send_cred(sv[0], "a", 0, 0, 0), ESRCH);
	FAILS(send_cred(sv[0], "a", -1, 0, 0), ESRCH);
	FAILS(send_cred(sv[0], "a", INT_MIN, 0, 0), ESRCH);
	FAILS(send_cred(sv[0], "a", INT_MAX, 0, 0), ESRCH);
	EMPTY(sv[1]);
}

static void claims_of_nobody(void *arg)
{
	int fd = *(int *)arg;

	EQ(send_own(fd, "a"), 1);
	FAILS(send_cred(fd, "a", getppid(), NOBODY, NOBODY), EPERM);
	FAILS(send_cred(fd, "a", 1, NOBODY, NOBODY), EPERM);
	/* It does not learn who is there. */
	FAILS(send_cred(fd, "a", INT_MAX, NOBODY, NOBODY), EPERM);
	FAILS(send_cred(fd, "a", 0, NOBODY, NOBODY), EPERM);
	FAILS(send_cred(fd, "a", -1, NOBODY, NOBODY), EPERM);
	FAILS(send_cred(fd, "a", getpid(), 0, NOBODY), EPERM);
	FAILS(send_cred(fd, "a", getpid(), NOBODY, 0), EPERM);
	FAILS(send_cred(fd, "a", getpid(), NOBODY - 1, NOBODY), EPERM);
	FAILS(send_cred(fd, "a", getpid(), (uid_t)-1, NOBODY), EINVAL);
	FAILS(send_cred(fd, "a", getpid(), NOBODY, (gid_t)-1), EINVAL);
	FAILS(send_cred(fd, "a", 1, (uid_t)-1, NOBODY), EINVAL);
}

CASE_ON_TYPES(cred_claims_of_nobody, NEEDS_PROCESSES)
{
	struct received r;

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	as_nobody(claims_of_nobody, &sv[0]);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.cred.uid, NOBODY);
	EQ(r.cred.gid, NOBODY);
	EMPTY(sv[1]);
}

static void three_of_each(void *arg)
{
	int fd = *(int *)arg;

	EQ(setgroups(2, (gid_t[]){7, 8}), 0);
	EQ(setresgid(11, 12, 13), 0);
	EQ(setresuid(21, 22, 23), 0);
	/* Nothing said: the real ones. */
	put(fd, "a");
	for (gid_t gid = 11; gid <= 13; gid++)
		EQ(send_cred(fd, "a", getpid(), 21, gid), 1);
	for (uid_t uid = 22; uid <= 23; uid++)
		EQ(send_cred(fd, "a", getpid(), uid, 11), 1);
	FAILS(send_cred(fd, "a", getpid(), 24, 11), EPERM);
	FAILS(send_cred(fd, "a", getpid(), 21, 14), EPERM);
	/* Groups besides do not count. */
	FAILS(send_cred(fd, "a", getpid(), 21, 7), EPERM);
}

CASE_ON_TYPES(cred_claims_of_real_effective_and_saved_ids, NEEDS_PROCESSES)
{
	(void)type;
	if (geteuid() != 0)
		SKIP("needs root to set ids");
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(three_of_each, &sv[0]);
	EXITS(pid, 0);
	/* The implicit ones and the first claim are the same. */
	GETS_CRED(sv[1], pid, 21, 11);
	if (type != SOCK_STREAM)
		GETS_CRED(sv[1], pid, 21, 11);
	GETS_CRED(sv[1], pid, 21, 12);
	GETS_CRED(sv[1], pid, 21, 13);
	GETS_CRED(sv[1], pid, 22, 11);
	GETS_CRED(sv[1], pid, 23, 11);
	EMPTY(sv[1]);
}

/* The sender does not look at its ids for each message, so it must notice each way to change them. */
static void as_one_after_another(void *arg)
{
	const id_t as_it_is = (id_t)-1;
	int fd = *(int *)arg;

	put(fd, "a");
	EQ(setresgid(11, as_it_is, as_it_is), 0);
	put(fd, "a");
	EQ(setregid(12, as_it_is), 0);
	put(fd, "a");
	EQ(setgid(13), 0);
	put(fd, "a");
	EQ(setresuid(21, as_it_is, as_it_is), 0);
	put(fd, "a");
	EQ(setreuid(22, as_it_is), 0);
	put(fd, "a");
	EQ(syscall(SYS_setresuid, 23, -1, -1), 0);
	put(fd, "a");
	EQ(syscall(SYS_setresgid, 14, -1, -1), 0);
	put(fd, "a");
	EQ(setuid(24), 0);
	put(fd, "a");
}

CASE_ON_TYPES(cred_follows_each_change_of_ids, NEEDS_PROCESSES)
{
	static const struct {
		uid_t uid;
		gid_t gid;
	} expected[] = {{0, 11}, {0, 12}, {0, 13}, {21, 13}, {22, 13}, {23, 13}, {23, 14}, {24, 14}};

	(void)type;
	if (geteuid() != 0)
		SKIP("needs root to set ids");
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(as_one_after_another, &sv[0]);
	EXITS(pid, 0);
	GETS_CRED(sv[1], pid, getuid(), getgid());
	for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
		GETS_CRED(sv[1], pid, expected[i].uid, expected[i].gid);
	EMPTY(sv[1]);
}

static void *alone_as_another(void *arg)
{
	int fd = *(int *)arg;

	put(fd, "b");
	EQ(syscall(SYS_setresuid, 31, -1, -1), 0);
	put(fd, "c");
	return NULL;
}

static void with_a_thread(void *arg)
{
	pthread_t thread;

	put(*(int *)arg, "a");
	EQ(pthread_create(&thread, NULL, alone_as_another, arg), 0);
	EQ(pthread_join(thread, NULL), 0);
	put(*(int *)arg, "d");
}

/* To the kernel each thread has ids of its own. */
CASE_ON_TYPES(cred_of_a_thread_with_its_own_ids, NEEDS_PROCESSES)
{
	(void)type;
	if (geteuid() != 0)
		SKIP("needs root to set ids");
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(with_a_thread, &sv[0]);
	EXITS(pid, 0);
	GETS_CRED(sv[1], pid, 0, getgid());
	if (type != SOCK_STREAM)
		GETS_CRED(sv[1], pid, 0, getgid());
	GETS_CRED(sv[1], pid, 31, getgid());
	GETS_CRED(sv[1], pid, 0, getgid());
	EMPTY(sv[1]);
}

CASE_ON_TYPES(cred_is_real_not_effective, 0)
{
	(void)type;
	if (geteuid() != 0)
		SKIP("needs root to become somebody else");
	set_int_option(sv[1], SO_PASSCRED, 1);
	EQ(setegid(65533), 0);
	EQ(seteuid(65532), 0);
	put(sv[0], "a");
	EQ(send_cred(sv[0], "b", getpid(), 65532, 65533), 1);
	EQ(seteuid(0), 0);
	EQ(setegid(0), 0);
	struct received r;
	EQ(RECEIVE(sv[1], &r), 1);
	HAS_CRED(&r, getpid(), 0, 0);
	EQ(RECEIVE(sv[1], &r), 1);
	HAS_CRED(&r, getpid(), 65532, 65533);
}

CASE_ON_TYPES(cred_items_of_other_lengths, 0)
{
	struct ucred cred[2] = {{getpid(), getuid(), getgid()}};

	(void)type;
	for (size_t n = 0; n <= 16; n++) {
		struct control c = {.len = 0};
		if (n == sizeof cred[0])
			continue;
		control_add(&c, SCM_CREDENTIALS, cred, n);
		FAILS(send_control(sv[0], "a", &c, 0), EINVAL);
	}
	EMPTY(sv[1]);
}

CASE_ON_TYPES(cred_several_items, 0)
{
	struct control c = {.len = 0};

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	control_cred(&c, getpid(), getuid(), getgid());
	control_cred(&c, getpid(), getuid(), (gid_t)-1);
	/* Each is checked. */
	FAILS(send_control(sv[0], "a", &c, 0), EINVAL);
	if (geteuid() != 0)
		SKIP("needs root to tell them apart");
	c.len = 0;
	control_cred(&c, 1, 5, 5);
	control_cred(&c, getpid(), 6, 6);
	control_cred(&c, getppid(), 7, 8);
	EQ(send_control(sv[0], "a", &c, 0), 1);
	/* The last one wins. */
	GETS_CRED(sv[1], getppid(), 7, 8);
}

CASE_ON_TYPES(cred_with_descriptors_in_any_order, 0)
{
	struct received r;
	int p[2];

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	watched_pipe(p);
	for (int i = 0; i < 2; i++) {
		struct control c = {.len = 0};
		if (i)
			control_rights(&c, p, 2);
		control_cred(&c, getpid(), getuid(), getgid());
		if (!i)
			control_rights(&c, p, 2);
		EQ(send_control(sv[0], "a", &c, 0), 1);
		EQ(RECEIVE(sv[1], &r), 1);
		EQ(r.items, 2);
		EQ(r.types[0], SCM_CREDENTIALS);
		EQ(r.types[1], SCM_RIGHTS);
		EQ(r.n_fds, 2);
		HAS_CRED(&r, getpid(), getuid(), getgid());
		drop_received(&r);
	}
	OK(close(p[0]));
	OK(close(p[1]));
}

CASE_ON_TYPES(cred_refused_drops_its_descriptors, 0)
{
	struct control c = {.len = 0};
	int p[2];

	(void)type;
	watched_pipe(p);
	control_rights(&c, &p[1], 1);
	control_cred(&c, getpid(), (uid_t)-1, 0);
	FAILS(send_control(sv[0], "a", &c, 0), EINVAL);
	OK(close(p[1]));
	DROPPED(p);
	EMPTY(sv[1]);
	OK(close(p[0]));
}

static void just_exit(void *arg)
{
	(void)arg;
}

CASE_ON_TYPES(cred_claims_of_the_dead, NEEDS_PROCESSES)
{
	siginfo_t info;

	(void)type;
	if (geteuid() != 0)
		SKIP("needs root");
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(just_exit, NULL);
	EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	/* Dead, but not forgotten. */
	EQ(send_cred(sv[0], "a", pid, 0, 0), 1);
	EXITS(pid, 0);
	FAILS(send_cred(sv[0], "a", pid, 0, 0), ESRCH);
	GETS_CRED(sv[1], pid, 0, 0);
}

struct thread_claim {
	int fd;
	pid_t tid;
};

static long claim_own_thread(struct actor *a)
{
	struct thread_claim *t = a->arg;

	t->tid = gettid();
	return send_cred(t->fd, "a", t->tid, 0, 0);
}

CASE_ON_TYPES(cred_claim_of_a_thread, 0)
{
	struct thread_claim claim = {.fd = sv[0]};
	struct actor t = {.arg = &claim};

	(void)type;
	if (geteuid() != 0)
		SKIP("needs root");
	set_int_option(sv[1], SO_PASSCRED, 1);
	actor_start(&t, claim_own_thread);
	RETURNS(&t, 1);
	TRUE(claim.tid != getpid());
	GETS_CRED(sv[1], claim.tid, 0, 0);
}

static long plain_send(struct actor *a)
{
	return send(a->fd, "a", 1, 0);
}

CASE_ON_TYPES(cred_of_a_thread_is_the_process, 0)
{
	struct actor t = {.fd = sv[0]};

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	actor_start(&t, plain_send);
	RETURNS(&t, 1);
	GETS_CRED(sv[1], getpid(), getuid(), getgid());
}

static void send_a(void *arg)
{
	put(*(int *)arg, "a");
}

CASE_ON_TYPES(cred_of_who_calls_not_who_made_it, NEEDS_PROCESSES)
{
	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	pid_t pid = spawn(send_a, &sv[0]);
	EXITS(pid, 0);
	/* Also when nobody has the number any more. */
	GETS_CRED(sv[1], pid, getuid(), getgid());
}

CASE_ON_TYPES(cred_of_nobody, NEEDS_PROCESSES)
{
	struct received r;

	(void)type;
	set_int_option(sv[1], SO_PASSCRED, 1);
	as_nobody(send_a, &sv[0]);
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.cred.uid, NOBODY);
	EQ(r.cred.gid, NOBODY);
}
