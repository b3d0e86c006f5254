/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* SO_TIMESTAMP and SO_TIMESTAMPNS in their old and new forms. */
#include "ancillary.h"

#include <linux/sockios.h>

enum { STAMP = 29, STAMP_NS = 35, STAMPING = 37, STAMP_NEW = 63, STAMP_NS_NEW = 64 };
static const int options[] = {STAMP, STAMP_NS, STAMP_NEW, STAMP_NS_NEW};

static int64_t wall_clock(void)
{
	struct timespec t;

	EQ(clock_gettime(CLOCK_REALTIME, &t), 0);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The time in the item of this type, in nanoseconds; the case fails without one. */
static int64_t stamp_of(const struct received *r, int type)
{
	int64_t value[2];
	const struct cmsghdr *cmsg = (const struct cmsghdr *)(const void *)r->control;

	EQ(r->items, 1);
	EQ(r->types[0], type);
	EQ(cmsg->cmsg_len, CMSG_LEN(sizeof value));
	memcpy(value, CMSG_DATA(cmsg), sizeof value);
	if (type == STAMP || type == STAMP_NEW) {
		TRUE(value[1] >= 0 && value[1] < 1000000);
		return value[0] * 1000000000 + value[1] * 1000;
	}
	TRUE(value[1] >= 0 && value[1] < 1000000000);
	return value[0] * 1000000000 + value[1];
}

/* A plain stamp has lost its nanoseconds. */
#define BETWEEN(t, first, last) TRUE((t) >= (first)-1000 && (t) <= (last))

static const int message_types[] = {SOCK_DGRAM, SOCK_SEQPACKET};

CASE(timestamp_of_a_message, 0)
{
	for (size_t t = 0; t < 2; t++) {
		for (size_t i = 0; i < 4; i++) {
			struct received r;
			int sv[2];
			unix_pair(message_types[t], sv);
			set_int_option(sv[1], options[i], 1);
			int64_t before = wall_clock();
			put(sv[0], "a");
			int64_t after = wall_clock();
			poll(NULL, 0, 2);
			EQ(RECEIVE(sv[1], &r), 1);
			EQ(r.flags, 0);
			/* When it was sent, not when it was read. */
			BETWEEN(stamp_of(&r, options[i]), before, after);
			OK(close(sv[0]));
			OK(close(sv[1]));
		}
	}
}

CASE(timestamp_asked_for_too_late, 0)
{
	for (size_t t = 0; t < 2; t++) {
		for (size_t i = 0; i < 4; i++) {
			struct received r;
			int sv[2];
			unix_pair(message_types[t], sv);
			put(sv[0], "a");
			poll(NULL, 0, 2);
			int64_t before = wall_clock();
			set_int_option(sv[1], options[i], 1);
			EQ(RECEIVE(sv[1], &r), 1);
			/* The time of reading, then. */
			BETWEEN(stamp_of(&r, options[i]), before, wall_clock());
			OK(close(sv[0]));
			OK(close(sv[1]));
		}
	}
}

CASE(timestamp_never_on_streams, 0)
{
	struct received r;
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	for (size_t i = 0; i < 4; i++) {
		set_int_option(sv[1], options[i], 1);
		EQ(get_int_option(sv[1], options[i]), 1);
		put(sv[0], "a");
		EQ(RECEIVE(sv[1], &r), 1);
		EQ(r.items, 0);
		EQ(r.flags, 0);
		put(sv[0], "a");
		EQ(receive(sv[1], &r, 8, 0, 0), 1);
		EQ(r.flags, 0);
	}
	OK(close(sv[0]));
	OK(close(sv[1]));
}

CASE_ON_TYPES(timestamp_options_replace_each_other, 0)
{
	(void)type;
	for (size_t i = 0; i < 4; i++) {
		for (size_t j = 0; j < 4; j++) {
			set_int_option(sv[0], options[i], 1);
			set_int_option(sv[0], options[j], 1);
			/* Nanoseconds in the new form read as both new ones. */
			for (size_t k = 0; k < 4; k++)
				EQ(get_int_option(sv[0], options[k]),
				   k == j || (options[k] == STAMP_NEW && options[j] == STAMP_NS_NEW));
			/* Clearing any of them clears them all. */
			set_int_option(sv[0], options[i], 0);
			for (size_t k = 0; k < 4; k++)
				EQ(get_int_option(sv[0], options[k]), 0);
		}
	}
}

CASE(timestamp_of_the_last_option, 0)
{
	struct received r;

	for (size_t t = 0; t < 2; t++) {
		int sv[2];
		unix_pair(message_types[t], sv);
		for (size_t i = 0; i < 4; i++) {
			/* Also for what was sent under the one before. */
			put(sv[0], "a");
			set_int_option(sv[1], options[i], 1);
			EQ(RECEIVE(sv[1], &r), 1);
			stamp_of(&r, options[i]);
		}
		put(sv[0], "a");
		set_int_option(sv[1], STAMP, 0);
		EQ(RECEIVE(sv[1], &r), 1);
		EQ(r.items, 0);
		EQ(r.flags, 0);
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE(timestamp_cut_to_the_room, 0)
{
	struct received r;

	for (size_t t = 0; t < 2; t++) {
		int sv[2];
		unix_pair(message_types[t], sv);
		set_int_option(sv[1], STAMP, 1);
		for (size_t room = 0; room <= 32; room++) {
			put(sv[0], "a");
			EQ(receive(sv[1], &r, 8, room, 0), 1);
			EQ(r.flags, room < 32 ? MSG_CTRUNC : 0);
			EQ(r.items, room >= 16);
			EQ(r.control_len, room < 16 ? 0 : room);
		}
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE(timestamp_peeked_is_the_same, 0)
{
	struct received r;

	for (size_t t = 0; t < 2; t++) {
		int sv[2];
		unix_pair(message_types[t], sv);
		set_int_option(sv[1], STAMP_NS, 1);
		put(sv[0], "a");
		EQ(receive(sv[1], &r, 8, sizeof r.control, MSG_PEEK), 1);
		int64_t first = stamp_of(&r, STAMP_NS);
		poll(NULL, 0, 2);
		EQ(RECEIVE(sv[1], &r), 1);
		EQ(stamp_of(&r, STAMP_NS), first);
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE(timestamp_not_of_the_sender, 0)
{
	struct received r;

	for (size_t t = 0; t < 2; t++) {
		int sv[2];
		unix_pair(message_types[t], sv);
		set_int_option(sv[0], STAMP, 1);
		put(sv[0], "a");
		EQ(RECEIVE(sv[1], &r), 1);
		EQ(r.items, 0);
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE(timestamp_of_an_empty_message_and_of_the_end, 0)
{
	struct received r;
	int sv[2];

	unix_pair(SOCK_SEQPACKET, sv);
	set_int_option(sv[1], STAMP, 1);
	EQ(send(sv[0], "", 0, 0), 0);
	EQ(RECEIVE(sv[1], &r), 0);
	stamp_of(&r, STAMP);
	/* The end is no message. */
	OK(close(sv[0]));
	EQ(RECEIVE(sv[1], &r), 0);
	EQ(r.items, 0);
	OK(close(sv[1]));
}

CASE(timestamping_alone_brings_nothing, 0)
{
	struct received r;
	/* Software stamps of what is received, and reports of them. */
	int flags = 0x18;

	for (size_t t = 0; t < 2; t++) {
		int sv[2];
		unix_pair(message_types[t], sv);
		OK(setsockopt(sv[1], SOL_SOCKET, STAMPING, &flags, sizeof flags));
		put(sv[0], "a");
		EQ(RECEIVE(sv[1], &r), 1);
		EQ(r.items, 0);
		EQ(r.flags, 0);
		OK(close(sv[0]));
		OK(close(sv[1]));
	}
}

CASE_ON_TYPES(timestamp_by_ioctl, 0)
{
	struct timespec t;

	(void)type;
	set_int_option(sv[1], STAMP, 1);
	put(sv[0], "a");
	FAILS(ioctl(sv[1], SIOCGSTAMP_OLD, &t), ENOTTY);
	FAILS(ioctl(sv[1], SIOCGSTAMPNS_OLD, &t), ENOTTY);
	GETS(sv[1], "a");
}
