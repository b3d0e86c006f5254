/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Names that are to be the kernel's too: which they are, and the kernel socket that is made
 * when one of them is bound.
 */
#ifndef AFU_LIBRARY_EXPOSE_H
#define AFU_LIBRARY_EXPOSE_H

#include "library/address.h"

/*
 * A kernel socket with the options of the socket fd, for a name that it is about to be bound to; -1 in
 * *kernel if the name is not to be exposed.  It is hidden: to be closed by afu_close_hidden().  0 or a
 * refusal.
 */
int afu_expose_socket(int fd, const struct afu_name *name, int *kernel);

/* Binds it: 0 or the kernel's negative errno. */
int afu_expose_bind(int kernel, const struct afu_name *name);

/*
 * A name of the domain that is being given up is shut before it is gone from the kernel.  Waits a moment if
 * that may be so, and says whether to look again.  ticks: 0 at first.
 */
int afu_expose_settles(unsigned int *ticks);

#endif
