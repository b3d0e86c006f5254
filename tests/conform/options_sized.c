/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* The options of SOL_SOCKET whose value is not an int: structures, rates, cookies, interfaces. */
#include "ancillary.h"

#include <net/if.h>

enum {
	O_LINGER = 13,
	O_RCVTIMEO = 20,
	O_SNDTIMEO = 21,
	O_BINDTODEVICE = 25,
	O_TIMESTAMPING = 37,
	O_MAX_PACING_RATE = 47,
	O_MEMINFO = 55,
	O_COOKIE = 57,
	O_TXTIME = 61,
	O_BINDTOIFINDEX = 62,
	O_TIMESTAMPING_NEW = 65,
	O_RCVTIMEO_NEW = 66,
	O_SNDTIMEO_NEW = 67,
	O_NETNS_COOKIE = 71,
};

static int set(int fd, int option, const void *value, socklen_t len)
{
	return setsockopt(fd, SOL_SOCKET, option, value, len);
}

/* The value's length, or -1. */
static int get(int fd, int option, void *value, socklen_t len)
{
	return getsockopt(fd, SOL_SOCKET, option, value, &len) < 0 ? -1 : (int)len;
}

/* Less is a prefix, more is cut. */
static void expect_lengths(int fd, int option, int n)
{
	unsigned char whole[64], part[64];

	EQ(get(fd, option, whole, sizeof whole), n);
	for (int have = 0; have <= n + 4; have++) {
		memset(part, 0x5a, sizeof part);
		int len = OK(get(fd, option, part, (socklen_t)have));
		EQ(len, have < n ? have : n);
		BYTES(part, whole, (size_t)len);
		EQ(part[len], 0x5a);
	}
	FAILS(get(fd, option, whole, (socklen_t)-1), EINVAL);
	FAILS(get(fd, option, bad_pointer(), (socklen_t)n), EFAULT);
}

static void need_privilege(void)
{
	if (geteuid() != 0)
		SKIP("needs CAP_NET_ADMIN");
}

CASE_ON_TYPES(opt_linger_value, 0)
{
	struct linger l = {-1, -1};

	(void)type;
	EQ(get(sv[0], O_LINGER, &l, sizeof l), sizeof l);
	EQ(l.l_onoff, 0);
	EQ(l.l_linger, 0);
	l = (struct linger){9, 30};
	for (socklen_t len = 0; len < sizeof l; len++)
		FAILS(set(sv[0], O_LINGER, &l, len), EINVAL);
	EQ(set(sv[0], O_LINGER, &l, sizeof l), 0);
	EQ(get(sv[0], O_LINGER, &l, sizeof l), sizeof l);
	EQ(l.l_onoff, 1);
	EQ(l.l_linger, 30);
	expect_lengths(sv[0], O_LINGER, sizeof l);
	FAILS(set(sv[0], O_LINGER, bad_pointer(), sizeof l), EFAULT);
	l = (struct linger){0, 12};
	EQ(set(sv[0], O_LINGER, &l, sizeof l), 0);
	EQ(get(sv[0], O_LINGER, &l, sizeof l), sizeof l);
	EQ(l.l_onoff, 0);
	EQ(l.l_linger, 30);
}

CASE_ON_TYPES(opt_timeouts_value, 0)
{
	static const int options[] = {O_RCVTIMEO, O_SNDTIMEO, O_RCVTIMEO_NEW, O_SNDTIMEO_NEW};

	(void)type;
	for (size_t i = 0; i < 4; i++) {
		/* Sixteen bytes in the old and the new form alike. */
		struct timeval tv = {7, 7};
		EQ(get(sv[0], options[i], &tv, sizeof tv), sizeof tv);
		EQ(tv.tv_sec, 0);
		EQ(tv.tv_usec, 0);
		tv = (struct timeval){3, 0};
		for (socklen_t len = 0; len < sizeof tv; len++)
			FAILS(set(sv[0], options[i], &tv, len), EINVAL);
		EQ(set(sv[0], options[i], &tv, sizeof tv), 0);
		EQ(get(sv[0], options[i], &tv, sizeof tv), sizeof tv);
		EQ(tv.tv_sec, 3);
		EQ(tv.tv_usec, 0);
		/* One value, however it is called. */
		tv.tv_sec = 0;
		EQ(get(sv[0], options[(i + 2) % 4], &tv, sizeof tv), sizeof tv);
		EQ(tv.tv_sec, 3);
		tv = (struct timeval){1, 1000000};
		FAILS(set(sv[0], options[i], &tv, sizeof tv), EDOM);
		tv = (struct timeval){1, -1};
		FAILS(set(sv[0], options[i], &tv, sizeof tv), EDOM);
		FAILS(set(sv[0], options[i], bad_pointer(), sizeof tv), EFAULT);
		expect_lengths(sv[0], options[i], sizeof tv);
		tv = (struct timeval){0, 0};
		EQ(set(sv[0], options[i], &tv, sizeof tv), 0);
	}
}

CASE_ON_TYPES(opt_timeouts_are_rounded_up, 0)
{
	struct timeval tv = {0, 1};

	(void)type;
	EQ(set(sv[0], O_RCVTIMEO, &tv, sizeof tv), 0);
	EQ(get(sv[0], O_RCVTIMEO, &tv, sizeof tv), sizeof tv);
	EQ(tv.tv_sec, 0);
	/* To the tick, which is a matter of how the kernel was built. */
	TRUE(tv.tv_usec >= 1000 && tv.tv_usec <= 10000);
	long tick = tv.tv_usec;
	tv = (struct timeval){2, 3 * tick + 1};
	EQ(set(sv[0], O_SNDTIMEO, &tv, sizeof tv), 0);
	EQ(get(sv[0], O_SNDTIMEO, &tv, sizeof tv), sizeof tv);
	EQ(tv.tv_sec, 2);
	EQ(tv.tv_usec, 4 * tick);
}

CASE_ON_TYPES(opt_negative_timeout_is_no_wait, 0)
{
	struct timeval tv = {-1, 0};
	char c;

	(void)type;
	EQ(set(sv[0], O_RCVTIMEO, &tv, sizeof tv), 0);
	FAILS(recv(sv[0], &c, 1, 0), EAGAIN);
}

CASE_ON_TYPES(opt_pacing_rate, 0)
{
	uint64_t rate = 0;
	uint32_t narrow = 5000;

	(void)type;
	EQ(get(sv[0], O_MAX_PACING_RATE, &rate, sizeof rate), 8);
	EQ(rate, UINT64_MAX);
	EQ(set(sv[0], O_MAX_PACING_RATE, &narrow, sizeof narrow), 0);
	EQ(get(sv[0], O_MAX_PACING_RATE, &rate, sizeof rate), 8);
	EQ(rate, 5000);
	rate = (uint64_t)1 << 40;
	EQ(set(sv[0], O_MAX_PACING_RATE, &rate, sizeof rate), 0);
	rate = 0;
	EQ(get(sv[0], O_MAX_PACING_RATE, &rate, sizeof rate), 8);
	EQ(rate, (uint64_t)1 << 40);
	/* It slows nobody down. */
	put(sv[0], "a");
	GETS(sv[1], "a");
}

CASE_ON_TYPES(opt_memory, 0)
{
	uint32_t info[9];

	(void)type;
	expect_lengths(sv[0], O_MEMINFO, sizeof info);
	EQ(get(sv[0], O_MEMINFO, info, sizeof info), sizeof info);
	EQ(info[0], 0);
	EQ(info[1], get_int_option(sv[0], SO_RCVBUF));
	EQ(info[2], 0);
	EQ(info[3], get_int_option(sv[0], SO_SNDBUF));
	put(sv[0], "a");
	EQ(get(sv[0], O_MEMINFO, info, sizeof info), sizeof info);
	EQ(info[2], 768);
	EQ(get(sv[1], O_MEMINFO, info, sizeof info), sizeof info);
	EQ(info[0], 0);
	EQ(info[2], 0);
	GETS(sv[1], "a");
	EQ(get(sv[0], O_MEMINFO, info, sizeof info), sizeof info);
	for (int i = 4; i < 9; i++)
		EQ(info[i], 0);
	EQ(info[2], 0);
}

CASE_ON_TYPES(opt_cookie, 0)
{
	uint64_t a = 0, b = 0, c = 0;

	(void)type;
	for (socklen_t len = 0; len < 8; len++)
		FAILS(get(sv[0], O_COOKIE, &a, len), EINVAL);
	EQ(get(sv[0], O_COOKIE, &a, 8), 8);
	EQ(get(sv[1], O_COOKIE, &b, 8), 8);
	TRUE(a != b && a != 0);
	unsigned char wide[16];
	EQ(get(sv[0], O_COOKIE, wide, 16), 8);
	BYTES(wide, &a, 8);
	int copy = OK(dup(sv[0]));
	EQ(get(copy, O_COOKIE, &c, 8), 8);
	EQ(a, c);
	OK(close(copy));
}

CASE_ON_TYPES(opt_netns_cookie, 0)
{
	uint64_t a = 0, b = 0;
	unsigned char wide[16];

	(void)type;
	for (socklen_t len = 0; len < 16; len++)
		if (len != 8)
			FAILS(get(sv[0], O_NETNS_COOKIE, wide, len), EINVAL);
	EQ(get(sv[0], O_NETNS_COOKIE, &a, 8), 8);
	EQ(get(sv[1], O_NETNS_COOKIE, &b, 8), 8);
	EQ(a, b);
	/* The same for every socket of the network namespace. */
	int in = OK(socket(AF_INET, SOCK_STREAM, 0));
	EQ(get(in, O_NETNS_COOKIE, &b, 8), 8);
	EQ(a, b);
	OK(close(in));
}

CASE_ON_TYPES(opt_timestamping_value, 0)
{
	static const int options[] = {O_TIMESTAMPING, O_TIMESTAMPING_NEW};
	int value[2] = {-1, -1}, all = -1;

	(void)type;
	for (size_t i = 0; i < 2; i++) {
		EQ(get(sv[0], options[i], value, sizeof value), 8);
		EQ(value[0], 0);
		EQ(value[1], 0);
		expect_lengths(sv[0], options[i], 8);
		FAILS(set(sv[0], options[i], &all, sizeof all), EINVAL);
		/* Software stamps on receive. */
		value[0] = 0x18;
		EQ(set(sv[0], options[i], value, 4), 0);
		EQ(get(sv[0], options[i], value, sizeof value), 8);
		EQ(value[0], 0x18);
		value[0] = 0;
		EQ(set(sv[0], options[i], value, 4), 0);
	}
}

CASE_ON_TYPES(opt_txtime_value, 0)
{
	struct {
		int clockid;
		uint32_t flags;
	} value = {-1, 7};

	(void)type;
	EQ(get(sv[0], O_TXTIME, &value, sizeof value), 8);
	EQ(value.clockid, 0);
	EQ(value.flags, 0);
	expect_lengths(sv[0], O_TXTIME, 8);
	FAILS(set(sv[0], O_TXTIME, &value, 4), EINVAL);
	FAILS(set(sv[0], O_TXTIME, (char[16]){0}, 16), EINVAL);
	value.clockid = CLOCK_MONOTONIC;
	value.flags = 0x100;
	FAILS(set(sv[0], O_TXTIME, &value, sizeof value), EINVAL);
	value.flags = 1;
	EQ(set(sv[0], O_TXTIME, &value, sizeof value), 0);
	EQ(get(sv[0], O_TXTIME, &value, sizeof value), 8);
	EQ(value.clockid, CLOCK_MONOTONIC);
	EQ(value.flags, 1);
}

CASE_ON_TYPES(opt_device, 0)
{
	char name[IFNAMSIZ] = {0};
	int index = (int)if_nametoindex("lo"), none = 0, negative = -1;

	(void)type;
	if (index == 0)
		SKIP("no loopback interface");
	EQ(get(sv[0], O_BINDTODEVICE, name, sizeof name), 0);
	FAILS(set(sv[0], O_BINDTODEVICE, "nosuchif", 8), ENODEV);
	FAILS(set(sv[0], O_BINDTOIFINDEX, &negative, sizeof negative), EINVAL);
	EQ(set(sv[0], O_BINDTODEVICE, "lo", 3), 0);
	EQ(get(sv[0], O_BINDTODEVICE, name, sizeof name), 3);
	BYTES(name, "lo", 3);
	EQ(get_int_option(sv[0], O_BINDTOIFINDEX), index);
	/* Of no effect. */
	put(sv[0], "a");
	GETS(sv[1], "a");
	need_privilege();
	EQ(set(sv[0], O_BINDTODEVICE, "", 0), 0);
	EQ(get_int_option(sv[0], O_BINDTOIFINDEX), 0);
	EQ(set(sv[0], O_BINDTOIFINDEX, &index, sizeof index), 0);
	EQ(seteuid(NOBODY), 0);
	FAILS(set(sv[0], O_BINDTOIFINDEX, &none, sizeof none), EPERM);
	FAILS(set(sv[0], O_BINDTODEVICE, "", 0), EPERM);
	/* The first binding is free. */
	EQ(set(sv[1], O_BINDTOIFINDEX, &index, sizeof index), 0);
	EQ(seteuid(0), 0);
	EQ(set(sv[0], O_BINDTOIFINDEX, &none, sizeof none), 0);
}
