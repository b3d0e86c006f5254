/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "channel/seal.h"

#include "base/sys.h"

#include <string.h>
#include <sys/mman.h>

/* The other flags are the reader's to change. */
#define FIXED                                                                                                \
	(AFU_RECORD_WORDS | AFU_RECORD_TIME | AFU_RECORD_IDENTITY | AFU_RECORD_UNASKED | AFU_RECORD_SIGNED)

const _Atomic uint32_t *afu_seals;
const uint64_t *afu_seal_key;

void afu_seal_keyed(uint64_t key[2])
{
	static uint64_t *page;

	if (!page) {
		void *p = afu_sys_mmap(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

		if (!afu_sys_failed(p) && afu_sys(SYS_madvise, p, 4096, MADV_WIPEONFORK) == 0)
			page = p;
	}
	if (page)
		memcpy(page, key, 2 * sizeof *key);
	afu_seal_key = page;
	memset(key, 0, 2 * sizeof *key);
	__asm__ volatile("" : : "r"(key) : "memory");
}

void afu_seal_sign(struct afu_sip *s, const uint64_t key[2], const struct afu_ring_record *rec,
		   const uint64_t *words, uint32_t n)
{
	uint64_t head[2] = {rec->at, (uint64_t)rec->length << 32 | (rec->flags & FIXED)};

	afu_sip_begin(s, key);
	afu_sip_add(s, head, sizeof head);
	afu_sip_add(s, words, n * sizeof *words);
}

uint64_t afu_seal_speaker(uint32_t flags, const uint64_t words[AFU_RING_WORDS])
{
	if (!(flags & AFU_RECORD_IDENTITY))
		return 0;
	return words[flags & AFU_RECORD_TIME ? 1 : 0];
}

void afu_seal_digest(const struct afu_ring_record *rec, const uint64_t words[AFU_RING_WORDS],
		     const void *payload, uint8_t to[AFU_DIGEST_SIZE])
{
	uint64_t head[3] = {rec->at, rec->length, rec->flags & FIXED};
	struct afu_digest d;

	afu_digest_begin(&d);
	afu_digest_add(&d, head, sizeof head);
	afu_digest_add(&d, words, (rec->flags & AFU_RECORD_WORDS) * sizeof *words);
	afu_digest_add(&d, payload, rec->length);
	afu_digest_end(&d, to);
}
