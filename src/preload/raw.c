/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * syscall(): programs that go round the C library's wrappers.
 *
 * libuv and Node close descriptors this way, others reach fcntl, ppoll, close_range or
 * pidfd_open.  A call that may concern a socket of ours goes to the interposer of the
 * wrapper (the names below bind to this library, see meson.build); any other one to the
 * real syscall(), with all six words, whatever the program passed.
 *
 * Differences between the raw calls and the wrappers are made good here: signal sets are
 * 8 bytes, and pselect6 takes its set through a pair.  io_uring moves data on
 * descriptors where nobody can see it, so it does not exist in a domain.
 */
#include "library/speaker.h"
#include "preload/interpose.h"

#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { KERNEL_SIGSET = 8 };

/* The words of a call and how each kind is read from one. */
struct words {
	long w[6];
};

static int integer(const struct words *a, int i)
{
	return (int)a->w[i];
}

static unsigned int natural(const struct words *a, int i)
{
	return (unsigned int)a->w[i];
}

static size_t size(const struct words *a, int i)
{
	return (size_t)a->w[i];
}

static void *pointer(const struct words *a, int i)
{
	return (void *)a->w[i];
}

/* What the kernel's own 8 bytes are as a set of the C library's; NULL stays NULL. */
static const sigset_t *signal_set(const void *kernel, sigset_t *set)
{
	if (!kernel)
		return NULL;
	sigemptyset(set);
	memcpy(set, kernel, KERNEL_SIGSET);
	return set;
}

static long real(long number, const struct words *a)
{
	return AFU_REAL(syscall)(number, a->w[0], a->w[1], a->w[2], a->w[3], a->w[4], a->w[5]);
}

static long pselect6(const struct words *a)
{
	struct pair {
		const void *set;
		size_t size;
	} pair = {NULL, 0};
	sigset_t set;

	if (pointer(a, 5))
		memcpy(&pair, pointer(a, 5), sizeof(pair));
	return pselect(integer(a, 0), pointer(a, 1), pointer(a, 2), pointer(a, 3), pointer(a, 4),
		       signal_set(pair.set, &set));
}

static long waits(long number, const struct words *a, int *handled)
{
	sigset_t set;

	*handled = 1;
	switch (number) {
#ifdef SYS_poll
	case SYS_poll:
		return poll(pointer(a, 0), (nfds_t)natural(a, 1), integer(a, 2));
#endif
	case SYS_ppoll:
		return ppoll(pointer(a, 0), (nfds_t)natural(a, 1), pointer(a, 2),
			     signal_set(pointer(a, 3), &set));
#ifdef SYS_select
	case SYS_select:
		return select(integer(a, 0), pointer(a, 1), pointer(a, 2), pointer(a, 3), pointer(a, 4));
#endif
	case SYS_pselect6:
		return pselect6(a);
#ifdef SYS_epoll_create
	case SYS_epoll_create:
		return epoll_create(integer(a, 0));
#endif
	case SYS_epoll_create1:
		return epoll_create1(integer(a, 0));
	case SYS_epoll_ctl:
		return epoll_ctl(integer(a, 0), integer(a, 1), integer(a, 2), pointer(a, 3));
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
		return epoll_wait(integer(a, 0), pointer(a, 1), integer(a, 2), integer(a, 3));
#endif
	case SYS_epoll_pwait:
		return epoll_pwait(integer(a, 0), pointer(a, 1), integer(a, 2), integer(a, 3),
				   signal_set(pointer(a, 4), &set));
	case SYS_epoll_pwait2:
		return epoll_pwait2(integer(a, 0), pointer(a, 1), integer(a, 2), pointer(a, 3),
				    signal_set(pointer(a, 4), &set));
	default:
		*handled = 0;
		return 0;
	}
}

static long names(long number, const struct words *a, int *handled)
{
	*handled = 1;
	switch (number) {
	case SYS_socket:
		return socket(integer(a, 0), integer(a, 1), integer(a, 2));
	case SYS_socketpair:
		return socketpair(integer(a, 0), integer(a, 1), integer(a, 2), pointer(a, 3));
	case SYS_bind:
		return bind(integer(a, 0), pointer(a, 1), (socklen_t)natural(a, 2));
	case SYS_connect:
		return connect(integer(a, 0), pointer(a, 1), (socklen_t)natural(a, 2));
	case SYS_listen:
		return listen(integer(a, 0), integer(a, 1));
	case SYS_accept:
		return accept(integer(a, 0), pointer(a, 1), pointer(a, 2));
	case SYS_accept4:
		return accept4(integer(a, 0), pointer(a, 1), pointer(a, 2), integer(a, 3));
	case SYS_getsockname:
		return getsockname(integer(a, 0), pointer(a, 1), pointer(a, 2));
	case SYS_getpeername:
		return getpeername(integer(a, 0), pointer(a, 1), pointer(a, 2));
	case SYS_getsockopt:
		return getsockopt(integer(a, 0), integer(a, 1), integer(a, 2), pointer(a, 3), pointer(a, 4));
	case SYS_setsockopt:
		return setsockopt(integer(a, 0), integer(a, 1), integer(a, 2), pointer(a, 3),
				  (socklen_t)natural(a, 4));
	case SYS_shutdown:
		return shutdown(integer(a, 0), integer(a, 1));
	default:
		*handled = 0;
		return 0;
	}
}

static long data(long number, const struct words *a, int *handled)
{
	*handled = 1;
	switch (number) {
	case SYS_read:
		return read(integer(a, 0), pointer(a, 1), size(a, 2));
	case SYS_write:
		return write(integer(a, 0), pointer(a, 1), size(a, 2));
	case SYS_readv:
		return readv(integer(a, 0), pointer(a, 1), integer(a, 2));
	case SYS_writev:
		return writev(integer(a, 0), pointer(a, 1), integer(a, 2));
	case SYS_pread64:
		return pread(integer(a, 0), pointer(a, 1), size(a, 2), a->w[3]);
	case SYS_pwrite64:
		return pwrite(integer(a, 0), pointer(a, 1), size(a, 2), a->w[3]);
	/* The position comes in two words of which a 64-bit kernel uses the first. */
	case SYS_preadv:
		return preadv(integer(a, 0), pointer(a, 1), integer(a, 2), a->w[3]);
	case SYS_pwritev:
		return pwritev(integer(a, 0), pointer(a, 1), integer(a, 2), a->w[3]);
	case SYS_preadv2:
		return preadv2(integer(a, 0), pointer(a, 1), integer(a, 2), a->w[3], integer(a, 5));
	case SYS_pwritev2:
		return pwritev2(integer(a, 0), pointer(a, 1), integer(a, 2), a->w[3], integer(a, 5));
	case SYS_sendto:
		return sendto(integer(a, 0), pointer(a, 1), size(a, 2), integer(a, 3), pointer(a, 4),
			      (socklen_t)natural(a, 5));
	case SYS_recvfrom:
		return recvfrom(integer(a, 0), pointer(a, 1), size(a, 2), integer(a, 3), pointer(a, 4),
				pointer(a, 5));
	case SYS_sendmsg:
		return sendmsg(integer(a, 0), pointer(a, 1), integer(a, 2));
	case SYS_recvmsg:
		return recvmsg(integer(a, 0), pointer(a, 1), integer(a, 2));
	case SYS_sendmmsg:
		return sendmmsg(integer(a, 0), pointer(a, 1), natural(a, 2), integer(a, 3));
	case SYS_recvmmsg:
		return recvmmsg(integer(a, 0), pointer(a, 1), natural(a, 2), integer(a, 3), pointer(a, 4));
	case SYS_sendfile:
		return sendfile(integer(a, 0), integer(a, 1), pointer(a, 2), size(a, 3));
	case SYS_splice:
		return splice(integer(a, 0), pointer(a, 1), integer(a, 2), pointer(a, 3), size(a, 4),
			      natural(a, 5));
	case SYS_tee:
		return tee(integer(a, 0), integer(a, 1), size(a, 2), natural(a, 3));
	case SYS_vmsplice:
		return vmsplice(integer(a, 0), pointer(a, 1), size(a, 2), natural(a, 3));
	case SYS_copy_file_range:
		return copy_file_range(integer(a, 0), pointer(a, 1), integer(a, 2), pointer(a, 3), size(a, 4),
				       natural(a, 5));
	default:
		*handled = 0;
		return 0;
	}
}

static long descriptors(long number, const struct words *a, int *handled)
{
	*handled = 1;
	switch (number) {
	case SYS_close:
		return close(integer(a, 0));
	case SYS_close_range:
		return close_range(natural(a, 0), natural(a, 1), integer(a, 2));
	case SYS_dup:
		return dup(integer(a, 0));
#ifdef SYS_dup2
	case SYS_dup2:
		return dup2(integer(a, 0), integer(a, 1));
#endif
	case SYS_dup3:
		return dup3(integer(a, 0), integer(a, 1), integer(a, 2));
	case SYS_fcntl:
		return fcntl(integer(a, 0), integer(a, 1), pointer(a, 2));
	case SYS_ioctl:
		return ioctl(integer(a, 0), (unsigned long)natural(a, 1), pointer(a, 2));
	case SYS_fstat:
		return fstat(integer(a, 0), pointer(a, 1));
	case SYS_newfstatat:
		return fstatat(integer(a, 0), pointer(a, 1), pointer(a, 2), integer(a, 3));
	case SYS_statx:
		return statx(integer(a, 0), pointer(a, 1), integer(a, 2), natural(a, 3), pointer(a, 4));
	case SYS_fchmod:
		return fchmod(integer(a, 0), (mode_t)natural(a, 1));
	case SYS_fchown:
		return fchown(integer(a, 0), natural(a, 1), natural(a, 2));
	case SYS_lseek:
		return lseek(integer(a, 0), a->w[1], integer(a, 2));
#ifdef SYS_mmap
	case SYS_mmap:
		return (long)mmap(pointer(a, 0), size(a, 1), integer(a, 2), integer(a, 3), integer(a, 4),
				  a->w[5]);
#endif
	case SYS_ftruncate:
		return ftruncate(integer(a, 0), a->w[1]);
	case SYS_fsync:
		return fsync(integer(a, 0));
	case SYS_fdatasync:
		return fdatasync(integer(a, 0));
	case SYS_fallocate:
		return fallocate(integer(a, 0), integer(a, 1), a->w[2], a->w[3]);
#ifdef SYS_open
	case SYS_open:
		return open(pointer(a, 0), integer(a, 1), natural(a, 2));
#endif
	case SYS_openat:
		return openat(integer(a, 0), pointer(a, 1), integer(a, 2), natural(a, 3));
#ifdef SYS_getdents
	case SYS_getdents:
#endif
	case SYS_getdents64:
		return afu_preload_getdents(number, integer(a, 0), pointer(a, 1), natural(a, 2));
	default:
		*handled = 0;
		return 0;
	}
}

/* It has one argument more than the wrapper, and its information may be unwanted. */
static long raw_waitid(const struct words *a)
{
	long r = real(SYS_waitid, a);

	if (r == 0)
		afu_library_reaped();
	return r;
}

/* Of this thread alone: not what the C library's functions do. */
static long changed_ids(long result)
{
	afu_speaker_changed();
	return result;
}

static long processes(long number, const struct words *a, int *handled)
{
	*handled = 1;
	switch (number) {
#ifdef SYS_fork
	case SYS_fork:
		return fork();
#endif
#ifdef SYS_vfork
	/* The raw call cannot return twice through this function on one stack. */
	case SYS_vfork:
		return fork();
#endif
	case SYS_clone:
		/* Without a stack, memory or namespaces of its own it is fork. */
		if ((a->w[0] & ~0xffL) == 0 && !a->w[1])
			return fork();
		break;
	case SYS_chroot:
		return chroot(pointer(a, 0));
	case SYS_unshare:
		return unshare(integer(a, 0));
	case SYS_setns:
		return setns(integer(a, 0), integer(a, 1));
	case SYS_execve:
		return execve(pointer(a, 0), pointer(a, 1), pointer(a, 2));
	case SYS_execveat:
		return execveat(integer(a, 0), pointer(a, 1), pointer(a, 2), pointer(a, 3), integer(a, 4));
	case SYS_wait4:
		return wait4(integer(a, 0), pointer(a, 1), integer(a, 2), pointer(a, 3));
	case SYS_waitid:
		return raw_waitid(a);
	case SYS_setuid:
	case SYS_setgid:
	case SYS_setreuid:
	case SYS_setregid:
	case SYS_setresuid:
	case SYS_setresgid:
		afu_speaker_changing();
		return changed_ids(real(number, a));
	case SYS_prctl:
		return prctl(integer(a, 0), a->w[1], a->w[2], a->w[3], a->w[4]);
	case SYS_seccomp:
		afu_preload_filtered(natural(a, 0), natural(a, 1), pointer(a, 2));
		break;
#ifdef SYS_setrlimit
	case SYS_setrlimit:
		return setrlimit(integer(a, 0), pointer(a, 1));
#endif
	case SYS_prlimit64:
		return prlimit(integer(a, 0), integer(a, 1), pointer(a, 2), pointer(a, 3));
	case SYS_io_uring_setup:
		return afu_preload_fail(ENOSYS);
	default:
		break;
	}
	*handled = 0;
	return 0;
}

/* Calls whose result is a descriptor number that is never ours. */
static int makes_descriptor(long number)
{
	switch (number) {
#ifdef SYS_creat
	case SYS_creat:
#endif
#ifdef SYS_eventfd
	case SYS_eventfd:
#endif
#ifdef SYS_inotify_init
	case SYS_inotify_init:
#endif
#ifdef SYS_memfd_secret
	case SYS_memfd_secret:
#endif
#ifdef SYS_userfaultfd
	case SYS_userfaultfd:
#endif
	case SYS_openat2:
	case SYS_open_by_handle_at:
	case SYS_open_tree:
	case SYS_fsopen:
	case SYS_fsmount:
	case SYS_fspick:
	case SYS_eventfd2:
	case SYS_timerfd_create:
	case SYS_signalfd4:
	case SYS_inotify_init1:
	case SYS_fanotify_init:
	case SYS_memfd_create:
	case SYS_pidfd_open:
	case SYS_pidfd_getfd:
	case SYS_perf_event_open:
	case SYS_mq_open:
	case SYS_bpf:
		return 1;
	default:
		return 0;
	}
}

static long fresh_pipe(long result, const int *fds)
{
	if (result == 0) {
		afu_preload_fresh(fds[0]);
		afu_preload_fresh(fds[1]);
	}
	return result;
}

static long other(long number, const struct words *a)
{
	long r = real(number, a);

	if (makes_descriptor(number) && r >= 0 && r <= 0x7fffffff)
		afu_preload_fresh((int)r);
	if (number == SYS_pipe2)
		fresh_pipe(r, pointer(a, 0));
#ifdef SYS_pipe
	if (number == SYS_pipe)
		fresh_pipe(r, pointer(a, 0));
#endif
	return r;
}

AFU_INTERPOSE(long, syscall, long number, ...)
{
	static long (*const classes[])(long, const struct words *, int *) = {
		data, descriptors, waits, names, processes,
	};
	struct words a;
	va_list ap;

	/* Reading words that were not passed is harmless: registers, and the caller's frame. */
	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a.w[i] = va_arg(ap, long);
	va_end(ap);
	if (!afu_preload_active())
		return real(number, &a);
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		int handled;
		long r = classes[i](number, &a, &handled);

		if (handled)
			return r;
	}
	return other(number, &a);
}
