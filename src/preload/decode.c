/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A call's arguments as text.
 *
 * The column "arguments" of calls.def has a letter for each: d descriptor, i int, n size,
 * x bits, p pointer, o position, l length of an address or a value, D address family,
 * T socket type, t its flags, A address (its length comes next), V buffers (their number
 * comes next), m message, F flags of a message, W of preadv2, L level, O option, H how,
 * R request of ioctl, C command of fcntl, E operation of epoll_ctl.
 *
 * What the program's pointers lead to is copied with afu_copy(): a bad pointer may be why
 * the call was refused.
 */
#include "preload/call.h"

#include "base/copy.h"

#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100
#endif
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

#define PATH_AT offsetof(struct sockaddr_un, sun_path)
#define BUFFERS_LOOKED_AT 1024

struct named {
	long value;
	const char *name;
};

#define NAMED(value)                                                                                         \
	{                                                                                                    \
		value, #value                                                                                \
	}

static const struct named families[] = {
	NAMED(AF_UNIX), NAMED(AF_UNSPEC), NAMED(AF_INET), NAMED(AF_INET6), {0, NULL}};
static const struct named types[] = {
	NAMED(SOCK_STREAM), NAMED(SOCK_DGRAM), NAMED(SOCK_SEQPACKET),
	NAMED(SOCK_RAW),    NAMED(SOCK_RDM),   {0, NULL},
};
static const struct named type_flags[] = {NAMED(SOCK_CLOEXEC), NAMED(SOCK_NONBLOCK), {0, NULL}};
static const struct named message_flags[] = {
	NAMED(MSG_OOB),		 NAMED(MSG_PEEK),     NAMED(MSG_DONTROUTE),
	NAMED(MSG_CTRUNC),	 NAMED(MSG_TRUNC),    NAMED(MSG_DONTWAIT),
	NAMED(MSG_EOR),		 NAMED(MSG_WAITALL),  NAMED(MSG_CONFIRM),
	NAMED(MSG_ERRQUEUE),	 NAMED(MSG_NOSIGNAL), NAMED(MSG_MORE),
	NAMED(MSG_WAITFORONE),	 NAMED(MSG_ZEROCOPY), NAMED(MSG_FASTOPEN),
	NAMED(MSG_CMSG_CLOEXEC), {0, NULL},
};
static const struct named vector_flags[] = {
	NAMED(RWF_HIPRI),  NAMED(RWF_DSYNC),	NAMED(RWF_SYNC), NAMED(RWF_NOWAIT),
	NAMED(RWF_APPEND), NAMED(RWF_NOSIGNAL), {0, NULL},
};
static const struct named levels[] = {NAMED(SOL_SOCKET), {0, NULL}};
static const struct named options[] = {
	NAMED(SO_ACCEPTCONN),	 NAMED(SO_ATTACH_BPF),	NAMED(SO_ATTACH_FILTER), NAMED(SO_BINDTODEVICE),
	NAMED(SO_BROADCAST),	 NAMED(SO_BUSY_POLL),	NAMED(SO_COOKIE),	 NAMED(SO_DEBUG),
	NAMED(SO_DETACH_FILTER), NAMED(SO_DOMAIN),	NAMED(SO_DONTROUTE),	 NAMED(SO_ERROR),
	NAMED(SO_INCOMING_CPU),	 NAMED(SO_KEEPALIVE),	NAMED(SO_LINGER),	 NAMED(SO_LOCK_FILTER),
	NAMED(SO_MARK),		 NAMED(SO_MEMINFO),	NAMED(SO_NO_CHECK),	 NAMED(SO_OOBINLINE),
	NAMED(SO_PASSCRED),	 NAMED(SO_PASSSEC),	NAMED(SO_PEEK_OFF),	 NAMED(SO_PEERCRED),
	NAMED(SO_PEERGROUPS),	 NAMED(SO_PEERNAME),	NAMED(SO_PEERSEC),	 NAMED(SO_PRIORITY),
	NAMED(SO_PROTOCOL),	 NAMED(SO_RCVBUF),	NAMED(SO_RCVBUFFORCE),	 NAMED(SO_RCVLOWAT),
	NAMED(SO_RCVTIMEO),	 NAMED(SO_REUSEADDR),	NAMED(SO_REUSEPORT),	 NAMED(SO_SNDBUF),
	NAMED(SO_SNDBUFFORCE),	 NAMED(SO_SNDLOWAT),	NAMED(SO_SNDTIMEO),	 NAMED(SO_TIMESTAMP),
	NAMED(SO_TIMESTAMPNS),	 NAMED(SO_TYPE),	NAMED(SO_ZEROCOPY),	 {76, "SO_PASSPIDFD"},
	{77, "SO_PEERPIDFD"},	 {83, "SO_PASSRIGHTS"}, {84, "SO_INQ"},		 {0, NULL},
};
static const struct named hows[] = {NAMED(SHUT_RD), NAMED(SHUT_WR), NAMED(SHUT_RDWR), {0, NULL}};
static const struct named requests[] = {
	{FIONREAD, "SIOCINQ"}, {TIOCOUTQ, "SIOCOUTQ"}, NAMED(SIOCATMARK), NAMED(SIOCUNIXFILE),
	NAMED(FIONBIO),	       NAMED(FIOASYNC),	       NAMED(FIOCLEX),	  NAMED(FIONCLEX),
	NAMED(TCGETS),	       NAMED(TIOCGWINSZ),      NAMED(FIOSETOWN),  NAMED(FIOGETOWN),
	NAMED(SIOCSPGRP),      NAMED(SIOCGPGRP),       {0, NULL},
};
static const struct named commands[] = {
	NAMED(F_DUPFD),	 NAMED(F_DUPFD_CLOEXEC), NAMED(F_GETFD),      NAMED(F_SETFD),
	NAMED(F_GETFL),	 NAMED(F_SETFL),	 NAMED(F_GETLK),      NAMED(F_SETLK),
	NAMED(F_SETLKW), NAMED(F_SETOWN),	 NAMED(F_GETOWN),     NAMED(F_GETSIG),
	NAMED(F_SETSIG), NAMED(F_GETPIPE_SZ),	 NAMED(F_SETPIPE_SZ), {0, NULL},
};
static const struct named operations[] = {
	NAMED(EPOLL_CTL_ADD), NAMED(EPOLL_CTL_MOD), NAMED(EPOLL_CTL_DEL), {0, NULL}};

void afu_line_text(struct afu_line *l, const char *text)
{
	while (*text && l->n + 1 < sizeof l->at)
		l->at[l->n++] = *text++;
}

static void add_digits(struct afu_line *l, unsigned long number, unsigned int base)
{
	char digits[24];
	size_t at = sizeof digits;

	digits[--at] = 0;
	do {
		digits[--at] = "0123456789abcdef"[number % base];
	} while (number /= base);
	afu_line_text(l, digits + at);
}

void afu_line_number(struct afu_line *l, long number)
{
	if (number < 0)
		afu_line_text(l, "-");
	add_digits(l, number < 0 ? -(unsigned long)number : (unsigned long)number, 10);
}

static void add_hex(struct afu_line *l, unsigned long number)
{
	afu_line_text(l, number ? "0x" : "");
	add_digits(l, number, 16);
}

void afu_line_escaped(struct afu_line *l, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n && bytes[i]; i++) {
		unsigned char c = (unsigned char)bytes[i];
		const char text[] = {'\\', 'x', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15], 0};
		const char plain[] = {bytes[i], 0};

		afu_line_text(l, c < 0x20 || c == 0x7f || c == '\\' ? text : plain);
	}
}

static void add_named(struct afu_line *l, const struct named *of, long value)
{
	for (; of->name; of++) {
		if (of->value == value) {
			afu_line_text(l, of->name);
			return;
		}
	}
	afu_line_number(l, value);
}

static void add_flags(struct afu_line *l, const struct named *of, unsigned int flags, const char *before)
{
	for (; of->name; of++) {
		if (!(flags & (unsigned int)of->value))
			continue;
		afu_line_text(l, before);
		afu_line_text(l, of->name);
		before = "|";
		flags &= ~(unsigned int)of->value;
	}
	if (!flags)
		return;
	afu_line_text(l, before);
	add_hex(l, flags);
}

/* The low bits are the type, the others flags. */
static void add_type(struct afu_line *l, unsigned int type)
{
	add_named(l, types, type & 0xf);
	add_flags(l, type_flags, type & ~0xfu, "|");
}

int afu_call_address(const void *address, size_t length, char *text, size_t room)
{
	const struct sockaddr_un *un = address;
	size_t n, i = 0;

	if (length < PATH_AT || un->sun_family != AF_UNIX)
		return -1;
	n = length - PATH_AT;
	if (n && !un->sun_path[0])
		text[i++] = '@';
	for (size_t from = i; from < n && i + 1 < room; from++) {
		char c = un->sun_path[from];

		if (text[0] != '@' && !c)
			break;
		text[i++] = c ? c : '@'; /* an abstract name may have zeros inside */
	}
	text[i] = 0;
	return 0;
}

/* The program's bytes of an address; 0 or -1. */
static int fetch_address(const void *address, size_t length, struct sockaddr_un *to)
{
	memset(to, 0, sizeof *to);
	return !address || length < PATH_AT || length > sizeof *to || afu_copy(to, address, length) ? -1 : 0;
}

static void add_address(struct afu_line *l, const void *address, size_t length)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	struct sockaddr_un un;

	if (!address) {
		afu_line_text(l, "NULL");
	} else if (fetch_address(address, length, &un) < 0) {
		afu_line_text(l, "...");
	} else if (afu_call_address(&un, length, name, sizeof name) < 0) {
		add_named(l, families, un.sun_family);
	} else {
		afu_line_escaped(l, *name ? name : "AF_UNIX", sizeof name);
	}
}

/* The bytes of all buffers together, or -1. */
static long total(const struct iovec *iov, size_t n)
{
	long sum = 0;

	if (n > BUFFERS_LOOKED_AT)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct iovec one;

		if (afu_copy(&one, &iov[i], sizeof one) ||
		    __builtin_add_overflow(sum, (long)one.iov_len, &sum) || sum < 0)
			return -1;
	}
	return sum;
}

static void add_total(struct afu_line *l, const void *iov, size_t n)
{
	long sum = total(iov, n);

	if (!iov || sum < 0) {
		afu_line_text(l, iov ? "..." : "NULL");
		return;
	}
	afu_line_number(l, sum);
	afu_line_text(l, sum == 1 ? " byte" : " bytes");
}

static void add_message(struct afu_line *l, const void *message)
{
	struct msghdr m;

	if (!message || afu_copy(&m, message, sizeof m)) {
		afu_line_text(l, message ? "..." : "NULL");
		return;
	}
	afu_line_text(l, "{");
	if (m.msg_name && m.msg_namelen) {
		add_address(l, m.msg_name, m.msg_namelen);
		afu_line_text(l, ", ");
	}
	add_total(l, m.msg_iov, m.msg_iovlen);
	if (m.msg_control && m.msg_controllen) {
		afu_line_text(l, ", ");
		afu_line_number(l, (long)m.msg_controllen);
		afu_line_text(l, " of control");
	}
	afu_line_text(l, "}");
}

static void add_argument(struct afu_line *l, const struct afu_observed *o, int i)
{
	long a = o->arg[i];

	switch (afu_calls[o->call].arguments[i]) {
	case 'D':
		add_named(l, families, (int)a);
		break;
	case 'T':
		add_type(l, (unsigned int)a);
		break;
	case 't':
		add_flags(l, type_flags, (unsigned int)a, "");
		break;
	case 'A':
		add_address(l, (const void *)a, (unsigned int)o->arg[i + 1]);
		break;
	case 'V':
		add_total(l, (const void *)a, (size_t)o->arg[i + 1]);
		break;
	case 'm':
		add_message(l, (const void *)a);
		break;
	case 'F':
		add_flags(l, message_flags, (unsigned int)a, "");
		break;
	case 'W':
		add_flags(l, vector_flags, (unsigned int)a, "");
		break;
	case 'L':
		add_named(l, levels, (int)a);
		break;
	case 'O':
		add_named(l,
			  (int)o->arg[i - 1] == SOL_SOCKET ? options
							   : options + sizeof options / sizeof *options - 1,
			  (int)a);
		break;
	case 'H':
		add_named(l, hows, (int)a);
		break;
	case 'R':
		add_named(l, requests, (unsigned int)a);
		break;
	case 'C':
		add_named(l, commands, (int)a);
		break;
	case 'E':
		add_named(l, operations, (int)a);
		break;
	case 'x':
		add_hex(l, (unsigned long)a);
		break;
	case 'p':
		afu_line_text(l, a ? "..." : "NULL");
		break;
	case 'n':
	case 'o':
		afu_line_number(l, a);
		break;
	default:
		afu_line_number(l, (int)a);
		break;
	}
}

/* No flags at all are written as nothing by add_flags(). */
static int is_empty_flags(const struct afu_observed *o, int i)
{
	return o->arg[i] == 0 && strchr("tFW", afu_calls[o->call].arguments[i]);
}

void afu_line_call(struct afu_line *l, const struct afu_observed *o)
{
	const char *letters = afu_calls[o->call].arguments;

	afu_line_text(l, afu_calls[o->call].name);
	afu_line_text(l, "(");
	for (int i = 0; letters[i]; i++) {
		afu_line_text(l, i ? ", " : "");
		if (is_empty_flags(o, i))
			afu_line_text(l, "0");
		else
			add_argument(l, o, i);
	}
	afu_line_text(l, ")");
}

int afu_call_target(const struct afu_observed *o, char *text, size_t room)
{
	const char *letters = afu_calls[o->call].arguments, *at = strpbrk(letters, "Am");
	const void *address;
	struct sockaddr_un un;
	struct msghdr m;
	size_t length;

	if (!at)
		return -1;
	address = (const void *)o->arg[at - letters];
	if (*at == 'A') {
		length = (unsigned int)o->arg[at - letters + 1];
	} else {
		/* what a receiver's message has for a name is room, not a name */
		if (!afu_call_means(o->call, "send", 4) || !address || afu_copy(&m, address, sizeof m))
			return -1;
		address = m.msg_name;
		length = m.msg_namelen;
	}
	return fetch_address(address, length, &un) < 0 ? -1 : afu_call_address(&un, length, text, room);
}

int afu_call_descriptor(const struct afu_observed *o)
{
	const char *letters = afu_calls[o->call].arguments;

	for (int i = 0; letters[i]; i++)
		if (letters[i] == 'd' && afu_fd_ours((int)o->arg[i]))
			return (int)o->arg[i];
	return -1;
}

int afu_call_flags(const struct afu_observed *o)
{
	const char *letters = afu_calls[o->call].arguments, *at = strpbrk(letters, "FW");
	int flags;

	if (!at)
		return 0;
	flags = (int)o->arg[at - letters];
	if (*at == 'F')
		return flags;
	return flags & RWF_NOSIGNAL ? MSG_NOSIGNAL : 0;
}
