/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Records whose speaker is not believed because he stands there: what the broker is told of one,
 * and asked.  Why and when is at the head of broker/seal.c.
 */
#ifndef AFU_CHANNEL_SEAL_H
#define AFU_CHANNEL_SEAL_H

#include "base/digest.h"
#include "base/sip.h"
#include "channel/channel.h"

/* The counts in the book; NULL in a process that is its own broker, where nobody else has the memory. */
extern const _Atomic uint32_t *afu_seals;

/*
 * With this a process signs what it sends, for the broker, which may have to find out later whether it
 * sent that: NULL, or two words.  A forked child does not have its parent's.
 */
extern const uint64_t *afu_seal_key;
/* The broker gave it to this process; it is not left where it came from. */
void afu_seal_keyed(uint64_t key[2]);

/* What a view knows of one direction, under the lock of that end. */
struct afu_sealed {
	uint32_t on;   /* the broker said that it is sealed; for ever */
	uint32_t turn; /* it was not, when the count was this */
	uint32_t naps; /* that a reader took for somebody who might be about to tell */
};

/* As of now.  key: the flow's id, or of a connection the own socket's. */
static inline uint32_t afu_seal_turn(uint64_t key)
{
	return afu_seals ? atomic_load_explicit(&afu_seals[key % AFU_BOOK_SEALS], memory_order_acquire) : 0;
	/* acquire: pairs with the broker's addition, which comes before anybody else gets the memory */
}

/* Whether the broker has to be told, or asked.  A reader asks after it has copied the record. */
static inline int afu_seal_doubt(const struct afu_sealed *sealed, uint64_t key)
{
	atomic_thread_fence(memory_order_acquire); /* the copy before the look at the count */
	return sealed->on || afu_seal_turn(key) != sealed->turn;
}

/* The speaker that the record names; 0. */
uint64_t afu_seal_speaker(uint32_t flags, const uint64_t words[AFU_RING_WORDS]);

/* Of the record as it stands at its place, with its payload: rec's at, length and flags count. */
void afu_seal_digest(const struct afu_ring_record *rec, const uint64_t words[AFU_RING_WORDS],
		     const void *payload, uint8_t to[AFU_DIGEST_SIZE]);

/*
 * Memory to sign in, where a child that is forked meanwhile by another thread finds nothing of the key; NULL: so many are
 * at it that there is no more.  The end is the signature.
 */
struct afu_sip *afu_seal_begin(void);
uint64_t afu_seal_end(struct afu_sip *s);
/* In a forked child: the others are not there. */
void afu_seal_forked(void);
/* The signature of the same: the payload is to be added, and the end is it.  n: the words that are signed. */
void afu_seal_sign(struct afu_sip *s, const uint64_t key[2], const struct afu_ring_record *rec,
		   const uint64_t *words, uint32_t n);

#endif
