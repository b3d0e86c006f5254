/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Options that are rare, need a capability, or name things that only the kernel knows,
 * such as interfaces.  A kernel socket that lives for the call is given the same order;
 * its answer is the answer, and what it then shows is kept in the endpoint page.
 */
#include "library/option.h"

#include "base/cause.h"
#include "base/sys.h"

#include <string.h>

/* Where what was set is kept, and the name under which the kernel shows it. */
static const struct kept {
	int name, shown;
	size_t at, size;
	int again; /* the call depends on what was set before */
} kept[] = {
#define NUMBER(name) offsetof(struct afu_endpoint, option) + (name) * sizeof(int32_t), sizeof(int32_t)
#define FIELD(field) offsetof(struct afu_endpoint, field), sizeof((struct afu_endpoint *)0)->field
	{SO_DEBUG, SO_DEBUG, NUMBER(SO_DEBUG), 0},
	{SO_PRIORITY, SO_PRIORITY, NUMBER(SO_PRIORITY), 0},
	{SO_MARK, SO_MARK, NUMBER(SO_MARK), 0},
	{SO_SNDBUFFORCE, SO_SNDBUF, FIELD(sndbuf), 0},
	{SO_RCVBUFFORCE, SO_RCVBUF, NUMBER(SO_RCVBUF), 0},
	{SO_BINDTODEVICE, SO_BINDTOIFINDEX, NUMBER(SO_BINDTOIFINDEX), 1},
	{SO_BINDTOIFINDEX, SO_BINDTOIFINDEX, NUMBER(SO_BINDTOIFINDEX), 1},
	{SO_TIMESTAMPING, SO_TIMESTAMPING, FIELD(opt.timestamping), 0},
	{SO_TIMESTAMPING_NEW, SO_TIMESTAMPING, FIELD(opt.timestamping), 0},
	{SO_TXTIME, SO_TXTIME, FIELD(opt.txtime), 0},
	{SO_PREFER_BUSY_POLL, SO_PREFER_BUSY_POLL, NUMBER(SO_PREFER_BUSY_POLL), 0},
#undef NUMBER
#undef FIELD
};

static const struct kept *kept_of(int name)
{
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
		if (kept[i].name == name)
			return &kept[i];
	}
	return NULL;
}

int afu_option_refusal(long result)
{
	static const struct {
		int error;
		enum afu_cause cause;
	} causes[] = {
		{EPERM, AFU_CAUSE_OPTION_PRIVILEGE},  {EACCES, AFU_CAUSE_OPTION_DEBUG},
		{EFAULT, AFU_CAUSE_BAD_POINTER},      {ENODEV, AFU_CAUSE_OPTION_DEVICE},
		{EBADF, AFU_CAUSE_OPTION_BPF},	      {ENOPROTOOPT, AFU_CAUSE_OPTION_UNKNOWN},
		{EOPNOTSUPP, AFU_CAUSE_OPTION_NEVER}, {ENOMEM, AFU_CAUSE_NO_MEMORY},
		{EMFILE, AFU_CAUSE_NO_DESCRIPTOR},    {ENOENT, AFU_CAUSE_OPTION_FILTER},
	};

	if (result >= 0)
		return (int)result;
	for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
		if (causes[i].error == -result)
			return afu_refuse_as(causes[i].cause, (int)-result, NULL);
	}
	return afu_refuse_as(AFU_CAUSE_OPTION_VALUE, (int)-result, NULL);
}

int afu_option_scratch(const struct afu_sock *s)
{
	return afu_option_refusal(afu_sys(SYS_socket, AF_UNIX, s->type | SOCK_CLOEXEC, 0));
}

static void bind_again(const struct afu_sock *s, int fd)
{
	int index = s->ep->option[SO_BINDTOIFINDEX];

	if (index)
		afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index);
}

/* What comes with the value that was set. */
static void follow(struct afu_sock *s, int name)
{
	switch (name) {
	case SO_SNDBUFFORCE:
		s->ep->option[SO_BUF_LOCK] |= AFU_SNDBUF_LOCK;
		afu_sock_resized(s);
		break;
	case SO_RCVBUFFORCE:
		s->ep->option[SO_BUF_LOCK] |= AFU_RCVBUF_LOCK;
		break;
	case SO_TIMESTAMPING:
		atomic_fetch_and(&s->ep->opt.stamps, ~(uint32_t)AFU_STAMP_NEW);
		break;
	case SO_TIMESTAMPING_NEW:
		atomic_fetch_or(&s->ep->opt.stamps, (uint32_t)AFU_STAMP_NEW);
		break;
	default:
		break;
	}
}

int afu_option_set_scratch(struct afu_sock *s, const struct afu_given *g)
{
	const struct kept *k = kept_of(g->name);
	uint8_t value[8] = {0};
	socklen_t len = sizeof value;
	int fd = afu_option_scratch(s);
	long err;

	if (fd < 0)
		return fd;
	if (k && k->again)
		bind_again(s, fd);
	err = afu_sys(SYS_setsockopt, fd, SOL_SOCKET, g->name, g->user, g->len);
	if (!err && k) {
		err = afu_sys(SYS_getsockopt, fd, SOL_SOCKET, k->shown, value, &len);
		if (!err && len == k->size)
			memcpy((char *)s->ep + k->at, value, k->size);
	}
	afu_sys_close(fd);
	if (!err)
		follow(s, g->name);
	return afu_option_refusal(err);
}

int afu_option_get_scratch(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v)
{
	int fd = afu_option_scratch(s);
	long err;

	if (fd < 0)
		return fd;
	bind_again(s, fd);
	err = afu_sys(SYS_getsockopt, fd, SOL_SOCKET, a->name, a->user, a->user_len);
	afu_sys_close(fd);
	return err ? afu_option_refusal(err) : AFU_OPTION_GIVEN;
}

int afu_option_size_by_kernel(const struct afu_sock *s, int name, int value)
{
	int fd = afu_option_scratch(s), size = 0;
	socklen_t len = sizeof size;
	long err;

	if (fd < 0)
		return fd;
	err = afu_sys(SYS_setsockopt, fd, SOL_SOCKET, name, &value, sizeof value);
	if (!err)
		err = afu_sys(SYS_getsockopt, fd, SOL_SOCKET, name, &size, &len);
	afu_sys_close(fd);
	return err ? afu_option_refusal(err) : size;
}
