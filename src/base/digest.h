/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * BLAKE2b (RFC 7693) without a key, 32 bytes: for telling whether two pieces of memory are the same
 * when somebody who may choose both would have them taken for each other.
 */
#ifndef AFU_BASE_DIGEST_H
#define AFU_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define AFU_DIGEST_SIZE 32

struct afu_digest {
	uint64_t state[8];
	uint64_t count; /* bytes that went into the state */
	size_t held;	/* of block */
	uint8_t block[128];
};

void afu_digest_begin(struct afu_digest *d);
void afu_digest_add(struct afu_digest *d, const void *bytes, size_t n);
void afu_digest_end(struct afu_digest *d, uint8_t to[AFU_DIGEST_SIZE]);

#endif
