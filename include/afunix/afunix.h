/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * afunix: sockets for local interprocess communication, unix(7), in user space.
 *
 * Each function is the one of POSIX or Linux whose name follows "afunix_": same
 * arguments, same result, same errno.  A descriptor that is not an afunix socket
 * goes to the kernel unchanged, so a program may hand any descriptor to any of them.
 *
 * A process that has AFUNIX_DOMAIN in its environment belongs to that domain
 * (see afunix(1)); any other process is a domain of its own, whose sockets reach
 * from thread to thread ("embedded").  afunix_attach() chooses explicitly.
 *
 * Thread-safety: all functions may be called from any thread.
 * Signal-safety: those that POSIX lists as async-signal-safe are safe here too,
 * in handlers installed with afunix_sigaction() (the preload does that for the
 * whole program).
 */
#ifndef AFUNIX_AFUNIX_H
#define AFUNIX_AFUNIX_H

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

#define AFUNIX_VERSION_MAJOR 0
#define AFUNIX_VERSION_MINOR 1

/* Why the calling thread's last refused call was refused. */
struct afunix_cause {
	int error;          /* the errno */
	const char *id;     /* identifier in the table, such as "NAME_IN_USE" */
	const char *calls;  /* the calls that can give it, separated by spaces */
	const char *text;   /* what happened and what to do, one sentence */
	char detail[256];   /* particulars of this refusal; may be empty */
};

/*
 * The calling thread's last refusal; NULL if there was none.  The pointer stays
 * valid until the thread's next call into afunix.  Async-signal-safe.
 */
const struct afunix_cause *afunix_cause(void);

/*
 * Chooses the domain: a name that afunixd serves, a control address as found in
 * AFUNIX_DOMAIN, or NULL for embedded.  To be called before the first socket.
 * 0, or -1 with EBUSY (a domain was chosen already), ENOENT or ECONNREFUSED
 * (nobody serves it), EINVAL (not a name).
 */
int afunix_attach(const char *domain);

/* 1 if the descriptor is an afunix socket, else 0.  Async-signal-safe. */
int afunix_is_socket(int fd);

/* Making and naming. */
int afunix_socket(int domain, int type, int protocol);
int afunix_socketpair(int domain, int type, int protocol, int sv[2]);
int afunix_bind(int fd, const struct sockaddr *addr, socklen_t len);
int afunix_listen(int fd, int backlog);
int afunix_accept(int fd, struct sockaddr *addr, socklen_t *len);
int afunix_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int afunix_connect(int fd, const struct sockaddr *addr, socklen_t len);
int afunix_getsockname(int fd, struct sockaddr *addr, socklen_t *len);
int afunix_getpeername(int fd, struct sockaddr *addr, socklen_t *len);
int afunix_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int afunix_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int afunix_shutdown(int fd, int how);
int afunix_sockatmark(int fd);

/* Data. */
ssize_t afunix_read(int fd, void *buf, size_t n);
ssize_t afunix_write(int fd, const void *buf, size_t n);
ssize_t afunix_readv(int fd, const struct iovec *iov, int n);
ssize_t afunix_writev(int fd, const struct iovec *iov, int n);
ssize_t afunix_recv(int fd, void *buf, size_t n, int flags);
ssize_t afunix_send(int fd, const void *buf, size_t n, int flags);
ssize_t afunix_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len);
ssize_t afunix_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len);
ssize_t afunix_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t afunix_sendmsg(int fd, const struct msghdr *msg, int flags);
struct mmsghdr;
int afunix_recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags, struct timespec *timeout);
int afunix_sendmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags);

/* Descriptors. */
int afunix_close(int fd);
int afunix_close_range(unsigned int first, unsigned int last, int flags);
int afunix_dup(int fd);
int afunix_dup2(int fd, int to);
int afunix_dup3(int fd, int to, int flags);
int afunix_fcntl(int fd, int cmd, ...);
int afunix_ioctl(int fd, unsigned long request, ...);
int afunix_fstat(int fd, struct stat *st);

/* Readiness, over afunix sockets and kernel descriptors together. */
int afunix_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
int afunix_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
int afunix_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout);
int afunix_pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout,
		   const sigset_t *mask);
int afunix_epoll_create(int size);
int afunix_epoll_create1(int flags);
int afunix_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int afunix_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms);
int afunix_epoll_pwait(int epfd, struct epoll_event *events, int n, int timeout_ms, const sigset_t *mask);
int afunix_epoll_pwait2(int epfd, struct epoll_event *events, int n, const struct timespec *timeout,
			const sigset_t *mask);

/* Processes and signals. */
pid_t afunix_fork(void);
int afunix_sigaction(int sig, const struct sigaction *act, struct sigaction *old);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
