/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* As whom this process speaks, and who spoke to it. */
#ifndef AFU_LIBRARY_SPEAKER_H
#define AFU_LIBRARY_SPEAKER_H

#include "socket/sock.h"

/* Whether the kernel would carry that claim.  0, or the refusal. */
int afu_speaker_check(const struct ucred *claim);
/* The identity for a message through s, as the claim says or, if that is NULL, as the process is.  0 or a refusal. */
int afu_speaker_identity(struct afu_sock *s, const struct ucred *claim, uint64_t *identity);
/* The same for the process itself, if it needs nobody to be asked; else 0.  In the view. */
uint64_t afu_speaker_known(const struct afu_sock *s);
/* What the broker said of the process when the socket was connected. */
void afu_speaker_told(struct afu_sock *s, uint64_t identity);
/*
 * Who that is, as proved at the direction's sending end, in the eyes of this process; and a descriptor of
 * the process, or -1.  0 or negative errno.
 */
int afu_speaker_who(struct afu_sock *s, uint64_t flow, uint64_t identity, struct ucred *who);
int afu_speaker_pidfd(struct afu_sock *s, uint64_t flow, uint64_t identity, int *pidfd);
/*
 * Every change of the process's ids will be told from now on: they are looked at only after one.
 * Without that they are looked at for each message.
 */
void afu_speaker_watched(void);
void afu_speaker_changed(void);
/* Before such a change: whoever the process is afterwards shall not speak as who it was. */
void afu_speaker_changing(void);
void afu_speaker_start(void);
/* The process is in other namespaces than before. */
void afu_speaker_renumbered(void);
void afu_speaker_forked(void);

#endif
