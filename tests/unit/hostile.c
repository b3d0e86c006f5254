/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What a hostile peer, a co-holder or a hole punched into the memory can put into the
 * ring's words: no function of it reads or writes beyond the areas or goes on without end.
 */
#include "bed.h"
#include "tap.h"

#include <errno.h>
#include <string.h>

/* A header from an earlier lap, published again by a recovery, is nothing. */
static void stale_header(void)
{
	struct afu_ring_record rec;
	_Atomic uint64_t *word;
	uint64_t header;

	for (unsigned int area = 0; area < AFU_RING_AREAS; area++) {
		uint64_t size = bed_size(area), base = AREA(area);

		bed_up((int)area & 1);
		for (uint64_t lap = 0; lap < 0x10002; lap += lap < 4 || lap > 0xfff0 ? 1 : 4099) {
			bed_begin_at(base + lap * size);
			NEED(bed_put(1, 20, 1, 1) == 0);
			word = (_Atomic uint64_t *)(void *)ring.area[area];
			header = *word;
			bed_check_front(1, 20, 1, &rec);
			bed_take(&rec, 1);
			bed_set_positions(base + (lap + 1) * size);
			*word = header;
			CHECK_EQ(afu_ring_front(&ring, rx, &rec), 0);
			CHECK(!afu_ring_ready(&ring, rx));
			CHECK(!afu_ring_unread(&ring));
			CHECK(!afu_ring_occupied(&ring));
			NEED(bed_put(2, 30, 0, 1) == 0);
			bed_check_front(2, 30, 0, &rec);
			bed_take(&rec, 1);
			CHECK_EQ(bed_not_zero(), 0);
		}
		bed_down();
	}
}

/*
 * A producer that dies between the header and the position of its intent, while the consumer
 * has erased the record before, of the same extent, and not yet given it back: what is
 * published there must be stale when the consumer comes round, or not be published.
 */
static void torn_intent(void)
{
	for (unsigned int area = 0; area < AFU_RING_AREAS; area++) {
		uint64_t size = bed_size(area), at = AREA(area) | (size - 32);
		struct afu_ring_record rec;
		uint64_t header;

		bed_up(0);
		bed_begin_at(at + 32);
		NEED(bed_put(1, 20, 0, 1) == 0);
		header = tx->intent_header; /* of the first place in the next lap */
		bed_begin_at(at);
		NEED(bed_put(1, 20, 0, 1) == 0);
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		bed_take(&rec, 1);
		atomic_store(&ring.head->position, at);
		tx->intent_header = header;
		afu_ring_recover_tx(&ring, tx);
		atomic_store(&ring.head->position, at + 32);
		CHECK_EQ(afu_ring_used(&ring, tx), 0);
		bed_set_positions(at + size);
		CHECK_EQ(afu_ring_front(&ring, rx, &rec), 0);
		bed_down();
	}
}

static uint64_t nasty(void)
{
	static const uint64_t values[] = {0,
					  1,
					  7,
					  8,
					  9,
					  SMALL - 8,
					  SMALL,
					  SMALL - 1,
					  LARGE - 8,
					  LARGE,
					  LARGE - 1,
					  HUGE - 8,
					  HUGE - 1,
					  HUGE,
					  IN_LARGE - 8,
					  IN_LARGE - 1,
					  IN_LARGE,
					  IN_LARGE + 8,
					  IN_HUGE - 8,
					  IN_HUGE - 1,
					  IN_HUGE,
					  IN_HUGE + 8,
					  IN_HUGE | (HUGE - 4),
					  AREA(3),
					  AREA(3) - 8,
					  UINT64_MAX,
					  UINT64_MAX - 7,
					  UINT64_C(1) << 63};
	uint64_t v = values[tap_below(sizeof values / sizeof *values)];

	switch (tap_below(4)) {
	case 0:
		return tap_random();
	case 1:
		return v + tap_below(64) - 32;
	case 2:
		return v | tap_below(tap_below(2) ? LARGE : HUGE);
	default:
		return v;
	}
}

static unsigned int shift_of(unsigned int area)
{
	return area == 0 ? AFU_RING_SMALL_SHIFT : area == 1 ? AFU_RING_LARGE_SHIFT : AFU_RING_HUGE_SHIFT;
}

/* A header for a position, of kind 1 (data), 2 (switch) or another. */
static uint64_t header(uint64_t at, uint64_t n, uint64_t kind, uint64_t flags)
{
	unsigned int area = at >> 56 < AFU_RING_AREAS ? (unsigned int)(at >> 56) : AFU_RING_AREAS - 1;
	uint64_t lap = ((at & (AREA(1) - 1)) >> shift_of(area)) & 0xffff;

	return n | lap << 32 | kind << 48 | flags << 52;
}

static void write_header(unsigned int area, uint64_t at, uint64_t value)
{
	((uint64_t *)(void *)ring.area[area])[(at & (bed_size(area) - 1)) / 8] = value;
}

/* Words that may pass for headers, about where the consumer looks. */
static void scribble(uint64_t near)
{
	for (unsigned int i = 0; i < 40; i++) {
		unsigned int area = (unsigned int)tap_below(AFU_RING_AREAS);
		uint64_t at = (near & (AREA(1) - 1)) + 8 * tap_below(tap_below(2) ? 16 : 4096);
		uint64_t n = tap_below(3) ? tap_below(300) : nasty() & UINT32_MAX;

		if (tap_below(4) == 0)
			at = 8 * tap_below(4);
		write_header(area, at,
			     tap_below(6) ? header(AREA(area) | at, n, 1 + tap_below(3), tap_below(4096))
					  : nasty());
	}
}

static void scribble_positions(void)
{
	uint64_t *plain[] = {&tx->seen,		  &tx->intent_at,     &tx->intent_header,
			     &tx->charged_before, &tx->charged_after, &tx->dirty,
			     &rx->released,	  &rx->released_at,   &rx->discarded};
	_Atomic uint64_t *words[] = {&tx->tail,
				     &tx->given,
				     &rx->head,
				     &rx->partial,
				     &ring.head->position,
				     &ring.head->released,
				     &ring.mark->produced,
				     &ring.mark->oob,
				     &ring.mark->oob_before};
	const size_t n = sizeof plain / sizeof *plain, m = sizeof words / sizeof *words;
	size_t i = tap_below(n + m + 2);

	if (i < n)
		*plain[i] = nasty();
	else if (i < n + m)
		atomic_store(words[i - n], nasty());
	else
		/* a mark that may well hit something */
		atomic_store(&ring.mark->oob, (rx->head + 8 * tap_below(30)) | 1);
}

static void use_producer(void)
{
	static const uint32_t limits[] = {1, 30, 300, 5000, 300000, AFU_RING_RECORD_MAX + 100};
	uint32_t n = (uint32_t)tap_below(limits[tap_below(100) ? tap_below(3) : tap_below(6)] + UINT64_C(1));
	uint64_t words[AFU_RING_WORDS] = {tap_random(), tap_random(), tap_random()};
	struct iovec iov[4];
	struct afu_iter it = bed_pieces(iov, source, n);
	int err = afu_ring_put(&ring, tx, words, &it, n, (uint32_t)tap_below(4096), 1000);

	(void)afu_ring_used(&ring, tx);
	(void)afu_ring_used_near(&ring, tx, tap_random() % 100000);
	CHECK(err == 0 || err == -EAGAIN || (err == -EMSGSIZE && n > AFU_RING_RECORD_MAX - 24));
	if (tap_below(4) == 0)
		afu_ring_recover_tx(&ring, tx);
}

static void use_mark(void)
{
	struct afu_ring_record rec;

	if (!afu_ring_find_oob(&ring, rx, &rec))
		return;
	CHECK_EQ(rec.length, 1);
	CHECK(rec.at >= rx->head);
	CHECK_EQ(afu_ring_oob(&ring, &rec), AFU_OOB_PENDING);
	CHECK(afu_ring_oob_pending(&ring, rx));
	if (tap_below(2)) {
		afu_ring_reflag(&ring, &rec, AFU_RECORD_SHELL, 0);
		CHECK_EQ(afu_ring_oob(&ring, &rec), AFU_OOB_SHELL);
		CHECK(!afu_ring_find_oob(&ring, rx, &rec));
	} else {
		(void)afu_ring_next(&ring, &rec);
	}
}

static void use_consumer(void)
{
	struct afu_ring_record rec;
	struct iovec iov[4];
	struct afu_iter it;
	uint64_t walked = 0, words[AFU_RING_WORDS];
	int found = afu_ring_front(&ring, rx, &rec);

	while (found > 0) {
		CHECK(rec.length <= HUGE && rec.offset <= rec.length);
		if (walked < 50) {
			uint32_t n = (uint32_t)tap_below(rec.length - rec.offset + UINT64_C(1));

			it = bed_pieces(iov, target, n);
			CHECK_EQ(afu_ring_read(&ring, &rec, rec.offset, &it, n), 0);
			afu_ring_words(&ring, &rec, words);
			(void)afu_ring_oob(&ring, &rec);
		}
		if (++walked > 2 * HUGE / 8) {
			tap_failed(__FILE__, __LINE__, "looking ahead does not end");
			tap_leave();
		}
		found = afu_ring_next(&ring, &rec);
	}
	CHECK(found == 0 || found == -EPROTO);
	if (afu_ring_front(&ring, rx, &rec) == 1) {
		if (tap_below(8) == 0)
			afu_ring_reflag(&ring, &rec, AFU_RECORD_SHELL << tap_below(5), AFU_RECORD_OOB);
		if (tap_below(2))
			afu_ring_advance(rx, &rec, (uint32_t)tap_random());
		else
			afu_ring_take(&ring, rx, &rec, (uint32_t)tap_random());
	}
	if (tap_below(4) == 0)
		afu_ring_recover_rx(&ring, rx);
}

static void use_once(void)
{
	(void)afu_ring_ready(&ring, rx);
	(void)afu_ring_unread(&ring);
	(void)afu_ring_occupied(&ring);
	use_mark();
	use_producer();
	use_mark();
	use_consumer();
}

static void hostile(void)
{
	for (int end = 0; end < 2; end++) {
		bed_up(end);
		for (unsigned int i = 0; i < 60000; i++) {
			if (i % 64 == 0)
				bed_begin_at(tap_below(2) ? nasty() & ~UINT64_C(7) : AREA(tap_below(3)));
			if (tap_below(2))
				scribble(rx->head);
			for (uint64_t k = tap_below(9); k > 5; k--)
				scribble_positions();
			use_once();
			if (tap_failures()) {
				tap_note("round %u", i);
				tap_leave();
			}
		}
		bed_down();
	}
}

/* A co-holder's position that is no multiple of 8, at the very end of each area. */
static void crooked(void)
{
	static char buffer[64];

	for (unsigned int area = 0; area < AFU_RING_AREAS; area++) {
		for (uint64_t off = 0; off < 64; off++) {
			struct afu_ring_record rec = {.at = AREA(area) | (bed_size(area) - off), .flags = 3};
			uint64_t words[AFU_RING_WORDS] = {1, 2, 3}, n = tap_below(40);
			struct iovec iov = {buffer, sizeof buffer};
			struct afu_iter it = {&iov, 1, 0};

			bed_up(1);
			bed_begin_at(rec.at);
			afu_ring_words(&ring, &rec, words);
			(void)afu_ring_put(&ring, tx, words, &it, (uint32_t)n, 3, 1);
			if (afu_ring_front(&ring, rx, &rec) > 0)
				afu_ring_take(&ring, rx, &rec, 1);
			bed_down();
		}
	}
}

/* Holes can be punched into sealed memory: any word may turn to 0 at any time. */
static void punched(void)
{
	struct afu_ring_record rec;

	bed_up(1);
	for (unsigned int i = 0; i < 2000; i++) {
		bed_begin_at(AREA(tap_below(3)) | 8 * tap_below(tap_below(2) ? 10000 : 100));
		for (unsigned int k = 0; k < 5; k++)
			bed_put(k, (uint32_t)tap_below(400), (uint32_t)tap_below(4096), 100);
		if (tap_below(2))
			memset(ring.area[tap_below(AFU_RING_AREAS)], 0, SMALL);
		if (tap_below(2))
			memset((void *)ring.head, 0, sizeof *ring.head);
		if (tap_below(2))
			memset((void *)ring.mark, 0, sizeof *ring.mark);
		for (unsigned int k = 0; k < 10 && afu_ring_front(&ring, rx, &rec) == 1; k++)
			bed_take(&rec, 100);
		use_once();
	}
	bed_down();
}

/* Headers all over, each right for this lap: one time round, and that was it. */
static void full_of_headers(void)
{
	struct afu_ring_record rec;

	bed_up(1);
	for (unsigned int area = 0; area < AFU_RING_AREAS; area++) {
		uint64_t size = bed_size(area), walked = 1;

		bed_begin_at(AREA(area));
		for (uint64_t at = 0; at < size; at += 8)
			write_header(area, at, header(AREA(area) | at, 0, 1, 0));
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		while (walked < size && afu_ring_next(&ring, &rec) == 1)
			walked++;
		CHECK_EQ(walked, size / 8);
		/* of the first two records, neither is passed over by this much */
		CHECK(afu_ring_unread(&ring));
	}
	bed_down();
}

/* A peer that keeps writing headers ahead of a reader that only looks. */
static void racing_headers(void)
{
	struct afu_ring_record rec;

	bed_up(1);
	for (unsigned int area = 0; area < AFU_RING_AREAS; area++) {
		uint64_t size = bed_size(area), walked = 1;

		bed_begin_at(AREA(area));
		write_header(area, 0, header(AREA(area), 0, 1, 0));
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		do {
			write_header(area, rec.at + 8, header(rec.at + 8, 0, 1, 0));
		} while (walked++ < 8 * size && afu_ring_next(&ring, &rec) == 1);
		CHECK(walked <= size / 8 + 1);
	}
	bed_down();
}

/* Nothing but switches: each leads on, the last area's is no record. */
static void switches(void)
{
	struct afu_ring_record rec;

	bed_up(1);
	for (unsigned int area = 0; area < AFU_RING_AREAS; area++) {
		bed_begin_at(AREA(area) | 24);
		for (unsigned int i = area; i + 1 < AFU_RING_AREAS; i++) {
			uint64_t at = AREA(i) | (i == area ? 24 : 0);

			write_header(i, at, header(at, 0, 2, 0));
			CHECK(!afu_ring_ready(&ring, rx));
			CHECK(!afu_ring_occupied(&ring));
			CHECK(!afu_ring_unread(&ring));
		}
		write_header(2, area == 2 ? 24 : 0, header(IN_HUGE, 0, 2, 0));
		CHECK(afu_ring_ready(&ring, rx)); /* for the error */
		CHECK(afu_ring_unread(&ring));
		CHECK(!afu_ring_occupied(&ring));
		CHECK_EQ(afu_ring_front(&ring, rx, &rec), -EPROTO);
		CHECK_EQ(afu_ring_front(&ring, rx, &rec), -EPROTO);
	}
	bed_down();
}

/* The lengths and kinds that a header may not have. */
static void no_record(void)
{
	static const struct {
		uint64_t n, kind, flags;
	} bad[] = {{0, 0, 0},	     {0, 3, 0},	   {0, 15, 0},		{7, 1, 1},
		   {15, 1, 2},	     {23, 1, 3},   {UINT32_MAX, 1, 0},	{UINT32_MAX - 7, 1, 3},
		   {HUGE - 7, 1, 0}, {HUGE, 1, 0}, {1u << 31, 1, 0xfff}};
	struct afu_ring_record rec;

	bed_up(1);
	for (unsigned int area = 0; area < AFU_RING_AREAS; area++) {
		uint64_t at = AREA(area) | (bed_size(area) * 5 + 48);

		for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
			/* a header of 0 is none: not even of lap 0 */
			uint64_t peer_header = header(at, bad[i].n, bad[i].kind, bad[i].flags);

			bed_begin_at(at);
			write_header(area, at, peer_header);
			CHECK_EQ(afu_ring_front(&ring, rx, &rec), -EPROTO);
			CHECK(afu_ring_unread(&ring));
			CHECK(!afu_ring_occupied(&ring));
			/* behind a good one */
			bed_begin_at(at - 16);
			write_header(area, at - 16, header(at - 16, 3, 1, 0));
			write_header(area, at, peer_header);
			NEED(afu_ring_front(&ring, rx, &rec) == 1);
			CHECK_EQ(afu_ring_next(&ring, &rec), -EPROTO);
		}
		/* just as long as the area */
		bed_begin_at(at);
		write_header(area, at, header(at, bed_size(area) - 8, 1, 0));
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		CHECK_EQ(afu_ring_next(&ring, &rec), 0);
		write_header(area, at, header(at, bed_size(area) - 7, 1, 0));
		CHECK_EQ(afu_ring_front(&ring, rx, &rec), -EPROTO);
	}
	bed_down();
}

static const struct tap_case cases[] = {
	{"a header of an earlier lap is nothing", stale_header},
	{"an intent of which half was written", torn_intent},
	{"hostile values in every word", hostile},
	{"positions that are no multiples of 8", crooked},
	{"words that turn to 0", punched},
	{"areas full of headers", full_of_headers},
	{"looking ahead ends after one lap, whatever is written meanwhile", racing_headers},
	{"nothing but switches", switches},
	{"headers that are of no record", no_record},
};

int main(int argc, char **argv)
{
	return tap_run(cases, sizeof cases / sizeof *cases, 60, argc > 1 ? argv[1] : NULL);
}
