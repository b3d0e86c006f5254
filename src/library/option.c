/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * getsockopt() and setsockopt(): the table of SOL_SOCKET, and the checks that come
 * before any option's own.
 */
#include "library/option.h"

#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/copy.h"
#include "base/sys.h"
#include "library/domain.h"
#include "library/table.h"
#include "library/view.h"

#include <linux/filter.h>

enum {
	RAW = 1,    /* set: takes any length, and looks at the value itself */
	STREAM = 2, /* set: of streams only; of the others it is unknown */
	KEPT = 4,   /* a number in the page that a kernel socket takes as it is */
};

/*
 * What can't be set or got is unknown in that direction.  A number is kept as the
 * difference from what a fresh socket shows: the page is born zeroed.
 */
static const struct option {
	afu_option_setter *set;
	afu_option_getter *get;
	afu_option_asker *ask;
	int start, traits;
} options[AFU_OPTIONS] = {
#define FLAG                                                                                                 \
	{                                                                                                    \
		afu_option_set_flag, afu_option_get_number, NULL, 0, KEPT                                    \
	}
#define CONSTANT(value)                                                                                      \
	{                                                                                                    \
		NULL, afu_option_get_number, NULL, (value), 0                                                \
	}
	[SO_DEBUG] = {afu_option_set_debug, afu_option_get_number, NULL, 0, KEPT},
	[SO_REUSEADDR] = FLAG,
	[SO_TYPE] = {NULL, afu_option_get_type, NULL, 0, 0},
	[SO_ERROR] = {NULL, afu_option_get_error, NULL, 0, 0},
	[SO_DONTROUTE] = FLAG,
	[SO_BROADCAST] = FLAG,
	[SO_SNDBUF] = {afu_option_set_buffer, afu_option_get_sndbuf, NULL, 0, 0},
	[SO_RCVBUF] = {afu_option_set_buffer, afu_option_get_number, NULL, 0, 0},
	[SO_KEEPALIVE] = FLAG,
	[SO_OOBINLINE] = FLAG,
	[SO_NO_CHECK] = FLAG,
	[SO_PRIORITY] = {afu_option_set_priority, afu_option_get_number, NULL, 0, KEPT},
	[SO_LINGER] = {afu_option_set_linger, afu_option_get_linger, NULL, 0, 0},
	[SO_BSDCOMPAT] = {afu_option_set_nothing, afu_option_get_number, NULL, 0, 0},
	[SO_REUSEPORT] = {afu_option_set_reuseport, afu_option_get_number, NULL, 0, 0},
	[SO_PASSCRED] = {afu_option_set_pass, afu_option_get_number, NULL, 0, KEPT},
	[SO_PEERCRED] = {NULL, NULL, afu_option_peercred, 0, 0},
	[SO_RCVLOWAT] = {afu_option_set_lowat, afu_option_get_lowat, NULL, 0, 0},
	[SO_SNDLOWAT] = CONSTANT(1),
	[SO_RCVTIMEO] = {afu_option_set_timeout, afu_option_get_timeout, NULL, 0, 0},
	[SO_SNDTIMEO] = {afu_option_set_timeout, afu_option_get_timeout, NULL, 0, 0},
	[SO_BINDTODEVICE] = {afu_option_set_scratch, afu_option_get_scratch, NULL, 0, RAW},
	[SO_ATTACH_FILTER] = {afu_option_attach_filter, afu_option_get_filter, NULL, 0, 0},
	[SO_DETACH_FILTER] = {afu_option_detach_filter, NULL, NULL, 0, 0},
	[SO_PEERNAME] = {NULL, NULL, afu_option_peername, 0, 0},
	[SO_TIMESTAMP] = {afu_option_set_stamp, afu_option_get_stamp, NULL, 0, 0},
	[SO_ACCEPTCONN] = {NULL, afu_option_get_listening, NULL, 0, 0},
	[SO_PEERSEC] = {NULL, NULL, afu_option_peersec, 0, 0},
	[SO_SNDBUFFORCE] = {afu_option_set_scratch, NULL, NULL, 0, 0},
	[SO_RCVBUFFORCE] = {afu_option_set_scratch, NULL, NULL, 0, 0},
	[SO_PASSSEC] = {afu_option_set_pass, afu_option_get_number, NULL, 0, KEPT},
	[SO_TIMESTAMPNS] = {afu_option_set_stamp, afu_option_get_stamp, NULL, 0, 0},
	[SO_MARK] = {afu_option_set_scratch, afu_option_get_number, NULL, 0, KEPT},
	[SO_TIMESTAMPING] = {afu_option_set_scratch, afu_option_get_timestamping, NULL, 0, 0},
	[SO_PROTOCOL] = CONSTANT(0),
	[SO_DOMAIN] = CONSTANT(AF_UNIX),
	[SO_RXQ_OVFL] = FLAG,
	[SO_WIFI_STATUS] = FLAG,
	[SO_PEEK_OFF] = {afu_option_set_peek, afu_option_get_peek, NULL, 0, 0},
	[SO_NOFCS] = FLAG,
	[SO_LOCK_FILTER] = {afu_option_lock_filter, afu_option_get_number, NULL, 0, 0},
	[SO_SELECT_ERR_QUEUE] = FLAG,
	[SO_BUSY_POLL] = {afu_option_set_busy_poll, afu_option_get_number, NULL, 0, KEPT},
	[SO_MAX_PACING_RATE] = {afu_option_set_pacing, afu_option_get_pacing, NULL, 0, 0},
	[SO_BPF_EXTENSIONS] = CONSTANT(SKF_AD_MAX),
	[SO_INCOMING_CPU] = {afu_option_set_number, afu_option_get_number, NULL, -1, KEPT},
	[SO_ATTACH_BPF] = {afu_option_attach_bpf, NULL, NULL, 0, 0},
	[SO_ATTACH_REUSEPORT_CBPF] = {afu_option_set_scratch, NULL, NULL, 0, 0},
	[SO_ATTACH_REUSEPORT_EBPF] = {afu_option_set_scratch, NULL, NULL, 0, 0},
	[SO_CNX_ADVICE] = {afu_option_set_nothing, NULL, NULL, 0, 0},
	[SO_MEMINFO] = {NULL, afu_option_get_meminfo, NULL, 0, 0},
	[SO_INCOMING_NAPI_ID] = CONSTANT(0),
	[SO_COOKIE] = {NULL, afu_option_get_cookie, NULL, 0, 0},
	[SO_PEERGROUPS] = {NULL, NULL, afu_option_peergroups, 0, 0},
	[SO_ZEROCOPY] = {afu_option_set_scratch, afu_option_get_number, NULL, 0, 0},
	[SO_TXTIME] = {afu_option_set_scratch, afu_option_get_txtime, NULL, 0, 0},
	[SO_BINDTOIFINDEX] = {afu_option_set_scratch, afu_option_get_number, NULL, 0, KEPT},
	[SO_TIMESTAMP_NEW] = {afu_option_set_stamp, afu_option_get_stamp, NULL, 0, 0},
	[SO_TIMESTAMPNS_NEW] = {afu_option_set_stamp, afu_option_get_stamp, NULL, 0, 0},
	[SO_TIMESTAMPING_NEW] = {afu_option_set_scratch, afu_option_get_timestamping, NULL, 0, 0},
	[SO_RCVTIMEO_NEW] = {afu_option_set_timeout, afu_option_get_timeout, NULL, 0, 0},
	[SO_SNDTIMEO_NEW] = {afu_option_set_timeout, afu_option_get_timeout, NULL, 0, 0},
	[SO_DETACH_REUSEPORT_BPF] = {afu_option_set_scratch, NULL, NULL, 0, 0},
	[SO_PREFER_BUSY_POLL] = {afu_option_set_scratch, afu_option_get_number, NULL, 0, KEPT},
	[SO_BUSY_POLL_BUDGET] = {afu_option_set_budget, NULL, NULL, 0, KEPT},
	[SO_NETNS_COOKIE] = {NULL, afu_option_get_scratch, NULL, 0, 0},
	[SO_BUF_LOCK] = {afu_option_set_buf_lock, afu_option_get_number, NULL, 0, 0},
	[SO_RESERVE_MEM] = {afu_option_set_scratch, afu_option_get_number, NULL, 0, 0},
	[SO_TXREHASH] = {afu_option_set_scratch, afu_option_get_scratch, NULL, 0, 0},
	[SO_RCVMARK] = FLAG,
	[SO_PASSPIDFD] = {afu_option_set_pass, afu_option_get_number, NULL, 0, KEPT},
	[SO_PEERPIDFD] = {NULL, NULL, afu_option_peerpidfd, 0, 0},
	[SO_DEVMEM_DONTNEED] = {afu_option_set_scratch, NULL, NULL, 0, 0},
	[SO_RCVPRIORITY] = FLAG,
	[SO_PASSRIGHTS] = {afu_option_set_pass, afu_option_get_number, NULL, 1, KEPT},
	[SO_INQ] = {afu_option_set_inq, NULL, NULL, 0, STREAM | RAW},
#undef FLAG
#undef CONSTANT
};

static const struct option *option_of(int name)
{
	static const struct option unknown;

	return name >= 0 && name < AFU_OPTIONS ? &options[name] : &unknown;
}

static int set(struct afu_sock *s, int name, const void *user, socklen_t len)
{
	const struct option *o = option_of(name);
	struct afu_given g = {.name = name, .start = o->start, .user = user, .len = len};

	if ((o->traits & STREAM) && s->type != SOCK_STREAM)
		o = option_of(-1);
	if (!(o->traits & RAW)) {
		if (len < sizeof g.number)
			return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
		if (afu_copy(&g.number, user, sizeof g.number))
			return afu_refuse(AFU_CAUSE_BAD_POINTER);
	}
	return o->set ? o->set(s, &g) : afu_refuse(AFU_CAUSE_OPTION_UNKNOWN);
}

static int do_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;
	int err;

	if ((int)len < 0)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	if (level != SOL_SOCKET)
		return afu_refuse(AFU_CAUSE_OPTION_LEVEL);
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	err = set(s, name, value, len);
	if (!err && atomic_load(&s->outside))
		afu_sys(SYS_setsockopt, atomic_load(&s->outside) - 1, level, name, value, len);
	afu_view_leave(th);
	return err;
}

int afunix_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return (int)AFU_EITHER(fd, do_setsockopt(fd, level, name, value, len),
			       afu_sys(SYS_setsockopt, fd, level, name, value, len));
}

static int get(int fd, const struct option *o, const struct afu_asked *a, union afu_option_value *v)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;
	int err, size = 0;
	uint64_t id;

	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	id = s->id;
	if (o->get)
		size = o->get(a, s, v);
	afu_view_leave(th);
	if (o->get)
		return size;
	return o->ask ? o->ask(a, id, v) : afu_refuse(AFU_CAUSE_OPTION_UNKNOWN);
}

static int do_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	const struct option *o = option_of(name);
	struct afu_asked a = {name, o->start, value, len, 0};
	union afu_option_value v = {0};
	int size;

	if (level != SOL_SOCKET)
		return afu_refuse(AFU_CAUSE_OPTION_LEVEL);
	if (afu_copy(&a.room, len, sizeof a.room))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	if ((int)a.room < 0)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	size = get(fd, o, &a, &v);
	if (size < 0)
		return size;
	if (size == AFU_OPTION_GIVEN)
		return 0;
	if (a.room > (socklen_t)size)
		a.room = (socklen_t)size;
	if (afu_copy(value, &v, a.room) || afu_copy(len, &a.room, sizeof a.room))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	return 0;
}

int afunix_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	return (int)AFU_EITHER(fd, do_getsockopt(fd, level, name, value, len),
			       afu_sys(SYS_getsockopt, fd, level, name, value, len));
}

static void replay(int fd, int name, const void *value, size_t size)
{
	afu_sys(SYS_setsockopt, fd, SOL_SOCKET, name, value, size);
}

/* The kernel doubles what it is given; a size that it has already stays unlocked. */
static void replay_buffer(int fd, int name, int size)
{
	int half = size / 2, now = 0;
	socklen_t len = sizeof now;

	afu_sys(SYS_getsockopt, fd, SOL_SOCKET, name, &now, &len);
	if (now != size)
		replay(fd, name, &half, sizeof half);
}

static void replay_stamps(int fd, const struct afu_sock *s)
{
	uint32_t stamps = atomic_load(&s->ep->opt.stamps);
	int on = 1, new = (stamps & AFU_STAMP_NEW) != 0;

	if (stamps & AFU_STAMP_NS)
		replay(fd, new ? SO_TIMESTAMPNS_NEW : SO_TIMESTAMPNS, &on, sizeof on);
	else if (stamps & AFU_STAMP_ON)
		replay(fd, new ? SO_TIMESTAMP_NEW : SO_TIMESTAMP, &on, sizeof on);
	if (s->ep->opt.timestamping[0])
		replay(fd, new ? SO_TIMESTAMPING_NEW : SO_TIMESTAMPING, s->ep->opt.timestamping,
		       sizeof s->ep->opt.timestamping);
}

static void replay_inode(int fd, const struct afu_endpoint_options *o)
{
	/* first the owner: the change may take bits of the mode away */
	if (o->owner[0] != (uint32_t)afu_sys(SYS_geteuid) || o->owner[1] != (uint32_t)afu_sys(SYS_getegid))
		afu_sys(SYS_fchown, fd, o->owner[0], o->owner[1]);
	if (o->mode)
		afu_sys(SYS_fchmod, fd, (o->mode ^ 0777) & 07777);
}

void afu_option_replay(const struct afu_sock *s, int fd)
{
	struct timeval receive = afu_option_timeout(s, 0), send = afu_option_timeout(s, 1);
	struct linger linger = {s->ep->option[SO_LINGER], s->ep->opt.linger};
	int lowat = (int)s->ep->rcvlowat, peek = atomic_load(&s->ep->peek_off),
	    lock = s->ep->option[SO_BUF_LOCK];
	uint64_t pacing = ~s->ep->opt.pacing;

	replay_buffer(fd, SO_SNDBUF, (int)s->ep->sndbuf);
	replay_buffer(fd, SO_RCVBUF, s->ep->option[SO_RCVBUF]);
	replay(fd, SO_BUF_LOCK, &lock, sizeof lock);
	replay(fd, SO_RCVLOWAT, &lowat, sizeof lowat);
	replay(fd, SO_PEEK_OFF, &peek, sizeof peek);
	/* 0 as it reads may be "never wait": the kernel calls that a negative time */
	if (s->ep->rcvtimeo_ns == 0)
		receive.tv_sec = -1;
	if (s->ep->sndtimeo_ns == 0)
		send.tv_sec = -1;
	replay(fd, SO_RCVTIMEO, &receive, sizeof receive);
	replay(fd, SO_SNDTIMEO, &send, sizeof send);
	replay(fd, SO_LINGER, &linger, sizeof linger);
	replay_stamps(fd, s);
	if (s->ep->opt.pacing)
		replay(fd, SO_MAX_PACING_RATE, &pacing, sizeof pacing);
	if (s->ep->opt.txtime[1] || s->ep->opt.txtime[0])
		replay(fd, SO_TXTIME, s->ep->opt.txtime, sizeof s->ep->opt.txtime);
	for (int name = 0; name < AFU_OPTIONS; name++) {
		int value = s->ep->option[name] + options[name].start;

		if ((options[name].traits & KEPT) && s->ep->option[name])
			replay(fd, name, &value, sizeof value);
	}
	if (s->type == SOCK_STREAM && s->ep->option[SO_INQ])
		replay(fd, SO_INQ, &s->ep->option[SO_INQ], sizeof(int));
	afu_option_replay_filter(s, fd);
	replay_inode(fd, &s->ep->opt);
}
