/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Particulars of refusals that are about a name: which name, and who holds it or held it
 * last.  The broker knows that; see broker/history.h.
 */
#ifndef AFU_LIBRARY_HOLDER_H
#define AFU_LIBRARY_HOLDER_H

#include "library/address.h"

/* Puts the name in front of the particulars of the refusal that was just made; gives back err. */
int afu_holder_name(const struct afu_name *name, int err);

/* The path exists, so it can't be bound: -EADDRINUSE, with what is there. */
int afu_holder_refuse(const struct afu_name *name);

#endif
