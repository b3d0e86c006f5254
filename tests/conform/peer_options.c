/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* SO_PEERCRED, SO_PEERGROUPS, SO_PEERPIDFD, SO_PEERSEC and SO_PEERNAME of every type; what
 * streams say of SO_PEERCRED is in credentials.c. */
#include "ancillary.h"

#include <grp.h>
#include <sched.h>

#ifndef SO_PEERSEC
#define SO_PEERSEC 31
#endif

static const int stream_like[] = {SOCK_STREAM, SOCK_SEQPACKET};

static void expect_peer(const char *file, int line, int fd, pid_t pid, uid_t uid, gid_t gid)
{
	struct ucred c = {-7, 7, 7};
	socklen_t len = sizeof c;

	conform_at(file, line, "PEER");
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) < 0)
		conform_fail(file, line, "SO_PEERCRED: %s", conform_errno_name(errno));
	if (len != sizeof c || c.pid != pid || c.uid != uid || c.gid != gid)
		conform_fail(file, line, "expected peer %d %u %u, got %d %u %u", (int)pid, uid, gid,
			     (int)c.pid, c.uid, c.gid);
}
#define PEER(fd, pid, uid, gid) expect_peer(HERE, (fd), (pid), (uid), (gid))
#define PEER_IS_SELF(fd) PEER(fd, getpid(), geteuid(), getegid())
#define PEER_IS_NOBODY_YET(fd) PEER(fd, 0, (uid_t)-1, (gid_t)-1)

static int groups_error(int fd)
{
	gid_t groups[64];
	socklen_t len = sizeof groups;

	return getsockopt(fd, SOL_SOCKET, OPT_PEERGROUPS, groups, &len) < 0 ? errno : 0;
}

/* -1 and errno, or the pidfd. */
static int peer_pidfd(int fd)
{
	int pidfd = -1;
	socklen_t len = sizeof pidfd;

	if (getsockopt(fd, SOL_SOCKET, OPT_PEERPIDFD, &pidfd, &len) < 0)
		return -1;
	EQ(len, sizeof pidfd);
	return pidfd;
}

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

/* Everything that is recorded of a peer is there, and it is this process. */
static void knows_peer(int fd)
{
	PEER_IS_SELF(fd);
	EQ(groups_error(fd), 0);
	int pidfd = OK(peer_pidfd(fd));
	EQ(pid_of(pidfd), getpid());
	EQ(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
	OK(close(pidfd));
}

static void knows_nobody(int fd)
{
	PEER_IS_NOBODY_YET(fd);
	EQ(groups_error(fd), ENODATA);
	FAILS(peer_pidfd(fd), ENODATA);
}

CASE_ON_TYPES(peer_of_a_pair, 0)
{
	(void)type;
	knows_peer(sv[0]);
	knows_peer(sv[1]);
	OK(shutdown(sv[0], SHUT_RDWR));
	close_end(&sv[0]);
	knows_peer(sv[1]);
}

CASE(peer_of_a_connection, 0)
{
	for (size_t i = 0; i < 2; i++) {
		struct name a = abstract_name("a");
		int l = bound_to(stream_like[i], &a), c = unix_socket(stream_like[i]);
		knows_nobody(c);
		knows_nobody(l);
		OK(listen(l, 5));
		knows_peer(l);
		OK(connect(c, NAME(&a)));
		knows_peer(c);
		int s = OK(accept(l, NULL, NULL));
		knows_peer(s);
		OK(close(c));
		knows_peer(s);
		OK(close(l));
		knows_peer(s);
		OK(close(s));
	}
}

CASE(peer_of_a_failed_connect, 0)
{
	struct name a = abstract_name("a");
	int fd = unix_socket(SOCK_STREAM);

	FAILS(connect(fd, NAME(&a)), ECONNREFUSED);
	knows_nobody(fd);
	OK(close(fd));
}

CASE(peer_of_datagram_sockets, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int d = bound_to(SOCK_DGRAM, &a), e = bound_to(SOCK_DGRAM, &b);

	/* Connecting tells nothing. */
	knows_nobody(d);
	OK(connect(d, NAME(&b)));
	OK(connect(e, NAME(&a)));
	knows_nobody(d);
	knows_nobody(e);
	put(d, "a");
	GETS(e, "a");
	knows_nobody(e);
	OK(close(d));
	OK(close(e));
}

CASE(peer_of_a_datagram_pair_stays, 0)
{
	struct name a = abstract_name("a");
	int sv[2], d = bound_to(SOCK_DGRAM, &a);
	struct sockaddr none = {.sa_family = AF_UNSPEC};

	unix_pair(SOCK_DGRAM, sv);
	OK(connect(sv[0], &none, sizeof none));
	knows_peer(sv[0]);
	OK(connect(sv[0], NAME(&a)));
	knows_peer(sv[0]);
	OK(close(d));
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE_ON_TYPES(peer_options_lengths, 0)
{
	struct ucred whole, c;
	socklen_t len = sizeof whole, negative = (socklen_t)-1;

	(void)type;
	OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &whole, &len));
	for (socklen_t have = 0; have <= 20; have++) {
		unsigned char buf[20];
		len = have;
		memset(buf, 0x5a, sizeof buf);
		OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, buf, &len));
		EQ(len, have < sizeof whole ? have : sizeof whole);
		BYTES(buf, &whole, len);
		for (size_t i = len; i < sizeof buf; i++)
			EQ(buf[i], 0x5a);
	}
	static const int options[] = {SO_PEERCRED, OPT_PEERGROUPS, OPT_PEERPIDFD};
	for (size_t i = 0; i < 3; i++) {
		len = 64;
		FAILS(getsockopt(sv[0], SOL_SOCKET, options[i], &c, &negative), EINVAL);
		FAILS(getsockopt(sv[0], SOL_SOCKET, options[i], &c, NULL), EFAULT);
		FAILS(getsockopt(sv[0], SOL_SOCKET, options[i], &c, bad_pointer()), EFAULT);
	}
	len = sizeof c;
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, bad_pointer(), &len), EFAULT);
	FAILS(getsockopt(sv[0], SOL_SOCKET, OPT_PEERPIDFD, bad_pointer(), &len), EFAULT);
}

CASE_ON_TYPES(peer_options_are_read_only, 0)
{
	static const int options[] = {SO_PEERCRED, OPT_PEERGROUPS, OPT_PEERPIDFD, SO_PEERSEC, SO_PEERNAME};
	char value[64] = {0};

	(void)type;
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		FAILS(setsockopt(sv[0], SOL_SOCKET, options[i], value, sizeof value), ENOPROTOOPT);
}

CASE_ON_TYPES(peer_label_without_labels, 0)
{
	char label[256];
	socklen_t len = sizeof label;

	(void)type;
	if (getsockopt(sv[0], SOL_SOCKET, SO_PEERSEC, label, &len) == 0)
		SKIP("a security module gives labels");
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERSEC, label, &len), ENOPROTOOPT);
}

CASE_ON_TYPES(peer_name_of_each_type, 0)
{
	struct name a = abstract_name("a");
	struct sockaddr_un un, got;
	socklen_t len = sizeof un;
	int fd = unix_socket(type);

	FAILS(getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &un, &len), ENOTCONN);
	OK(close(fd));
	/* Unnamed: the family alone. */
	len = 2;
	OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERNAME, &un, &len));
	EQ(len, 2);
	EQ(un.sun_family, AF_UNIX);
	len = 3;
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERNAME, &un, &len), EINVAL);
	OK(bind(sv[1], NAME(&a)));
	for (len = 0; len <= a.len; len++) {
		socklen_t have = len;
		memset(&got, 0x5a, sizeof got);
		OK(getsockopt(sv[0], SOL_SOCKET, SO_PEERNAME, &got, &have));
		EQ(have, len);
		BYTES(&got, &a.un, len);
	}
	len = a.len + 1;
	FAILS(getsockopt(sv[0], SOL_SOCKET, SO_PEERNAME, &un, &len), EINVAL);
}

/* Groups. */

CASE_ON_TYPES(peer_groups_and_their_lengths, 0)
{
	gid_t got[8];
	socklen_t len;
	int x[2];

	if (geteuid() != 0)
		SKIP("needs root to set groups");
	EQ(setgroups(4, (gid_t[]){9, 3, 65533, 4}), 0);
	unix_pair(type, x);
	EQ(setgroups(0, NULL), 0);
	for (socklen_t have = 0; have < 16; have++) {
		len = have;
		memset(got, 0x5a, sizeof got);
		FAILS(getsockopt(x[0], SOL_SOCKET, OPT_PEERGROUPS, got, &len), ERANGE);
		EQ(len, 16);
		EQ(((unsigned char *)got)[0], 0x5a);
	}
	for (len = 16; len <= 32; len += 16) {
		socklen_t have = len;
		OK(getsockopt(x[0], SOL_SOCKET, OPT_PEERGROUPS, got, &have));
		EQ(have, 16);
		EQ(got[0], 3);
		EQ(got[1], 4);
		EQ(got[2], 9);
		EQ(got[3], 65533);
	}
	len = 16;
	FAILS(getsockopt(x[0], SOL_SOCKET, OPT_PEERGROUPS, bad_pointer(), &len), EFAULT);
	OK(close(x[0]));
	OK(close(x[1]));
	unix_pair(type, x);
	len = 0;
	OK(getsockopt(x[1], SOL_SOCKET, OPT_PEERGROUPS, NULL, &len));
	EQ(len, 0);
	OK(close(x[0]));
	OK(close(x[1]));
	(void)sv;
}

static void expect_one_group(int fd, gid_t group)
{
	gid_t got[8];
	socklen_t len = sizeof got;

	OK(getsockopt(fd, SOL_SOCKET, OPT_PEERGROUPS, got, &len));
	EQ(len, sizeof got[0]);
	EQ(got[0], group);
}

CASE(peer_groups_of_a_connection, 0)
{
	if (geteuid() != 0)
		SKIP("needs root to set groups");
	for (size_t i = 0; i < 2; i++) {
		struct name a = abstract_name("a");
		EQ(setgroups(1, (gid_t[]){11}), 0);
		int l = bound_to(stream_like[i], &a);
		EQ(setgroups(1, (gid_t[]){12}), 0);
		OK(listen(l, 5));
		EQ(setgroups(1, (gid_t[]){13}), 0);
		int c = connect_to(stream_like[i], &a);
		EQ(setgroups(1, (gid_t[]){14}), 0);
		int s = OK(accept(l, NULL, NULL));
		expect_one_group(l, 12);
		expect_one_group(c, 12);
		expect_one_group(s, 13);
		OK(close(c));
		OK(close(s));
		OK(close(l));
	}
	EQ(setgroups(0, NULL), 0);
}

/* pidfds. */

CASE_ON_TYPES(peer_pidfd_is_new_each_time, 0)
{
	(void)type;
	int a = OK(peer_pidfd(sv[0])), b = OK(peer_pidfd(sv[0]));
	TRUE(a != b);
	EQ(pid_of(a), getpid());
	EQ(pid_of(b), getpid());
	OK(close(a));
	OK(close(b));
}

CASE_ON_TYPES(peer_pidfd_with_the_table_full, 0)
{
	struct rlimit limit, small;
	int top = OK(open("/dev/null", O_RDONLY | O_CLOEXEC));

	(void)type;
	EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	small = limit;
	small.rlim_cur = (rlim_t)top + 1;
	EQ(setrlimit(RLIMIT_NOFILE, &small), 0);
	FAILS(peer_pidfd(sv[0]), EMFILE);
	EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	OK(close(top));
}

static void connects(void *arg)
{
	struct talk *t = arg;
	int fd = connect_to(SOCK_STREAM, &t->name);

	latch_pass(&t->go);
	OK(close(fd));
}

CASE(peer_pidfd_of_the_living_and_the_dead, NEEDS_PROCESSES)
{
	struct talk t;
	siginfo_t info;

	talk_init(&t);
	t.name = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &t.name, 5);
	pid_t pid = spawn(connects, &t);
	int s = OK(accept(l, NULL, NULL)), alive = OK(peer_pidfd(s));
	EQ(pid_of(alive), pid);
	EQ(poll(&(struct pollfd){.fd = alive, .events = POLLIN}, 1, 0), 0);
	latch_open(&t.go);
	EQ(poll(&(struct pollfd){.fd = alive, .events = POLLIN}, 1, 5000), 1);
	EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	int zombie = OK(peer_pidfd(s));
	EQ(pid_of(zombie), pid);
	EXITS(pid, 0);
	int reaped = OK(peer_pidfd(s));
	EQ(pid_of(reaped), -1);
	EQ(poll(&(struct pollfd){.fd = reaped, .events = POLLIN}, 1, 5000), 1);
	PEER(s, pid, geteuid(), getegid());
	OK(close(alive));
	OK(close(zombie));
	OK(close(reaped));
	OK(close(s));
	OK(close(l));
	talk_fini(&t);
}

static void listens_only(void *arg)
{
	OK(listen(*(int *)arg, 5));
}

CASE(peer_pidfd_is_of_who_listened_last, NEEDS_PROCESSES)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &a, 5), before = connect_to(SOCK_SEQPACKET, &a);
	pid_t pid = spawn(listens_only, &l);

	EXITS(pid, 0);
	int after = connect_to(SOCK_SEQPACKET, &a), fd = OK(peer_pidfd(after));
	EQ(pid_of(fd), -1);
	PEER(after, pid, geteuid(), getegid());
	PEER_IS_SELF(before);
	OK(close(fd));
	OK(close(before));
	OK(close(after));
	OK(close(l));
}

/* Identities that change. */

static void makes_and_changes(void *arg)
{
	struct talk *t = arg;
	int fd = unix_socket(SOCK_SEQPACKET);

	EQ(setgroups(0, NULL), 0);
	EQ(setresgid(31, 32, 33), 0);
	EQ(setresuid(41, 42, 0), 0);
	OK(connect(fd, NAME(&t->name)));
	/* Afterwards is too late. */
	EQ(setresuid(0, 0, 0), 0);
	EQ(setresgid(0, 0, 0), 0);
	latch_open(&t->done);
	EQ(read_one(fd), 0);
}

CASE(peer_is_effective_and_frozen, NEEDS_PROCESSES)
{
	struct talk t;

	if (geteuid() != 0)
		SKIP("needs root to become somebody else");
	talk_init(&t);
	t.name = abstract_name("a");
	int l = listen_at(SOCK_SEQPACKET, &t.name, 5);
	pid_t pid = spawn(makes_and_changes, &t);
	latch_pass(&t.done);
	int s = OK(accept(l, NULL, NULL));
	PEER(s, pid, 42, 32);
	OK(close(s));
	EXITS(pid, 0);
	OK(close(l));
	talk_fini(&t);
}

static void connects_as_nobody(void *arg)
{
	int fd = connect_to(SOCK_STREAM, arg);

	PEER(fd, getppid(), 0, 0);
	EQ(read_one(fd), 0);
}

CASE(peer_is_nobody, NEEDS_PROCESSES)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 5);
	struct ucred c;
	socklen_t len = sizeof c;

	if (geteuid() != 0)
		SKIP("needs root to become nobody");
	pid_t pid = OK(fork());
	if (pid == 0) {
		EQ(setgroups(0, NULL), 0);
		EQ(setresgid(NOBODY, NOBODY, NOBODY), 0);
		EQ(setresuid(NOBODY, NOBODY, NOBODY), 0);
		connects_as_nobody(&a);
		_exit(0);
	}
	int s = OK(accept(l, NULL, NULL));
	OK(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &c, &len));
	EQ(c.pid, pid);
	EQ(c.uid, NOBODY);
	EQ(c.gid, NOBODY);
	EQ(groups_error(s), 0);
	OK(close(s));
	EXITS(pid, 0);
	OK(close(l));
}

static void looks_from_a_pid_namespace(void *arg)
{
	EQ(getpid(), 1);
	PEER(*(int *)arg, 0, geteuid(), getegid());
}

static void enters_a_pid_namespace(void *arg)
{
	if (unshare(CLONE_NEWPID) < 0)
		_exit(77);
	EXITS(spawn(looks_from_a_pid_namespace, arg), 0);
}

static void looks_from_a_user_namespace(void *arg)
{
	if (unshare(CLONE_NEWUSER) < 0)
		_exit(77);
	PEER(*(int *)arg, getppid(), NOBODY, NOBODY);
}

static void look_from_outside(int fd, void (*run)(void *))
{
	int status;
	pid_t pid = spawn(run, &fd);

	EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("no such namespaces");
	EQ(status, 0);
}

CASE_ON_TYPES(peer_seen_from_a_pid_namespace, NEEDS_PROCESSES)
{
	(void)type;
	look_from_outside(sv[0], enters_a_pid_namespace);
}

CASE_ON_TYPES(peer_seen_from_a_user_namespace, NEEDS_PROCESSES)
{
	(void)type;
	look_from_outside(sv[0], looks_from_a_user_namespace);
}
