/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The C library's own functions, behind our interposers of the same names.
 *
 * One table of pointers, resolved with dlsym(RTLD_NEXT) by the constructor, or one by
 * one at first use: other libraries' constructors run before ours and may call us.
 * The types are spelled out rather than taken from the headers, since those rename,
 * redirect and annotate (nonnull, noreturn, fortify) in ways that differ by version.
 * On 64-bit systems open and open64 are the same function, and so on, so one entry serves both.
 */
#ifndef AFU_PRELOAD_REAL_H
#define AFU_PRELOAD_REAL_H

#include <dirent.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

_Static_assert(sizeof(off_t) == 8 && sizeof(long) == 8, "one table entry serves open and open64");

/* X(result, name, parameter types...) */
#define AFU_REAL_LIST(X)                                                                                     \
	/* making and naming */                                                                              \
	X(int, socket, int, int, int)                                                                        \
	X(int, socketpair, int, int, int, int *)                                                             \
	X(int, bind, int, const struct sockaddr *, socklen_t)                                                \
	X(int, connect, int, const struct sockaddr *, socklen_t)                                             \
	X(int, listen, int, int)                                                                             \
	X(int, accept, int, struct sockaddr *, socklen_t *)                                                  \
	X(int, accept4, int, struct sockaddr *, socklen_t *, int)                                            \
	X(int, getsockname, int, struct sockaddr *, socklen_t *)                                             \
	X(int, getpeername, int, struct sockaddr *, socklen_t *)                                             \
	X(int, getsockopt, int, int, int, void *, socklen_t *)                                               \
	X(int, setsockopt, int, int, int, const void *, socklen_t)                                           \
	X(int, shutdown, int, int)                                                                           \
	X(int, sockatmark, int)                                                                              \
	X(int, isfdtype, int, int)                                                                           \
	/* data */                                                                                           \
	X(ssize_t, read, int, void *, size_t)                                                                \
	X(ssize_t, write, int, const void *, size_t)                                                         \
	X(ssize_t, readv, int, const struct iovec *, int)                                                    \
	X(ssize_t, writev, int, const struct iovec *, int)                                                   \
	X(ssize_t, send, int, const void *, size_t, int)                                                     \
	X(ssize_t, sendto, int, const void *, size_t, int, const struct sockaddr *, socklen_t)               \
	X(ssize_t, sendmsg, int, const struct msghdr *, int)                                                 \
	X(int, sendmmsg, int, struct mmsghdr *, unsigned int, int)                                           \
	X(ssize_t, recv, int, void *, size_t, int)                                                           \
	X(ssize_t, recvfrom, int, void *, size_t, int, struct sockaddr *, socklen_t *)                       \
	X(ssize_t, recvmsg, int, struct msghdr *, int)                                                       \
	X(int, recvmmsg, int, struct mmsghdr *, unsigned int, int, struct timespec *)                        \
	X(ssize_t, pread, int, void *, size_t, off_t)                                                        \
	X(ssize_t, pwrite, int, const void *, size_t, off_t)                                                 \
	X(ssize_t, preadv, int, const struct iovec *, int, off_t)                                            \
	X(ssize_t, pwritev, int, const struct iovec *, int, off_t)                                           \
	X(ssize_t, preadv2, int, const struct iovec *, int, off_t, int)                                      \
	X(ssize_t, pwritev2, int, const struct iovec *, int, off_t, int)                                     \
	/* readiness */                                                                                      \
	X(int, poll, struct pollfd *, nfds_t, int)                                                           \
	X(int, ppoll, struct pollfd *, nfds_t, const struct timespec *, const sigset_t *)                    \
	X(int, select, int, fd_set *, fd_set *, fd_set *, struct timeval *)                                  \
	X(int, pselect, int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *)        \
	X(int, epoll_create, int)                                                                            \
	X(int, epoll_create1, int)                                                                           \
	X(int, epoll_ctl, int, int, int, struct epoll_event *)                                               \
	X(int, epoll_wait, int, struct epoll_event *, int, int)                                              \
	X(int, epoll_pwait, int, struct epoll_event *, int, int, const sigset_t *)                           \
	X(int, epoll_pwait2, int, struct epoll_event *, int, const struct timespec *, const sigset_t *)      \
	/* moving */                                                                                         \
	X(ssize_t, sendfile, int, int, off_t *, size_t)                                                      \
	X(ssize_t, splice, int, off_t *, int, off_t *, size_t, unsigned int)                                 \
	X(ssize_t, tee, int, int, size_t, unsigned int)                                                      \
	X(ssize_t, vmsplice, int, const struct iovec *, size_t, unsigned int)                                \
	X(ssize_t, copy_file_range, int, off_t *, int, off_t *, size_t, unsigned int)                        \
	/* descriptors */                                                                                    \
	X(int, close, int)                                                                                   \
	X(int, close_range, unsigned int, unsigned int, int)                                                 \
	X(void, closefrom, int)                                                                              \
	X(int, dup, int)                                                                                     \
	X(int, dup2, int, int)                                                                               \
	X(int, dup3, int, int, int)                                                                          \
	X(int, fcntl, int, int, ...)                                                                         \
	X(int, ioctl, int, unsigned long, ...)                                                               \
	/* calls that return a new number */                                                                 \
	X(int, open, const char *, int, ...)                                                                 \
	X(int, openat, int, const char *, int, ...)                                                          \
	X(int, __open_2, const char *, int)                                                                  \
	X(int, __openat_2, int, const char *, int)                                                           \
	X(int, creat, const char *, mode_t)                                                                  \
	X(int, pipe, int *)                                                                                  \
	X(int, pipe2, int *, int)                                                                            \
	X(int, eventfd, unsigned int, int)                                                                   \
	X(int, timerfd_create, int, int)                                                                     \
	X(int, signalfd, int, const sigset_t *, int)                                                         \
	X(int, inotify_init, void)                                                                           \
	X(int, inotify_init1, int)                                                                           \
	X(int, fanotify_init, unsigned int, unsigned int)                                                    \
	X(int, memfd_create, const char *, unsigned int)                                                     \
	X(int, pidfd_open, pid_t, unsigned int)                                                              \
	X(int, pidfd_getfd, int, int, unsigned int)                                                          \
	X(int, mkstemp, char *)                                                                              \
	X(int, mkostemp, char *, int)                                                                        \
	X(int, mkstemps, char *, int)                                                                        \
	X(int, mkostemps, char *, int, int)                                                                  \
	X(int, posix_openpt, int)                                                                            \
	X(int, getpt, void)                                                                                  \
	X(int, openpty, int *, int *, char *, const struct termios *, const struct winsize *)                \
	X(int, shm_open, const char *, int, mode_t)                                                          \
	X(mqd_t, mq_open, const char *, int, ...)                                                            \
	X(FILE *, fopen, const char *, const char *)                                                         \
	X(FILE *, freopen, const char *, const char *, FILE *)                                               \
	X(FILE *, tmpfile, void)                                                                             \
	X(FILE *, fdopen, int, const char *)                                                                 \
	X(int, fileno, FILE *)                                                                               \
	X(int, fileno_unlocked, FILE *)                                                                      \
	X(DIR *, opendir, const char *)                                                                      \
	/* listing */                                                                                        \
	X(struct dirent *, readdir, DIR *)                                                                   \
	X(int, readdir_r, DIR *, struct dirent *, struct dirent **)                                          \
	X(int, scandirat, int, const char *, struct dirent ***, int (*)(const struct dirent *),              \
	  int (*)(const struct dirent **, const struct dirent **))                                           \
	/* inodes */                                                                                         \
	X(int, fstat, int, struct stat *)                                                                    \
	X(int, stat, const char *, struct stat *)                                                            \
	X(int, fstatat, int, const char *, struct stat *, int)                                               \
	X(int, statx, int, const char *, int, unsigned int, struct statx *)                                  \
	X(int, fstatfs, int, struct statfs *)                                                                \
	X(int, fstatvfs, int, struct statvfs *)                                                              \
	X(int, fchmod, int, mode_t)                                                                          \
	X(int, fchown, int, uid_t, gid_t)                                                                    \
	X(int, isatty, int)                                                                                  \
	X(off_t, lseek, int, off_t, int)                                                                     \
	X(void *, mmap, void *, size_t, int, int, int, off_t)                                                \
	X(int, ftruncate, int, off_t)                                                                        \
	X(int, fsync, int)                                                                                   \
	X(int, fdatasync, int)                                                                               \
	X(int, fallocate, int, int, off_t, off_t)                                                            \
	X(int, posix_fallocate, int, off_t, off_t)                                                           \
	X(int, posix_fadvise, int, off_t, off_t, int)                                                        \
	X(ssize_t, readlink, const char *, char *, size_t)                                                   \
	X(ssize_t, readlinkat, int, const char *, char *, size_t)                                            \
	/* processes */                                                                                      \
	X(pid_t, fork, void)                                                                                 \
	X(pid_t, vfork, void)                                                                                \
	X(pid_t, _Fork, void)                                                                                \
	X(int, clone, int (*)(void *), void *, int, void *, ...)                                             \
	X(int, chroot, const char *)                                                                         \
	X(int, unshare, int)                                                                                 \
	X(int, setuid, uid_t)                                                                                \
	X(int, setgid, gid_t)                                                                                \
	X(int, setreuid, uid_t, uid_t)                                                                       \
	X(int, setregid, gid_t, gid_t)                                                                       \
	X(int, setresuid, uid_t, uid_t, uid_t)                                                               \
	X(int, setresgid, gid_t, gid_t, gid_t)                                                               \
	X(int, setns, int, int)                                                                              \
	X(int, prctl, int, ...)                                                                              \
	X(int, setrlimit, __rlimit_resource_t, const struct rlimit *)                                        \
	X(int, prlimit, pid_t, __rlimit_resource_t, const struct rlimit *, struct rlimit *)                  \
	X(int, daemon, int, int)                                                                             \
	X(pid_t, forkpty, int *, char *, const struct termios *, const struct winsize *)                     \
	X(int, login_tty, int)                                                                               \
	X(int, execve, const char *, char *const *, char *const *)                                           \
	X(int, execvpe, const char *, char *const *, char *const *)                                          \
	X(int, execveat, int, const char *, char *const *, char *const *, int)                               \
	X(int, fexecve, int, char *const *, char *const *)                                                   \
	X(int, posix_spawn_file_actions_adddup2, posix_spawn_file_actions_t *, int, int)                     \
	X(int, posix_spawn, pid_t *, const char *, const posix_spawn_file_actions_t *,                       \
	  const posix_spawnattr_t *, char *const *, char *const *)                                           \
	X(int, posix_spawnp, pid_t *, const char *, const posix_spawn_file_actions_t *,                      \
	  const posix_spawnattr_t *, char *const *, char *const *)                                           \
	X(int, pidfd_spawn, int *, const char *, const posix_spawn_file_actions_t *,                         \
	  const posix_spawnattr_t *, char *const *, char *const *)                                           \
	X(int, pidfd_spawnp, int *, const char *, const posix_spawn_file_actions_t *,                        \
	  const posix_spawnattr_t *, char *const *, char *const *)                                           \
	X(int, system, const char *)                                                                         \
	X(FILE *, popen, const char *, const char *)                                                         \
	X(int, pclose, FILE *)                                                                               \
	X(pid_t, wait, int *)                                                                                \
	X(pid_t, wait3, int *, int, struct rusage *)                                                         \
	X(pid_t, wait4, pid_t, int *, int, struct rusage *)                                                  \
	X(pid_t, waitpid, pid_t, int *, int)                                                                 \
	X(int, waitid, idtype_t, id_t, siginfo_t *, int)                                                     \
	/* signals */                                                                                        \
	X(int, sigaction, int, const struct sigaction *, struct sigaction *)                                 \
	X(sighandler_t, signal, int, sighandler_t)                                                           \
	X(sighandler_t, sysv_signal, int, sighandler_t)                                                      \
	X(sighandler_t, sigset, int, sighandler_t)                                                           \
	X(int, sigignore, int)                                                                               \
	X(int, sigtimedwait, const sigset_t *, siginfo_t *, const struct timespec *)                         \
	X(int, sigwaitinfo, const sigset_t *, siginfo_t *)                                                   \
	X(int, siginterrupt, int, int)                                                                       \
	/* raw */                                                                                            \
	X(long, syscall, long, ...)                                                                          \
	/* formatted output to a descriptor */                                                               \
	X(int, vdprintf, int, const char *, va_list)                                                         \
	X(int, __vdprintf_chk, int, int, const char *, va_list)

struct afu_real {
#define AFU_REAL_MEMBER(ret, name, ...) ret (*name)(__VA_ARGS__);
	AFU_REAL_LIST(AFU_REAL_MEMBER)
#undef AFU_REAL_MEMBER
};

/* Zero at first; an entry once set is never changed. */
extern struct afu_real afu_real;

/* Resolves every entry. */
void afu_real_resolve(void);

/*
 * Resolves one entry, given by its position.  Never NULL: a function that this C library
 * does not have is one that fails with ENOSYS.
 */
void (*afu_real_find(size_t position))(void) __attribute__((cold));

/* The real function.  Relaxed: two threads that race to set an entry store the same value. */
#define AFU_REAL(name)                                                                                       \
	(__extension__({                                                                                     \
		__typeof__(afu_real.name) real_ = __atomic_load_n(&afu_real.name, __ATOMIC_RELAXED);         \
		if (__builtin_expect(!real_, 0))                                                             \
			real_ = (__typeof__(real_))afu_real_find(offsetof(struct afu_real, name) /           \
								 sizeof(void (*)(void)));                    \
		real_;                                                                                       \
	}))

#endif
