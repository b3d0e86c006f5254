/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Options whose values lie in the endpoint page, each with the kernel's rule of what
 * may be set and what is read back.
 */
#include "library/option.h"

#include "base/cause.h"
#include "base/clock.h"
#include "base/copy.h"
#include "base/sys.h"

#include <limits.h>

#define SNDBUF_MIN 4608u
#define RCVBUF_MIN 2304u

static void keep(struct afu_sock *s, const struct afu_given *g, int value)
{
	/* modulo 2^32: any value comes back whole */
	s->ep->option[g->name] = (int32_t)((uint32_t)value - (uint32_t)g->start);
}

int afu_option_set_flag(struct afu_sock *s, const struct afu_given *g)
{
	keep(s, g, g->number != 0);
	return 0;
}

int afu_option_set_number(struct afu_sock *s, const struct afu_given *g)
{
	keep(s, g, g->number);
	return 0;
}

int afu_option_set_nothing(struct afu_sock *s, const struct afu_given *g)
{
	return 0;
}

int afu_option_get_number(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->number = (int)((uint32_t)s->ep->option[a->name] + (uint32_t)a->start);
	return sizeof v->number;
}

int afu_option_set_pass(struct afu_sock *s, const struct afu_given *g)
{
	keep(s, g, g->number != 0);
	afu_sock_options_changed(s);
	return 0;
}

/* The one that wants exactly an int. */
int afu_option_set_inq(struct afu_sock *s, const struct afu_given *g)
{
	int value;

	if (g->len != sizeof value)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	if (afu_copy(&value, g->user, sizeof value))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	if (value < 0 || value > 1)
		return afu_refuse(AFU_CAUSE_OPTION_VALUE);
	keep(s, g, value);
	return 0;
}

int afu_option_set_debug(struct afu_sock *s, const struct afu_given *g)
{
	return g->number ? afu_option_set_scratch(s, g) : afu_option_set_flag(s, g);
}

int afu_option_set_priority(struct afu_sock *s, const struct afu_given *g)
{
	if (g->number < 0 || g->number > 6)
		return afu_option_set_scratch(s, g);
	return afu_option_set_number(s, g);
}

int afu_option_set_busy_poll(struct afu_sock *s, const struct afu_given *g)
{
	return g->number < 0 ? afu_refuse(AFU_CAUSE_OPTION_VALUE) : afu_option_set_number(s, g);
}

/* Raising it needs a capability, which only the kernel can judge; it can't be read back. */
int afu_option_set_budget(struct afu_sock *s, const struct afu_given *g)
{
	if (g->number > s->ep->option[g->name]) {
		int err = afu_option_set_scratch(s, g);

		if (err)
			return err;
	}
	if (g->number < 0 || g->number > UINT16_MAX)
		return afu_refuse(AFU_CAUSE_OPTION_VALUE);
	return afu_option_set_number(s, g);
}

int afu_option_set_reuseport(struct afu_sock *s, const struct afu_given *g)
{
	return g->number ? afu_refuse(AFU_CAUSE_OPTION_NEVER) : 0;
}

int afu_option_set_peek(struct afu_sock *s, const struct afu_given *g)
{
	atomic_store(&s->ep->peek_off, g->number);
	return 0;
}

int afu_option_get_peek(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->number = atomic_load(&s->ep->peek_off);
	return sizeof v->number;
}

/* Sizes of buffers. */

/*
 * The system's limit, as the kernel applies it to a socket.  What is within the limit
 * that was seen last is not asked again; one that was lowered since is noticed by
 * processes that start later.
 */
static int capped(struct afu_sock *s, const struct afu_given *g, uint32_t *to)
{
	static _Atomic uint32_t limits[2];
	_Atomic uint32_t *limit = &limits[g->name == SO_RCVBUF];
	uint32_t want = (uint32_t)g->number;

	if (want > atomic_load_explicit(limit, memory_order_relaxed)) { /* relaxed: a number on its own */
		int size = afu_option_size_by_kernel(s, g->name, INT_MAX);

		if (size < 0)
			return size;
		atomic_store_explicit(limit, (uint32_t)size / 2, memory_order_relaxed);
		if (want > (uint32_t)size / 2)
			want = (uint32_t)size / 2;
	}
	*to = want;
	return 0;
}

int afu_option_set_buffer(struct afu_sock *s, const struct afu_given *g)
{
	uint32_t size;
	int err = capped(s, g, &size);

	if (err)
		return err;
	size *= 2;
	if (g->name == SO_RCVBUF) {
		s->ep->option[SO_RCVBUF] = (int32_t)(size < RCVBUF_MIN ? RCVBUF_MIN : size);
		s->ep->option[SO_BUF_LOCK] |= AFU_RCVBUF_LOCK;
		return 0;
	}
	s->ep->sndbuf = size < SNDBUF_MIN ? SNDBUF_MIN : size;
	s->ep->option[SO_BUF_LOCK] |= AFU_SNDBUF_LOCK;
	afu_sock_resized(s);
	return 0;
}

int afu_option_get_sndbuf(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->number = (int)s->ep->sndbuf;
	return sizeof v->number;
}

int afu_option_set_buf_lock(struct afu_sock *s, const struct afu_given *g)
{
	if (g->number & ~(AFU_SNDBUF_LOCK | AFU_RCVBUF_LOCK))
		return afu_refuse(AFU_CAUSE_OPTION_VALUE);
	return afu_option_set_number(s, g);
}

int afu_option_set_lowat(struct afu_sock *s, const struct afu_given *g)
{
	s->ep->rcvlowat = g->number < 0 ? INT_MAX : g->number ? (uint32_t)g->number : 1;
	return 0;
}

int afu_option_get_lowat(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->number = (int)s->ep->rcvlowat;
	return sizeof v->number;
}

int afu_option_get_meminfo(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	enum { RCVBUF = 1, WMEM, SNDBUF, OPTMEM = 6 };

	v->meminfo[RCVBUF] = (uint32_t)s->ep->option[SO_RCVBUF];
	v->meminfo[WMEM] = (uint32_t)afu_sock_unsent(s);
	v->meminfo[SNDBUF] = s->ep->sndbuf;
	v->meminfo[OPTMEM] = s->ep->opt.filter_memory;
	return sizeof v->meminfo;
}

/* 32 bits may be given and asked for as well as 64; all ones means no limit in both. */
int afu_option_set_pacing(struct afu_sock *s, const struct afu_given *g)
{
	uint64_t rate = g->number == -1 ? UINT64_MAX : (uint32_t)g->number;

	if (g->len >= sizeof rate && afu_copy(&rate, g->user, sizeof rate))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	s->ep->opt.pacing = ~rate;
	return 0;
}

int afu_option_get_pacing(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	uint64_t rate = ~s->ep->opt.pacing;

	if (a->room >= sizeof v->wide) {
		v->wide = rate;
		return sizeof v->wide;
	}
	v->number = (int)(rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate);
	return sizeof v->number;
}

/* Times. */

/* Timer ticks per second; the kernel counts in them. */
static int64_t ticks(void)
{
	static _Atomic int64_t hz;
	int64_t value = atomic_load_explicit(&hz, memory_order_relaxed); /* relaxed: a number on its own */
	struct timespec tick = {0, 4000000};

	if (value)
		return value;
	afu_sys(SYS_clock_getres, CLOCK_MONOTONIC_COARSE, &tick);
	value = tick.tv_nsec > 0 ? (1000000000 + tick.tv_nsec / 2) / tick.tv_nsec : 250;
	atomic_store_explicit(&hz, value, memory_order_relaxed);
	return value;
}

static int is_send(int name)
{
	return name == SO_SNDTIMEO || name == SO_SNDTIMEO_NEW;
}

static void keep_timeout(struct afu_sock *s, int send, int64_t seconds, int64_t microseconds, int64_t ns)
{
	s->ep->opt.timeout[send].seconds = seconds;
	s->ep->opt.timeout[send].microseconds = microseconds;
	*(send ? &s->ep->sndtimeo_ns : &s->ep->rcvtimeo_ns) = ns;
}

/* Rounded up to ticks; no time means for ever, and a negative time not at all. */
int afu_option_set_timeout(struct afu_sock *s, const struct afu_given *g)
{
	int send = is_send(g->name);
	int64_t hz = ticks(), n;
	struct timeval t;

	if (g->len < sizeof t)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	if (afu_copy(&t, g->user, sizeof t))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	if (t.tv_usec < 0 || t.tv_usec >= 1000000)
		return afu_refuse(AFU_CAUSE_OPTION_DOMAIN);
	if (t.tv_sec < 0) {
		keep_timeout(s, send, 0, 0, 0);
	} else if ((!t.tv_sec && !t.tv_usec) || t.tv_sec >= INT64_MAX / hz - 1) {
		keep_timeout(s, send, 0, 0, AFU_NEVER);
	} else {
		n = t.tv_sec * hz + (t.tv_usec * hz + 999999) / 1000000;
		/* what is longer than the clock can show is for ever, but reads as it was set */
		keep_timeout(s, send, n / hz, n % hz * 1000000 / hz,
			     t.tv_sec > INT64_MAX / 2000000000
				     ? AFU_NEVER
				     : n / hz * 1000000000 + n % hz * 1000000000 / hz);
	}
	return 0;
}

struct timeval afu_option_timeout(const struct afu_sock *s, int which)
{
	return (struct timeval){s->ep->opt.timeout[which].seconds, s->ep->opt.timeout[which].microseconds};
}

int afu_option_get_timeout(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->time = afu_option_timeout(s, is_send(a->name));
	return sizeof v->time;
}

/* The time is kept while it is off; one that the kernel could not count in ticks is its longest. */
int afu_option_set_linger(struct afu_sock *s, const struct afu_given *g)
{
	int64_t hz = ticks();
	struct linger l;

	if (g->len < sizeof l)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	if (afu_copy(&l, g->user, sizeof l))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	if (l.l_onoff)
		s->ep->opt.linger = l.l_linger < 0 ? (int32_t)(INT64_MAX / hz) : l.l_linger;
	s->ep->option[SO_LINGER] = l.l_onoff != 0;
	return 0;
}

int afu_option_get_linger(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->linger.l_onoff = s->ep->option[SO_LINGER];
	v->linger.l_linger = s->ep->opt.linger;
	return sizeof v->linger;
}

static const struct stamp {
	int name;
	uint32_t bits;
} stamps[] = {
	{SO_TIMESTAMP, AFU_STAMP_ON},
	{SO_TIMESTAMPNS, AFU_STAMP_ON | AFU_STAMP_NS},
	{SO_TIMESTAMP_NEW, AFU_STAMP_ON | AFU_STAMP_NEW},
	{SO_TIMESTAMPNS_NEW, AFU_STAMP_ON | AFU_STAMP_NS | AFU_STAMP_NEW},
};

static uint32_t stamp_bits(int name)
{
	for (size_t i = 0; i < sizeof stamps / sizeof stamps[0]; i++) {
		if (stamps[i].name == name)
			return stamps[i].bits;
	}
	return 0;
}

/* Four names for one setting: the latest counts, and any of them switches it off. */
int afu_option_set_stamp(struct afu_sock *s, const struct afu_given *g)
{
	if (g->number)
		atomic_store(&s->ep->opt.stamps, stamp_bits(g->name));
	else
		atomic_fetch_and(&s->ep->opt.stamps, (uint32_t)AFU_STAMP_NEW);
	afu_sock_options_changed(s);
	return 0;
}

int afu_option_get_stamp(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	uint32_t now = atomic_load(&s->ep->opt.stamps), bits = stamp_bits(a->name);

	/* of the new names, the plain one shows both */
	if (a->name == SO_TIMESTAMP_NEW)
		now &= ~(uint32_t)AFU_STAMP_NS;
	v->number = now == bits;
	return sizeof v->number;
}

/* The new name shows nothing while the old one counts; the old one always. */
int afu_option_get_timestamping(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	if (a->name == SO_TIMESTAMPING || (atomic_load(&s->ep->opt.stamps) & AFU_STAMP_NEW)) {
		v->pair[0] = s->ep->opt.timestamping[0];
		v->pair[1] = s->ep->opt.timestamping[1];
	}
	return sizeof v->pair;
}

int afu_option_get_txtime(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->pair[0] = s->ep->opt.txtime[0];
	v->pair[1] = s->ep->opt.txtime[1];
	return sizeof v->pair;
}

/* What a socket is. */

int afu_option_get_type(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->number = s->type;
	return sizeof v->number;
}

int afu_option_get_error(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->number = afu_sock_take_error(s);
	return sizeof v->number;
}

int afu_option_get_listening(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	v->number = s->state == AFU_LISTENING;
	return sizeof v->number;
}

int afu_option_get_cookie(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	if (a->room < sizeof v->wide)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	v->wide = s->id;
	return sizeof v->wide;
}
