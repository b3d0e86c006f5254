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

/* What a forked child finds empty: the key, and what the threads make of it while they sign. */
static struct secrets {
	uint64_t key[2];
	struct signing {
		_Alignas(64) struct afu_sip sip; /* no two of them in one cache line */
	} by[63];
} *secrets;
/* A bit for each that is in use; the last is none. */
#define NO_PLACE (UINT64_C(1) << 63)
static _Atomic uint64_t signing = NO_PLACE;

void afu_seal_keyed(uint64_t key[2])
{
	static_assert(sizeof *secrets <= 4096, "it is one page");
	if (!secrets) {
		void *p = afu_sys_mmap(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

		if (!afu_sys_failed(p) && afu_sys(SYS_madvise, p, 4096, MADV_WIPEONFORK) == 0)
			secrets = p;
	}
	if (secrets)
		memcpy(secrets->key, key, sizeof secrets->key);
	afu_seal_key = secrets ? secrets->key : NULL;
	memset(key, 0, 2 * sizeof *key);
	__asm__ volatile("" : : "r"(key) : "memory");
}

struct afu_sip *afu_seal_begin(void)
{
	uint64_t taken = atomic_load_explicit(&signing, memory_order_relaxed), mine;

	do {
		if (!~taken)
			return NULL;
		mine = ~taken & (taken + 1);
	} while (!atomic_compare_exchange_weak_explicit(&signing, &taken, taken | mine, memory_order_acquire,
							memory_order_relaxed));
	/* acquire: pairs with the release below, before which it was another's; relaxed: a hint for that */
	return &secrets->by[__builtin_ctzll(mine)].sip;
}

uint64_t afu_seal_end(struct afu_sip *s)
{
	uint64_t sum = afu_sip_end(s), i = (uint64_t)((struct signing *)(void *)s - secrets->by);

	atomic_fetch_and_explicit(&signing, ~(UINT64_C(1) << i), memory_order_release);
	/* release: pairs with the acquire above */
	return sum;
}

void afu_seal_forked(void)
{
	atomic_store(&signing, NO_PLACE);
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
