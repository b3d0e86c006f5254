/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * `afunix run --explain`: a line on standard error for each refused call.
 *
 * The line goes out with one write to a duplicate of standard error, which was taken when
 * the process started and is the library's own: a program may close or redirect its
 * standard error.  A forked child keeps the duplicate; a program that is started takes one
 * of the standard error that it is given.
 */
#include "preload/call.h"

#include "base/sys.h"
#include "base/thread.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#define PATIENCE_MS 1000

static int output = -1;
static int everything;
static _Atomic unsigned int lost;

int afu_explain_start(void)
{
	const char *how = getenv("AFUNIX_EXPLAIN"), *to = getenv("AFUNIX_EXPLAIN_TO");
	int fd;

	if (!how || !*how || !afu_library_active())
		return 0;
	everything = strcmp(how, "all") == 0;
	if (to && *to) {
		fd = (int)afu_sys(SYS_openat, AT_FDCWD, to,
				  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
		output = fd < 0 ? -1 : afu_table_hide(fd);
	} else if (!afu_fd_ours(2)) {
		output = afu_table_spare(2);
		if (output >= 0)
			afu_table_set(output, AFU_TABLE_HIDDEN);
	}
	afu_table_kept = output;
	return output >= 0;
}

/* Traffic, not trouble: a call that is to be made again, and questions to which the answer is no. */
static int is_normal(const struct afu_observed *o)
{
	switch (o->error) {
	case EAGAIN:
	case EINTR:
		return 1;
	case ESPIPE:
		return o->call == AFU_CALL_lseek;
	case ENOTTY:
		return o->call == AFU_CALL_ioctl;
	case ENOTCONN:
		return o->call == AFU_CALL_getpeername;
	default:
		return 0;
	}
}

/* Of a kernel's descriptor only what is about sockets of this family, or about no socket at all, is told. */
static int is_others_business(const struct afu_observed *o)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];

	return o->kernel && o->error != EBADF && o->error != ENOTSOCK && o->error != EAFNOSUPPORT &&
	       afu_call_target(o, name, sizeof name) < 0;
}

static void add_process(struct afu_line *l)
{
	char comm[32];
	int fd = (int)afu_sys(SYS_openat, AT_FDCWD, "/proc/self/comm", O_RDONLY | O_CLOEXEC);
	long n = fd < 0 ? 0 : afu_sys(SYS_read, fd, comm, sizeof comm);

	if (fd >= 0)
		afu_sys_close(fd);
	afu_line_text(l, "afunix: ");
	afu_line_escaped(l, n > 1 ? comm : "?", n > 1 ? (size_t)n - 1 : 1);
	afu_line_text(l, "[");
	afu_line_number(l, afu_sys(SYS_getpid));
	afu_line_text(l, "] ");
}

/* What a refusal by the kernel means, as far as the errno alone tells. */
static enum afu_cause kernels_cause(int error)
{
	static const uint8_t known[] = {AFU_CAUSE_BAD_DESCRIPTOR, AFU_CAUSE_NOT_A_SOCKET,
					AFU_CAUSE_FAMILY,	  AFU_CAUSE_BAD_POINTER,
					AFU_CAUSE_NO_DESCRIPTOR,  AFU_CAUSE_NO_MEMORY};

	for (size_t i = 0; i < sizeof known; i++)
		if (afu_causes[known[i]].error == error)
			return known[i];
	return AFU_CAUSE_KERNEL;
}

static void add_limit(struct afu_line *l, const char *name, long limit)
{
	afu_line_text(l, l->at[l->n - 1] == '.' ? " (" : ", ");
	afu_line_text(l, name);
	afu_line_number(l, limit);
}

/* The limit that was reached, where nobody has looked at it on the way. */
static void add_limits(struct afu_line *l, const struct afu_observed *o, enum afu_cause cause)
{
	int value = 0, fd = afu_call_descriptor(o);
	socklen_t length = sizeof value;
	struct rlimit files;

	switch (cause) {
	case AFU_CAUSE_SEND_FULL:
	case AFU_CAUSE_MESSAGE_TOO_LONG:
		if (fd < 0 || afunix_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, &length) < 0)
			return;
		add_limit(l, "SO_SNDBUF is ", value);
		if (cause == AFU_CAUSE_SEND_FULL && afunix_ioctl(fd, TIOCOUTQ, &value) == 0)
			add_limit(l, "in use are ", value);
		break;
	case AFU_CAUSE_NO_DESCRIPTOR:
	case AFU_CAUSE_RIGHTS_IN_FLIGHT:
		if (afu_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, &files) < 0)
			return;
		add_limit(l, "RLIMIT_NOFILE is ", (long)files.rlim_cur);
		break;
	default:
		return;
	}
	afu_line_text(l, ")");
}

static void add_cause(struct afu_line *l, const struct afu_observed *o)
{
	const struct afu_cause_state *why = &afu_thread_self.refusal;
	/* what the library hands on to the kernel is the kernel's to refuse */
	int named = !o->kernel && why->cause && why->error == o->error;
	enum afu_cause cause = named ? (enum afu_cause)why->cause : kernels_cause(o->error);

	afu_line_text(l, afu_causes[cause].id);
	afu_line_text(l, o->injected ? " (injected): " : ": ");
	afu_line_text(l, afu_causes[cause].text);
	if (!named || !why->detail[0]) {
		struct afu_cause_state kept = *why;

		if (!o->injected)
			add_limits(l, o, cause);
		afu_thread_self.refusal = kept;
		return;
	}
	afu_line_text(l, " (");
	afu_line_escaped(l, why->detail, sizeof why->detail);
	afu_line_text(l, ")");
}

static void add_lost(struct afu_line *l)
{
	unsigned int n = atomic_exchange(&lost, 0);

	if (!n)
		return;
	afu_line_text(l, " [");
	afu_line_number(l, n);
	afu_line_text(l, " lines before this one were lost]");
}

/* Nobody may read at the other end of a pipe: that must not end the program. */
static long write_quietly(const void *bytes, size_t n)
{
	uint64_t pipe = UINT64_C(1) << (SIGPIPE - 1), before = 0, pending = 0;
	struct timespec none = {0, 0};
	long r;

	afu_sys(SYS_rt_sigprocmask, SIG_BLOCK, &pipe, &before, sizeof before);
	afu_sys(SYS_rt_sigpending, &pending, sizeof pending);
	r = afu_sys(SYS_write, output, bytes, n);
	if (r == -EPIPE && !(pending & pipe))
		afu_sys(SYS_rt_sigtimedwait, &pipe, 0, &none, sizeof pipe);
	afu_sys(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before);
	return r;
}

static void put(const struct afu_line *l)
{
	long r = write_quietly(l->at, l->n);

	if (r == -EAGAIN) {
		struct pollfd p = {.fd = output, .events = POLLOUT};
		struct timespec patience = {PATIENCE_MS / 1000, PATIENCE_MS % 1000 * 1000000};

		afu_sys(SYS_ppoll, &p, 1, &patience, 0, 0);
		r = write_quietly(l->at, l->n);
	}
	if (r < 0)
		atomic_fetch_add(&lost, 1);
}

void afu_explain(const struct afu_observed *o)
{
	struct afu_line l;
	const char *name;

	if ((is_normal(o) && !everything && !o->injected) || is_others_business(o))
		return;
	l.n = 0;
	add_process(&l);
	afu_line_call(&l, o);
	afu_line_text(&l, " = ");
	name = strerrorname_np(o->error);
	afu_line_text(&l, name ? name : "?");
	afu_line_text(&l, " ");
	add_cause(&l, o);
	add_lost(&l);
	l.at[l.n++] = '\n';
	put(&l);
}
