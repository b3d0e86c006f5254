/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The conformance harness: cases written once in plain C on socket(), bind(), ...,
 * run against the kernel, the preload and the library.
 *
 * A case is a function made with CASE(name, flags).  It runs in a process of its
 * own, in an empty directory of its own, under an alarm; it closes what it opens
 * and removes what it makes.  Every check that fails ends the case there and then:
 * what follows a wrong state tells nobody anything.  The checks may be used from
 * threads and from child processes of a case as well.
 */
#ifndef CONFORM_CONFORM_H
#define CONFORM_CONFORM_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The case forks, or replaces its program: embedded mode cannot run it. */
#define NEEDS_PROCESSES 1u
/* The case moves much data: six times the alarm. */
#define TAKES_LONG 2u

struct conform_case {
	const char *name;
	const char *file;
	int line;
	unsigned int flags;
	void (*run)(void);
	struct conform_case *next;
};

/* A program of its own, for what survives an exec: "conform --exec name args". */
struct conform_role {
	const char *name;
	void (*run)(int argc, char **argv);
	struct conform_role *next;
};

void conform_register(struct conform_case *c);
void conform_register_role(struct conform_role *r);

#define CASE(name, case_flags)                                                                               \
	static void name(void);                                                                              \
	static struct conform_case case_##name = {#name, __FILE__, __LINE__, (case_flags), name, NULL};      \
	__attribute__((constructor)) static void register_##name(void)                                       \
	{                                                                                                    \
		conform_register(&case_##name);                                                              \
	}                                                                                                    \
	static void name(void)

/*
 * A case on the two ends of a stream, run twice: on a socketpair, and on a connection
 * made with connect() and accept() (sv[0] the client).  An end that the case closes
 * is set to -1 with close_end(); the others are closed for it.
 */
#define CASE_ON_ENDS(name, case_flags)                                                                       \
	static void name##_on(int sv[2]);                                                                    \
	CASE(name##_pair, case_flags)                                                                        \
	{                                                                                                    \
		run_on_pair(SOCK_STREAM, name##_on);                                                         \
	}                                                                                                    \
	CASE(name##_connected, case_flags)                                                                   \
	{                                                                                                    \
		run_on_connection(SOCK_STREAM, name##_on);                                                   \
	}                                                                                                    \
	static void name##_on(int sv[2])

#define ROLE(name)                                                                                           \
	static void role_run_##name(int argc, char **argv);                                                  \
	static struct conform_role role_##name = {#name, role_run_##name, NULL};                             \
	__attribute__((constructor)) static void register_role_##name(void)                                  \
	{                                                                                                    \
		conform_register_role(&role_##name);                                                         \
	}                                                                                                    \
	static void role_run_##name(int argc, char **argv)

/* "kernel", "preload" or "library". */
const char *conform_suite(void);

/* Checks. */

/* Marks where the case is, so that a case that hangs or dies can be located. */
void conform_at(const char *file, int line, const char *text);
_Noreturn void conform_fail(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
_Noreturn void conform_skip(const char *reason);
void conform_expect_left(const char *name);
/* Reads errno, as do none of the others. */
long conform_ok(const char *file, int line, const char *text, long got);
void conform_eq(const char *file, int line, const char *text, long long got, int error, const char *want_text,
		long long want);
void conform_fails(const char *file, int line, const char *text, long long got, int error, int want);
void conform_bytes(const char *file, int line, const char *text, const void *got, const void *want, size_t n);
const char *conform_errno_name(int error);
const char *conform_poll_text(int bits, char *buf, size_t size);

#define HERE __FILE__, __LINE__

/* The call succeeds: its value, of its own type. */
#define OK(e)                                                                                                \
	__extension__({ (__typeof__(e))conform_ok(HERE, #e, (conform_at(HERE, #e), errno = 0, (long)(e))); })
/* The value equals the expected one; a call that failed shows its errno. */
#define EQ(e, want)                                                                                          \
	do {                                                                                                 \
		conform_at(HERE, #e);                                                                        \
		errno = 0;                                                                                   \
		long long eq_got = (long long)(e);                                                           \
		int eq_error = errno;                                                                        \
		conform_eq(HERE, #e, eq_got, eq_error, #want, (long long)(want));                            \
	} while (0)
/* The call returns -1 with this errno. */
#define FAILS(e, want_errno)                                                                                 \
	do {                                                                                                 \
		conform_at(HERE, #e);                                                                        \
		errno = 0;                                                                                   \
		long long fails_got = (long long)(e);                                                        \
		int fails_error = errno;                                                                     \
		conform_fails(HERE, #e, fails_got, fails_error, (want_errno));                               \
	} while (0)
#define TRUE(e)                                                                                              \
	do {                                                                                                 \
		conform_at(HERE, #e);                                                                        \
		if (!(e))                                                                                    \
			conform_fail(HERE, "%s: false", #e);                                                 \
	} while (0)
#define BYTES(got, want, n) conform_bytes(HERE, #got, (got), (want), (n))
#define SKIP(reason) conform_skip(reason)
/* This name in the case's directory may be there when the case has ended. */
#define EXPECT_LEFT(name) conform_expect_left(name)

/* Points to nothing; the compiler does not know it. */
void *bad_pointer(void);

/* Sockets. */

struct name {
	struct sockaddr_un un;
	socklen_t len;
};

/* The two middle arguments of bind() and connect(). */
#define NAME(n) ((const struct sockaddr *)&(n)->un), ((n)->len)
/* A case's own result buffer as the calls want it. */
#define ANY(un) ((struct sockaddr *)(un))

/* A path in the case's directory, terminated; see unix(7) for the length. */
struct name path_name(const char *path);
/* An abstract name that no other process has: the case's pid is part of it. */
struct name abstract_name(const char *text);
struct name bytes_name(const void *bytes, size_t n);

int unix_socket(int type);
void unix_pair(int type, int sv[2]);
int bound_to(int type, const struct name *name);
int listen_at(int type, const struct name *name, int backlog);
int connect_to(int type, const struct name *name);
/* sv[0] connected, sv[1] accepted; the listener is closed again. */
void unix_connection(int type, int sv[2]);
void close_end(int *fd);
void run_on_pair(int type, void (*body)(int sv[2]));
void run_on_connection(int type, void (*body)(int sv[2]));

void set_nonblocking(int fd, bool on);
void set_int_option(int fd, int option, int value);
int get_int_option(int fd, int option);
void set_time_option(int fd, int option, long ms);
/* Sends until EAGAIN, n bytes a call; the number of bytes that went in. */
size_t fill(int fd, size_t n);
/* Receives until EAGAIN; the number of bytes. */
size_t drain(int fd);
/* write() and read() of a whole buffer. */
void put(int fd, const char *text);
/* read() of one byte that nobody looks at: 1, 0 at the end of file, -1. */
int read_one(int fd);
void expect_text(int fd, const char *file, int line, const char *text);
#define GETS(fd, text) expect_text(fd, HERE, text)
/* No other socket of ours answers there. */
#define EMPTY(fd) FAILS(recv(fd, (char[1]){0}, 1, MSG_DONTWAIT), EAGAIN)
#define AT_EOF(fd) EQ(recv(fd, (char[1]){0}, 1, MSG_DONTWAIT), 0)

/*
 * The readiness of fd is exactly these bits out of IN, PRI, OUT, ERR, HUP, RDHUP:
 * asked of poll(), of select() and of a fresh epoll instance.
 */
void expect_ready(const char *file, int line, const char *text, int fd, int want);
#define READY(fd, bits) expect_ready(HERE, #fd, (fd), (bits))

/* Messages: what cases on datagram and seqpacket sockets share. */

/* A body run on one kind of pair. */
#define CASE_AS(name, kind, case_flags, run, type)                                                           \
	CASE(name##_##kind, case_flags)                                                                      \
	{                                                                                                    \
		run(type, name##_on);                                                                        \
	}
/* Two datagram sockets that are each other's peer: a socketpair, and two with names. */
#define CASE_ON_DGRAM(name, case_flags)                                                                      \
	static void name##_on(int sv[2]);                                                                    \
	CASE_AS(name, dgram_pair, case_flags, run_on_pair, SOCK_DGRAM)                                       \
	CASE_AS(name, dgram_named, case_flags, run_on_named, SOCK_DGRAM)                                     \
	static void name##_on(int sv[2])
/* As CASE_ON_ENDS. */
#define CASE_ON_SEQPACKET(name, case_flags)                                                                  \
	static void name##_on(int sv[2]);                                                                    \
	CASE_AS(name, seqpacket_pair, case_flags, run_on_pair, SOCK_SEQPACKET)                               \
	CASE_AS(name, seqpacket_connected, case_flags, run_on_connection, SOCK_SEQPACKET)                    \
	static void name##_on(int sv[2])
/* What messages are to both: all four. */
#define CASE_ON_MESSAGES(name, case_flags)                                                                   \
	static void name##_on(int sv[2]);                                                                    \
	CASE_AS(name, dgram_pair, case_flags, run_on_pair, SOCK_DGRAM)                                       \
	CASE_AS(name, dgram_named, case_flags, run_on_named, SOCK_DGRAM)                                     \
	CASE_AS(name, seqpacket_pair, case_flags, run_on_pair, SOCK_SEQPACKET)                               \
	CASE_AS(name, seqpacket_connected, case_flags, run_on_connection, SOCK_SEQPACKET)                    \
	static void name##_on(int sv[2])

/* Two bound datagram sockets, each connected to the other. */
void unix_named(int type, int sv[2]);
void run_on_named(int type, void (*body)(int sv[2]));
/* connect() to AF_UNSPEC. */
void dissolve(int fd);
/* Never block: the result of sendto() and of send() of a text. */
ssize_t send_to(int fd, const struct name *to, const char *text);
ssize_t tell(int fd, const char *text);
/* Sends messages of n bytes until EAGAIN; how many.  Without a name to the peer. */
int fill_messages(int fd, const struct name *to, size_t n);
/* Receives messages until EAGAIN; how many. */
int take_messages(int fd);
/* The case is about the default limits of the kernel, or is skipped. */
void need_default_queue(void);
void need_default_buffer(int fd);
/* The next message is exactly this text, and is there. */
void expect_message(int fd, const char *file, int line, const char *text);
#define MESSAGE(fd, text) expect_message(fd, HERE, text)
/* The same, from a sender with this name, or from an unnamed one (NULL). */
void expect_message_from(int fd, const char *file, int line, const char *text, const struct name *from);
#define MESSAGE_FROM(fd, text, from) expect_message_from(fd, HERE, text, from)
/* An edge-triggered epoll instance, and the bits of its next edge, 0 if there was none. */
int watch_edges(int fd, uint32_t events);
uint32_t next_edge(int ep);

/* Threads: one call in a thread of its own. */

struct actor {
	pthread_t thread;
	_Atomic int tid;
	_Atomic int done;
	long result;
	int error;
	long (*run)(struct actor *);
	int fd;
	void *buf;
	size_t n;
	int flags;
	struct name name;
	void *arg;
};

void actor_start(struct actor *a, long (*run)(struct actor *));
void start_recv(struct actor *a, int fd, void *buf, size_t n, int flags);
void start_send(struct actor *a, int fd, const void *buf, size_t n, int flags);
void start_send_to(struct actor *a, int fd, const struct name *to, const char *text);
void start_accept(struct actor *a, int fd);
void start_connect(struct actor *a, int fd, const struct name *name);
void start_poll(struct actor *a, struct pollfd *fds, nfds_t n, int timeout_ms);
/* Returns when the thread sleeps in its call; the case fails if the call has returned. */
void expect_blocked(struct actor *a, const char *file, int line);
#define BLOCKED(a) expect_blocked(a, HERE)
/* Signals the sleeping thread until its call has returned. */
void interrupt_until_done(struct actor *a, int sig);
/* Joins; the result of the call, errno set as the thread saw it. */
long actor_join(struct actor *a);
#define RETURNS(a, want) EQ(actor_join(a), want)
#define RETURNS_ERROR(a, want_errno) FAILS(actor_join(a), want_errno)

/* Processes. */

/* Runs the function in a child process, which exits with 0 after it. */
pid_t spawn(void (*run)(void *), void *arg);
void expect_exit(pid_t pid, const char *file, int line, int want);
#define EXITS(pid, code) expect_exit(pid, HERE, code)
void expect_killed(pid_t pid, const char *file, int line, int want);
#define KILLED(pid, sig) expect_killed(pid, HERE, sig)
/* Returns when the process sleeps in its main thread. */
void await_sleeping(pid_t pid);

/* A latch between processes or threads, on a kernel pipe. */
struct latch {
	int fd[2];
};
void latch_init(struct latch *l);
void latch_open(struct latch *l);
void latch_pass(struct latch *l);
void latch_fini(struct latch *l);

/* A pair and two latches, for a parent and a child; ends that are -1 are closed already. */
struct talk {
	int sv[2];
	struct latch go, done;
	struct name name;
	int listener;
};
void talk_init(struct talk *t);
void talk_fini(struct talk *t);

/* Signals. */

/* Counts the deliveries of a signal in signals_seen; flags as in sigaction(). */
extern _Atomic int signals_seen;
void count_signal(int sig, int flags);

/* Time since some start, milliseconds. */
long now_ms(void);

/* The reproducible stream of bytes that large transfers carry. */
void pattern_bytes(void *buf, uint64_t position, size_t n);

#endif
