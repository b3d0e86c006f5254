/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The flows of a socket of datagrams, as this process has them mapped.  All calls but
 * the last are made under the lock of renewing views.
 */
#ifndef AFU_LIBRARY_FLOWS_H
#define AFU_LIBRARY_FLOWS_H

#include "socket/sock.h"

/* Fetches those that are new, and lets go of those that are gone.  0 or negative errno. */
int afu_flows_renew(struct afu_sock *s);
/*
 * Gives back what nobody can be looking at any more: the caller's is the only use, and no other
 * thread is in the middle of a call.
 */
void afu_flows_reclaim(struct afu_sock *s);
/* The view ends. */
void afu_flows_free(struct afu_sock *s);
/* One that the view has, by its id; NULL. */
struct afu_flow *afu_flows_find(const struct afu_flows *f, uint64_t id);
void afu_flows_forked(void);

#endif
