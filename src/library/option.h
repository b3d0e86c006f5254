/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Options of a socket that becomes the kernel's. */
#ifndef AFU_LIBRARY_OPTION_H
#define AFU_LIBRARY_OPTION_H

#include "socket/sock.h"

/* Sets on the kernel socket fd what was set on s. */
void afu_option_replay(const struct afu_sock *s, int fd);

#endif
