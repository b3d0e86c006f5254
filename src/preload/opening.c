/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Calls that return a new descriptor which is never ours.
 *
 * libc closes descriptors behind our back, so the number may still stand in the table
 * for an earlier socket; each of these calls drops that.  Opening a socket of ours by
 * its path in /proc or /dev is ENXIO, as for any socket.
 */
#include "preload/interpose.h"

#include <stdarg.h>

#define MODE(last, mode)                                                                                     \
	do {                                                                                                 \
		va_list ap_;                                                                                 \
		va_start(ap_, last);                                                                         \
		(mode) = va_arg(ap_, mode_t);                                                                \
		va_end(ap_);                                                                                 \
	} while (0)

AFU_INTERPOSE(int, open, const char *path, int flags, ...)
{
	mode_t mode;

	/* There may be no mode; then what is read here is not looked at by the kernel. */
	MODE(flags, mode);
	if (afu_preload_path_socket(path) >= 0)
		return afu_preload_fail(ENXIO);
	return afu_preload_fresh(AFU_REAL(open)(path, flags, mode));
}
AFU_INTERPOSE_ALIAS(open64, open);
AFU_INTERPOSE_ALIAS(__open, open);
AFU_INTERPOSE_ALIAS(__open64, open);

AFU_INTERPOSE(int, openat, int dir, const char *path, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	if (afu_preload_path_socket(path) >= 0)
		return afu_preload_fail(ENXIO);
	return afu_preload_fresh(AFU_REAL(openat)(dir, path, flags, mode));
}
AFU_INTERPOSE_ALIAS(openat64, openat);

/* What open() without a mode is under _FORTIFY_SOURCE. */
AFU_INTERPOSE(int, __open_2, const char *path, int flags)
{
	if (afu_preload_path_socket(path) >= 0)
		return afu_preload_fail(ENXIO);
	return afu_preload_fresh(AFU_REAL(__open_2)(path, flags));
}
AFU_INTERPOSE_ALIAS(__open64_2, __open_2);

AFU_INTERPOSE(int, __openat_2, int dir, const char *path, int flags)
{
	if (afu_preload_path_socket(path) >= 0)
		return afu_preload_fail(ENXIO);
	return afu_preload_fresh(AFU_REAL(__openat_2)(dir, path, flags));
}
AFU_INTERPOSE_ALIAS(__openat64_2, __openat_2);

AFU_INTERPOSE(int, creat, const char *path, mode_t mode)
{
	if (afu_preload_path_socket(path) >= 0)
		return afu_preload_fail(ENXIO);
	return afu_preload_fresh(AFU_REAL(creat)(path, mode));
}
AFU_INTERPOSE_ALIAS(creat64, creat);

static int fresh_pair(int r, const int *fds)
{
	if (r == 0) {
		afu_preload_fresh(fds[0]);
		afu_preload_fresh(fds[1]);
	}
	return r;
}

AFU_INTERPOSE(int, pipe, int *fds)
{
	return fresh_pair(AFU_REAL(pipe)(fds), fds);
}
AFU_INTERPOSE_ALIAS(__pipe, pipe);

AFU_INTERPOSE(int, pipe2, int *fds, int flags)
{
	return fresh_pair(AFU_REAL(pipe2)(fds, flags), fds);
}

AFU_INTERPOSE(int, eventfd, unsigned int value, int flags)
{
	return afu_preload_fresh(AFU_REAL(eventfd)(value, flags));
}

AFU_INTERPOSE(int, timerfd_create, int clock, int flags)
{
	return afu_preload_fresh(AFU_REAL(timerfd_create)(clock, flags));
}

AFU_INTERPOSE(int, signalfd, int fd, const sigset_t *mask, int flags)
{
	int r = AFU_REAL(signalfd)(fd, mask, flags);

	return fd == -1 ? afu_preload_fresh(r) : r;
}

AFU_INTERPOSE(int, inotify_init, void)
{
	return afu_preload_fresh(AFU_REAL(inotify_init)());
}

AFU_INTERPOSE(int, inotify_init1, int flags)
{
	return afu_preload_fresh(AFU_REAL(inotify_init1)(flags));
}

AFU_INTERPOSE(int, fanotify_init, unsigned int flags, unsigned int event_flags)
{
	return afu_preload_fresh(AFU_REAL(fanotify_init)(flags, event_flags));
}

AFU_INTERPOSE(int, memfd_create, const char *name, unsigned int flags)
{
	return afu_preload_fresh(AFU_REAL(memfd_create)(name, flags));
}

AFU_INTERPOSE(int, pidfd_open, pid_t pid, unsigned int flags)
{
	return afu_preload_fresh(AFU_REAL(pidfd_open)(pid, flags));
}

AFU_INTERPOSE(int, pidfd_getfd, int pidfd, int fd, unsigned int flags)
{
	return afu_preload_fresh(AFU_REAL(pidfd_getfd)(pidfd, fd, flags));
}

AFU_INTERPOSE(int, mkstemp, char *template)
{
	return afu_preload_fresh(AFU_REAL(mkstemp)(template));
}
AFU_INTERPOSE_ALIAS(mkstemp64, mkstemp);

AFU_INTERPOSE(int, mkostemp, char *template, int flags)
{
	return afu_preload_fresh(AFU_REAL(mkostemp)(template, flags));
}
AFU_INTERPOSE_ALIAS(mkostemp64, mkostemp);

AFU_INTERPOSE(int, mkstemps, char *template, int suffix)
{
	return afu_preload_fresh(AFU_REAL(mkstemps)(template, suffix));
}
AFU_INTERPOSE_ALIAS(mkstemps64, mkstemps);

AFU_INTERPOSE(int, mkostemps, char *template, int suffix, int flags)
{
	return afu_preload_fresh(AFU_REAL(mkostemps)(template, suffix, flags));
}
AFU_INTERPOSE_ALIAS(mkostemps64, mkostemps);

AFU_INTERPOSE(int, posix_openpt, int flags)
{
	return afu_preload_fresh(AFU_REAL(posix_openpt)(flags));
}

AFU_INTERPOSE(int, getpt, void)
{
	return afu_preload_fresh(AFU_REAL(getpt)());
}

AFU_INTERPOSE(int, openpty, int *master, int *slave, char *name, const struct termios *termios,
	      const struct winsize *size)
{
	int r = AFU_REAL(openpty)(master, slave, name, termios, size);

	if (r == 0) {
		afu_preload_fresh(*master);
		afu_preload_fresh(*slave);
	}
	return r;
}

AFU_INTERPOSE(int, shm_open, const char *name, int flags, mode_t mode)
{
	return afu_preload_fresh(AFU_REAL(shm_open)(name, flags, mode));
}

AFU_INTERPOSE(mqd_t, mq_open, const char *name, int flags, ...)
{
	struct mq_attr *attr;
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	attr = va_arg(ap, struct mq_attr *);
	va_end(ap);
	return afu_preload_fresh(AFU_REAL(mq_open)(name, flags, mode, attr));
}

static FILE *fresh_stream(FILE *stream)
{
	if (stream)
		afu_preload_fresh(AFU_REAL(fileno)(stream));
	return stream;
}

/* Refuses a stream on a path that stands for one of our sockets. */
static int refused(const char *path)
{
	if (afu_preload_path_socket(path) < 0)
		return 0;
	errno = ENXIO;
	return 1;
}

AFU_INTERPOSE(FILE *, fopen, const char *path, const char *mode)
{
	return refused(path) ? NULL : fresh_stream(AFU_REAL(fopen)(path, mode));
}
AFU_INTERPOSE_ALIAS(fopen64, fopen);

AFU_INTERPOSE(FILE *, freopen, const char *path, const char *mode, FILE *stream)
{
	return fresh_stream(AFU_REAL(freopen)(path, mode, stream));
}
AFU_INTERPOSE_ALIAS(freopen64, freopen);

AFU_INTERPOSE(FILE *, tmpfile, void)
{
	return fresh_stream(AFU_REAL(tmpfile)());
}
AFU_INTERPOSE_ALIAS(tmpfile64, tmpfile);

AFU_INTERPOSE(DIR *, opendir, const char *path)
{
	DIR *dir = AFU_REAL(opendir)(path);

	if (dir)
		afu_preload_fresh(dirfd(dir));
	return dir;
}
