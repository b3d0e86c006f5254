/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Names of others, as the broker told them: asked for once, and again when the broker
 * says that some name has changed.
 */
#ifndef AFU_LIBRARY_KNOWN_H
#define AFU_LIBRARY_KNOWN_H

#include "socket/sock.h"

/*
 * The name of the peer (flow NULL), or of who sends through a flow; *length 0: it has none.
 * The view is in use.  0 or negative errno.
 */
int afu_known_name(struct afu_sock *s, struct afu_flow *flow, uint8_t name[128], uint32_t *length);
/* What the broker said beside something else; version: the endpoint's count of names before it was asked. */
void afu_known_told(struct afu_known *known, uint32_t version, const uint8_t *name, uint32_t length);
void afu_known_forked(void);

#endif
