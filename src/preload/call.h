/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Calls under observation: `afunix run --explain` and `--inject`.
 *
 * An interposer makes its call as AFU_OURS() or AFU_THEIRS().  While nobody observes,
 * which is decided when the process starts, that is the call itself behind one predictable
 * branch.  Otherwise afu_run_<call>() makes it: the call may be refused by an injection in
 * place of being made, and is explained if it was refused.  That is a function of its own,
 * so that the interposer keeps the frame that it has without all this: mostly none.
 *
 * Everything here is async-signal-safe, allocates nothing and leaves errno as the call did.
 */
#ifndef AFU_PRELOAD_CALL_H
#define AFU_PRELOAD_CALL_H

#include "library/call.h"
#include "preload/interpose.h"

struct afu_observed {
	enum afu_call call;
	int kernel; /* made on a descriptor that is not ours */
	int error;  /* of the refused call */
	int injected;
	long arg[6];
};

/* Set before the program's main(), never changed. */
extern int afu_call_observed __attribute__((visibility("hidden")));

/* For the constructor, in a process of a domain: decides whether calls are observed. */
void afu_call_start(void);

/* inject.c: reads what is to be injected; how many. */
int afu_inject_start(void);
/* The errno with which the call is to be refused; 0: it is to be made. */
int afu_inject(const struct afu_observed *o);

/* explain.c: 1 if refusals are to be explained. */
int afu_explain_start(void);
/* One line about the refused call. */
void afu_explain(const struct afu_observed *o);

/* A line under construction; what does not fit is cut off. */
struct afu_line {
	size_t n;
	char at[1200];
};

/* decode.c */
void afu_line_text(struct afu_line *l, const char *text);
void afu_line_number(struct afu_line *l, long number);
/* At most n bytes, up to a NUL; what is not printable becomes \xNN. */
void afu_line_escaped(struct afu_line *l, const char *bytes, size_t n);
void afu_line_call(struct afu_line *l, const struct afu_observed *o);

/* The address as a path or as @ and an abstract name; 0, or -1 if it is none of AF_UNIX. */
int afu_call_address(const void *address, size_t length, char *text, size_t room);
/* The address that the call names; 0, or -1 if it names none. */
int afu_call_target(const struct afu_observed *o, char *text, size_t room);
/* The descriptor of ours that the call is about, or -1. */
int afu_call_descriptor(const struct afu_observed *o);
/* The flags of a message that is sent or received; 0 if the call takes none. */
int afu_call_flags(const struct afu_observed *o);

/* The types of the calls in calls.def; none has more than six arguments. */
#define AFU_CALL_LIST(X)                                                                                     \
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
	X(ssize_t, read, int, void *, size_t)                                                                \
	X(ssize_t, readv, int, const struct iovec *, int)                                                    \
	X(ssize_t, recv, int, void *, size_t, int)                                                           \
	X(ssize_t, recvfrom, int, void *, size_t, int, struct sockaddr *, socklen_t *)                       \
	X(ssize_t, recvmsg, int, struct msghdr *, int)                                                       \
	X(int, recvmmsg, int, struct mmsghdr *, unsigned int, int, struct timespec *)                        \
	X(ssize_t, pread, int, void *, size_t, off_t)                                                        \
	X(ssize_t, preadv, int, const struct iovec *, int, off_t)                                            \
	X(ssize_t, preadv2, int, const struct iovec *, int, off_t, int)                                      \
	X(ssize_t, write, int, const void *, size_t)                                                         \
	X(ssize_t, writev, int, const struct iovec *, int)                                                   \
	X(ssize_t, send, int, const void *, size_t, int)                                                     \
	X(ssize_t, sendto, int, const void *, size_t, int, const struct sockaddr *, socklen_t)               \
	X(ssize_t, sendmsg, int, const struct msghdr *, int)                                                 \
	X(int, sendmmsg, int, struct mmsghdr *, unsigned int, int)                                           \
	X(ssize_t, pwrite, int, const void *, size_t, off_t)                                                 \
	X(ssize_t, pwritev, int, const struct iovec *, int, off_t)                                           \
	X(ssize_t, pwritev2, int, const struct iovec *, int, off_t, int)                                     \
	X(ssize_t, sendfile, int, int, off_t *, size_t)                                                      \
	X(ssize_t, splice, int, off_t *, int, off_t *, size_t, unsigned int)                                 \
	X(int, ioctl, int, unsigned long, void *)                                                            \
	X(int, fcntl, int, int, void *)                                                                      \
	X(int, dup, int)                                                                                     \
	X(int, dup2, int, int)                                                                               \
	X(int, dup3, int, int, int)                                                                          \
	X(int, fchmod, int, mode_t)                                                                          \
	X(int, fchown, int, uid_t, gid_t)                                                                    \
	X(off_t, lseek, int, off_t, int)                                                                     \
	X(int, poll, struct pollfd *, nfds_t, int)                                                           \
	X(int, ppoll, struct pollfd *, nfds_t, const struct timespec *, const sigset_t *)                    \
	X(int, select, int, fd_set *, fd_set *, fd_set *, struct timeval *)                                  \
	X(int, pselect, int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *)        \
	X(int, epoll_create, int)                                                                            \
	X(int, epoll_create1, int)                                                                           \
	X(int, epoll_ctl, int, int, int, struct epoll_event *)                                               \
	X(int, epoll_wait, int, struct epoll_event *, int, int)                                              \
	X(int, epoll_pwait, int, struct epoll_event *, int, int, const sigset_t *)                           \
	X(int, epoll_pwait2, int, struct epoll_event *, int, const struct timespec *, const sigset_t *)

#define AFU_PARAMETERS_PICK(_1, _2, _3, _4, _5, _6, n, ...) n
#define AFU_PARAMETERS(...)                                                                                  \
	AFU_PARAMETERS_PICK(__VA_ARGS__, AFU_PARAMETERS_6, AFU_PARAMETERS_5, AFU_PARAMETERS_4,               \
			    AFU_PARAMETERS_3, AFU_PARAMETERS_2, AFU_PARAMETERS_1, 0)                         \
	(__VA_ARGS__)
#define AFU_PARAMETERS_1(A) A a
#define AFU_PARAMETERS_2(A, B) A a, B b
#define AFU_PARAMETERS_3(A, B, C) A a, B b, C c
#define AFU_PARAMETERS_4(A, B, C, D) A a, B b, C c, D d
#define AFU_PARAMETERS_5(A, B, C, D, E) A a, B b, C c, D d, E e
#define AFU_PARAMETERS_6(A, B, C, D, E, F) A a, B b, C c, D d, E e, F f

/* Makes the call by make(), under observation; `kernel` as in struct afu_observed. */
#define AFU_CALL_DECLARE(ret, name, ...)                                                                     \
	ret afu_run_##name(ret (*make)(__VA_ARGS__), int kernel, AFU_PARAMETERS(__VA_ARGS__))                \
		__attribute__((cold));
AFU_CALL_LIST(AFU_CALL_DECLARE)
#undef AFU_CALL_DECLARE

#define AFU_OBSERVED(name, make, kernel, ...)                                                                \
	(__builtin_expect(afu_call_observed, 0) ? afu_run_##name(make, kernel, __VA_ARGS__)                  \
						: make(__VA_ARGS__))

/* A call on a descriptor of ours, and one on any other. */
#define AFU_OURS(name, ...) AFU_OBSERVED(name, afunix_##name, 0, __VA_ARGS__)
#define AFU_THEIRS(name, ...) AFU_OBSERVED(name, AFU_REAL(name), 1, __VA_ARGS__)

#endif
