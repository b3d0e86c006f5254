/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A record ring in shared memory: one direction of one connection.
 *
 * Who writes.  The producer end writes records and its mark; the consumer end
 * zeroes what it has consumed and writes its head.  Several threads or processes
 * may hold one end; they take that end's lock (socket room) around every function
 * here but afu_ring_ready().  Each end keeps its own positions in memory that the
 * other end cannot reach: struct afu_ring_tx, struct afu_ring_rx.
 *
 * A record is an 8-byte header and its payload, padded to 8 bytes.  The header is
 * one word: length, lap, kind, flags; a word of 0 means "nothing here yet".  One
 * store of the header publishes the record, so a producer that is killed before
 * it has said nothing.  The consumer zeroes a record whole before it gives the
 * room back: then every place where a header may come to stand is 0, and the
 * cache lines return to the producer owned, which is worth a factor of three in
 * bulk.  The lap makes a header that is published twice harmless (see below).
 *
 * Three areas.  A connection starts in a small one that stays in the cache; the
 * record that does not fit is preceded by a SWITCH, and from then on both ends
 * are in the next, sparse one.  The second holds what SO_SNDBUF admits by default,
 * the third what it can be raised to.
 *
 * Words.  Up to three words of the socket room's may stand between the header and
 * the payload; the header counts them, so that either end, and the broker, knows
 * how much of a record is the application's.
 *
 * The mark.  A record may be the out-of-band byte.  Only the newest such record can
 * be pending: the producer says which that is, and says it before the record is there;
 * until then, or for ever if it dies, it is the one before.  The consumer that takes
 * the byte ahead of its place leaves an empty shell: it sets a flag in the record's
 * header, which is its own to write until it gives the record back.
 *
 * A dead producer.  tail is the commit: the intent (where, header, charge) is
 * written first, then tail, then the header in the ring.  Who finds the lock's
 * owner dead calls afu_ring_recover_tx(): a committed record is published (again:
 * if the consumer is just past it, the lap tells the consumer later that this is
 * stale), an uncommitted one is erased.
 * A dead consumer.  rx->head is the commit; afu_ring_recover_rx() erases and
 * gives back what was committed but not yet given back.
 *
 * A hostile peer can write anything into the ring and the head.  Every value is
 * read once, masked or compared before use; the worst is wrong data, a ring that
 * looks full or empty, or -EPROTO.
 */
#ifndef AFU_RING_RING_H
#define AFU_RING_RING_H

#include "base/iter.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#define AFU_RING_AREAS 3
#define AFU_RING_SMALL_SHIFT 11
#define AFU_RING_LARGE_SHIFT 18
#define AFU_RING_HUGE_SHIFT 24
#define AFU_RING_WORDS 3
/* The longest payload of one record, words included. */
#define AFU_RING_RECORD_MAX ((1u << AFU_RING_HUGE_SHIFT) - 16)

/* The flags of a record, 12 bits.  The first three are the ring's own. */
enum {
	AFU_RECORD_WORDS = 3, /* mask: how many words stand before the payload */
	AFU_RECORD_OOB = 4,   /* one byte, out of band when it was sent */
	AFU_RECORD_SHELL = 8, /* by the consumer: that byte was taken, the place is left */
	/* These have a word each, in this order. */
	AFU_RECORD_TIME = 16,	  /* when it was sent, ns, monotonic */
	AFU_RECORD_IDENTITY = 32, /* by whom, as the broker knows him */
	AFU_RECORD_RIGHTS = 64,	  /* descriptors are parked under this number */
	AFU_RECORD_PEEKED = 128,  /* by the consumer: an empty message that a peek with an offset has shown */
	AFU_RECORD_UNASKED = 256, /* its time is there for the order only: the receiver had not asked for it */
	AFU_RECORD_SIGNED = 512,  /* the last word is its speaker's signature; channel/seal.h */
};

/*
 * Whether descriptors are parked for the record: one of its words is their number.  The flag alone may have been
 * set by somebody else, to bring what he has parked; how many words there are its speaker vouches for.
 */
static inline int afu_record_rights(uint32_t flags)
{
	uint32_t others = 0;

	others += (flags & AFU_RECORD_TIME) != 0;
	others += (flags & AFU_RECORD_IDENTITY) != 0;
	others += (flags & AFU_RECORD_SIGNED) != 0;
	return (flags & AFU_RECORD_RIGHTS) && (flags & AFU_RECORD_WORDS) > others;
}

/* Consumer's cache line. */
struct afu_ring_head {
	_Atomic uint64_t position; /* (c) what lies before is zeroed and free */
	_Atomic uint64_t released; /* (c) sum of the charges given back, for ever */
	uint8_t pad[48];
};
static_assert(sizeof(struct afu_ring_head) == 64, "one cache line");

/* Producer's cache line. */
struct afu_ring_mark {
	_Atomic uint64_t produced; /* (p) the tail: whether something came since, for edge triggers */
	_Atomic uint64_t oob;      /* (p) 1 + the place of the newest out-of-band record; 0: there was none */
	_Atomic uint64_t oob_before; /* (p) what oob was before: it holds until that record is published */
	_Atomic uint32_t counting; /* (p) a datagram is counted in the inbox and not yet published */
	uint8_t pad[36];
};
static_assert(sizeof(struct afu_ring_mark) == 64, "one cache line");

/* The producer's positions; in its endpoint page, under its lock. */
struct afu_ring_tx {
	_Atomic uint64_t tail; /* area in the top 8 bits, position below */
	uint64_t seen;         /* the consumer's head when last looked at */
	uint64_t intent_at;
	uint64_t intent_header;
	uint64_t charged_before; /* sum of charges without the intent's record */
	uint64_t charged_after;  /* and with it */
	_Atomic uint64_t given;  /* what the consumer had released when last looked at: at least so much */
	uint64_t dirty;          /* so many bytes behind the tail may have been written without a commit */
};

/* The consumer's positions; in its endpoint page, under its lock. */
struct afu_ring_rx {
	_Atomic uint64_t head;    /* as tail */
	_Atomic uint64_t partial; /* which record is consumed in part, and how much of it; 0: none */
	uint64_t released;        /* what the head will say ... */
	uint64_t released_at;     /* ... once head is this */
	uint64_t discarded;       /* out-of-band bytes that were passed over unread; for SIOCINQ */
};

/* A process's view of one direction. */
struct afu_ring {
	char *area[AFU_RING_AREAS];
	struct afu_ring_head *head;
	struct afu_ring_mark *mark;
};

/* A record as found, checked. */
struct afu_ring_record {
	uint64_t at;     /* its position */
	uint32_t length; /* of the payload without its words, bytes */
	uint32_t offset; /* of them consumed already */
	uint32_t flags;
	uint64_t ahead;  /* how far afu_ring_next() may still go: a lap at most, whatever stands there */
};

/* Whether there is a record at the head.  Needs no lock; may be out of date. */
int afu_ring_ready(const struct afu_ring *r, const struct afu_ring_rx *rx);

/* The same, and that it is a record that can be taken. */
int afu_ring_sound(const struct afu_ring *r, const struct afu_ring_rx *rx);

/*
 * Appends one record: as many words as the flags say, and n bytes from the buffers.
 * 0; -EAGAIN if there is no room; -EMSGSIZE if there never will be; -EFAULT if a buffer is
 * bad: nothing is appended then.
 */
int afu_ring_put(const struct afu_ring *r, struct afu_ring_tx *tx, const uint64_t *words, struct afu_iter *from,
		 uint32_t n, uint32_t flags, uint32_t charge);

/*
 * Finds room for such a record: *at is where the next afu_ring_put() of as many bytes and words puts it.  0, -EAGAIN,
 * -EMSGSIZE.
 */
int afu_ring_reserve(const struct afu_ring *r, struct afu_ring_tx *tx, uint32_t n, uint32_t flags, uint64_t *at);

/* A record of n bytes is to be put soon: its first lines are fetched meanwhile.  Needs no lock. */
void afu_ring_expect_put(const struct afu_ring *r, const struct afu_ring_tx *tx, size_t n);

/* Charges not yet given back by the consumer. */
uint64_t afu_ring_used(const struct afu_ring *r, const struct afu_ring_tx *tx);

/*
 * The same, but rather too much than too little: without a look at the consumer's line, which
 * then stays with the consumer.  And, under the lock, after such a look if it says `limit` or
 * more.
 */
uint64_t afu_ring_used_most(const struct afu_ring_tx *tx);
uint64_t afu_ring_used_near(const struct afu_ring *r, struct afu_ring_tx *tx, uint64_t limit);

/* The first record: 1, 0 if there is none, -EPROTO if what stands there is no record. */
int afu_ring_front(const struct afu_ring *r, struct afu_ring_rx *rx, struct afu_ring_record *rec);

/* The same for somebody who only looks: nothing is consumed, not even what leads to the next area. */
int afu_ring_ahead(const struct afu_ring *r, const struct afu_ring_rx *rx, struct afu_ring_record *rec);

/* The record behind *rec, likewise; for looking ahead. */
int afu_ring_next(const struct afu_ring *r, struct afu_ring_record *rec);

/* The first record from a position on, whoever reads: as afu_ring_front(); for those who only look. */
int afu_ring_from(const struct afu_ring *r, uint64_t at, struct afu_ring_record *rec);

/* The record's words; those that it does not have are 0. */
void afu_ring_words(const struct afu_ring *r, const struct afu_ring_record *rec, uint64_t words[AFU_RING_WORDS]);

/*
 * What an out-of-band record is now.  Of those that were sent only the newest is one;
 * the others are ordinary data.
 */
enum afu_ring_oob { AFU_OOB_NONE, AFU_OOB_PENDING, AFU_OOB_SHELL };
enum afu_ring_oob afu_ring_oob(const struct afu_ring *r, const struct afu_ring_record *rec);
/* The pending record, wherever it stands: 1, or 0. Under the lock. */
int afu_ring_find_oob(const struct afu_ring *r, const struct afu_ring_rx *rx, struct afu_ring_record *rec);
/* Whether one is pending, without a lock: may be out of date. */
int afu_ring_oob_pending(const struct afu_ring *r, const struct afu_ring_rx *rx);
/* Sets and clears flags of a record that lies in the ring; the consumer, under its lock. */
void afu_ring_reflag(const struct afu_ring *r, struct afu_ring_record *rec, uint32_t set, uint32_t clear);

/* Copies n bytes of the record, from the given offset on, into the buffers.  0 or -EFAULT. */
int afu_ring_read(const struct afu_ring *r, const struct afu_ring_record *rec, uint32_t offset,
		  struct afu_iter *to, uint32_t n);

/* Marks part of the first record as consumed, up to offset. */
void afu_ring_advance(struct afu_ring_rx *rx, const struct afu_ring_record *rec, uint32_t offset);

/* Consumes the first record whole and gives its room and charge back. */
void afu_ring_take(const struct afu_ring *r, struct afu_ring_rx *rx, const struct afu_ring_record *rec,
		   uint32_t charge);

/* After the lock's owner died. */
void afu_ring_recover_tx(const struct afu_ring *r, struct afu_ring_tx *tx);
void afu_ring_recover_rx(const struct afu_ring *r, struct afu_ring_rx *rx);

/*
 * Whether anything lies unconsumed, judged by the shared memory alone (for the broker).
 * As in the kernel, an empty record or shell at the head does not count by itself.
 */
int afu_ring_unread(const struct afu_ring *r);
/* Whether there is any record at all that can be taken, judged likewise. */
int afu_ring_occupied(const struct afu_ring *r);

#endif
