/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The record ring as its two ends use it: every size, place and area, and against a
 * plain queue.  What stands in the ring when an end is hostile is in hostile.c, the
 * out-of-band mark in mark.c.
 */
#include "base/copy.h"
#include "bed.h"
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static unsigned int area_of_tail(void)
{
	return (unsigned int)(tx->tail >> 56);
}

static const uint32_t sizes[] = {0,    1,    2,	   3,	 4,    5,    6,	   7,	 8,    9,
				 15,   16,   17,   31,	 32,   33,   63,   64,	 65,   1000,
				 1023, 1024, 1025, 1031, 1032, 1033, 2023, 2024, 2025, 2031,
				 2032, 2033, 2039, 2040, 2041, 2047, 2048, 2049, 4096};
#define SIZES (sizeof sizes / sizeof *sizes)

/* Where a record of the ring's own beginning comes to stand. */
static unsigned int area_for(uint64_t extent)
{
	/* what leaves a header's room behind it stays in the area */
	return extent + 8 <= SMALL ? 0 : extent + 8 <= LARGE ? 1 : 2;
}

static void every_size(void)
{
	for (int end = 0; end < 2; end++) {
		bed_up(end);
		for (uint32_t n = 0; n <= 2100; n++) {
			bed_begin_at(0);
			bed_there_and_back(n, 0);
			CHECK_EQ(area_of_tail(), area_for(bed_extent(n, 0)));
			bed_check_empty();
			if (tap_failures())
				tap_leave();
		}
		bed_down();
	}
}

/* One record that just fits an area with its words, or just does not. */
static void every_border(void)
{
	bed_up(1);
	for (unsigned int start = 0; start < AFU_RING_AREAS; start++) {
		for (unsigned int area = 0; area < 2; area++) {
			for (uint32_t n = (uint32_t)bed_size(area) - 60; n <= bed_size(area) + 8; n++) {
				for (uint32_t words = 0; words <= AFU_RING_WORDS; words++) {
					unsigned int fits = area_for(bed_extent(n, words));
					struct afu_ring_record rec;

					bed_begin_at(AREA(start));
					NEED(bed_put(n, n, words, 7) == 0);
					CHECK_EQ(area_of_tail(), fits > start ? fits : start);
					bed_check_front(n, n, words, &rec);
					bed_take(&rec, 7);
					bed_check_empty();
					if (tap_failures())
						tap_leave();
				}
			}
		}
	}
	bed_down();
}

static void largest(void)
{
	struct afu_ring_record rec;

	for (int end = 0; end < 2; end++) {
		bed_up(end);
		for (uint32_t words = 0; words <= AFU_RING_WORDS; words++) {
			uint32_t n = AFU_RING_RECORD_MAX - 8 * words;

			bed_begin_at(words % 2 ? IN_HUGE | (HUGE / 4 * words + 8) : AREA(words / 2));
			NEED(bed_put(3, n, words, 1) == 0);
			bed_check_front(3, n, words, &rec);
			CHECK_EQ(bed_put(4, n, words, 1), -EAGAIN);
			CHECK_EQ(afu_ring_used(&ring, tx), 1);
			bed_take(&rec, 1);
			bed_check_empty();
		}
		bed_down();
	}
}

/* What can never fit changes nothing: not even the area. */
static void too_long(void)
{
	static const uint32_t never[] = {AFU_RING_RECORD_MAX + 1,
					 AFU_RING_RECORD_MAX + 8,
					 AFU_RING_RECORD_MAX + 9,
					 HUGE,
					 HUGE + 1,
					 1u << 31,
					 UINT32_MAX - 24,
					 UINT32_MAX - 8,
					 UINT32_MAX - 7,
					 UINT32_MAX};
	uint64_t no_words[AFU_RING_WORDS] = {0};

	bed_up(1);
	for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
		for (uint32_t words = 0; words <= AFU_RING_WORDS; words++) {
			struct afu_iter none = {NULL, 0, 0};

			bed_begin_at(AREA(i % 3) | 64);
			CHECK_EQ(afu_ring_put(&ring, tx, no_words, &none, never[i] - 8 * words, words, 1),
				 -EMSGSIZE);
			CHECK_EQ(tx->tail, AREA(i % 3) | 64);
			CHECK_EQ(ring.mark->produced, 0);
			bed_check_empty();
			bed_there_and_back(10, 3);
			bed_check_empty();
		}
	}
	bed_down();
}

static void wrap_small(void)
{
	for (int end = 0; end < 2; end++) {
		bed_up(end);
		for (uint64_t at = 8; at <= SMALL; at += 8) {
			for (size_t i = 0; i < SIZES && bed_extent(sizes[i], 0) + 8 <= SMALL; i++) {
				bed_begin_at(at);
				bed_there_and_back(sizes[i], bed_extent(sizes[i], 3) + 8 <= SMALL ? 3 : 0);
				CHECK_EQ(area_of_tail(), 0);
			}
			CHECK_EQ(bed_not_zero(), 0);
		}
		bed_down();
	}
}

static void wrap(unsigned int area)
{
	uint64_t size = bed_size(area);

	for (int end = 0; end < 2; end++) {
		bed_up(end);
		for (uint64_t at = size - 2 * SMALL; at <= size; at += 8) {
			bed_begin_at(AREA(area) | at);
			for (size_t i = 0; i < SIZES; i += at % 64 ? 5 : 1) {
				bed_set_positions(AREA(area) | at);
				ring.mark->produced = 0;
				bed_there_and_back(sizes[i], 3);
			}
			if (at % 128 == 0)
				CHECK_EQ(bed_not_zero(), 0);
		}
		CHECK_EQ(bed_not_zero(), 0);
		bed_down();
	}
}

static void wrap_large(void)
{
	wrap(1);
}

static void wrap_huge(void)
{
	wrap(2);
}

static uint32_t full_flags(uint64_t i, uint32_t words)
{
	return (uint32_t)(i << 4 & 0xff0) | words;
}

/* Takes as many as there are; each must be the next. */
static void drain_full(uint64_t count, uint32_t n, uint32_t words, uint64_t look_closely)
{
	struct afu_ring_record rec;

	for (uint64_t i = 0; i < count; i++) {
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		CHECK_EQ(rec.length, n);
		CHECK_EQ(rec.flags, full_flags(i, words));
		if (i % 97 == 0 || (i + 3 > look_closely && i < look_closely + 3))
			bed_check_content(&rec, i, 0, n);
		bed_take(&rec, 3);
		if (tap_failures())
			tap_leave();
	}
	bed_check_empty();
}

/* Full to the last byte, for each size that leaves its own rest at the borders. */
static void full(void)
{
	bed_up(1);
	for (uint32_t n = 0; n <= 300; n++) {
		uint32_t words = n % 4;
		uint64_t extent = bed_extent(n, words), count = 0;
		uint64_t in_small = (SMALL - 8) / extent, in_large = (LARGE - 8) / extent;

		bed_begin_at(0);
		while (area_of_tail() < 2) {
			NEED(bed_put(count, n, full_flags(count, words), 3) == 0);
			count++;
		}
		CHECK_EQ(count, in_small + in_large + 1);
		CHECK_EQ(tx->tail, IN_HUGE | extent);
		CHECK_EQ(afu_ring_used(&ring, tx), 3 * count);
		drain_full(count, n, words, n % 2 ? in_small : in_small + in_large);
	}
	bed_down();
}

static void full_huge(void)
{
	static const uint32_t lengths[] = {0,	   56,	     3000,	   4088,    65528,
					   100001, 1u << 20, HUGE / 2 - 8, HUGE / 2};

	bed_up(1);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		uint32_t n = lengths[i], words = (uint32_t)i % 3;
		uint64_t count = 0, place = 64 * i;

		bed_begin_at(IN_HUGE | place);
		while (bed_put(count, n, full_flags(count, words), 3) == 0)
			count++;
		/* there is no next area to keep a header's room for */
		CHECK_EQ(count, HUGE / bed_extent(n, words));
		CHECK_EQ(bed_put(count, n, words, 3), -EAGAIN);
		CHECK_EQ(afu_ring_used(&ring, tx), 3 * count);
		drain_full(count, n, words, count);
	}
	bed_down();
}

static void charges(void)
{
	struct afu_ring_record rec;

	bed_up(0);
	bed_begin_at(0);
	CHECK_EQ(bed_put(1, 10, 0, 0), 0);
	CHECK_EQ(afu_ring_used(&ring, tx), 0);
	CHECK_EQ(bed_put(2, 10, 0, UINT32_MAX), 0);
	CHECK_EQ(bed_put(3, 10, 0, UINT32_MAX), 0);
	CHECK_EQ(afu_ring_used(&ring, tx), 2 * (uint64_t)UINT32_MAX);
	CHECK_EQ(afu_ring_put(&ring, tx, NULL, &(struct afu_iter){NULL, 0, 0}, HUGE, 0, 5), -EMSGSIZE);
	CHECK_EQ(afu_ring_used(&ring, tx), 2 * (uint64_t)UINT32_MAX);
	CHECK_EQ(bed_put(4, 10, 0, 7), 0);
	CHECK_EQ(afu_ring_used(&ring, tx), 2 * (uint64_t)UINT32_MAX + 7);
	for (unsigned int i = 1; i <= 4; i++) {
		bed_check_front(i, 10, 0, &rec);
		bed_take(&rec, i == 1 ? 0 : i == 4 ? 7 : UINT32_MAX);
	}
	bed_check_empty();
	/* a peer that lies upward gets an empty buffer, downward a full one */
	CHECK_EQ(bed_put(5, 10, 0, 9), 0);
	atomic_store(&ring.head->released, UINT64_MAX);
	CHECK_EQ(afu_ring_used(&ring, tx), 0);
	atomic_store(&ring.head->released, 0);
	CHECK_EQ(afu_ring_used(&ring, tx), 2 * (uint64_t)UINT32_MAX + 7 + 9);
	bed_down();
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
#if defined(__x86_64__)
	ucontext_t *uc = context;
	uintptr_t to = afu_copy_fixup((uintptr_t)uc->uc_mcontext.gregs[REG_RIP]);

	if (to) {
		uc->uc_mcontext.gregs[REG_RIP] = (greg_t)to;
		return;
	}
#endif
	signal(sig, SIG_DFL);
}

/* n bytes that fault from byte good on. */
static struct afu_iter bad_after(struct iovec iov[2], char *page, uint32_t n, uint32_t good)
{
	char *from = page + PAGE - (good < PAGE ? good : PAGE);

	if (good > PAGE) {
		iov[0] = (struct iovec){source, good - PAGE};
		iov[1] = (struct iovec){page, n - (good - PAGE)};
		return (struct afu_iter){iov, 2, 0};
	}
	iov[0] = (struct iovec){from, n};
	return (struct afu_iter){iov, 1, 0};
}

static void bad_buffer_once(char *page, uint64_t at, uint32_t n, uint32_t good)
{
	struct iovec iov[2];
	struct afu_iter it = bad_after(iov, page, n, good);
	struct afu_ring_record rec;
	uint64_t produced, words[AFU_RING_WORDS] = {1, 2, 3};

	bed_begin_at(at);
	NEED(bed_put(77, 13, 0x51, 11) == 0);
	produced = ring.mark->produced;
	CHECK_EQ(afu_ring_put(&ring, tx, words, &it, n, n % 4, 99), -EFAULT);
	CHECK_EQ(afu_ring_used(&ring, tx), 11);
	CHECK_EQ(ring.mark->produced, produced);
	bed_check_front(77, 13, 0x51, &rec);
	CHECK_EQ(afu_ring_next(&ring, &rec), 0);
	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	bed_take(&rec, 11);
	/* though a switch may stand there */
	bed_check_empty();
	/* reading into it leaves the record where it is */
	NEED(bed_put(78, n, 0x62, 12) == 0);
	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	it = bad_after(iov, page, n, good);
	CHECK_EQ(afu_ring_read(&ring, &rec, 0, &it, n), -EFAULT);
	bed_check_front(78, n, 0x62, &rec);
	bed_take(&rec, 12);
	bed_check_empty();
}

static void bad_buffer(void)
{
	static const uint32_t lengths[] = {1,	7,    8,    9,	  16,	17,    33,
					   100, 1024, 1025, 2000, 2040, 30000, 300000};
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	char *page = mmap(NULL, 2 * PAGE + BUFFER, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!afu_copy_fixup((uintptr_t)afu_copy))
		tap_skip("afu_copy() has no fix-up on this processor");
	NEED(page != MAP_FAILED && mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
	memset(page, 'x', PAGE);
	NEED(sigaction(SIGSEGV, &sa, NULL) == 0);
	bed_up(1);
	memset(source, 'y', BUFFER);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		uint32_t n = lengths[i];

		for (uint32_t good = 0; good < n; good += 1 + (uint32_t)tap_below(1 + n / 16)) {
			bad_buffer_once(page, 0, n, good);
			bad_buffer_once(page, SMALL - 8 * tap_below(8), n, good);
			bad_buffer_once(page, IN_LARGE | (LARGE - 8 * tap_below(64)), n, good);
			bad_buffer_once(page, IN_HUGE | (HUGE - 8 * tap_below(64)), n, good);
			if (tap_failures())
				tap_leave();
		}
	}
	bed_down();
}

/* Fewer bytes in the buffers than the call says. */
static void short_buffer(void)
{
	struct iovec iov = {source, 10};
	struct afu_iter it = {&iov, 1, 0};

	bed_up(1);
	bed_begin_at(SMALL - 16);
	iov.iov_base = source;
	memset(source, 1, 10);
	CHECK_EQ(afu_ring_put(&ring, tx, NULL, &it, 30, 0, 1), -EFAULT);
	bed_check_empty();
	bed_there_and_back(30, 3);
	bed_check_empty();
	bed_down();
}

/* Looking ahead over several records, from each area into the next. */
static void peek_from(uint64_t start, unsigned int step)
{
	struct afu_ring_record rec;
	unsigned int i;

	bed_begin_at(start);
	for (i = 0; i < 60; i++)
		NEED(bed_put(i, step * i, i << 4 | i % 4, 2) == 0);
	CHECK(area_of_tail() == 2 || area_of_tail() > start >> 56);
	for (unsigned int taken = 0; taken < 60; taken++) {
		int found = afu_ring_front(&ring, rx, &rec);

		for (i = taken; found == 1; i++) {
			CHECK_EQ(rec.length, step * i);
			CHECK_EQ(rec.flags, i << 4 | i % 4);
			CHECK_EQ(rec.offset, 0);
			bed_check_content(&rec, i, 0, rec.length);
			found = afu_ring_next(&ring, &rec);
		}
		CHECK_EQ(found, 0);
		CHECK_EQ(i, 60);
		CHECK_EQ(afu_ring_used(&ring, tx), 2 * (60 - taken));
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		bed_take(&rec, 2);
		if (tap_failures())
			tap_leave();
	}
	bed_check_empty();
}

static void peeking(void)
{
	bed_up(0);
	for (uint64_t start = 0; start < SMALL; start += 40)
		peek_from(start, 7);
	/* through all three; from the second; in the third, round its end */
	peek_from(72, 300);
	peek_from(IN_LARGE | (LARGE - 16), 300);
	peek_from(IN_HUGE | (HUGE - 5000), 300);
	bed_down();
}

static void partly(void)
{
	struct afu_ring_record rec;

	bed_up(1);
	for (uint64_t start = 0; start <= SMALL; start += 8) {
		bed_begin_at(start);
		NEED(bed_put(9, 100, 0x11, 50) == 0 && bed_put(10, 5, 0x22, 50) == 0);
		for (uint32_t offset = 0; offset < 100; offset += 9) {
			NEED(afu_ring_front(&ring, rx, &rec) == 1);
			CHECK_EQ(rec.offset, offset);
			bed_check_content(&rec, 9, offset, 9 < 100 - offset ? 9 : 100 - offset);
			afu_ring_advance(rx, &rec, offset + 9);
			CHECK_EQ(afu_ring_used(&ring, tx), 100);
			CHECK(afu_ring_ready(&ring, rx));
		}
		/* 108 is beyond the record: of no effect rather than out of bounds */
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		CHECK_EQ(rec.offset, 0);
		afu_ring_advance(rx, &rec, 100);
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		CHECK_EQ(rec.offset, 100);
		NEED(afu_ring_next(&ring, &rec) == 1);
		CHECK_EQ(rec.offset, 0);
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		bed_take(&rec, 50);
		bed_check_front(10, 5, 0x22, &rec);
		bed_take(&rec, 50);
		bed_check_empty();
	}
	bed_down();
}

/* The offset belongs to one record, not to all that have the low bits of its position. */
static void partly_then_switch(void)
{
	static const struct {
		unsigned int area;
		uint32_t next;
	} way[] = {{0, 3000}, {0, 300000}, {1, 300000}};
	struct afu_ring_record rec;

	bed_up(1);
	for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
		uint64_t partial;

		bed_begin_at(AREA(way[i].area));
		NEED(bed_put(1, 100, 0, 1) == 0);
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		afu_ring_advance(rx, &rec, 50);
		partial = rx->partial;
		NEED(afu_ring_front(&ring, rx, &rec) == 1);
		CHECK_EQ(rec.offset, 50);
		bed_take(&rec, 1);
		NEED(bed_put(2, way[i].next, 0, 1) == 0);
		/* as a consumer leaves it that dies before it has cleared it */
		rx->partial = partial;
		bed_check_front(2, way[i].next, 0, &rec);
	}
	bed_down();
}

static void partly_then_8_gib(void)
{
	struct afu_ring_record rec;

	bed_up(1);
	for (unsigned int area = 0; area < AFU_RING_AREAS; area++) {
		for (unsigned int shift = 30; shift < 36; shift++) {
			uint64_t at = AREA(area) | 1024;

			bed_begin_at(at);
			NEED(bed_put(1, 100, 0, 1) == 0);
			NEED(afu_ring_front(&ring, rx, &rec) == 1);
			afu_ring_advance(rx, &rec, 50);
			bed_take(&rec, 1);
			/* as after so many bytes of records that were read whole */
			at += UINT64_C(1) << shift;
			bed_set_positions(at);
			rx->released_at = at;
			NEED(bed_put(2, 100, 0, 1) == 0);
			bed_check_front(2, 100, 0, &rec);
		}
	}
	bed_down();
}

/* What is in the ring, as it should be. */
struct expected {
	uint64_t seed;
	uint32_t n, flags, charge, offset;
};
#define EXPECTED_MAX 65536

static struct {
	struct expected item[EXPECTED_MAX];
	uint64_t first, last, charge;
} queue;

static uint32_t random_size(void)
{
	static const uint32_t limits[] = {1, 9, 65, 300, 2100, 5000, 40000, LARGE + 100};

	if (tap_below(8000) == 0)
		return AFU_RING_RECORD_MAX - 24 - (uint32_t)tap_below(100);
	return (uint32_t)tap_below(limits[tap_below(64) ? tap_below(5) : tap_below(8)] + UINT64_C(1));
}

static void put_randomly(void)
{
	struct expected e = {tap_random(), random_size(), bed_flags(3), (uint32_t)tap_below(5000), 0};
	int err;

	if (queue.last - queue.first == EXPECTED_MAX)
		return;
	err = bed_put(e.seed, e.n, e.flags, e.charge);
	if (err) {
		CHECK_EQ(err, -EAGAIN);
		CHECK(queue.first != queue.last);
		return;
	}
	queue.item[queue.last++ % EXPECTED_MAX] = e;
	queue.charge += e.charge;
}

static void take_randomly(void)
{
	struct expected *e = &queue.item[queue.first % EXPECTED_MAX];
	struct afu_ring_record rec;
	int found = afu_ring_front(&ring, rx, &rec);

	CHECK_EQ(found, queue.first != queue.last);
	if (found != 1 || queue.first == queue.last)
		return;
	CHECK_EQ(rec.length, e->n);
	CHECK_EQ(rec.flags, e->flags);
	CHECK_EQ(rec.offset, e->offset);
	if (tap_below(4) == 0 && e->n) {
		e->offset += (uint32_t)tap_below(e->n - e->offset + 1);
		afu_ring_advance(rx, &rec, e->offset);
		return;
	}
	bed_check_content(&rec, e->seed, e->offset, e->n - e->offset);
	bed_take(&rec, e->charge);
	queue.charge -= e->charge;
	queue.first++;
}

/* bed_begin_at() sets positions that no partial read can remember: see partly_then_*. */
static void randomly_from(uint64_t start, unsigned int steps)
{
	unsigned int bias = 50;

	bed_begin_at(start);
	queue.first = queue.last = queue.charge = 0;
	for (unsigned int i = 0; i < steps; i++) {
		if (i % 500 == 0)
			bias = (unsigned int)(20 + tap_below(61));
		if (tap_below(100) < bias)
			put_randomly();
		else
			take_randomly();
		CHECK_EQ(afu_ring_used(&ring, tx), queue.charge);
		if (tap_failures()) {
			tap_note("start 0x%llx, step %u", (unsigned long long)start, i);
			tap_leave();
		}
	}
	while (queue.first != queue.last && !tap_failures())
		take_randomly();
	bed_check_empty();
}

static void randomly(void)
{
	static const uint64_t starts[] = {
		8,
		SMALL - 8,
		SMALL * 0xffff - 800,
		SMALL * 0x10000 - 8,
		SMALL * 0x10000,
		(UINT64_C(1) << 32) - 800,
		(UINT64_C(1) << 48) - 808,
		IN_LARGE,
		IN_LARGE | (LARGE - 8),
		IN_LARGE | (LARGE * 0xffff - 80000),
		IN_LARGE | (LARGE * 0x10000 - 80000),
		IN_LARGE | ((UINT64_C(1) << 40) - 80000),
		IN_LARGE | ((UINT64_C(1) << 48) + 8),
		IN_HUGE,
		IN_HUGE | (HUGE - 8),
		IN_HUGE | (HUGE * 0x10000 - 80000),
		IN_HUGE | ((UINT64_C(1) << 48) + 8),
	};

	for (int end = 0; end < 2; end++) {
		bed_up(end);
		for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
			tap_seed(i + 1);
			randomly_from(starts[i], 4000);
		}
		bed_down();
	}
}

static const struct tap_case cases[] = {
	{"every size to beyond the small area", every_size},
	{"what just fits an area, and what just does not", every_border},
	{"the longest record", largest},
	{"lengths that never fit change nothing", too_long},
	{"round the end of the small area, every position", wrap_small},
	{"round the end of the large area, every position", wrap_large},
	{"round the end of the huge area, every position", wrap_huge},
	{"full to the last byte, through both switches, and drained", full},
	{"the huge area full to the last byte", full_huge},
	{"charges add up", charges},
	{"a bad buffer leaves nothing", bad_buffer},
	{"buffers shorter than the length", short_buffer},
	{"peeking over several records", peeking},
	{"consumed in parts", partly},
	{"the offset of a record is not for one in another area", partly_then_switch},
	{"the offset of a record is not for one some GiB later", partly_then_8_gib},
	{"random use against a plain queue, at many laps", randomly},
};

int main(int argc, char **argv)
{
	return tap_run(cases, sizeof cases / sizeof *cases, 60, argc > 1 ? argv[1] : NULL);
}
