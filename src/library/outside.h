/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Datagrams to names that nobody in the domain has: they go to the kernel's socket of that name. */
#ifndef AFU_LIBRARY_OUTSIDE_H
#define AFU_LIBRARY_OUTSIDE_H

#include "library/transfer.h"

/*
 * Sends from a kernel socket made for it, which has no name: the receiver can't answer.
 * Bytes or the kernel's negative errno.
 */
ssize_t afu_outside_send(const struct afu_sock *s, const struct afu_transfer *t, const struct afu_destination *to, const struct afu_sending *m);

#endif
