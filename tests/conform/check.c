/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The checks' side of the report: memory that the runner shares with the process of
 * the case, and that its threads and forked children write as well.  Nothing here
 * makes or uses a descriptor, so the leak check and the cases about descriptor
 * numbers see the case alone.  Never compiled against the library.
 */
#include "report.h"

#include <stdarg.h>

struct conform_report *conform_report;

void conform_at(const char *file, int line, const char *text)
{
	struct conform_report *r = conform_report;

	if (!r)
		return;
	r->file = file;
	r->line = line;
	r->text = text;
}

void conform_note(const char *format, ...)
{
	struct conform_report *r = conform_report;
	char line[1024];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	if (n < 0)
		return;
	size_t len = strnlen(line, sizeof line - 1);
	if (!r) {
		/* After an exec there is no report; the exit status carries the verdict. */
		fprintf(stderr, "# %s\n", line);
		return;
	}
	size_t at = atomic_fetch_add(&r->used, len + 1);
	if (at + len + 1 >= sizeof r->notes)
		return;
	memcpy(r->notes + at, line, len);
	r->notes[at + len] = '\n';
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void conform_fail(const char *file, int line, const char *format, ...)
{
	char text[768];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	conform_note("%s:%d: %s", base_name(file), line, n < 0 ? "?" : text);
	if (conform_report)
		atomic_fetch_add(&conform_report->failures, 1);
	/* Not exit(): other threads of the case may be inside anything. */
	_exit(CONFORM_EXIT_FAILED);
}

void conform_skip(const char *reason)
{
	if (conform_report)
		snprintf(conform_report->skip, sizeof conform_report->skip, "%s", reason);
	_exit(CONFORM_EXIT_SKIPPED);
}

void conform_expect_left(const char *name)
{
	struct conform_report *r = conform_report;

	for (size_t i = 0; i < CONFORM_LEFT_MAX; i++) {
		if (!r->left[i][0]) {
			snprintf(r->left[i], sizeof r->left[i], "%s", name);
			return;
		}
	}
	conform_fail(HERE, "more than %d files declared", CONFORM_LEFT_MAX);
}

static const struct {
	int error;
	const char *name;
} errno_names[] = {
#define E(x)                                                                                                 \
	{                                                                                                    \
		x, #x                                                                                        \
	}
	E(EPERM),	 E(ENOENT),	     E(ESRCH),		 E(EINTR),	E(EIO),
	E(ENXIO),	 E(E2BIG),	     E(ENOEXEC),	 E(EBADF),	E(ECHILD),
	E(EAGAIN),	 E(ENOMEM),	     E(EACCES),		 E(EFAULT),	E(EBUSY),
	E(EEXIST),	 E(ENODEV),	     E(ENOTDIR),	 E(EISDIR),	E(EINVAL),
	E(ENFILE),	 E(EMFILE),	     E(ENOTTY),		 E(EFBIG),	E(ENOSPC),
	E(ESPIPE),	 E(EROFS),	     E(EPIPE),		 E(EDOM),	E(ERANGE),
	E(ENAMETOOLONG), E(ENOSYS),	     E(ELOOP),		 E(ENODATA),	E(EPROTO),
	E(EOVERFLOW),	 E(ENOTSOCK),	     E(EDESTADDRREQ),	 E(EMSGSIZE),	E(EPROTOTYPE),
	E(ENOPROTOOPT),	 E(EPROTONOSUPPORT), E(ESOCKTNOSUPPORT), E(EOPNOTSUPP), E(EAFNOSUPPORT),
	E(EADDRINUSE),	 E(EADDRNOTAVAIL),   E(ECONNABORTED),	 E(ECONNRESET), E(ENOBUFS),
	E(EISCONN),	 E(ENOTCONN),	     E(ETOOMANYREFS),	 E(ETIMEDOUT),	E(ECONNREFUSED),
	E(EALREADY),	 E(EINPROGRESS),
#undef E
};

const char *conform_errno_name(int error)
{
	static _Thread_local char other[32];

	if (error == 0)
		return "no error";
	for (size_t i = 0; i < sizeof errno_names / sizeof errno_names[0]; i++)
		if (errno_names[i].error == error)
			return errno_names[i].name;
	snprintf(other, sizeof other, "errno %d", error);
	return other;
}

const char *conform_poll_text(int bits, char *buf, size_t size)
{
	static const struct {
		int bit;
		const char *name;
	} names[] = {
		{POLLIN, "IN"},		{POLLPRI, "PRI"},	{POLLOUT, "OUT"},
		{POLLERR, "ERR"},	{POLLHUP, "HUP"},	{POLLNVAL, "NVAL"},
		{POLLRDHUP, "RDHUP"},	{POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"},
		{POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"},
	};
	size_t used = 0;

	snprintf(buf, size, "0");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (!(bits & names[i].bit) || used >= size)
			continue;
		int n = snprintf(buf + used, size - used, "%s%s", used ? "," : "", names[i].name);
		used += n > 0 ? (size_t)n : 0;
	}
	return buf;
}

long conform_ok(const char *file, int line, const char *text, long got)
{
	int error = errno;

	if (got == -1)
		conform_fail(file, line, "%s: expected success, got %s", text, conform_errno_name(error));
	return got;
}

void conform_eq(const char *file, int line, const char *text, long long got, int error, const char *want_text,
		long long want)
{
	char number[32] = "";

	if (got == want)
		return;
	snprintf(number, sizeof number, "%lld", want);
	bool literal = strcmp(number, want_text) == 0;
	conform_fail(file, line, "%s: expected %s%s%s%s, got %lld%s%s%s", text, want_text,
		     literal ? "" : " (", literal ? "" : number, literal ? "" : ")", got,
		     got == -1 && error ? " (" : "", got == -1 && error ? conform_errno_name(error) : "",
		     got == -1 && error ? ")" : "");
}

void conform_fails(const char *file, int line, const char *text, long long got, int error, int want)
{
	if (got != -1)
		conform_fail(file, line, "%s: expected %s, got %lld", text, conform_errno_name(want), got);
	if (error != want)
		conform_fail(file, line, "%s: expected %s, got %s", text, conform_errno_name(want),
			     conform_errno_name(error));
}

void conform_bytes(const char *file, int line, const char *text, const void *got, const void *want, size_t n)
{
	const unsigned char *g = got, *w = want;

	conform_at(file, line, text);
	for (size_t i = 0; i < n; i++)
		if (g[i] != w[i])
			conform_fail(file, line, "%s: byte %zu of %zu: expected 0x%02x, got 0x%02x", text, i,
				     n, w[i], g[i]);
}
