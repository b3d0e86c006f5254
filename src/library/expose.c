/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/expose.h"

#include "base/cause.h"
#include "base/limit.h"
#include "base/memory.h"
#include "library/domain.h"
#include "library/outside.h"
#include "library/pattern.h"
#include "library/table.h"
#include "library/view.h"

#include <limits.h>
#include <string.h>

/* How long to wait for a name to be given up, in ms; and at least, since whoever is being killed has it too.
 */
#define TICKS_MAX 1000
#define TICKS_OF_THE_DYING 50

/* As the broker told them: for life. */
static char kept[AFU_EXPOSED_MAX];
static uint32_t kept_length;
/* A child of a thread that was writing has to ask each time. */
enum { UNKNOWN, WRITING, KNOWN };
static _Atomic int state;

/* Asks the broker.  How many bytes, or negative errno. */
static int ask(char to[AFU_EXPOSED_MAX])
{
	struct afu_request req = {.op = AFU_OP_EXPOSED};
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;
	long length = 0;

	err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return err;
	if (n == 1 && reply.arg[0] <= AFU_EXPOSED_MAX)
		length = afu_sys(SYS_pread64, got[0], to, (size_t)reply.arg[0], 0);
	while (n)
		afu_sys_close(got[--n]);
	return length > 0 && !to[length - 1] ? (int)length : 0;
}

static int fits(const char *globs, uint32_t length, int abstract, const char *text)
{
	for (uint32_t at = 0; at < length; at += (uint32_t)strlen(globs + at) + 1) {
		const char *glob = globs + at;

		if (abstract != (*glob == '@'))
			continue;
		if (!*glob || afu_pattern_fits(glob, text))
			return 1;
	}
	return 0;
}

/* The name as globs mean it: with @ for the bytes that are 0, or the path from the root on. */
static void spell(const struct afu_name *name, char to[PATH_MAX + sizeof name->un + 2])
{
	size_t at = 0;

	if (name->abstract) {
		size_t n = name->length - offsetof(struct sockaddr_un, sun_path);

		for (; at < n; at++)
			to[at] = name->un.sun_path[at] ? name->un.sun_path[at] : '@';
	} else if (name->un.sun_path[0] != '/') {
		long n = afu_sys(SYS_getcwd, to, PATH_MAX);

		/* the length counts the NUL; the root's own slash is enough */
		at = n > 2 ? (size_t)n - 1 : 0;
		to[at++] = '/';
	}
	if (!name->abstract) {
		const char *path = name->un.sun_path;

		while (at > 0 && path[0] == '.' && path[1] == '/')
			path += 2;
		memcpy(to + at, path, strlen(path));
		at += strlen(path);
	}
	to[at] = 0;
}

/* The globs, in to or where they are kept.  How many bytes, or negative errno. */
static int learn(char to[AFU_EXPOSED_MAX], const char **globs)
{
	int length, before = UNKNOWN;

	*globs = kept;
	if (atomic_load(&state) == KNOWN)
		return (int)kept_length;
	length = ask(to);
	*globs = to;
	if (length >= 0 && atomic_compare_exchange_strong(&state, &before, WRITING)) {
		memcpy(kept, to, (size_t)length);
		kept_length = (uint32_t)length;
		atomic_store(&state, KNOWN);
	}
	return length;
}

static int exposed_any(void)
{
	char fresh[AFU_EXPOSED_MAX];
	const char *globs;

	return learn(fresh, &globs) > 0;
}

static int wanted(const struct afu_name *name)
{
	char fresh[AFU_EXPOSED_MAX], text[PATH_MAX + sizeof name->un + 2];
	const char *globs;
	int length = learn(fresh, &globs);

	if (length <= 0)
		return length;
	spell(name, text);
	return fits(globs, (uint32_t)length, name->abstract, text);
}

int afu_expose_socket(int fd, const struct afu_name *name, int *kernel)
{
	struct afu_thread *th = afu_thread();
	struct afu_limit limit;
	struct afu_sock *s;
	int err = wanted(name), made;

	*kernel = -1;
	if (err <= 0)
		return err;
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err ? err : afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR);
	/* it is ours, so it does not count against the application's limit */
	limit = afu_limit_raise();
	made = afu_outside_socket(s);
	afu_limit_restore(limit);
	afu_view_leave(th);
	if (made < 0)
		return afu_refuse_as(AFU_CAUSE_OUTSIDE, -made, NULL);
	*kernel = afu_table_hide(made);
	return 0;
}

static int broker_closes(void)
{
	struct afu_request req = {.op = AFU_OP_CLOSING};
	struct afu_reply reply;

	return afu_domain_ask(&req, 0, NULL, 0, &reply) == 0 && reply.arg[0];
}

int afu_expose_settles(unsigned int *ticks)
{
	struct timespec tick = {0, 1000000};

	if (!exposed_any() || *ticks >= TICKS_MAX || (*ticks >= TICKS_OF_THE_DYING && !broker_closes()))
		return 0;
	++*ticks;
	afu_sys(SYS_nanosleep, &tick, NULL);
	return 1;
}

int afu_expose_bind(int kernel, const struct afu_name *name)
{
	/* the NUL behind the longest path is not the caller's */
	socklen_t length = name->length < sizeof name->un ? name->length : sizeof name->un;
	unsigned int ticks = TICKS_OF_THE_DYING; /* those are waited for by who wants their name */
	int err;

	do
		err = (int)afu_sys(SYS_bind, kernel, &name->un, length);
	while (err == -EADDRINUSE && name->abstract && afu_expose_settles(&ticks));
	/* it may have been closed after this, and before the broker was asked */
	return err == -EADDRINUSE && name->abstract ? (int)afu_sys(SYS_bind, kernel, &name->un, length) : err;
}
