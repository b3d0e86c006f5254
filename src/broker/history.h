/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Who holds a name, and who held it last.
 *
 * For the particulars of refusals only: nothing is decided by it.  Of names that are in
 * use there is a record each, of those that were given up the last AFU_HISTORY_NAMES.  An
 * inode number is used again by the filesystem, so the time of its birth belongs to it.
 *
 * Processes are those that the kernel attested when the name was bound; a command is what
 * /proc said then.  It is told only to the holder's own user and to root.
 */
#ifndef AFU_BROKER_HISTORY_H
#define AFU_BROKER_HISTORY_H

#include "broker/state.h"

#define AFU_HISTORY_NAMES 256

/* After a request was served: records a name that was bound, or adds particulars to a refusal. */
void afu_history_served(struct call *c, enum afu_cause cause);

/* The socket gives up its name, which it still has. */
void afu_history_released(struct afu_broker *b, const struct bsock *s);

void afu_history_free(struct afu_broker *b);

#endif
