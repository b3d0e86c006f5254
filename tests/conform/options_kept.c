/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Options that are seldom set: what moves with what, which of two names counts, what
 * needs a privilege, and what is still there when it is read back.
 */
#include "conform.h"

#include <linux/net_tstamp.h>
#include <net/if.h>

#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69
#define SO_BUSY_POLL_BUDGET 70
#endif
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72
#endif
#ifndef SO_RESERVE_MEM
#define SO_RESERVE_MEM 73
#endif
#ifndef SO_TXREHASH
#define SO_TXREHASH 74
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK 75
#endif
#define SO_DEVMEM_DONTNEED_ 80
#define SO_RCVPRIORITY_ 82
#define SO_INQ_ 84

enum { TIMEOUT_NEW = 66 }; /* SO_RCVTIMEO_NEW; the one for sending follows */

static int set_option(int fd, int option, int value)
{
	return setsockopt(fd, SOL_SOCKET, option, &value, sizeof value);
}

/* Until then nobody, to the end of the case: the process of a case is its own. */
static void become_nobody(void)
{
	if (geteuid() != 0)
		SKIP("needs root to lose privileges");
	EQ(seteuid(65534), 0);
}

CASE(kept_flags_are_stored, 0)
{
	static const int options[] = {SO_RXQ_OVFL, SO_WIFI_STATUS,  SO_NOFCS,	SO_SELECT_ERR_QUEUE,
				      SO_RCVMARK,  SO_RCVPRIORITY_, SO_PASSSEC, 76 /* SO_PASSPIDFD */};
	int fd = unix_socket(SOCK_STREAM);

	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		EQ(get_int_option(fd, options[i]), 0);
		set_int_option(fd, options[i], 5);
		EQ(get_int_option(fd, options[i]), 1);
		set_int_option(fd, options[i], 0);
		EQ(get_int_option(fd, options[i]), 0);
	}
	EQ(get_int_option(fd, 83 /* SO_PASSRIGHTS */), 1);
	set_int_option(fd, 83, 0);
	EQ(get_int_option(fd, 83), 0);
	EQ(get_int_option(fd, SO_INCOMING_CPU), -1);
	set_int_option(fd, SO_INCOMING_CPU, INT_MIN);
	EQ(get_int_option(fd, SO_INCOMING_CPU), INT_MIN);
	OK(close(fd));
}

CASE(kept_stamps_are_one_setting, 0)
{
	enum { PLAIN = SO_TIMESTAMP, NS = SO_TIMESTAMPNS, PLAIN_NEW = 63, NS_NEW = 64 };
	static const struct {
		int set, value, plain, ns, plain_new, ns_new;
	} steps[] = {
		{PLAIN, 1, 1, 0, 0, 0},	    {NS, 1, 0, 1, 0, 0},     {PLAIN, 1, 1, 0, 0, 0},
		{NS, 0, 0, 0, 0, 0},	    {NS, 7, 0, 1, 0, 0},     {PLAIN, 0, 0, 0, 0, 0},
		{PLAIN_NEW, 1, 0, 0, 1, 0}, {NS_NEW, 1, 0, 0, 1, 1}, {PLAIN, 0, 0, 0, 0, 0},
		{NS_NEW, 1, 0, 0, 1, 1},    {NS, 1, 0, 1, 0, 0},     {PLAIN_NEW, 1, 0, 0, 1, 0},
	};
	int fd = unix_socket(SOCK_STREAM);

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		set_int_option(fd, steps[i].set, steps[i].value);
		EQ(get_int_option(fd, PLAIN), steps[i].plain);
		EQ(get_int_option(fd, NS), steps[i].ns);
		EQ(get_int_option(fd, PLAIN_NEW), steps[i].plain_new);
		EQ(get_int_option(fd, NS_NEW), steps[i].ns_new);
	}
	OK(close(fd));
}

static void expect_pair(int fd, int option, uint32_t first, uint32_t second)
{
	uint32_t got[2] = {99, 99};
	socklen_t len = sizeof got;

	OK(getsockopt(fd, SOL_SOCKET, option, got, &len));
	EQ(len, sizeof got);
	EQ(got[0], first);
	EQ(got[1], second);
}

CASE(kept_timestamping, 0)
{
	enum { NEW = 65 };
	const int flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
	int fd = unix_socket(SOCK_STREAM);

	expect_pair(fd, SO_TIMESTAMPING, 0, 0);
	set_int_option(fd, SO_TIMESTAMPING, flags);
	expect_pair(fd, SO_TIMESTAMPING, flags, 0);
	expect_pair(fd, NEW, 0, 0);
	set_int_option(fd, NEW, flags);
	expect_pair(fd, SO_TIMESTAMPING, flags, 0);
	expect_pair(fd, NEW, flags, 0);
	FAILS(set_option(fd, SO_TIMESTAMPING, 1 << 30), EINVAL);
	FAILS(set_option(fd, SO_TIMESTAMPING, SOF_TIMESTAMPING_OPT_STATS), EINVAL);
	expect_pair(fd, NEW, flags, 0);
	/* Which type counts is one setting for all of them. */
	set_int_option(fd, SO_TIMESTAMP, 1);
	expect_pair(fd, NEW, 0, 0);
	OK(close(fd));
}

CASE(kept_buffer_lock_follows_the_sizes, 0)
{
	int fd = unix_socket(SOCK_STREAM);

	EQ(get_int_option(fd, SO_BUF_LOCK), 0);
	set_int_option(fd, SO_SNDBUF, 5000);
	EQ(get_int_option(fd, SO_BUF_LOCK), 1);
	set_int_option(fd, SO_RCVBUF, 5000);
	EQ(get_int_option(fd, SO_BUF_LOCK), 3);
	set_int_option(fd, SO_BUF_LOCK, 0);
	EQ(get_int_option(fd, SO_BUF_LOCK), 0);
	EQ(get_int_option(fd, SO_SNDBUF), 10000);
	FAILS(set_option(fd, SO_BUF_LOCK, 4), EINVAL);
	FAILS(set_option(fd, SO_BUF_LOCK, -1), EINVAL);
	OK(close(fd));
}

static void expect_time(int fd, int option, long sec, long usec)
{
	struct timeval t = {-7, -7};
	socklen_t len = sizeof t;

	OK(getsockopt(fd, SOL_SOCKET, option, &t, &len));
	EQ(len, sizeof t);
	EQ(t.tv_sec, sec);
	EQ(t.tv_usec, usec);
}

static int set_time(int fd, int option, long sec, long usec)
{
	struct timeval t = {sec, usec};

	return setsockopt(fd, SOL_SOCKET, option, &t, sizeof t);
}

/* A tick of the kernel's, in microseconds. */
static long tick(void)
{
	struct timespec t;

	EQ(clock_getres(CLOCK_MONOTONIC_COARSE, &t), 0);
	return 1000000 / ((1000000000 + t.tv_nsec / 2) / t.tv_nsec);
}

CASE(kept_timeouts_have_two_names, 0)
{
	static const int old[2] = {SO_RCVTIMEO, SO_SNDTIMEO};
	int fd = unix_socket(SOCK_STREAM);

	for (int i = 0; i < 2; i++) {
		int new = TIMEOUT_NEW + i;

		expect_time(fd, new, 0, 0);
		OK(set_time(fd, new, 3, 1));
		expect_time(fd, old[i], 3, tick());
		OK(set_time(fd, old[i], 5, 0));
		expect_time(fd, new, 5, 0);
		expect_time(fd, i ? SO_RCVTIMEO : SO_SNDTIMEO, 0, 0);
		FAILS(set_time(fd, new, 1, 1000000), EDOM);
		FAILS(set_time(fd, new, -1, -1), EDOM);
		FAILS(setsockopt(fd, SOL_SOCKET, new, &(struct timeval){0, 0}, 15), EINVAL);
		FAILS(setsockopt(fd, SOL_SOCKET, new, bad_pointer(), 16), EFAULT);
		expect_time(fd, new, 5, 0);
		OK(set_time(fd, old[i], 1, 999999));
		expect_time(fd, new, 2, 0);
		/* Never waits; what is longer than time is for ever. */
		OK(set_time(fd, new, -5, 0));
		expect_time(fd, new, 0, 0);
		OK(set_time(fd, new, 10000000000, 0));
		expect_time(fd, new, 10000000000, 0);
		OK(set_time(fd, new, LONG_MAX, 0));
		expect_time(fd, new, 0, 0);
		OK(set_time(fd, new, 0, 0));
	}
	OK(close(fd));
}

CASE_ON_ENDS(kept_timeout_below_nothing_does_not_wait, 0)
{
	long start = now_ms();

	OK(set_time(sv[0], SO_RCVTIMEO, -1, 0));
	FAILS(recv(sv[0], (char[1]){0}, 1, 0), EAGAIN);
	OK(set_time(sv[0], TIMEOUT_NEW, 0, 20000));
	FAILS(recv(sv[0], (char[1]){0}, 1, 0), EAGAIN);
	TRUE(now_ms() - start >= 15);
}

CASE(kept_linger_extremes, 0)
{
	struct linger l = {1, -1};
	socklen_t len = sizeof l;
	int fd = unix_socket(SOCK_STREAM);

	OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
	OK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
	EQ(l.l_onoff, 1);
	EQ(l.l_linger, (int)(LONG_MAX / (1000000 / tick())));
	/* Off, it keeps its time. */
	l = (struct linger){0, 9};
	OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){-3, 77}, sizeof l));
	OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
	OK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
	EQ(l.l_onoff, 0);
	EQ(l.l_linger, 77);
	OK(close(fd));
}

static int set_device(int fd, const char *name)
{
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name));
}

static void expect_device(int fd, const char *name, int index)
{
	char got[IFNAMSIZ];
	socklen_t len = sizeof got;

	OK(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, got, &len));
	EQ(len, *name ? strlen(name) + 1 : 0);
	BYTES(got, name, len);
	EQ(get_int_option(fd, SO_BINDTOIFINDEX), index);
}

CASE(kept_device, 0)
{
	int lo = (int)if_nametoindex("lo"), fd = unix_socket(SOCK_STREAM);
	socklen_t len = 3;

	TRUE(lo > 0);
	expect_device(fd, "", 0);
	/* Any length will do, nothing as well. */
	OK(set_device(fd, ""));
	OK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, NULL, 0));
	FAILS(set_device(fd, "none0"), ENODEV);
	/* A number is not looked up before somebody asks for the name. */
	OK(set_option(fd, SO_BINDTOIFINDEX, 1000000));
	EQ(get_int_option(fd, SO_BINDTOIFINDEX), 1000000);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, (char[IFNAMSIZ]){0}, &(socklen_t){IFNAMSIZ}),
	      ENODEV);
	OK(set_option(fd, SO_BINDTOIFINDEX, 0));
	FAILS(set_option(fd, SO_BINDTOIFINDEX, -1), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, bad_pointer(), 3), EFAULT);
	OK(set_device(fd, "lo"));
	expect_device(fd, "lo", lo);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, (char[3]){0}, &len), EINVAL);
	OK(set_option(fd, SO_BINDTOIFINDEX, 0));
	expect_device(fd, "", 0);
	OK(close(fd));
}

CASE(kept_device_belongs_to_the_privileged, 0)
{
	int lo = (int)if_nametoindex("lo"), fd = unix_socket(SOCK_STREAM);

	become_nobody();
	/* The first time it is free. */
	OK(set_device(fd, "lo"));
	expect_device(fd, "lo", lo);
	FAILS(set_device(fd, ""), EPERM);
	FAILS(set_option(fd, SO_BINDTOIFINDEX, 0), EPERM);
	expect_device(fd, "lo", lo);
	EQ(seteuid(0), 0);
	OK(set_device(fd, ""));
	expect_device(fd, "", 0);
	OK(close(fd));
}

CASE(kept_pacing_rate, 0)
{
	uint64_t rate = 1, big = UINT64_C(1) << 33;
	socklen_t len = sizeof rate;
	int fd = unix_socket(SOCK_STREAM);

	OK(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &len));
	EQ(len, sizeof rate);
	TRUE(rate == UINT64_MAX);
	EQ(get_int_option(fd, SO_MAX_PACING_RATE), -1);
	set_int_option(fd, SO_MAX_PACING_RATE, -2);
	OK(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &len));
	TRUE(rate == UINT32_MAX - 1);
	OK(setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &big, sizeof big));
	OK(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &len));
	TRUE(rate == big);
	EQ(get_int_option(fd, SO_MAX_PACING_RATE), -1);
	set_int_option(fd, SO_MAX_PACING_RATE, -1);
	OK(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &len));
	TRUE(rate == UINT64_MAX);
	OK(close(fd));
}

CASE(kept_txtime, 0)
{
	const uint32_t set[2] = {CLOCK_TAI, SOF_TXTIME_REPORT_ERRORS}, bad[2] = {CLOCK_TAI, 8};
	int fd = unix_socket(SOCK_STREAM);

	expect_pair(fd, SO_TXTIME, 0, 0);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_TXTIME, set, 4), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_TXTIME, bad, 8), EINVAL);
	OK(setsockopt(fd, SOL_SOCKET, SO_TXTIME, set, 8));
	expect_pair(fd, SO_TXTIME, set[0], set[1]);
	OK(close(fd));
}

CASE(kept_busy_polling, 0)
{
	int fd = unix_socket(SOCK_STREAM), value = 0;
	socklen_t len = sizeof value;

	set_int_option(fd, SO_BUSY_POLL, 17);
	EQ(get_int_option(fd, SO_BUSY_POLL), 17);
	FAILS(set_option(fd, SO_BUSY_POLL, -1), EINVAL);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &value, &len), ENOPROTOOPT);
	FAILS(set_option(fd, SO_BUSY_POLL_BUDGET, -1), EINVAL);
	if (geteuid() == 0) {
		OK(set_option(fd, SO_PREFER_BUSY_POLL, 1));
		EQ(get_int_option(fd, SO_PREFER_BUSY_POLL), 1);
		FAILS(set_option(fd, SO_BUSY_POLL_BUDGET, 65536), EINVAL);
		OK(set_option(fd, SO_BUSY_POLL_BUDGET, 50));
	}
	become_nobody();
	FAILS(set_option(fd, SO_BUSY_POLL_BUDGET, 51), EPERM);
	OK(set_option(fd, SO_BUSY_POLL_BUDGET, 49));
	FAILS(set_option(fd, SO_BUSY_POLL_BUDGET, 50), EPERM);
	OK(set_option(fd, SO_PREFER_BUSY_POLL, 0));
	FAILS(set_option(fd, SO_PREFER_BUSY_POLL, 1), EPERM);
	OK(close(fd));
}

/* Values that the privileged left behind are not taken away. */
CASE(kept_when_privileges_are_lost, 0)
{
	int fd = unix_socket(SOCK_STREAM);

	if (geteuid() != 0)
		SKIP("needs root to lose privileges");
	set_int_option(fd, SO_PRIORITY, 7);
	set_int_option(fd, SO_MARK, 99);
	become_nobody();
	EQ(get_int_option(fd, SO_PRIORITY), 7);
	EQ(get_int_option(fd, SO_MARK), 99);
	FAILS(set_option(fd, SO_MARK, 0), EPERM);
	FAILS(set_option(fd, SO_PRIORITY, -1), EPERM);
	OK(set_option(fd, SO_PRIORITY, 0));
	EQ(get_int_option(fd, SO_PRIORITY), 0);
	OK(close(fd));
}

CASE(kept_inq_is_a_stream_s, 0)
{
	int fd = unix_socket(SOCK_STREAM), one = 1;
	socklen_t len = sizeof one;

	OK(set_option(fd, SO_INQ_, 1));
	OK(set_option(fd, SO_INQ_, 0));
	FAILS(set_option(fd, SO_INQ_, 2), EINVAL);
	FAILS(set_option(fd, SO_INQ_, -1), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_INQ_, &(long){1}, sizeof(long)), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_INQ_, bad_pointer(), 8), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, SO_INQ_, bad_pointer(), 4), EFAULT);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_INQ_, &one, &len), ENOPROTOOPT);
	OK(close(fd));
}

CASE(kept_nowhere, 0)
{
	static const int bpf[] = {SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_REUSEPORT_EBPF, 68 /* detach */};
	int fd = unix_socket(SOCK_STREAM), value = 7;
	socklen_t len = sizeof value;

	FAILS(set_option(fd, SO_ZEROCOPY, 1), EOPNOTSUPP);
	EQ(get_int_option(fd, SO_ZEROCOPY), 0);
	FAILS(set_option(fd, SO_RESERVE_MEM, 4096), EOPNOTSUPP);
	FAILS(set_option(fd, SO_RESERVE_MEM, -1), EINVAL);
	FAILS(set_option(fd, SO_TXREHASH, 1), EOPNOTSUPP);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_TXREHASH, &value, &len), EOPNOTSUPP);
	FAILS(set_option(fd, SO_DEVMEM_DONTNEED_, 1), EBADF);
	OK(set_option(fd, SO_CNX_ADVICE, 1));
	FAILS(getsockopt(fd, SOL_SOCKET, SO_CNX_ADVICE, &value, &len), ENOPROTOOPT);
	EQ(get_int_option(fd, SO_INCOMING_NAPI_ID), 0);
	EQ(get_int_option(fd, SO_BPF_EXTENSIONS), 64);
	for (size_t i = 0; i < sizeof bpf / sizeof bpf[0]; i++) {
		FAILS(set_option(fd, bpf[i], 0), EINVAL);
		FAILS(getsockopt(fd, SOL_SOCKET, bpf[i], &value, &len), ENOPROTOOPT);
	}
	OK(close(fd));
}

CASE(kept_cookies, 0)
{
	uint64_t a = 0, b = 0, again = 0, net = 0, other_net = 1;
	int fd = unix_socket(SOCK_STREAM), other = unix_socket(SOCK_STREAM);
	socklen_t len = sizeof a, more = 12;

	OK(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &a, &len));
	OK(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &again, &len));
	OK(getsockopt(other, SOL_SOCKET, SO_COOKIE, &b, &len));
	TRUE(a != 0 && a == again && a != b);
	OK(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &net, &len));
	OK(getsockopt(other, SOL_SOCKET, SO_NETNS_COOKIE, &other_net, &len));
	TRUE(net == other_net);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, (char[12]){0}, &more), EINVAL);
	OK(getsockopt(fd, SOL_SOCKET, SO_COOKIE, (char[12]){0}, &more));
	EQ(more, sizeof a);
	len = 7;
	FAILS(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &a, &len), EINVAL);
	FAILS(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &a, &len), EINVAL);
	OK(close(fd));
	OK(close(other));
}

/* Shared by those who hold the socket, and by nobody else. */
static void set_in_child(void *arg)
{
	int fd = *(int *)arg;

	set_int_option(fd, SO_TIMESTAMPNS, 1);
	OK(set_time(fd, SO_RCVTIMEO, 2, 0));
	OK(set_device(fd, "lo"));
}

CASE(kept_for_all_holders, NEEDS_PROCESSES)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	EXITS(spawn(set_in_child, &sv[0]), 0);
	EQ(get_int_option(sv[0], SO_TIMESTAMPNS), 1);
	expect_time(sv[0], SO_RCVTIMEO, 2, 0);
	expect_device(sv[0], "lo", (int)if_nametoindex("lo"));
	EQ(get_int_option(sv[1], SO_TIMESTAMPNS), 0);
	expect_device(sv[1], "", 0);
	OK(close(sv[0]));
	OK(close(sv[1]));
}

/* Of a listener's options only the four of passing go on; these are none of them. */
CASE(kept_by_the_listener, 0)
{
	struct name a = abstract_name("a");
	int l = listen_at(SOCK_STREAM, &a, 3);

	set_int_option(l, SO_TIMESTAMP, 1);
	set_int_option(l, SO_OOBINLINE, 1);
	set_int_option(l, SO_PRIORITY, 3);
	set_int_option(l, SO_RCVLOWAT, 9);
	set_int_option(l, SO_PEEK_OFF, 2);
	set_int_option(l, SO_SNDBUF, 9000);
	OK(set_time(l, SO_SNDTIMEO, 1, 0));
	int c = connect_to(SOCK_STREAM, &a), s = OK(accept(l, NULL, NULL));
	EQ(get_int_option(s, SO_TIMESTAMP), 0);
	EQ(get_int_option(s, SO_OOBINLINE), 0);
	EQ(get_int_option(s, SO_PRIORITY), 0);
	EQ(get_int_option(s, SO_RCVLOWAT), 1);
	EQ(get_int_option(s, SO_PEEK_OFF), -1);
	EQ(get_int_option(s, SO_SNDBUF), get_int_option(c, SO_SNDBUF));
	expect_time(s, SO_SNDTIMEO, 0, 0);
	OK(close(c));
	OK(close(s));
	OK(close(l));
}
