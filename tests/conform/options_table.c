/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Every option of SOL_SOCKET on every type of socket: its default, what is stored, what is
 * refused and to whom, and the lengths. */
#include "ancillary.h"

#include <net/if.h>

/* By number: most are newer than the C library's headers. */
enum {
	O_DEBUG = 1,
	O_REUSEADDR = 2,
	O_TYPE = 3,
	O_ERROR = 4,
	O_DONTROUTE = 5,
	O_BROADCAST = 6,
	O_SNDBUF = 7,
	O_RCVBUF = 8,
	O_KEEPALIVE = 9,
	O_OOBINLINE = 10,
	O_NO_CHECK = 11,
	O_PRIORITY = 12,
	O_LINGER = 13,
	O_BSDCOMPAT = 14,
	O_REUSEPORT = 15,
	O_PASSCRED = 16,
	O_PEERCRED = 17,
	O_RCVLOWAT = 18,
	O_SNDLOWAT = 19,
	O_RCVTIMEO = 20,
	O_SNDTIMEO = 21,
	O_BINDTODEVICE = 25,
	O_ATTACH_FILTER = 26,
	O_DETACH_FILTER = 27,
	O_PEERNAME = 28,
	O_TIMESTAMP = 29,
	O_ACCEPTCONN = 30,
	O_PEERSEC = 31,
	O_SNDBUFFORCE = 32,
	O_RCVBUFFORCE = 33,
	O_PASSSEC = 34,
	O_TIMESTAMPNS = 35,
	O_MARK = 36,
	O_TIMESTAMPING = 37,
	O_PROTOCOL = 38,
	O_DOMAIN = 39,
	O_RXQ_OVFL = 40,
	O_WIFI_STATUS = 41,
	O_PEEK_OFF = 42,
	O_NOFCS = 43,
	O_LOCK_FILTER = 44,
	O_SELECT_ERR_QUEUE = 45,
	O_BUSY_POLL = 46,
	O_MAX_PACING_RATE = 47,
	O_BPF_EXTENSIONS = 48,
	O_INCOMING_CPU = 49,
	O_ATTACH_BPF = 50,
	O_ATTACH_REUSEPORT_CBPF = 51,
	O_ATTACH_REUSEPORT_EBPF = 52,
	O_CNX_ADVICE = 53,
	O_MEMINFO = 55,
	O_INCOMING_NAPI_ID = 56,
	O_COOKIE = 57,
	O_PEERGROUPS = 59,
	O_ZEROCOPY = 60,
	O_TXTIME = 61,
	O_BINDTOIFINDEX = 62,
	O_TIMESTAMP_NEW = 63,
	O_TIMESTAMPNS_NEW = 64,
	O_TIMESTAMPING_NEW = 65,
	O_RCVTIMEO_NEW = 66,
	O_SNDTIMEO_NEW = 67,
	O_DETACH_REUSEPORT_BPF = 68,
	O_PREFER_BUSY_POLL = 69,
	O_BUSY_POLL_BUDGET = 70,
	O_NETNS_COOKIE = 71,
	O_BUF_LOCK = 72,
	O_RESERVE_MEM = 73,
	O_TXREHASH = 74,
	O_RCVMARK = 75,
	O_PASSPIDFD = 76,
	O_PEERPIDFD = 77,
	O_DEVMEM_DONTNEED = 80,
	O_RCVPRIORITY = 82,
	O_PASSRIGHTS = 83,
};

static int set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_SOCKET, option, &value, sizeof value);
}

static int get(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof value;

	return getsockopt(fd, SOL_SOCKET, option, &value, &len);
}

/* Without privilege for a moment; only for who had it. */
static void without_privilege(void (*run)(int fd), int fd)
{
	bool root = geteuid() == 0;

	if (root)
		EQ(seteuid(NOBODY), 0);
	run(fd);
	if (root)
		EQ(seteuid(0), 0);
}

static void need_privilege(void)
{
	if (geteuid() != 0)
		SKIP("needs CAP_NET_ADMIN");
}

/* Lengths of a value of n bytes: less is a prefix, more is cut to it. */
static void expect_lengths(int fd, int option, socklen_t n)
{
	unsigned char whole[64], part[64];
	socklen_t len = sizeof whole;

	OK(getsockopt(fd, SOL_SOCKET, option, whole, &len));
	EQ(len, n);
	for (socklen_t have = 0; have <= n + 4; have++) {
		memset(part, 0x5a, sizeof part);
		len = have;
		OK(getsockopt(fd, SOL_SOCKET, option, part, &len));
		EQ(len, have < n ? have : n);
		BYTES(part, whole, len);
		EQ(part[len], 0x5a);
	}
	FAILS(getsockopt(fd, SOL_SOCKET, option, whole, &(socklen_t){(socklen_t)-1}), EINVAL);
	FAILS(getsockopt(fd, SOL_SOCKET, option, bad_pointer(), &(socklen_t){n}), EFAULT);
	FAILS(getsockopt(fd, SOL_SOCKET, option, whole, NULL), EFAULT);
}

/* What every option that takes an int refuses. */
static void expect_bad_values(int fd, int option)
{
	int value = 0;

	for (socklen_t len = 0; len < sizeof value; len++)
		FAILS(setsockopt(fd, SOL_SOCKET, option, &value, len), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, option, &value, (socklen_t)-1), EINVAL);
	FAILS(setsockopt(fd, SOL_SOCKET, option, bad_pointer(), sizeof value), EFAULT);
}

static const struct {
	int option, usual;
} booleans[] = {
	{O_REUSEADDR, 0},   {O_DONTROUTE, 0},	{O_BROADCAST, 0},     {O_KEEPALIVE, 0},
	{O_OOBINLINE, 0},   {O_NO_CHECK, 0},	{O_PASSCRED, 0},      {O_PASSSEC, 0},
	{O_PASSPIDFD, 0},   {O_PASSRIGHTS, 1},	{O_TIMESTAMP, 0},     {O_RXQ_OVFL, 0},
	{O_WIFI_STATUS, 0}, {O_NOFCS, 0},	{O_TIMESTAMPNS, 0},   {O_SELECT_ERR_QUEUE, 0},
	{O_RCVMARK, 0},	    {O_RCVPRIORITY, 0}, {O_TIMESTAMP_NEW, 0}, {O_TIMESTAMPNS_NEW, 0},
};
enum { N_BOOLEANS = sizeof booleans / sizeof booleans[0] };

CASE_ON_TYPES(opt_booleans_are_stored, 0)
{
	int fd = unix_socket(type);

	(void)sv;
	for (size_t i = 0; i < N_BOOLEANS; i++) {
		int option = booleans[i].option;
		EQ(get_int_option(fd, option), booleans[i].usual);
		for (int value = -2; value <= 2; value++) {
			set_int_option(fd, option, value);
			EQ(get_int_option(fd, option), value != 0);
		}
		set_int_option(fd, option, INT_MIN);
		EQ(get_int_option(fd, option), 1);
		/* More bytes than it needs. */
		OK(setsockopt(fd, SOL_SOCKET, option, (long[]){0, 0}, 16));
		EQ(get_int_option(fd, option), 0);
	}
	OK(close(fd));
}

CASE_ON_TYPES(opt_booleans_lengths, 0)
{
	(void)type;
	for (size_t i = 0; i < N_BOOLEANS; i++) {
		expect_lengths(sv[0], booleans[i].option, sizeof(int));
		expect_bad_values(sv[0], booleans[i].option);
		EQ(get_int_option(sv[0], booleans[i].option), booleans[i].usual);
	}
}

CASE_ON_TYPES(opt_booleans_are_of_one_end, 0)
{
	(void)type;
	for (size_t i = 0; i < N_BOOLEANS; i++) {
		set_int_option(sv[0], booleans[i].option, !booleans[i].usual);
		EQ(get_int_option(sv[1], booleans[i].option), booleans[i].usual);
		set_int_option(sv[0], booleans[i].option, booleans[i].usual);
	}
}

CASE_ON_TYPES(opt_stored_ones_bring_no_items, 0)
{
	static const int options[] = {O_RXQ_OVFL,  O_WIFI_STATUS,    O_NOFCS,	  O_SELECT_ERR_QUEUE,
				      O_RCVMARK,   O_RCVPRIORITY,    O_KEEPALIVE, O_NO_CHECK,
				      O_BROADCAST, O_MAX_PACING_RATE};
	struct received r;

	(void)type;
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		set_int_option(sv[1], options[i], 1);
	set_int_option(sv[0], O_PRIORITY, 5);
	put(sv[0], "a");
	EQ(RECEIVE(sv[1], &r), 1);
	EQ(r.items, 0);
	EQ(r.flags, 0);
}

CASE_ON_TYPES(opt_read_only, 0)
{
	static const int options[] = {
		O_TYPE,	   O_ERROR,	 O_PEERCRED,	 O_SNDLOWAT,  O_PEERNAME,	O_ACCEPTCONN,
		O_PEERSEC, O_PROTOCOL,	 O_DOMAIN,	 O_MEMINFO,   O_BPF_EXTENSIONS, O_INCOMING_NAPI_ID,
		O_COOKIE,  O_PEERGROUPS, O_NETNS_COOKIE, O_PEERPIDFD,
	};

	(void)type;
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		FAILS(set(sv[0], options[i], 1), ENOPROTOOPT);
		expect_bad_values(sv[0], options[i]);
	}
}

CASE_ON_TYPES(opt_write_only, 0)
{
	static const int options[] = {
		O_DETACH_FILTER,	 O_SNDBUFFORCE,		  O_RCVBUFFORCE, O_ATTACH_BPF,
		O_ATTACH_REUSEPORT_CBPF, O_ATTACH_REUSEPORT_EBPF, O_CNX_ADVICE,	 O_DETACH_REUSEPORT_BPF,
		O_BUSY_POLL_BUDGET,	 O_DEVMEM_DONTNEED,	  OPT_INQ,
	};

	(void)type;
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		FAILS(get(sv[0], options[i]), ENOPROTOOPT);
}

CASE_ON_TYPES(opt_unknown_numbers, 0)
{
	static const int options[] = {0, 22, 23, 24, 54, 58, 78, 79, 81, 85, 86, 90, 255, 4096, INT_MAX, -1};

	(void)type;
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		FAILS(set(sv[0], options[i], 1), ENOPROTOOPT);
		FAILS(get(sv[0], options[i]), ENOPROTOOPT);
		expect_bad_values(sv[0], options[i]);
	}
}

CASE_ON_TYPES(opt_other_levels, 0)
{
	static const int levels[] = {0, 2, 6, 17, 41, 132, 256, 263, 279, -1};
	int value = 1;
	socklen_t len = sizeof value;

	(void)type;
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		FAILS(setsockopt(sv[0], levels[i], O_KEEPALIVE, &value, sizeof value), EOPNOTSUPP);
		FAILS(setsockopt(sv[0], levels[i], O_KEEPALIVE, NULL, 0), EOPNOTSUPP);
		FAILS(setsockopt(sv[0], levels[i], O_KEEPALIVE, &value, (socklen_t)-1), EINVAL);
		FAILS(getsockopt(sv[0], levels[i], O_KEEPALIVE, &value, &len), EOPNOTSUPP);
	}
}

CASE_ON_TYPES(opt_kind_of_socket, 0)
{
	static const int options[] = {O_TYPE, O_PROTOCOL, O_DOMAIN, O_ERROR, O_ACCEPTCONN};

	EQ(get_int_option(sv[0], O_TYPE), type);
	EQ(get_int_option(sv[0], O_DOMAIN), AF_UNIX);
	EQ(get_int_option(sv[0], O_PROTOCOL), 0);
	EQ(get_int_option(sv[0], O_ACCEPTCONN), 0);
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		expect_lengths(sv[0], options[i], sizeof(int));
}

CASE(opt_type_of_raw, 0)
{
	int fd = OK(socket(AF_UNIX, SOCK_RAW, 0));

	EQ(get_int_option(fd, O_TYPE), SOCK_DGRAM);
	OK(close(fd));
}

CASE(opt_acceptconn_of_packets, 0)
{
	struct name a = abstract_name("a");
	int l = bound_to(SOCK_SEQPACKET, &a);

	EQ(get_int_option(l, O_ACCEPTCONN), 0);
	OK(listen(l, 1));
	EQ(get_int_option(l, O_ACCEPTCONN), 1);
	OK(shutdown(l, SHUT_RDWR));
	EQ(get_int_option(l, O_ACCEPTCONN), 1);
	OK(close(l));
}

CASE(opt_error_is_read_once, 0)
{
	int sv[2];

	unix_pair(SOCK_SEQPACKET, sv);
	put(sv[0], "unread");
	OK(close(sv[1]));
	READY(sv[0], POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
	EQ(get_int_option(sv[0], O_ERROR), ECONNRESET);
	EQ(get_int_option(sv[0], O_ERROR), 0);
	READY(sv[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
	OK(close(sv[0]));
}

CASE_ON_TYPES(opt_buffer_sizes, 0)
{
	static const struct {
		int value, sndbuf, rcvbuf;
	} table[] = {{0, 4608, 2304},	 {1, 4608, 2304},    {1152, 4608, 2304},   {1153, 4608, 2306},
		     {2304, 4608, 4608}, {2305, 4610, 4610}, {5000, 10000, 10000}, {131072, 262144, 262144}};

	(void)type;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		set_int_option(sv[0], O_SNDBUF, table[i].value);
		set_int_option(sv[0], O_RCVBUF, table[i].value);
		EQ(get_int_option(sv[0], O_SNDBUF), table[i].sndbuf);
		EQ(get_int_option(sv[0], O_RCVBUF), table[i].rcvbuf);
	}
	/* Negative ones are as much as is allowed. */
	set_int_option(sv[0], O_SNDBUF, INT_MAX);
	set_int_option(sv[0], O_RCVBUF, INT_MAX);
	int snd = get_int_option(sv[0], O_SNDBUF), rcv = get_int_option(sv[0], O_RCVBUF);
	TRUE(snd > 200000 && rcv > 200000);
	set_int_option(sv[0], O_SNDBUF, 0);
	set_int_option(sv[0], O_RCVBUF, 0);
	set_int_option(sv[0], O_SNDBUF, -1);
	set_int_option(sv[0], O_RCVBUF, INT_MIN);
	EQ(get_int_option(sv[0], O_SNDBUF), snd);
	EQ(get_int_option(sv[0], O_RCVBUF), rcv);
	expect_lengths(sv[0], O_SNDBUF, sizeof(int));
	expect_lengths(sv[0], O_RCVBUF, sizeof(int));
	expect_bad_values(sv[0], O_SNDBUF);
	expect_bad_values(sv[0], O_RCVBUF);
}

CASE_ON_TYPES(opt_buffer_sizes_by_force, 0)
{
	(void)type;
	need_privilege();
	static const struct {
		int value, sndbuf, rcvbuf;
	} table[] = {
		{20000000, 40000000, 40000000}, {1000, 4608, 2304}, {-1, 4608, 2304}, {INT_MIN, 4608, 2304}};
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		EQ(set(sv[0], O_SNDBUFFORCE, table[i].value), 0);
		EQ(set(sv[0], O_RCVBUFFORCE, table[i].value), 0);
		EQ(get_int_option(sv[0], O_SNDBUF), table[i].sndbuf);
		EQ(get_int_option(sv[0], O_RCVBUF), table[i].rcvbuf);
	}
	expect_bad_values(sv[0], O_SNDBUFFORCE);
}

/* What needs a privilege, asked without one. */
static void refuse_privileged(int fd)
{
	FAILS(set(fd, O_DEBUG, 1), EACCES);
	EQ(set(fd, O_DEBUG, 0), 0);
	FAILS(set(fd, O_SNDBUFFORCE, 5000), EPERM);
	FAILS(set(fd, O_RCVBUFFORCE, 5000), EPERM);
	FAILS(set(fd, O_MARK, 1), EPERM);
	FAILS(set(fd, O_MARK, 0), EPERM);
	FAILS(set(fd, O_PRIORITY, 7), EPERM);
	FAILS(set(fd, O_PRIORITY, -1), EPERM);
	for (int value = 0; value <= 6; value++)
		EQ(set(fd, O_PRIORITY, value), 0);
	EQ(set(fd, O_PRIORITY, 0), 0);
	/* Of the three about busy polling the first is free. */
	EQ(set(fd, O_BUSY_POLL, 50), 0);
	EQ(get_int_option(fd, O_BUSY_POLL), 50);
	EQ(set(fd, O_BUSY_POLL, 0), 0);
	FAILS(set(fd, O_PREFER_BUSY_POLL, 1), EPERM);
	EQ(set(fd, O_PREFER_BUSY_POLL, 0), 0);
	FAILS(set(fd, O_BUSY_POLL_BUDGET, 100), EPERM);
	EQ(set(fd, O_BUSY_POLL_BUDGET, 0), 0);
}

CASE_ON_TYPES(opt_privileged_without_privilege, 0)
{
	(void)type;
	without_privilege(refuse_privileged, sv[0]);
}

static void refuse_privileged_child(void *arg)
{
	refuse_privileged(*(int *)arg);
}

CASE_ON_TYPES(opt_privileged_as_nobody, NEEDS_PROCESSES)
{
	(void)type;
	as_nobody(refuse_privileged_child, &sv[0]);
}

CASE_ON_TYPES(opt_privileged_as_root, 0)
{
	static const struct {
		int option, value, stored;
	} table[] = {
		{O_DEBUG, 5, 1},
		{O_DEBUG, 0, 0},
		{O_MARK, 77, 77},
		{O_MARK, -1, -1},
		{O_MARK, 0, 0},
		{O_PRIORITY, 7, 7},
		{O_PRIORITY, 70000, 70000},
		{O_PRIORITY, -1, -1},
		{O_BUSY_POLL, 50, 50},
		{O_BUSY_POLL, 0, 0},
		{O_PREFER_BUSY_POLL, 1, 1},
		{O_PREFER_BUSY_POLL, 0, 0},
	};

	(void)type;
	need_privilege();
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		EQ(set(sv[0], table[i].option, table[i].value), 0);
		EQ(get_int_option(sv[0], table[i].option), table[i].stored);
	}
	EQ(set(sv[0], O_BUSY_POLL_BUDGET, 100), 0);
	FAILS(set(sv[0], O_BUSY_POLL_BUDGET, -1), EINVAL);
	FAILS(set(sv[0], O_BUSY_POLL_BUDGET, 65536), EINVAL);
}

CASE_ON_TYPES(opt_int_values, 0)
{
	static const struct {
		int option, usual, value, stored;
	} table[] = {
		{O_DEBUG, 0, 0, 0},
		{O_PRIORITY, 0, 6, 6},
		{O_MARK, 0, -7, -7},
		{O_BSDCOMPAT, 0, 1, 0},
		{O_RCVLOWAT, 1, 0, 1},
		{O_RCVLOWAT, 1, 500, 500},
		{O_RCVLOWAT, 500, -1, INT_MAX},
		{O_PEEK_OFF, -1, 12, 12},
		{O_PEEK_OFF, 12, -9, -9},
		{O_INCOMING_CPU, -1, 1, 1},
		{O_INCOMING_CPU, 1, 9999, 9999},
		{O_BUSY_POLL, 0, 0, 0},
		{O_PREFER_BUSY_POLL, 0, 0, 0},
		{O_BUF_LOCK, 0, 3, 3},
		{O_BUF_LOCK, 3, 0, 0},
		{O_LOCK_FILTER, 0, 0, 0},
		{O_REUSEPORT, 0, 0, 0},
	};
	int fd = unix_socket(type);

	(void)sv;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		EQ(get_int_option(fd, table[i].option), table[i].usual);
		if (table[i].option == O_MARK && geteuid() != 0)
			continue;
		EQ(set(fd, table[i].option, table[i].value), 0);
		EQ(get_int_option(fd, table[i].option), table[i].stored);
		expect_lengths(fd, table[i].option, sizeof(int));
		expect_bad_values(fd, table[i].option);
	}
	OK(close(fd));
}

CASE_ON_TYPES(opt_constant_values, 0)
{
	static const struct {
		int option, value;
	} table[] = {{O_SNDLOWAT, 1},	 {O_BPF_EXTENSIONS, 64}, {O_INCOMING_NAPI_ID, 0}, {O_ZEROCOPY, 0},
		     {O_RESERVE_MEM, 0}, {O_ERROR, 0},		 {O_BINDTOIFINDEX, 0}};

	(void)type;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		EQ(get_int_option(sv[0], table[i].option), table[i].value);
		expect_lengths(sv[0], table[i].option, sizeof(int));
	}
}

CASE_ON_TYPES(opt_refused_values, 0)
{
	static const struct {
		int option, value, error;
	} table[] = {
		{O_REUSEPORT, 1, EOPNOTSUPP},
		{O_REUSEPORT, -1, EOPNOTSUPP},
		{O_ZEROCOPY, 1, EOPNOTSUPP},
		{O_ZEROCOPY, 0, EOPNOTSUPP},
		{O_RESERVE_MEM, 0, EOPNOTSUPP},
		{O_RESERVE_MEM, 4096, EOPNOTSUPP},
		{O_RESERVE_MEM, -1, EINVAL},
		{O_TXREHASH, 0, EOPNOTSUPP},
		{O_TXREHASH, 1, EOPNOTSUPP},
		{O_BUF_LOCK, 4, EINVAL},
		{O_BUF_LOCK, -1, EINVAL},
		{O_BUSY_POLL, -1, EINVAL},
		{O_ATTACH_REUSEPORT_CBPF, 0, EINVAL},
		{O_ATTACH_REUSEPORT_EBPF, 0, EINVAL},
		{O_DETACH_REUSEPORT_BPF, 0, EINVAL},
		{O_ATTACH_BPF, -1, EBADF},
		{O_DEVMEM_DONTNEED, 0, EBADF},
		{O_DETACH_FILTER, 0, ENOENT},
		{O_TXTIME, 0, EINVAL},
	};

	(void)type;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		FAILS(set(sv[0], table[i].option, table[i].value), table[i].error);
	FAILS(get(sv[0], O_TXREHASH), EOPNOTSUPP);
	/* Accepted, and forgotten. */
	EQ(set(sv[0], O_CNX_ADVICE, 1), 0);
	EQ(set(sv[0], O_BSDCOMPAT, 1), 0);
}
