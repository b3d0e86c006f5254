/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A broker behind a control socket: the event loop of afunixd and of afunix run.
 * Uses bare system calls for its sockets: it may itself run under the preload of
 * another domain, whose sockets these must not become.
 */
#ifndef AFU_DAEMON_SERVER_H
#define AFU_DAEMON_SERVER_H

#include "gate/gate.h"

struct afu_server;

/*
 * Listens on the address; attaching needs the address's secret.  0 or negative
 * errno (EADDRINUSE: somebody serves it).
 */
int afu_server_new(const struct afu_address *address, struct afu_server **to);

/*
 * Names that fit one of the globs are the kernel's too; to be called once, before the server runs.
 * globs: each with a NUL; an empty one stands for every path.  0 or negative errno.
 */
int afu_server_expose(struct afu_server *s, const char *globs, size_t length);

/*
 * Serves until the descriptor until is readable (a pidfd, a signalfd).
 * 0 or negative errno.
 */
int afu_server_run(struct afu_server *s, int until);

void afu_server_free(struct afu_server *s);

#endif
