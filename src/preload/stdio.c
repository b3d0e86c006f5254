/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Streams on sockets: fdopen(), fileno(), dprintf(), and the three standard streams of a
 * program whose standard descriptors are sockets.
 *
 * The C library's streams read and write inside it, out of our sight, so a stream on one
 * of ours is a fopencookie() stream over the library.  Such a stream has no descriptor
 * that fileno() could tell, hence the list here.  Its nodes are never freed, only used
 * again, so that fileno() needs no lock; a program has few of them.
 */
#include "preload/call.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stream {
	_Atomic(FILE *) file; /* NULL: free */
	int fd;
	struct stream *next;
};

static _Atomic(struct stream *) streams;

/* What marks a node that is taken while its stream is being made. */
static FILE *const taken = (FILE *)1;

static struct stream *stream_take(void)
{
	struct stream *s;

	for (s = atomic_load(&streams); s; s = s->next) {
		FILE *none = NULL;

		if (atomic_compare_exchange_strong(&s->file, &none, taken))
			return s;
	}
	s = malloc(sizeof(*s));
	if (!s)
		return NULL;
	atomic_init(&s->file, taken);
	s->next = atomic_load(&streams);
	while (!atomic_compare_exchange_weak(&streams, &s->next, s))
		;
	return s;
}

static struct stream *stream_find(FILE *file)
{
	struct stream *s = atomic_load_explicit(&streams, memory_order_acquire);

	while (s && atomic_load_explicit(&s->file, memory_order_acquire) != file)
		s = s->next;
	return s;
}

static ssize_t cookie_read(void *cookie, char *buf, size_t n)
{
	return AFU_OURS(read, ((struct stream *)cookie)->fd, buf, n);
}

/* All of it: a stream takes a short count for an error, and 0 is how it wants one told. */
static ssize_t cookie_write(void *cookie, const char *buf, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = AFU_OURS(write, ((struct stream *)cookie)->fd, buf + done, n - done);

		if (r <= 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

static int cookie_seek(void *cookie, off64_t *offset, int whence)
{
	return afu_preload_fail(ESPIPE);
}

static int cookie_close(void *cookie)
{
	struct stream *s = cookie;
	int fd = s->fd;

	/* Before the number can be used again. */
	atomic_store(&s->file, NULL);
	return close(fd);
}

static const cookie_io_functions_t functions = {
	.read = cookie_read,
	.write = cookie_write,
	.seek = cookie_seek,
	.close = cookie_close,
};

static FILE *stream_new(int fd, const char *mode)
{
	struct stream *s = stream_take();
	FILE *file;

	if (!s)
		return NULL;
	s->fd = fd;
	file = fopencookie(s, mode, functions);
	atomic_store(&s->file, file);
	return file;
}

AFU_INTERPOSE(FILE *, fdopen, int fd, const char *mode)
{
	if (!afu_fd_ours(fd))
		return AFU_REAL(fdopen)(fd, mode);
	if (strchr(mode, 'e') && afunix_fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return NULL;
	return stream_new(fd, mode);
}

AFU_INTERPOSE(int, fileno, FILE *file)
{
	struct stream *s = file ? stream_find(file) : NULL;

	return s ? s->fd : AFU_REAL(fileno)(file);
}

AFU_INTERPOSE(int, fileno_unlocked, FILE *file)
{
	struct stream *s = file ? stream_find(file) : NULL;

	return s ? s->fd : AFU_REAL(fileno_unlocked)(file);
}

void afu_preload_standard_streams(void)
{
	if (afu_fd_ours(STDIN_FILENO)) {
		FILE *file = stream_new(STDIN_FILENO, "r");

		stdin = file ? file : stdin;
	}
	if (afu_fd_ours(STDOUT_FILENO)) {
		FILE *file = stream_new(STDOUT_FILENO, "w");

		stdout = file ? file : stdout;
	}
	if (afu_fd_ours(STDERR_FILENO)) {
		FILE *file = stream_new(STDERR_FILENO, "w");

		if (file)
			setvbuf(file, NULL, _IONBF, 0);
		stderr = file ? file : stderr;
	}
}

static int print(int fd, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));

static int print(int fd, const char *format, va_list ap)
{
	struct stream cookie = {.fd = fd};
	char *text;
	int n = vasprintf(&text, format, ap);

	if (n < 0)
		return -1;
	if (cookie_write(&cookie, text, (size_t)n) < n)
		n = -1;
	free(text);
	return n;
}

/* The attribute on its own, since a definition takes none: a format that was passed on is no mistake. */
int afu_preload_vdprintf(int, const char *, va_list) __asm__("vdprintf")
	__attribute__((format(printf, 2, 0)));
int afu_preload___vdprintf_chk(int, int, const char *, va_list) __asm__("__vdprintf_chk")
	__attribute__((format(printf, 3, 0)));
int afu_preload_dprintf(int, const char *, ...) __asm__("dprintf") __attribute__((format(printf, 2, 3)));
int afu_preload___dprintf_chk(int, int, const char *, ...) __asm__("__dprintf_chk")
	__attribute__((format(printf, 3, 4)));

AFU_INTERPOSE(int, vdprintf, int fd, const char *format, va_list ap)
{
	if (afu_fd_ours(fd))
		return print(fd, format, ap);
	return AFU_REAL(vdprintf)(fd, format, ap);
}

AFU_INTERPOSE(int, __vdprintf_chk, int fd, int flag, const char *format, va_list ap)
{
	if (afu_fd_ours(fd))
		return print(fd, format, ap);
	return AFU_REAL(__vdprintf_chk)(fd, flag, format, ap);
}

AFU_INTERPOSE(int, dprintf, int fd, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = afu_preload_vdprintf(fd, format, ap);
	va_end(ap);
	return r;
}

AFU_INTERPOSE(int, __dprintf_chk, int fd, int flag, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = afu_preload___vdprintf_chk(fd, flag, format, ap);
	va_end(ap);
	return r;
}
