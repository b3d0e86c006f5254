/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Socket filters.  The kernel checks a program, on a socket that lives for the call;
 * what it then shows of it is kept in the endpoint page, and those who send to the
 * socket are told to run it (socket/screen.h).  A stream's filter is never run, in the kernel neither.
 */
#include "library/option.h"

#include "base/cause.h"
#include "base/copy.h"
#include "base/sys.h"
#include "socket/filter.h"

#include <string.h>

/* A kernel socket that has the lock, and a filter if s has one. */
static int scratch(const struct afu_sock *s, int with_filter)
{
	int fd = afu_option_scratch(s);

	if (fd < 0)
		return fd;
	if (with_filter)
		afu_option_replay_filter(s, fd);
	else if (s->ep->option[SO_LOCK_FILTER])
		afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_LOCK_FILTER, &s->ep->option[SO_LOCK_FILTER],
			sizeof(int));
	return fd;
}

static int refusal(long err)
{
	if (err == -EPERM)
		return afu_refuse(AFU_CAUSE_FILTER_LOCKED);
	if (err == -EINVAL)
		return afu_refuse(AFU_CAUSE_FILTER_BAD);
	return afu_option_refusal(err);
}

static uint32_t memory_of(int fd)
{
	uint32_t info[9] = {0};
	socklen_t len = sizeof info;

	afu_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_MEMINFO, info, &len);
	return info[6];
}

static void change(struct afu_sock *s, const struct sock_filter *prog, unsigned int n)
{
	afu_filter_put(&s->ep->opt.filter, prog, n);
	afu_sock_options_changed(s);
}

/* Takes over what the kernel socket shows: the very program that was checked. */
static int keep(struct afu_sock *s, int fd)
{
	struct sock_filter prog[AFU_FILTER_ROOM];
	socklen_t n = 0; /* this option's lengths are instructions */
	long err = afu_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n);

	if (!err && n > AFU_FILTER_ROOM)
		return afu_refuse(AFU_CAUSE_FILTER_LONG);
	if (!err)
		err = afu_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_GET_FILTER, prog, &n);
	if (err)
		return refusal(err);
	change(s, prog, n);
	s->ep->option[SO_ATTACH_BPF] = 0;
	s->ep->opt.filter_memory = memory_of(fd);
	return 0;
}

int afu_option_attach_filter(struct afu_sock *s, const struct afu_given *g)
{
	int fd = scratch(s, 0), err;

	if (fd < 0)
		return fd;
	err = refusal(afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_ATTACH_FILTER, g->user, g->len));
	if (!err)
		err = keep(s, fd);
	afu_sys_close(fd);
	return err;
}

int afu_option_attach_bpf(struct afu_sock *s, const struct afu_given *g)
{
	int fd = scratch(s, 0), err;

	if (fd < 0)
		return fd;
	err = refusal(afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_ATTACH_BPF, g->user, g->len));
	/* a filter that was asked for and does not filter would be worse than none */
	if (!err && s->type != SOCK_STREAM)
		err = afu_refuse(AFU_CAUSE_FILTER_EXTENDED);
	if (!err) {
		change(s, NULL, 0);
		s->ep->option[SO_ATTACH_BPF] = 1;
		s->ep->opt.filter_memory = memory_of(fd);
	}
	afu_sys_close(fd);
	return err;
}

int afu_option_detach_filter(struct afu_sock *s, const struct afu_given *g)
{
	if (s->ep->option[SO_LOCK_FILTER])
		return afu_refuse(AFU_CAUSE_FILTER_LOCKED);
	if (!s->ep->option[SO_ATTACH_BPF] && !atomic_load(&s->ep->opt.filter.length))
		return afu_refuse(AFU_CAUSE_OPTION_FILTER);
	change(s, NULL, 0);
	s->ep->option[SO_ATTACH_BPF] = 0;
	s->ep->opt.filter_memory = 0;
	return 0;
}

int afu_option_lock_filter(struct afu_sock *s, const struct afu_given *g)
{
	if (s->ep->option[SO_LOCK_FILTER] && !g->number)
		return afu_refuse(AFU_CAUSE_FILTER_LOCKED);
	return afu_option_set_flag(s, g);
}

int afu_option_get_filter(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	int fd;
	long err;

	if (s->ep->option[SO_ATTACH_BPF])
		return afu_refuse_as(AFU_CAUSE_FILTER_EXTENDED, EACCES, NULL);
	fd = scratch(s, 1);
	if (fd < 0)
		return fd;
	err = afu_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_GET_FILTER, a->user, a->user_len);
	afu_sys_close(fd);
	return err ? refusal(err) : AFU_OPTION_GIVEN;
}

void afu_option_replay_filter(const struct afu_sock *s, int fd)
{
	struct sock_filter prog[AFU_FILTER_ROOM];
	struct sock_fprog f = {(unsigned short)afu_filter_get(&s->ep->opt.filter, prog), prog};
	int lock = s->ep->option[SO_LOCK_FILTER];

	if (f.len)
		afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof f);
	if (lock)
		afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_LOCK_FILTER, &lock, sizeof lock);
}
