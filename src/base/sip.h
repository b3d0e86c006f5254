/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* SipHash-2-4: what nobody can make for memory of his choice who does not have the key. */
#ifndef AFU_BASE_SIP_H
#define AFU_BASE_SIP_H

#include <stddef.h>
#include <stdint.h>

struct afu_sip {
	uint64_t v[4];
	uint64_t count; /* bytes */
	uint64_t held;	/* those that fill no word yet, least significant first */
};

void afu_sip_begin(struct afu_sip *s, const uint64_t key[2]);
void afu_sip_add(struct afu_sip *s, const void *bytes, size_t n);
uint64_t afu_sip_end(struct afu_sip *s);

#endif
