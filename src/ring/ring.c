/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "ring/ring.h"

#include <string.h>

#define AREA_SHIFT 56
#define POSITION_MASK ((UINT64_C(1) << AREA_SHIFT) - 1)
#define HEADER 8u
/* Records so small come many at a time: also the place of one a few further on is asked for. */
#define SMALL 256u
#define AHEAD 384u
/* No position: positions are multiples of 8. */
#define NOWHERE UINT64_C(1)

enum { KIND_DATA = 1, KIND_SWITCH = 2 };

static inline unsigned int area_of(uint64_t at)
{
	uint64_t area = at >> AREA_SHIFT;

	return area < AFU_RING_AREAS ? (unsigned int)area : AFU_RING_AREAS - 1; /* never out of bounds */
}

static inline unsigned int shift_of(unsigned int area)
{
	static const uint8_t shift[AFU_RING_AREAS] = {AFU_RING_SMALL_SHIFT, AFU_RING_LARGE_SHIFT,
						      AFU_RING_HUGE_SHIFT};

	return shift[area];
}

static inline uint64_t size_of(unsigned int area)
{
	return UINT64_C(1) << shift_of(area);
}

/* Where the area behind the one of a position begins. */
static inline uint64_t next_area(uint64_t at)
{
	return (uint64_t)(area_of(at) + 1) << AREA_SHIFT;
}

static inline uint32_t words_size(uint32_t flags)
{
	return 8 * (flags & AFU_RECORD_WORDS);
}

/* Room that a record takes. */
static inline uint64_t extent(uint32_t n)
{
	return HEADER + (((uint64_t)n + 7) & ~UINT64_C(7));
}

static inline _Atomic uint64_t *slot(const struct afu_ring *r, uint64_t at)
{
	unsigned int area = area_of(at);

	return (_Atomic uint64_t *)(void *)(r->area[area] + (at & (size_of(area) - 1) & ~UINT64_C(7)));
}

/*
 * Asks for the two lines at a position, to write to them: the consumer, which is to erase what it
 * reads, would else fetch them twice; the producer has them sooner.
 */
static inline void claim_lines(const struct afu_ring *r, uint64_t at)
{
#if defined(__x86_64__)
	const char *line = r->area[area_of(at)] + (at & (size_of(area_of(at)) - 1));

	/* the second may lie behind the area, which does no harm */
	__asm__ volatile("prefetchw %0\n\tprefetchw %1" : : "m"(line[0]), "m"(line[64]));
#endif
}

static inline uint64_t header_make(uint64_t at, uint32_t n, unsigned int kind, uint32_t flags)
{
	uint64_t lap = ((at & POSITION_MASK) >> shift_of(area_of(at))) & 0xffff;

	return n | lap << 32 | (uint64_t)kind << 48 | (uint64_t)flags << 52;
}

static inline int header_current(uint64_t peer_header, uint64_t at)
{
	uint64_t lap = ((at & POSITION_MASK) >> shift_of(area_of(at))) & 0xffff;

	return peer_header != 0 && ((peer_header >> 32) & 0xffff) == lap;
}

static inline unsigned int header_kind(uint64_t header)
{
	return (header >> 48) & 0xf;
}

/* Erases n bytes from position at on, round the end of the area. */
static void erase(const struct afu_ring *r, uint64_t at, uint64_t n)
{
	unsigned int area = area_of(at);
	uint64_t size = size_of(area), from = at & (size - 1), part = size - from;

	if (part > n)
		part = n;
	memset(r->area[area] + from, 0, part);
	if (part < n)
		memset(r->area[area], 0, n - part);
}

/* Tells the record at a position from those around it, in all areas. */
static uint32_t partial_tag(uint64_t at)
{
	return (uint32_t)(at >> 3 & 0x3fffffff) | (uint32_t)area_of(at) << 30;
}

int afu_ring_ready(const struct afu_ring *r, const struct afu_ring_rx *rx)
{
	uint64_t at = atomic_load_explicit(&rx->head, memory_order_relaxed);
	uint64_t peer_header = atomic_load_explicit(slot(r, at), memory_order_relaxed);

	/* relaxed: a hint; whoever acts on it reads again under the lock.  A SWITCH alone is no record:
	 * the one that it makes way for may be long in coming, or never come. */
	while (header_current(peer_header, at)) {
		if (__builtin_expect(header_kind(peer_header) != KIND_SWITCH, 1) ||
		    area_of(at) == AFU_RING_AREAS - 1) {
			claim_lines(r, at);
			return 1;
		}
		at = next_area(at);
		peer_header = atomic_load_explicit(slot(r, at), memory_order_relaxed);
	}
	return 0;
}

/* Free bytes at the tail; looks at the consumer's head only if need be. */
static uint64_t room(const struct afu_ring *r, struct afu_ring_tx *tx, uint64_t tail, uint64_t need)
{
	unsigned int area = area_of(tail);
	uint64_t size = size_of(area), used;

	for (int fresh = 0;; fresh = 1) {
		/* a consumer that has not come to this area yet stands at its begin */
		uint64_t head = area_of(tx->seen) == area ? tx->seen & POSITION_MASK : 0;

		used = (tail & POSITION_MASK) - head;
		if (used <= size && size - used >= need)
			return size - used;
		if (fresh)
			return used <= size ? size - used : 0;
		tx->seen = atomic_load_explicit(&r->head->position, memory_order_acquire);
		/* acquire: pairs with the release in give_back(): the room is zeroed */
	}
}

static void commit(const struct afu_ring *r, struct afu_ring_tx *tx, uint64_t at, uint64_t header,
		   uint64_t tail, uint32_t charge)
{
	uint64_t sum = tx->charged_after;

	tx->charged_before = sum;
	atomic_signal_fence(memory_order_seq_cst);
	tx->intent_header = header;
	tx->intent_at = at;
	atomic_signal_fence(memory_order_seq_cst);
	tx->charged_after = sum + charge;
	atomic_store_explicit(&tx->tail, tail,
			      memory_order_release); /* release: the intent is whole before */
	atomic_store_explicit(slot(r, at), header, memory_order_release);
	/* release: pairs with acquire in look(): the payload is there before the header */
}

/* Goes on in the next area: every record left a header's room for this one. */
static uint64_t move_up(const struct afu_ring *r, struct afu_ring_tx *tx, uint64_t tail)
{
	uint64_t next = next_area(tail);

	commit(r, tx, tail, header_make(tail, 0, KIND_SWITCH, 0), next, 0);
	return next;
}

static int fill(const struct afu_ring *r, uint64_t tail, const uint64_t *words, struct afu_iter *from,
		uint32_t n, uint32_t flags)
{
	unsigned int area = area_of(tail);
	uint64_t size = size_of(area), at = tail, part;
	int err;

	for (uint32_t i = 0; i < (flags & AFU_RECORD_WORDS); i++) {
		at += 8;
		atomic_store_explicit(slot(r, at), words[i], memory_order_relaxed); /* the header publishes */
	}
	at = (at + HEADER) & (size - 1);
	part = size - at;
	if (__builtin_expect(part >= n, 1))
		return afu_iter_gather(from, r->area[area] + at, n);
	err = afu_iter_gather(from, r->area[area] + at, part);
	return err ? err : afu_iter_gather(from, r->area[area], n - part);
}

/* The record at this position, which is not published yet, is to be the newest out of band. */
static void set_mark(const struct afu_ring *r, uint64_t at)
{
	uint64_t before = atomic_load_explicit(&r->mark->oob, memory_order_relaxed); /* ours */

	atomic_store_explicit(&r->mark->oob_before, before, memory_order_relaxed);
	atomic_store_explicit(&r->mark->oob, at | NOWHERE, memory_order_release);
	/* release: pairs with the acquire in newest_oob(), which then sees the one before */
}

/* Goes to where a record of that extent can stand.  0 or -EAGAIN. */
static inline int find_place(const struct afu_ring *r, struct afu_ring_tx *tx, uint64_t need, uint64_t *at)
{
	uint64_t tail = atomic_load_explicit(&tx->tail, memory_order_relaxed); /* ours: the lock orders it */

	while (area_of(tail) < AFU_RING_AREAS - 1 && room(r, tx, tail, need + HEADER) < need + HEADER)
		tail = move_up(r, tx, tail);
	*at = tail;
	return room(r, tx, tail, need) < need ? -EAGAIN : 0;
}

int afu_ring_reserve(const struct afu_ring *r, struct afu_ring_tx *tx, uint32_t n, uint32_t flags,
		     uint64_t *at)
{
	if (n > AFU_RING_RECORD_MAX - words_size(flags))
		return -EMSGSIZE;
	return find_place(r, tx, extent(n + words_size(flags)), at);
}

int afu_ring_put(const struct afu_ring *r, struct afu_ring_tx *tx, const uint64_t *words,
		 struct afu_iter *from, uint32_t n, uint32_t flags, uint32_t charge)
{
	uint32_t total = n + words_size(flags);
	uint64_t need = extent(total), tail;
	int err;

	if (n > AFU_RING_RECORD_MAX - words_size(flags))
		return -EMSGSIZE;
	if (find_place(r, tx, need, &tail) < 0)
		return -EAGAIN;
	tx->dirty = need;
	atomic_signal_fence(memory_order_seq_cst);
	err = fill(r, tail, words, from, n, flags);
	if (__builtin_expect(err, 0)) {
		erase(r, tail + HEADER, need - HEADER);
		return err;
	}
	if (__builtin_expect(flags & AFU_RECORD_OOB, 0))
		set_mark(r, tail);
	commit(r, tx, tail, header_make(tail, total, KIND_DATA, flags), tail + need, charge);
	atomic_store_explicit(&r->mark->produced, tail + need, memory_order_release);
	/* release: who sees it sees the record */
	return 0;
}

static uint64_t charged(const struct afu_ring_tx *tx)
{
	uint64_t tail = atomic_load_explicit(&tx->tail, memory_order_relaxed); /* ours, or a hint */

	/* The intent that is being written does not count until tail has moved past it. */
	return tx->intent_at == tail ? tx->charged_before : tx->charged_after;
}

uint64_t afu_ring_used(const struct afu_ring *r, const struct afu_ring_tx *tx)
{
	uint64_t released = atomic_load_explicit(&r->head->released, memory_order_acquire);
	uint64_t sum = charged(tx);

	/* acquire: pairs with the release in give_back().  A peer that lies upward gets an empty buffer. */
	return sum > released ? sum - released : 0;
}

void afu_ring_expect_put(const struct afu_ring *r, const struct afu_ring_tx *tx, size_t n)
{
	uint64_t at = atomic_load_explicit(&tx->tail, memory_order_relaxed); /* a hint */

	claim_lines(r, at);
	if (n <= SMALL)
		claim_lines(r, at + AHEAD);
}

uint64_t afu_ring_used_most(const struct afu_ring_tx *tx)
{
	uint64_t given = atomic_load_explicit(&tx->given, memory_order_relaxed); /* ours, or a hint */
	uint64_t sum = charged(tx);

	return sum > given ? sum - given : 0;
}

uint64_t afu_ring_used_near(const struct afu_ring *r, struct afu_ring_tx *tx, uint64_t limit)
{
	uint64_t used = afu_ring_used_most(tx);

	if (__builtin_expect(used < limit, 1))
		return used;
	atomic_store_explicit(&tx->given, atomic_load_explicit(&r->head->released, memory_order_acquire),
			      memory_order_relaxed);
	/* acquire: as in afu_ring_used(); relaxed: the lock orders it */
	return afu_ring_used_most(tx);
}

/* What stands at a position. */
static int look(const struct afu_ring *r, uint64_t at, struct afu_ring_record *rec)
{
	uint64_t peer_header = atomic_load_explicit(slot(r, at), memory_order_acquire);
	uint32_t total = (uint32_t)peer_header;

	/* acquire: pairs with the release in commit() */
	if (!header_current(peer_header, at))
		return 0;
	rec->at = at;
	rec->flags = (uint32_t)(peer_header >> 52);
	rec->offset = 0;
	if (header_kind(peer_header) == KIND_SWITCH && area_of(at) < AFU_RING_AREAS - 1)
		return KIND_SWITCH;
	if (header_kind(peer_header) != KIND_DATA || total < words_size(rec->flags) ||
	    extent(total) > size_of(area_of(at)))
		return -EPROTO;
	rec->length = total - words_size(rec->flags);
	return KIND_DATA;
}

int afu_ring_sound(const struct afu_ring *r, const struct afu_ring_rx *rx)
{
	uint64_t at = atomic_load_explicit(&rx->head, memory_order_relaxed); /* a hint, as above */
	struct afu_ring_record rec;
	int kind = look(r, at, &rec);

	while (kind == KIND_SWITCH) {
		at = next_area(at);
		kind = look(r, at, &rec);
	}
	return kind > 0;
}

static void give_back(const struct afu_ring *r, uint64_t head, uint64_t released)
{
	atomic_store_explicit(&r->head->position, head, memory_order_release);
	atomic_store_explicit(&r->head->released, released, memory_order_release);
	/* release: pairs with acquire in room() and afu_ring_used() */
}

static void consume(const struct afu_ring *r, struct afu_ring_rx *rx, uint64_t at, uint64_t next, uint64_t n,
		    uint32_t charge)
{
	uint64_t released = rx->released + charge;

	/* at any moment, released counts for the head that released_at names, or for none */
	rx->released_at = NOWHERE;
	atomic_signal_fence(memory_order_seq_cst);
	rx->released = released;
	atomic_signal_fence(memory_order_seq_cst);
	rx->released_at = next;
	atomic_store_explicit(&rx->head, next, memory_order_release); /* the commit */
	if (atomic_load_explicit(&rx->partial, memory_order_relaxed)) /* ours: the lock orders it */
		atomic_store_explicit(&rx->partial, 0, memory_order_relaxed);
	erase(r, at, n);
	give_back(r, next, rx->released);
}

/* The record at hand was found: how much of it is consumed. */
static void note_partial(const struct afu_ring_rx *rx, struct afu_ring_record *rec)
{
	uint64_t partial = atomic_load_explicit(&rx->partial, memory_order_relaxed); /* the lock orders it */

	rec->ahead = size_of(area_of(rec->at));
	if ((uint32_t)(partial >> 32) == partial_tag(rec->at) && (uint32_t)partial <= rec->length)
		rec->offset = (uint32_t)partial;
}

int afu_ring_front(const struct afu_ring *r, struct afu_ring_rx *rx, struct afu_ring_record *rec)
{
	uint64_t at = atomic_load_explicit(&rx->head, memory_order_relaxed); /* ours: the lock orders it */
	int kind = look(r, at, rec);

	while (__builtin_expect(kind == KIND_SWITCH, 0)) {
		uint64_t next = next_area(at);

		consume(r, rx, at, next, HEADER, 0);
		at = next;
		kind = look(r, at, rec);
	}
	if (kind <= 0)
		return kind;
	note_partial(rx, rec);
	return 1;
}

int afu_ring_ahead(const struct afu_ring *r, const struct afu_ring_rx *rx, struct afu_ring_record *rec)
{
	uint64_t at = atomic_load_explicit(&rx->head, memory_order_relaxed); /* the lock orders it */
	int kind = look(r, at, rec);

	while (kind == KIND_SWITCH) {
		at = next_area(at);
		kind = look(r, at, rec);
	}
	if (kind <= 0)
		return kind;
	note_partial(rx, rec);
	return 1;
}

int afu_ring_next(const struct afu_ring *r, struct afu_ring_record *rec)
{
	uint64_t step = extent(rec->length + words_size(rec->flags)), at = rec->at + step;
	int kind;

	if (step >= rec->ahead)
		return 0;
	rec->ahead -= step;
	kind = look(r, at, rec);
	while (kind == KIND_SWITCH) {
		at = next_area(at);
		rec->ahead = size_of(area_of(at));
		kind = look(r, at, rec);
	}
	return kind > 0 ? 1 : kind;
}

int afu_ring_read(const struct afu_ring *r, const struct afu_ring_record *rec, uint32_t offset,
		  struct afu_iter *to, uint32_t n)
{
	unsigned int area = area_of(rec->at);
	uint64_t size = size_of(area), part;
	uint64_t at = (rec->at + HEADER + words_size(rec->flags) + offset) & (size - 1);
	int err;

	part = size - at;

	if (__builtin_expect(part >= n, 1))
		return afu_iter_scatter(to, r->area[area] + at, n);
	err = afu_iter_scatter(to, r->area[area] + at, part);
	return err ? err : afu_iter_scatter(to, r->area[area], n - part);
}

void afu_ring_advance(struct afu_ring_rx *rx, const struct afu_ring_record *rec, uint32_t offset)
{
	atomic_store_explicit(&rx->partial, (uint64_t)partial_tag(rec->at) << 32 | offset,
			      memory_order_relaxed);
	/* relaxed: the lock orders it; position and offset go in one store, so a kill tears nothing */
}

void afu_ring_take(const struct afu_ring *r, struct afu_ring_rx *rx, const struct afu_ring_record *rec,
		   uint32_t charge)
{
	uint64_t n = extent(rec->length + words_size(rec->flags));

	consume(r, rx, rec->at, rec->at + n, n, charge);
}

void afu_ring_recover_tx(const struct afu_ring *r, struct afu_ring_tx *tx)
{
	uint64_t tail = atomic_load_explicit(&tx->tail, memory_order_acquire);
	uint64_t head = atomic_load_explicit(&r->head->position, memory_order_acquire);
	uint64_t at = tx->intent_at, next = at + extent((uint32_t)tx->intent_header), free;
	/* once: another holder of this end may write it meanwhile, and the broker repairs too */
	uint64_t dirty = *(volatile uint64_t *)&tx->dirty;

	if (header_kind(tx->intent_header) == KIND_SWITCH)
		next = next_area(at);
	/* the lap tells a header that was written for the next place, before its position was: published
	 * here it would not be stale when the consumer comes round */
	if (header_current(tx->intent_header, at) && next == tail && head <= at &&
	    !header_current(atomic_load(slot(r, at)), at))
		atomic_store(slot(r, at), tx->intent_header);
	if (atomic_load_explicit(&r->mark->oob, memory_order_relaxed) == (tail | NOWHERE)) /* ours */
		atomic_store_explicit(&r->mark->oob,
				      atomic_load_explicit(&r->mark->oob_before, memory_order_relaxed),
				      memory_order_release); /* release: as in set_mark() */
	if (next != tail)
		tx->charged_after = tx->charged_before;
	tx->seen = head;
	atomic_store_explicit(&r->mark->produced, tail, memory_order_release);
	free = room(r, tx, tail, size_of(area_of(tail)));
	erase(r, tail, dirty < free ? dirty : free);
}

void afu_ring_recover_rx(const struct afu_ring *r, struct afu_ring_rx *rx)
{
	uint64_t head = atomic_load_explicit(&rx->head, memory_order_acquire);
	uint64_t peer_head = atomic_load_explicit(&r->head->position, memory_order_acquire);
	uint64_t behind = head - peer_head;

	if (rx->released_at != head)
		rx->released = atomic_load_explicit(&r->head->released, memory_order_acquire);
	rx->released_at = head;
	while (area_of(head) > area_of(peer_head)) {
		/* it died on the way through a switch: nothing of that area is needed any more */
		erase(r, (uint64_t)area_of(peer_head) << AREA_SHIFT, size_of(area_of(peer_head)));
		peer_head = next_area(peer_head);
		behind = head - peer_head;
	}
	if (behind && behind <= size_of(area_of(head)))
		erase(r, peer_head, behind);
	if ((uint32_t)(atomic_load_explicit(&rx->partial, memory_order_relaxed) >> 32) != partial_tag(head))
		atomic_store_explicit(&rx->partial, 0, memory_order_relaxed); /* ours: the lock orders it */
	give_back(r, head, rx->released);
}

int afu_ring_from(const struct afu_ring *r, uint64_t at, struct afu_ring_record *rec)
{
	int kind = look(r, at, rec);

	while (kind == KIND_SWITCH) {
		at = next_area(at);
		kind = look(r, at, rec);
	}
	rec->ahead = size_of(area_of(at));
	return kind > 0 ? 1 : kind;
}

/* The first record from the shared head on. */
static int first(const struct afu_ring *r, struct afu_ring_record *rec)
{
	return afu_ring_from(r, atomic_load_explicit(&r->head->position, memory_order_acquire), rec);
}

int afu_ring_occupied(const struct afu_ring *r)
{
	struct afu_ring_record rec;

	return first(r, &rec) > 0; /* nobody can ever take what is no record */
}

int afu_ring_unread(const struct afu_ring *r)
{
	struct afu_ring_record rec;
	int kind = first(r, &rec);

	if (kind > 0 && (rec.length == 0 || afu_ring_oob(r, &rec) == AFU_OOB_SHELL))
		kind = afu_ring_next(r, &rec);
	return kind != 0;
}

void afu_ring_words(const struct afu_ring *r, const struct afu_ring_record *rec,
		    uint64_t words[AFU_RING_WORDS])
{
	uint32_t n = rec->flags & AFU_RECORD_WORDS;

	for (uint32_t i = 0; i < AFU_RING_WORDS; i++)
		words[i] =
			i < n ? atomic_load_explicit(slot(r, rec->at + HEADER + 8 * i), memory_order_relaxed)
			      : 0;
	/* relaxed: the header, which was acquired, came after them */
}

/* The newest out-of-band record that was published: the mark is written before its record's header. */
static uint64_t newest_oob(const struct afu_ring *r)
{
	uint64_t peer_mark = atomic_load_explicit(&r->mark->oob, memory_order_acquire);
	uint64_t at = peer_mark & ~NOWHERE;

	/* Gone already, or still to come: then it is the one before.  acquire: pairs with set_mark(),
	 * commit() */
	if (peer_mark && !header_current(atomic_load_explicit(slot(r, at), memory_order_acquire), at))
		peer_mark = atomic_load_explicit(&r->mark->oob_before, memory_order_relaxed);
	return peer_mark;
}

enum afu_ring_oob afu_ring_oob(const struct afu_ring *r, const struct afu_ring_record *rec)
{
	if (!(rec->flags & AFU_RECORD_OOB))
		return AFU_OOB_NONE;
	if (rec->flags & AFU_RECORD_SHELL)
		return AFU_OOB_SHELL;
	return newest_oob(r) == (rec->at | NOWHERE) ? AFU_OOB_PENDING : AFU_OOB_NONE;
}

int afu_ring_find_oob(const struct afu_ring *r, const struct afu_ring_rx *rx, struct afu_ring_record *rec)
{
	uint64_t peer_mark = newest_oob(r), at = peer_mark & ~NOWHERE;

	/* relaxed: the lock orders it, or it is a hint */
	if ((peer_mark & 7) != NOWHERE || at < atomic_load_explicit(&rx->head, memory_order_relaxed))
		return 0;
	rec->ahead = size_of(area_of(at));
	/* the mark is not asked again: it may have moved on since this one was pending */
	return look(r, at, rec) == KIND_DATA && rec->length == 1 && (rec->flags & AFU_RECORD_OOB) &&
	       !(rec->flags & AFU_RECORD_SHELL);
}

int afu_ring_oob_pending(const struct afu_ring *r, const struct afu_ring_rx *rx)
{
	struct afu_ring_record rec;

	if (__builtin_expect(!atomic_load_explicit(&r->mark->oob, memory_order_relaxed), 1))
		return 0; /* relaxed: a hint */
	return afu_ring_find_oob(r, rx, &rec);
}

void afu_ring_reflag(const struct afu_ring *r, struct afu_ring_record *rec, uint32_t set, uint32_t clear)
{
	uint32_t total = rec->length + words_size(rec->flags);

	rec->flags = (rec->flags | set) & ~clear;
	atomic_store_explicit(slot(r, rec->at), header_make(rec->at, total, KIND_DATA, rec->flags),
			      memory_order_release);
	/* release: the record stays as whole as it was */
}
