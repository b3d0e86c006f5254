/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* The filters of those to whom this process sends: asked for once, and again when they are changed. */
#ifndef AFU_LIBRARY_SCREEN_H
#define AFU_LIBRARY_SCREEN_H

#include "socket/screen.h"

/* The filter of that version at the end of the flow, 0: of the connection, if it is known.  1 or 0. */
int afu_screen_recall(const struct afu_sock *s, uint64_t flow, uint32_t version, struct afu_screen *to);
/* The same, asked for.  The view is in use.  0 or negative errno. */
int afu_screen_fetch(const struct afu_sock *s, uint64_t flow, uint32_t version, struct afu_screen *to);
void afu_screen_forked(void);

#endif
