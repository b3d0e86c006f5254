/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * SOL_SOCKET options: what the table of option.c is made of.
 *
 * A setter or getter is given a fresh view inside a critical section, where it may ask
 * the kernel but not the broker.  What only the broker knows is asked for by the
 * socket's id, outside.  All return negative errnos of named causes.
 */
#ifndef AFU_LIBRARY_OPTION_H
#define AFU_LIBRARY_OPTION_H

#include "socket/sock.h"

#include <sys/socket.h>
#include <sys/time.h>

/* Newer than some libc's headers. */
#ifndef SO_RCVTIMEO_NEW
#define SO_RCVTIMEO_NEW 66
#define SO_SNDTIMEO_NEW 67
#endif
#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif
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
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#define SO_PEERPIDFD 77
#endif
#ifndef SO_DEVMEM_DONTNEED
#define SO_DEVMEM_DONTNEED 80
#endif
#ifndef SO_RCVPRIORITY
#define SO_RCVPRIORITY 82
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif
#ifndef SO_INQ
#define SO_INQ 84
#endif

/* What the kernel starts with, and keeps in the two bits of SO_BUF_LOCK. */
#define AFU_SNDBUF_LOCK 1
#define AFU_RCVBUF_LOCK 2

struct afu_given {
	int name, start, number; /* start: as a fresh socket shows it; number: the first four bytes */
	const void *user;
	socklen_t len;
};

struct afu_asked {
	int name, start;
	void *user;
	socklen_t *user_len;
	socklen_t room; /* what *user_len was */
};

union afu_option_value {
	int number;
	struct linger linger;
	struct timeval time;
	struct ucred cred;
	uint64_t wide;
	uint32_t pair[2];
	uint32_t meminfo[9];
	uint8_t address[128];
};

typedef int afu_option_setter(struct afu_sock *s, const struct afu_given *g);
/* The size of the value; or AFU_OPTION_GIVEN: it is with the user already. */
typedef int afu_option_getter(const struct afu_asked *a, struct afu_sock *s, union afu_option_value *v);
typedef int afu_option_asker(const struct afu_asked *a, uint64_t id, union afu_option_value *v);
#define AFU_OPTION_GIVEN INT32_MAX

/* option_value.c: kept in the endpoint page. */
afu_option_setter afu_option_set_flag, afu_option_set_number, afu_option_set_pass, afu_option_set_inq,
	afu_option_set_buffer, afu_option_set_lowat, afu_option_set_timeout, afu_option_set_linger,
	afu_option_set_stamp, afu_option_set_peek, afu_option_set_debug, afu_option_set_priority,
	afu_option_set_busy_poll, afu_option_set_budget, afu_option_set_pacing, afu_option_set_buf_lock,
	afu_option_set_reuseport, afu_option_set_nothing;
afu_option_getter afu_option_get_number, afu_option_get_sndbuf, afu_option_get_lowat, afu_option_get_timeout,
	afu_option_get_linger, afu_option_get_stamp, afu_option_get_timestamping, afu_option_get_peek,
	afu_option_get_type, afu_option_get_error, afu_option_get_listening, afu_option_get_meminfo,
	afu_option_get_cookie, afu_option_get_pacing, afu_option_get_txtime;
/* SO_RCVTIMEO and SO_SNDTIMEO as read: which 0 or 1. */
struct timeval afu_option_timeout(const struct afu_sock *s, int which);

/* option_scratch.c: the kernel is asked by means of a socket that lives for the call. */
afu_option_setter afu_option_set_scratch;
afu_option_getter afu_option_get_scratch;
/* A socket of the kernel's of the same type; negative errno of a named cause. */
int afu_option_scratch(const struct afu_sock *s);
/* The refusal that the kernel's errno means; 0 or more: as it is. */
int afu_option_refusal(long result);
/* SO_SNDBUF, SO_RCVBUF: what value a kernel socket would have; negative errno. */
int afu_option_size_by_kernel(const struct afu_sock *s, int name, int value);

/* option_filter.c */
afu_option_setter afu_option_attach_filter, afu_option_attach_bpf, afu_option_detach_filter,
	afu_option_lock_filter;
afu_option_getter afu_option_get_filter;
/* Sets on the kernel socket fd the filter of s. */
void afu_option_replay_filter(const struct afu_sock *s, int fd);

/* option_peer.c */
afu_option_asker afu_option_peercred, afu_option_peergroups, afu_option_peerpidfd, afu_option_peername,
	afu_option_peersec;

/* Sets on the kernel socket fd what was set on s. */
void afu_option_replay(const struct afu_sock *s, int fd);

#endif
