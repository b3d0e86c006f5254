/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * getsockopt() and setsockopt(): a table of SOL_SOCKET.
 */
#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/clock.h"
#include "library/domain.h"
#include "library/option.h"
#include "library/table.h"
#include "library/view.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <linux/capability.h>

#define SNDBUF_MIN 4608u
#define RCVBUF_MIN 2304u
#define BUFFER_DEFAULT 212992u
#define TICK_NS 4000000

/* newer than the libc's headers */
#define OPT_PASSPIDFD 76
#define OPT_PEERPIDFD 77
#define OPT_PASSRIGHTS 83

enum kind { NONE, KEEP, FLAG, READ_ONLY };

static const struct {
	enum kind kind;
	int start; /* what a fresh socket shows */
} options[AFU_OPTIONS] = {
	[SO_REUSEADDR] = { FLAG, 0 },  [SO_DONTROUTE] = { FLAG, 0 },     [SO_BROADCAST] = { FLAG, 0 },
	[SO_KEEPALIVE] = { FLAG, 0 },  [SO_NO_CHECK] = { FLAG, 0 },      [SO_OOBINLINE] = { FLAG, 0 },
	[SO_PASSCRED] = { FLAG, 0 },   [OPT_PASSPIDFD] = { FLAG, 0 },    [SO_PASSSEC] = { FLAG, 0 },
	[OPT_PASSRIGHTS] = { FLAG, 1 }, [SO_RXQ_OVFL] = { FLAG, 0 },     [SO_WIFI_STATUS] = { FLAG, 0 },
	[SO_NOFCS] = { FLAG, 0 },      [SO_SELECT_ERR_QUEUE] = { FLAG, 0 }, [SO_TIMESTAMP] = { FLAG, 0 },
	[SO_TIMESTAMPNS] = { FLAG, 0 }, [SO_INCOMING_CPU] = { KEEP, -1 }, [SO_TYPE] = { READ_ONLY, 0 },
	[SO_PROTOCOL] = { READ_ONLY, 0 }, [SO_DOMAIN] = { READ_ONLY, 0 }, [SO_ERROR] = { READ_ONLY, 0 },
	[SO_ACCEPTCONN] = { READ_ONLY, 0 }, [SO_PEERCRED] = { READ_ONLY, 0 }, [SO_SNDLOWAT] = { READ_ONLY, 0 },
};

static int capable(unsigned int cap)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (afu_sys(SYS_capget, &head, data) < 0)
		return 0;
	return (data[cap / 32].effective >> (cap % 32)) & 1;
}

static uint32_t maximum(const char *path)
{
	char text[16];
	long n;
	uint32_t value = 0;
	int fd = (int)afu_sys(SYS_openat, -100, path, 0);

	if (fd < 0)
		return BUFFER_DEFAULT;
	n = afu_sys(SYS_read, fd, text, sizeof text);
	afu_sys_close(fd);
	for (long i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
		value = 10 * value + (uint32_t)(text[i] - '0');
	return value;
}

/* SO_SNDBUF and SO_RCVBUF: capped, doubled, and not below the minimum. */
static uint32_t buffer_size(int value, int force, const char *limit, uint32_t minimum)
{
	uint32_t cap = force ? INT_MAX / 2 : maximum(limit), want = (uint32_t)value;

	if (force)
		want = value < 0 ? 0 : (uint32_t)value;
	if (want > cap)
		want = cap;
	return want * 2 < minimum ? minimum : want * 2;
}

/* A deadline's length from a struct timeval, rounded up to the kernel's tick. */
static int read_timeout(const void *user, socklen_t len, int64_t *to)
{
	struct timeval t;

	if (len < sizeof t)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	if (afu_copy(&t, user, sizeof t))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	if (t.tv_usec < 0 || t.tv_usec >= 1000000)
		return afu_refuse(AFU_CAUSE_OPTION_DOMAIN);
	if (t.tv_sec < 0)
		*to = 0;
	else if ((!t.tv_sec && !t.tv_usec) || t.tv_sec > INT64_MAX / 2000000000)
		*to = AFU_NEVER;
	else
		*to = (t.tv_sec * 1000000000 + t.tv_usec * 1000 + TICK_NS - 1) / TICK_NS * TICK_NS;
	return 0;
}

static int set(struct afu_sock *s, int name, const void *user, socklen_t len)
{
	struct linger linger;
	int value;

	if ((int)len < (int)sizeof value)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	if (afu_copy(&value, user, sizeof value))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	switch (name) {
	case SO_SNDBUFFORCE:
	case SO_RCVBUFFORCE:
		if (!capable(CAP_NET_ADMIN))
			return afu_refuse(AFU_CAUSE_OPTION_PRIVILEGE);
		/* fall through */
	case SO_SNDBUF:
	case SO_RCVBUF:
		if (name == SO_SNDBUF || name == SO_SNDBUFFORCE) {
			s->ep->sndbuf = buffer_size(value, name == SO_SNDBUFFORCE, "/proc/sys/net/core/wmem_max", SNDBUF_MIN);
			afu_sock_resized(s);
		} else {
			s->ep->option[SO_RCVBUF] = (int)buffer_size(value, name == SO_RCVBUFFORCE,
								    "/proc/sys/net/core/rmem_max", RCVBUF_MIN);
		}
		return 0;
	case SO_RCVTIMEO:
		return read_timeout(user, len, &s->ep->rcvtimeo_ns);
	case SO_SNDTIMEO:
		return read_timeout(user, len, &s->ep->sndtimeo_ns);
	case SO_RCVLOWAT:
		s->ep->rcvlowat = value < 0 ? INT_MAX : value ? (uint32_t)value : 1;
		return 0;
	case SO_LINGER:
		if (len < sizeof linger)
			return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
		if (afu_copy(&linger, user, sizeof linger))
			return afu_refuse(AFU_CAUSE_BAD_POINTER);
		s->ep->option[SO_LINGER] = linger.l_onoff ? 1 : 0;
		if (linger.l_onoff)
			s->ep->option[AFU_OPTIONS - 1] = linger.l_linger;
		return 0;
	case SO_DEBUG:
		if (value && !capable(CAP_NET_ADMIN))
			return afu_refuse(AFU_CAUSE_OPTION_DEBUG);
		s->ep->option[name] = value != 0;
		return 0;
	case SO_PRIORITY:
		if ((value < 0 || value > 6) && !capable(CAP_NET_RAW) && !capable(CAP_NET_ADMIN))
			return afu_refuse(AFU_CAUSE_OPTION_PRIVILEGE);
		s->ep->option[name] = value;
		return 0;
	case SO_MARK:
		if (!capable(CAP_NET_RAW) && !capable(CAP_NET_ADMIN))
			return afu_refuse(AFU_CAUSE_OPTION_PRIVILEGE);
		s->ep->option[name] = value;
		return 0;
	case SO_PEEK_OFF:
		atomic_store(&s->ep->peek_off, value);
		return 0;
	case SO_BSDCOMPAT:
		return 0;
	case SO_REUSEPORT:
		return value ? afu_refuse(AFU_CAUSE_OPTION_NEVER) : 0;
	case SO_ZEROCOPY:
		return afu_refuse(AFU_CAUSE_OPTION_NEVER);
	case SO_DETACH_FILTER:
		return afu_refuse(AFU_CAUSE_OPTION_FILTER);
	default:
		if (name < 0 || name >= AFU_OPTIONS || (options[name].kind != FLAG && options[name].kind != KEEP))
			return afu_refuse(AFU_CAUSE_OPTION_UNKNOWN);
		/* kept as the difference from what a fresh socket shows: the page is born zeroed */
		s->ep->option[name] = (options[name].kind == FLAG ? value != 0 : value) - options[name].start;
		return 0;
	}
}

int afunix_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;
	int err;

	if (!afu_fd_ours(fd))
		return (int)afu_return(afu_sys(SYS_setsockopt, fd, level, name, value, len));
	if ((int)len < 0)
		return (int)afu_return(afu_refuse(AFU_CAUSE_OPTION_LENGTH));
	if (level != SOL_SOCKET)
		return (int)afu_return(afu_refuse(AFU_CAUSE_OPTION_LEVEL));
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return (int)afu_return(err ? err : afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR));
	err = set(s, name, value, len);
	afu_view_leave(th);
	return (int)afu_return(err);
}

union value {
	int number;
	struct linger linger;
	struct timeval time;
	struct ucred cred;
	uint64_t wide;
	uint32_t meminfo[9];
	uint8_t address[128];
};

static struct timeval timeout_of(int64_t ns)
{
	if (ns == AFU_NEVER)
		return (struct timeval){ 0, 0 };
	return (struct timeval){ ns / 1000000000, ns % 1000000000 / 1000 };
}

/* What is known in this process.  The size, 0 if the broker has to be asked, or negative errno. */
static int get(struct afu_sock *s, int name, union value *v)
{
	memset(v, 0, sizeof *v);
	switch (name) {
	case SO_TYPE:
		v->number = s->type;
		break;
	case SO_DOMAIN:
		v->number = AF_UNIX;
		break;
	case SO_PROTOCOL:
	case SO_ZEROCOPY:
	case SO_REUSEPORT:
	case SO_BSDCOMPAT:
		break;
	case SO_ERROR:
		v->number = afu_sock_take_error(s);
		break;
	case SO_ACCEPTCONN:
		v->number = s->state == AFU_LISTENING;
		break;
	case SO_SNDBUF:
		v->number = (int)s->ep->sndbuf;
		break;
	case SO_RCVBUF:
		v->number = s->ep->option[name] ? s->ep->option[name] : (int)BUFFER_DEFAULT;
		break;
	case SO_SNDLOWAT:
		v->number = 1;
		break;
	case SO_RCVLOWAT:
		v->number = (int)s->ep->rcvlowat;
		break;
	case SO_PEEK_OFF:
		v->number = atomic_load(&s->ep->peek_off);
		break;
	case SO_DEBUG:
	case SO_PRIORITY:
	case SO_MARK:
		v->number = s->ep->option[name];
		break;
	case SO_BPF_EXTENSIONS:
		v->number = 64;
		break;
	case SO_LINGER:
		v->linger.l_onoff = s->ep->option[name];
		v->linger.l_linger = s->ep->option[AFU_OPTIONS - 1];
		return sizeof v->linger;
	case SO_RCVTIMEO:
		v->time = timeout_of(s->ep->rcvtimeo_ns);
		return sizeof v->time;
	case SO_SNDTIMEO:
		v->time = timeout_of(s->ep->sndtimeo_ns);
		return sizeof v->time;
	case SO_COOKIE:
		v->wide = s->id;
		return sizeof v->wide;
	case SO_MEMINFO:
		v->meminfo[1] = s->ep->option[SO_RCVBUF] ? (uint32_t)s->ep->option[SO_RCVBUF] : BUFFER_DEFAULT;
		v->meminfo[2] = (uint32_t)afu_sock_unsent(s);
		v->meminfo[3] = s->ep->sndbuf;
		return sizeof v->meminfo;
	case SO_PEERCRED:
	case SO_PEERNAME:
		return 0;
	default:
		if (name < 0 || name >= AFU_OPTIONS || (options[name].kind != FLAG && options[name].kind != KEEP))
			return afu_refuse(AFU_CAUSE_OPTION_UNKNOWN);
		v->number = s->ep->option[name] + options[name].start;
		break;
	}
	return sizeof v->number;
}

static int get_peercred(uint64_t id, union value *v)
{
	struct afu_request req = { .op = AFU_OP_PEERCRED, .socket = id };
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return err;
	v->cred.pid = (pid_t)reply.arg[0];
	v->cred.uid = (uid_t)(reply.arg[1] >> 32);
	v->cred.gid = (gid_t)reply.arg[1];
	return sizeof v->cred;
}

/* The size, which the caller's room must not exceed. */
static int get_peername(uint64_t id, union value *v, socklen_t room)
{
	struct afu_request req = { .op = AFU_OP_NAME, .socket = id, .arg = { 1 } };
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return err;
	if (!reply.length) {
		reply.length = sizeof(sa_family_t);
		reply.data[0] = AF_UNIX;
	}
	if (room > reply.length || reply.length > sizeof v->address)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	memcpy(v->address, reply.data, reply.length);
	return (int)reply.length;
}

int afunix_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;
	union value v;
	socklen_t room;
	uint64_t id;
	int err, size;

	if (!afu_fd_ours(fd))
		return (int)afu_return(afu_sys(SYS_getsockopt, fd, level, name, value, len));
	if (level != SOL_SOCKET)
		return (int)afu_return(afu_refuse(AFU_CAUSE_OPTION_LEVEL));
	if (afu_copy(&room, len, sizeof room))
		return (int)afu_return(afu_refuse(AFU_CAUSE_BAD_POINTER));
	if ((int)room < 0)
		return (int)afu_return(afu_refuse(AFU_CAUSE_OPTION_LENGTH));
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return (int)afu_return(err ? err : afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR));
	size = get(s, name, &v);
	id = s->id;
	afu_view_leave(th);
	if (size == 0)
		size = name == SO_PEERCRED ? get_peercred(id, &v) : get_peername(id, &v, room);
	if (size < 0)
		return (int)afu_return(size);
	if (room > (socklen_t)size)
		room = (socklen_t)size;
	if (afu_copy(value, &v, room) || afu_copy(len, &room, sizeof room))
		return (int)afu_return(afu_refuse(AFU_CAUSE_BAD_POINTER));
	return 0;
}

static void replay(int fd, int name, const void *value, size_t size)
{
	afu_sys(SYS_setsockopt, fd, SOL_SOCKET, name, value, size);
}

void afu_option_replay(const struct afu_sock *s, int fd)
{
	struct timeval receive = timeout_of(s->ep->rcvtimeo_ns), send = timeout_of(s->ep->sndtimeo_ns);
	int half = (int)(s->ep->sndbuf / 2), lowat = (int)s->ep->rcvlowat, peek = atomic_load(&s->ep->peek_off);

	/* the kernel doubles what it is given */
	if (s->ep->sndbuf != BUFFER_DEFAULT)
		replay(fd, SO_SNDBUF, &half, sizeof half);
	half = s->ep->option[SO_RCVBUF] / 2;
	if (half)
		replay(fd, SO_RCVBUF, &half, sizeof half);
	if (lowat != 1)
		replay(fd, SO_RCVLOWAT, &lowat, sizeof lowat);
	if (peek != -1)
		replay(fd, SO_PEEK_OFF, &peek, sizeof peek);
	replay(fd, SO_RCVTIMEO, &receive, sizeof receive);
	replay(fd, SO_SNDTIMEO, &send, sizeof send);
	for (int name = 0; name < AFU_OPTIONS; name++) {
		int value = s->ep->option[name] + options[name].start;

		if ((options[name].kind == FLAG || options[name].kind == KEEP) && s->ep->option[name])
			replay(fd, name, &value, sizeof value);
	}
}
