/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Refusals that were asked for: the call is not made, and the program sees what it would
 * see if it had been refused for that cause, including SIGPIPE.
 */
#include "preload/call.h"

#include "base/sys.h"
#include "base/thread.h"
#include "library/injection.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct afu_injection injections[AFU_INJECTIONS];
static int count;

/* `afunix run` has checked them; what is wrong nevertheless is left out. */
int afu_inject_start(void)
{
	const char *text = getenv(AFU_INJECTION_VARIABLE);
	char why[256];

	while (text && *text && count < AFU_INJECTIONS) {
		size_t n = strcspn(text, "\n");

		if (afu_injection_parse(text, n, &injections[count], why, sizeof why) == 0)
			count++;
		text += n + (text[n] == '\n');
	}
	return count;
}

/* Whether the name of the socket, or of its peer, fits.  Keeps the thread's last refusal. */
static int concerns_named(const struct afu_injection *in, int fd)
{
	struct afu_cause_state kept = afu_thread_self.refusal;
	int fits = 0;

	for (int peer = 0; peer < 2 && !fits; peer++) {
		struct sockaddr_un un;
		socklen_t length = sizeof un;
		struct sockaddr *address = (struct sockaddr *)&un;
		char name[sizeof un.sun_path + 1];

		if ((peer ? afunix_getpeername(fd, address, &length)
			  : afunix_getsockname(fd, address, &length)) == 0 &&
		    afu_call_address(&un, length, name, sizeof name) == 0)
			fits = afu_injection_path(in, name);
	}
	afu_thread_self.refusal = kept;
	return fits;
}

static int concerns(const struct afu_injection *in, const struct afu_observed *o)
{
	char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	int fd;

	if (!in->path[0])
		return 1;
	if (afu_call_target(o, name, sizeof name) == 0)
		return afu_injection_path(in, name);
	fd = afu_call_descriptor(o);
	return fd >= 0 && concerns_named(in, fd);
}

/* Only a stream's EPIPE comes with the signal. */
static void broken_pipe(const struct afu_observed *o)
{
	int type = 0, fd = afu_call_descriptor(o);
	socklen_t length = sizeof type;

	if (!afu_call_means(o->call, "send", 4) || afu_call_flags(o) & MSG_NOSIGNAL || fd < 0 ||
	    afunix_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 || type != SOCK_STREAM)
		return;
	afu_sys(SYS_tgkill, afu_sys(SYS_getpid), afu_sys(SYS_gettid), SIGPIPE);
}

int afu_inject(const struct afu_observed *o)
{
	int saved = errno;

	for (int i = 0; i < count; i++) {
		struct afu_injection *in = &injections[i];
		int error = afu_causes[in->cause].error;

		if (!(in->calls >> o->call & 1) || !concerns(in, o) || !afu_injection_due(in))
			continue;
		afu_refuse_as(in->cause, error, in->text);
		if (error == EPIPE)
			broken_pipe(o);
		errno = saved;
		return error;
	}
	errno = saved;
	return 0;
}
