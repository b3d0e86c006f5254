/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Classic socket filters: the receiver's program looks at a message and says how many
 * of its bytes may stay.
 *
 * The kernel has checked a program when it was set, but it lies in memory that other
 * holders of the socket can write.  So nothing is taken for granted: jumps go forward
 * only, every access is bounded, and what is no instruction ends the program with 0.
 */
#ifndef AFU_SOCKET_FILTER_H
#define AFU_SOCKET_FILTER_H

#include "channel/endpoint.h"

#include <linux/filter.h>
#include <stdint.h>

/*
 * The verdict on a message of wirelen bytes, the first len of which are at data:
 * 0 drops it, less than wirelen cuts it, anything else leaves it whole.
 */
uint32_t afu_filter_run(const struct sock_filter *prog, unsigned int n, const void *data, uint32_t len,
			uint32_t wirelen);

/* The same with the socket's own filter; UINT32_MAX if it has none. */
uint32_t afu_filter_verdict(struct afu_endpoint_filter *filter, const void *data, uint32_t len,
			    uint32_t wirelen);

/* A copy of the program; the number of instructions. */
unsigned int afu_filter_get(struct afu_endpoint_filter *filter, struct sock_filter prog[AFU_FILTER_ROOM]);
/* n at most AFU_FILTER_ROOM; 0 removes it. */
void afu_filter_put(struct afu_endpoint_filter *filter, const struct sock_filter *prog, unsigned int n);

#endif
