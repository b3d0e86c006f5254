/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Addresses as calls take and give them. */
#ifndef AFU_LIBRARY_ADDRESS_H
#define AFU_LIBRARY_ADDRESS_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct afu_name {
	struct sockaddr_un un;
	char end;          /* a NUL behind the longest path */
	uint32_t length;   /* as bind keeps it: a path with its NUL */
	int abstract;
};

/* Copies the raw bytes in.  0, -EINVAL (length), -EFAULT. */
int afu_name_read(struct afu_name *to, const struct sockaddr *addr, socklen_t len);
/* Says what they mean: 0 or -EINVAL; afu_name_read() went before, with the same len. */
int afu_name_check(struct afu_name *name, socklen_t len);

/* Gives an address of length n to the caller, cut to *len, which gets the full length.  0, -EINVAL, -EFAULT. */
int afu_name_write(const uint8_t *address, uint32_t n, struct sockaddr *addr, socklen_t *len);

#endif
