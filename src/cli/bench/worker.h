/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What the measuring functions share: a second process, a connection to it, whole
 * messages, and a page both can see.
 *
 * All of it ends the process with one line on stderr when a call fails: a worker gives a
 * figure or a reason, never a doubtful figure.
 */
#ifndef AFU_CLI_BENCH_WORKER_H
#define AFU_CLI_BENCH_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "cli/bench/metrics.h"

/* Ends the worker: the message, and errno's text if errnum is not 0. */
_Noreturn void afu_bench_fail(int errnum, const char *what);

/*
 * A page for the processes of a worker: how they end and what they counted, so that the
 * sockets under measurement carry nothing else.  Each counter has a line of its own.
 */
struct afu_bench_page {
	_Alignas(128) _Atomic uint64_t stop; /* 1: finish */
	_Alignas(128) _Atomic uint64_t
		total; /* bytes sent, or connections to come; UINT64_MAX: not known yet */
	struct {
		_Alignas(128) _Atomic uint64_t count;
	} round_trips[64];
};

struct afu_bench_page *afu_bench_page_new(void);

struct afu_bench_server {
	pid_t pid;
	int type;
	struct sockaddr_un address;
	socklen_t address_len;
};

typedef void (*afu_bench_serve)(const struct afu_bench_job *job, int listener, void *arg);

/* An abstract name that no other worker uses. */
void afu_bench_name(struct sockaddr_un *address, socklen_t *len);
/* A bound socket of the metric's type, non-blocking if the job's calls are. */
int afu_bench_bound(const struct afu_bench_job *job, const struct sockaddr_un *address, socklen_t len);
/* Confines the process to where the metric wants the client or the server. */
void afu_bench_place(const struct afu_bench_job *job, bool server);

/*
 * Starts a process that listens on an abstract name and runs `serve`, which owns the
 * listener; returns when it listens.  It makes its socket itself, as a server does that
 * is not its client's child.  Both processes are then where the metric wants them.
 */
void afu_bench_server_start(struct afu_bench_server *server, const struct afu_bench_job *job,
			    afu_bench_serve serve, void *arg);
/* Waits for the end of the server's process, which must be a success. */
void afu_bench_server_finish(struct afu_bench_server *server);

/* Forks a process that does not outlive the worker; 0 in the child. */
pid_t afu_bench_fork(void);
void afu_bench_join(pid_t pid);

/*
 * A socket connected to the server.  `flags` as in the job.  There are no connections of
 * datagrams: the client has a name of its own and says hello from it, and the server's
 * answer is a socket that is connected to that name.
 */
int afu_bench_dial(const struct afu_bench_server *server, int flags);
/* The next connection; with MSG_DONTWAIT in a loop, the listener being non-blocking then. */
int afu_bench_answer(const struct afu_bench_job *job, int listener);
/* Closes it; the other end of datagrams is told by an empty one, which is received as the end. */
void afu_bench_hang_up(const struct afu_bench_job *job, int fd);

/* All n bytes; with MSG_DONTWAIT in a loop. */
void afu_bench_send(int fd, const void *buf, size_t n, int flags);
/* The next bytes, at most n; 0 at the end of file. */
size_t afu_bench_recv_some(int fd, void *buf, size_t n, int flags);
/* All n bytes; false at the end of file, which must not cut a message in two. */
bool afu_bench_recv(int fd, void *buf, size_t n, int flags);

/* Memory that is there already, so that its first touch is not measured. */
void *afu_bench_buffer(size_t n);

#endif
