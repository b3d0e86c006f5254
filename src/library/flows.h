/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The flows of a socket of datagrams, as this process has them mapped.
 */
#ifndef AFU_LIBRARY_FLOWS_H
#define AFU_LIBRARY_FLOWS_H

#include "base/thread.h"
#include "socket/sock.h"

/* Fetches those that are new, and lets go of those that are gone; under the lock of renewing views.  0 or negative errno. */
int afu_flows_renew(struct afu_sock *s);
/*
 * Flows are looked at inside a call on the view, or outside with the view in use and a pin: what the view
 * has when the pin is taken stays until it is given back.  Short: it keeps all that comes later too.
 */
_Atomic uint32_t *afu_flows_pin(struct afu_thread *th, struct afu_sock *s);
void afu_flows_unpin(struct afu_thread *th, struct afu_sock *s, _Atomic uint32_t *pin);
/* The view ends. */
void afu_flows_free(struct afu_sock *s);
/* One that the view has, by its id; NULL. */
struct afu_flow *afu_flows_find(const struct afu_flows *f, uint64_t id);
void afu_flows_forked(void);

#endif
