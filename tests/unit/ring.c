/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The record ring, both ends in one process.
 *
 * Every shared object lies against a page that may not be touched, once with its
 * begin and once with its end, and the rest of its page is filled with a pattern:
 * whatever is read beyond it crashes on one of the sides, whatever is written is
 * seen.  Contents are a function of a seed, so a record is known by its seed.
 */
#include "base/copy.h"
#include "ring/ring.h"
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define SMALL (UINT64_C(1) << AFU_RING_SMALL_SHIFT)
#define LARGE (UINT64_C(1) << AFU_RING_LARGE_SHIFT)
#define IN_LARGE (UINT64_C(1) << 56)
#define PAGE 4096u
#define PATTERN 0xa5
#define BUFFER (LARGE + 64)
#define OBJECTS 6

/* A shared object between its guards. */
struct guarded {
	char *page, *at;
	size_t pages, size;
};

static struct guarded objects[OBJECTS];
static struct afu_ring ring;
static struct afu_ring_tx *tx;
static struct afu_ring_rx *rx;
static char *source, *target;

static char *place(unsigned int i, size_t size, int at_end)
{
	size_t pages = (size + PAGE - 1) / PAGE;
	char *p = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(p != MAP_FAILED);
	p += PAGE;
	NEED(mprotect(p, pages * PAGE, PROT_READ | PROT_WRITE) == 0);
	memset(p, PATTERN, pages * PAGE);
	objects[i] = (struct guarded){ p, at_end ? p + pages * PAGE - size : p, pages, size };
	memset(objects[i].at, 0, size);
	return objects[i].at;
}

static void set_up(int at_end)
{
	ring.area[0] = place(0, SMALL, at_end);
	ring.area[1] = place(1, LARGE, at_end);
	ring.head = (void *)place(2, sizeof *ring.head, at_end);
	ring.mark = (void *)place(3, sizeof *ring.mark, at_end);
	tx = (void *)place(4, sizeof *tx, at_end);
	rx = (void *)place(5, sizeof *rx, at_end);
	if (!source) {
		source = malloc(BUFFER);
		target = malloc(BUFFER);
	}
	NEED(source && target);
}

static void tear_down(void)
{
	for (unsigned int i = 0; i < OBJECTS; i++) {
		size_t touched = 0;

		for (size_t k = 0; k < objects[i].pages * PAGE; k++) {
			char *byte = objects[i].page + k;

			if (byte < objects[i].at || byte >= objects[i].at + objects[i].size)
				touched += (unsigned char)*byte != PATTERN;
		}
		CHECK_EQ(touched, 0);
		munmap(objects[i].page - PAGE, (objects[i].pages + 2) * PAGE);
	}
}

static void set_positions(uint64_t at)
{
	atomic_store(&tx->tail, at);
	tx->seen = at;
	atomic_store(&rx->head, at);
	atomic_store(&ring.head->position, at);
}

/* Forgets everything and begins at a position, as after that many bytes. */
static void begin_at(uint64_t at)
{
	memset(ring.area[0], 0, SMALL);
	memset(ring.area[1], 0, LARGE);
	memset((void *)ring.head, 0, sizeof *ring.head);
	memset((void *)ring.mark, 0, sizeof *ring.mark);
	memset((void *)tx, 0, sizeof *tx);
	memset((void *)rx, 0, sizeof *rx);
	set_positions(at);
	rx->released_at = at;
	tx->intent_at = at - 8;
	/* an offset of 0 at some other position */
	rx->partial = (uint64_t)(uint32_t)(at - 8) << 32;
}

static size_t not_zero(void)
{
	size_t n = 0;

	for (size_t i = 0; i < SMALL; i++)
		n += ring.area[0][i] != 0;
	for (size_t i = 0; i < LARGE; i++)
		n += ring.area[1][i] != 0;
	return n;
}

static char content(uint64_t seed, size_t i)
{
	/* never 0: an erased byte is told from a right one */
	return (char)((((seed * 2654435761u) >> 7) + i * 131 + (i >> 8)) % 255 + 1);
}

static uint32_t extent_of(uint32_t n)
{
	return 8 + ((n + 7) & ~7u);
}

/* The source buffer in up to four pieces, some of them empty. */
static struct afu_iter pieces(struct iovec iov[4], char *from, size_t n)
{
	size_t off = 0;

	for (unsigned int i = 0; i < 4; i++) {
		size_t part = i == 3 ? n - off : tap_below(n - off + 1);

		iov[i] = (struct iovec){ from + off, part };
		off += part;
	}
	return (struct afu_iter){ iov, 4, 0 };
}

static int put(uint64_t seed, uint32_t n, uint32_t flags, uint32_t charge)
{
	struct iovec iov[4];
	struct afu_iter from;

	for (size_t i = 0; i < n && i < BUFFER; i++)
		source[i] = content(seed, i);
	from = pieces(iov, source, n);
	return afu_ring_put(&ring, tx, NULL, &from, n, flags, charge);
}

static size_t wrong_bytes(uint64_t seed, uint32_t offset, uint32_t n)
{
	size_t wrong = 0;

	for (size_t i = 0; i < n; i++)
		wrong += target[i] != content(seed, offset + i);
	return wrong;
}

/* Reads n bytes of a record from offset on and compares. */
static void check_content(const struct afu_ring_record *rec, uint64_t seed, uint32_t offset, uint32_t n)
{
	struct iovec iov[4];
	struct afu_iter to = pieces(iov, target, n);

	memset(target, 0, n);
	CHECK_EQ(afu_ring_read(&ring, rec, offset, &to, n), 0);
	CHECK_EQ(wrong_bytes(seed, offset, n), 0);
}

static void check_front(uint64_t seed, uint32_t n, uint32_t flags, struct afu_ring_record *rec)
{
	CHECK(afu_ring_ready(&ring, rx));
	NEED(afu_ring_front(&ring, rx, rec) == 1);
	CHECK_EQ(rec->length, n);
	CHECK_EQ(rec->flags, flags);
	CHECK_EQ(rec->offset, 0);
	if (rec->length == n)
		check_content(rec, seed, 0, n);
}

static void check_empty(void)
{
	struct afu_ring_record rec;

	CHECK_EQ(afu_ring_front(&ring, rx, &rec), 0);
	CHECK(!afu_ring_ready(&ring, rx));
	CHECK(!afu_ring_unread(&ring));
	CHECK_EQ(afu_ring_used(&ring, tx), 0);
	CHECK_EQ(not_zero(), 0);
}

/* One record in and out of an empty ring. */
static void there_and_back(uint32_t n)
{
	struct afu_ring_record rec;
	uint64_t seed = tap_random();
	uint32_t flags = (uint32_t)tap_below(4096);
	uint64_t produced = ring.mark->produced;

	NEED(put(seed, n, flags, n + 100) == 0);
	CHECK(ring.mark->produced != produced);
	CHECK_EQ(afu_ring_used(&ring, tx), n + 100);
	CHECK(afu_ring_unread(&ring));
	check_front(seed, n, flags, &rec);
	afu_ring_take(&ring, rx, &rec, n + 100);
	CHECK_EQ(afu_ring_used(&ring, tx), 0);
	CHECK_EQ(afu_ring_front(&ring, rx, &rec), 0);
}

static const uint32_t sizes[] = { 0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    15,   16,   17,
				  31,   32,   33,   63,   64,   65,   1000, 1023, 1024, 1025, 1031, 1032, 1033,
				  2023, 2024, 2025, 2031, 2032, 2033, 2039, 2040, 2041, 2047, 2048, 2049, 4096 };
#define SIZES (sizeof sizes / sizeof *sizes)

static void every_size(void)
{
	for (int end = 0; end < 2; end++) {
		set_up(end);
		for (uint32_t n = 0; n <= 2100; n++) {
			begin_at(0);
			there_and_back(n);
			/* what leaves a header's room behind it stays in the small area */
			CHECK_EQ(tx->tail >> 56, extent_of(n) + 8 <= SMALL ? 0 : 1);
			check_empty();
			if (tap_failures())
				tap_leave();
		}
		tear_down();
	}
}

static void largest(void)
{
	static const uint32_t never[] = { AFU_RING_RECORD_MAX + 9, LARGE, LARGE + 1, 1u << 31, UINT32_MAX - 8,
					  UINT32_MAX - 7, UINT32_MAX };
	struct afu_iter none = { NULL, 0, 0 };

	for (int end = 0; end < 2; end++) {
		set_up(end);
		for (uint64_t at = 0; at < 4; at++) {
			begin_at(IN_LARGE | at * (LARGE / 4));
			there_and_back(AFU_RING_RECORD_MAX);
			check_empty();
		}
		begin_at(0);
		there_and_back(AFU_RING_RECORD_MAX);
		check_empty();
		for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
			begin_at(0);
			CHECK_EQ(afu_ring_put(&ring, tx, NULL, &none, never[i], 0, 1), -EAGAIN);
			there_and_back(10);
			check_empty();
		}
		tear_down();
	}
}

/* The header says 2^18 - 16; one byte more must not be half-way in. */
static void one_more(void)
{
	set_up(1);
	begin_at(IN_LARGE);
	if (put(1, AFU_RING_RECORD_MAX + 1, 0, 1) == 0) {
		struct afu_ring_record rec;

		check_front(1, AFU_RING_RECORD_MAX + 1, 0, &rec);
		afu_ring_take(&ring, rx, &rec, 1);
	}
	check_empty();
	there_and_back(AFU_RING_RECORD_MAX);
	check_empty();
	tear_down();
}

static void wrap_small(void)
{
	for (int end = 0; end < 2; end++) {
		set_up(end);
		for (uint64_t at = 8; at <= SMALL; at += 8) {
			for (size_t i = 0; i < SIZES && extent_of(sizes[i]) + 8 <= SMALL; i++) {
				begin_at(at);
				there_and_back(sizes[i]);
			}
			CHECK_EQ(not_zero(), 0);
		}
		tear_down();
	}
}

static void wrap_large(void)
{
	for (int end = 0; end < 2; end++) {
		set_up(end);
		for (uint64_t at = LARGE - 2 * SMALL; at <= LARGE; at += 8) {
			begin_at(IN_LARGE | at);
			for (size_t i = 0; i < SIZES; i += at % 64 ? 5 : 1) {
				set_positions(IN_LARGE | at);
				ring.mark->produced = 0;
				there_and_back(sizes[i]);
			}
			if (at % 128 == 0)
				CHECK_EQ(not_zero(), 0);
		}
		CHECK_EQ(not_zero(), 0);
		tear_down();
	}
}

/* Full to the last byte, for each size that leaves its own rest at the border. */
static void full(void)
{
	set_up(1);
	for (uint32_t n = 0; n <= 300; n++) {
		struct afu_ring_record rec;
		uint64_t count = 0, bytes = 0, in_small = (SMALL - 8) / extent_of(n);

		begin_at(0);
		while (put(count, n, (uint32_t)(count & 0xfff), 3) == 0)
			count++;
		CHECK_EQ(count, in_small + LARGE / extent_of(n));
		CHECK_EQ(tx->tail >> 56, 1);
		CHECK_EQ(afu_ring_used(&ring, tx), 3 * count);
		CHECK_EQ(put(count, n, 0, 3), -EAGAIN);
		for (uint64_t i = 0; i < count; i++) {
			NEED(afu_ring_front(&ring, rx, &rec) == 1);
			CHECK_EQ(rec.length, n);
			CHECK_EQ(rec.flags, i & 0xfff);
			if (i % 97 == 0 || i + 2 > in_small)
				check_content(&rec, i, 0, n);
			bytes += extent_of(n);
			afu_ring_take(&ring, rx, &rec, 3);
			if (tap_failures())
				tap_leave();
		}
		CHECK_EQ(bytes, count * extent_of(n));
		check_empty();
	}
	tear_down();
}

static void charges(void)
{
	struct afu_ring_record rec;

	set_up(0);
	begin_at(0);
	CHECK_EQ(put(1, 10, 0, 0), 0);
	CHECK_EQ(afu_ring_used(&ring, tx), 0);
	CHECK_EQ(put(2, 10, 0, UINT32_MAX), 0);
	CHECK_EQ(put(3, 10, 0, UINT32_MAX), 0);
	CHECK_EQ(afu_ring_used(&ring, tx), 2 * (uint64_t)UINT32_MAX);
	CHECK_EQ(afu_ring_put(&ring, tx, NULL, &(struct afu_iter){ NULL, 0, 0 }, LARGE, 0, 5), -EAGAIN);
	CHECK_EQ(afu_ring_used(&ring, tx), 2 * (uint64_t)UINT32_MAX);
	CHECK_EQ(put(4, 10, 0, 7), 0);
	CHECK_EQ(afu_ring_used(&ring, tx), 2 * (uint64_t)UINT32_MAX + 7);
	for (unsigned int i = 1; i <= 4; i++) {
		check_front(i, 10, 0, &rec);
		afu_ring_take(&ring, rx, &rec, i == 1 ? 0 : i == 4 ? 7 : UINT32_MAX);
	}
	check_empty();
	/* a peer that lies upward gets an empty buffer, downward a full one */
	CHECK_EQ(put(5, 10, 0, 9), 0);
	atomic_store(&ring.head->released, UINT64_MAX);
	CHECK_EQ(afu_ring_used(&ring, tx), 0);
	atomic_store(&ring.head->released, 0);
	CHECK_EQ(afu_ring_used(&ring, tx), 2 * (uint64_t)UINT32_MAX + 7 + 9);
	tear_down();
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
		iov[0] = (struct iovec){ source, good - PAGE };
		iov[1] = (struct iovec){ page, n - (good - PAGE) };
		return (struct afu_iter){ iov, 2, 0 };
	}
	iov[0] = (struct iovec){ from, n };
	return (struct afu_iter){ iov, 1, 0 };
}

static void bad_buffer_once(char *page, uint64_t at, uint32_t n, uint32_t good)
{
	struct iovec iov[2];
	struct afu_iter it = bad_after(iov, page, n, good);
	struct afu_ring_record rec;
	uint64_t produced;

	begin_at(at);
	NEED(put(77, 13, 5, 11) == 0);
	produced = ring.mark->produced;
	CHECK_EQ(afu_ring_put(&ring, tx, NULL, &it, n, 0, 99), -EFAULT);
	CHECK_EQ(afu_ring_used(&ring, tx), 11);
	CHECK_EQ(ring.mark->produced, produced);
	check_front(77, 13, 5, &rec);
	CHECK_EQ(afu_ring_next(&ring, &rec), 0);
	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	afu_ring_take(&ring, rx, &rec, 11);
	check_empty();
	/* reading into it leaves the record where it is */
	NEED(put(78, n, 6, 12) == 0);
	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	it = bad_after(iov, page, n, good);
	CHECK_EQ(afu_ring_read(&ring, &rec, 0, &it, n), -EFAULT);
	check_front(78, n, 6, &rec);
	afu_ring_take(&ring, rx, &rec, 12);
	check_empty();
}

static void bad_buffer(void)
{
	static const uint32_t lengths[] = { 1, 7, 8, 9, 16, 17, 33, 100, 1024, 1025, 2000, 2040, 30000 };
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	char *page = mmap(NULL, 2 * PAGE + BUFFER, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (!afu_copy_fixup((uintptr_t)afu_copy))
		tap_skip("afu_copy() has no fix-up on this processor");
	NEED(page != MAP_FAILED && mprotect(page, PAGE, PROT_READ | PROT_WRITE) == 0);
	memset(page, 'x', PAGE);
	NEED(sigaction(SIGSEGV, &sa, NULL) == 0);
	set_up(1);
	memset(source, 'y', BUFFER);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		uint32_t n = lengths[i];

		for (uint32_t good = 0; good < n; good += 1 + (uint32_t)tap_below(1 + n / 16)) {
			bad_buffer_once(page, 0, n, good);
			bad_buffer_once(page, SMALL - 8 * tap_below(8), n, good);
			bad_buffer_once(page, IN_LARGE | (LARGE - 8 * tap_below(64)), n, good);
			if (tap_failures())
				tap_leave();
		}
	}
	tear_down();
}

/* Fewer bytes in the buffers than the call says. */
static void short_buffer(void)
{
	struct iovec iov = { source, 10 };
	struct afu_iter it = { &iov, 1, 0 };

	set_up(1);
	begin_at(SMALL - 16);
	iov.iov_base = source;
	memset(source, 1, 10);
	CHECK_EQ(afu_ring_put(&ring, tx, NULL, &it, 30, 0, 1), -EFAULT);
	check_empty();
	there_and_back(30);
	check_empty();
	tear_down();
}

/* Looking ahead over several records, from the small area into the large one. */
static void peeking(void)
{
	struct afu_ring_record rec;

	set_up(0);
	for (uint64_t start = 0; start < SMALL; start += 40) {
		uint64_t total = 0;
		unsigned int i;

		begin_at(start);
		for (i = 0; i < 60; i++) {
			NEED(put(i, 7 * i, i, 2) == 0);
			total += 7 * i;
		}
		CHECK_EQ(tx->tail >> 56, 1);
		for (unsigned int taken = 0; taken < 60; taken++) {
			int found = afu_ring_front(&ring, rx, &rec);

			for (i = taken; found == 1; i++) {
				CHECK_EQ(rec.length, 7 * i);
				CHECK_EQ(rec.flags, i);
				CHECK_EQ(rec.offset, 0);
				check_content(&rec, i, 0, rec.length);
				found = afu_ring_next(&ring, &rec);
			}
			CHECK_EQ(found, 0);
			CHECK_EQ(i, 60);
			CHECK_EQ(afu_ring_used(&ring, tx), 2 * (60 - taken));
			NEED(afu_ring_front(&ring, rx, &rec) == 1);
			total -= rec.length;
			afu_ring_take(&ring, rx, &rec, 2);
			if (tap_failures())
				tap_leave();
		}
		CHECK_EQ(total, 0);
		check_empty();
	}
	tear_down();
}

static void partly(void)
{
	struct afu_ring_record rec;

	set_up(1);
	for (uint64_t start = 0; start <= SMALL; start += 8) {
		begin_at(start);
		NEED(put(9, 100, 1, 50) == 0 && put(10, 5, 2, 50) == 0);
		for (uint32_t offset = 0; offset < 100; offset += 9) {
			NEED(afu_ring_front(&ring, rx, &rec) == 1);
			CHECK_EQ(rec.offset, offset);
			check_content(&rec, 9, offset, 9 < 100 - offset ? 9 : 100 - offset);
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
		afu_ring_take(&ring, rx, &rec, 50);
		check_front(10, 5, 2, &rec);
		afu_ring_take(&ring, rx, &rec, 50);
		check_empty();
	}
	tear_down();
}

/* The offset belongs to one record, not to all that have the low half of its position. */
static void partly_then_switch(void)
{
	struct afu_ring_record rec;

	set_up(1);
	begin_at(0);
	NEED(put(1, 100, 0, 1) == 0);
	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	afu_ring_advance(rx, &rec, 50);
	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	CHECK_EQ(rec.offset, 50);
	afu_ring_take(&ring, rx, &rec, 1);
	NEED(put(2, 3000, 0, 1) == 0);
	check_front(2, 3000, 0, &rec);
	tear_down();
}

static void partly_then_4_gib(void)
{
	struct afu_ring_record rec;
	uint64_t at = IN_LARGE | 4096;

	set_up(1);
	begin_at(at);
	NEED(put(1, 100, 0, 1) == 0);
	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	afu_ring_advance(rx, &rec, 50);
	afu_ring_take(&ring, rx, &rec, 1);
	/* as after 4 GiB of records that were read whole */
	at += UINT64_C(1) << 32;
	set_positions(at);
	rx->released_at = at;
	NEED(put(2, 100, 0, 1) == 0);
	check_front(2, 100, 0, &rec);
	tear_down();
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
	static const uint32_t limits[] = { 1, 9, 65, 300, 2100, 5000, 40000, AFU_RING_RECORD_MAX };

	return (uint32_t)tap_below(limits[tap_below(64) ? tap_below(5) : tap_below(8)] + UINT64_C(1));
}

static void put_randomly(void)
{
	struct expected e = { tap_random(), random_size(), (uint32_t)tap_below(4096), (uint32_t)tap_below(5000), 0 };
	int err;

	if (queue.last - queue.first == EXPECTED_MAX)
		return;
	err = put(e.seed, e.n, e.flags, e.charge);
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
	check_content(&rec, e->seed, e->offset, e->n - e->offset);
	afu_ring_take(&ring, rx, &rec, e->charge);
	queue.charge -= e->charge;
	queue.first++;
}

/* begin_at() sets positions that no partial read can remember: see partly_then_*. */
static void randomly_from(uint64_t start, unsigned int steps)
{
	unsigned int bias = 50;

	begin_at(start);
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
	check_empty();
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
	};

	for (int end = 0; end < 2; end++) {
		set_up(end);
		for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
			tap_seed(i + 1);
			randomly_from(starts[i], 4000);
		}
		tear_down();
	}
}

/* A header from an earlier lap, published again by a recovery, is nothing. */
static void stale_header(void)
{
	struct afu_ring_record rec;
	_Atomic uint64_t *word;
	uint64_t header;

	for (unsigned int area = 0; area < 2; area++) {
		uint64_t size = area ? LARGE : SMALL, base = area ? IN_LARGE : 0;

		set_up((int)area);
		for (uint64_t lap = 0; lap < 0x10002; lap += lap < 4 || lap > 0xfff0 ? 1 : 4099) {
			begin_at(base + lap * size);
			NEED(put(1, 20, 0, 1) == 0);
			word = (_Atomic uint64_t *)(void *)ring.area[area];
			header = *word;
			check_front(1, 20, 0, &rec);
			afu_ring_take(&ring, rx, &rec, 1);
			set_positions(base + (lap + 1) * size);
			*word = header;
			CHECK_EQ(afu_ring_front(&ring, rx, &rec), 0);
			CHECK(!afu_ring_ready(&ring, rx));
			CHECK(!afu_ring_unread(&ring));
			NEED(put(2, 30, 0, 1) == 0);
			check_front(2, 30, 0, &rec);
			afu_ring_take(&ring, rx, &rec, 1);
			CHECK_EQ(not_zero(), 0);
		}
		tear_down();
	}
}

static uint64_t nasty(void)
{
	static const uint64_t values[] = { 0, 1, 7, 8, 9, SMALL - 8, SMALL, LARGE - 8, LARGE, IN_LARGE - 8,
					   IN_LARGE - 1, IN_LARGE, IN_LARGE + 8, UINT64_MAX, UINT64_MAX - 7,
					   UINT64_C(1) << 63 };
	uint64_t v = values[tap_below(sizeof values / sizeof *values)];

	switch (tap_below(4)) {
	case 0:
		return tap_random();
	case 1:
		return v + tap_below(64) - 32;
	case 2:
		return v | tap_below(LARGE);
	default:
		return v;
	}
}

/* Something that may pass for a header at this position. */
static uint64_t nasty_header(unsigned int area, uint64_t at)
{
	uint64_t lap = (at >> (area ? AFU_RING_LARGE_SHIFT : AFU_RING_SMALL_SHIFT)) & 0xffff;
	uint64_t n = tap_below(3) ? tap_below(300) : nasty() & UINT32_MAX;

	if (tap_below(6) == 0)
		return nasty();
	return n | lap << 32 | (1 + tap_below(3)) << 48 | tap_below(4096) << 52;
}

static void scribble(uint64_t near)
{
	uint64_t *words[] = { (void *)ring.area[0], (void *)ring.area[1] };

	for (unsigned int i = 0; i < 40; i++) {
		unsigned int area = (unsigned int)tap_below(2);
		uint64_t at = (near & ~IN_LARGE) + 8 * tap_below(tap_below(2) ? 16 : 4096);

		words[area][(at & ((area ? LARGE : SMALL) - 1)) / 8] = nasty_header(area, at);
	}
}

static void scribble_positions(void)
{
	uint64_t v = nasty();

	switch (tap_below(13)) {
	case 0:
		tx->tail = v;
		break;
	case 1:
		tx->seen = v;
		break;
	case 2:
		tx->intent_at = v;
		break;
	case 3:
		tx->intent_header = v;
		break;
	case 4:
		tx->charged_before = v;
		break;
	case 5:
		tx->charged_after = v;
		break;
	case 6:
		rx->head = v;
		break;
	case 7:
		rx->partial = v;
		break;
	case 8:
		rx->released = v;
		break;
	case 9:
		rx->released_at = v;
		break;
	case 10:
		ring.head->position = v;
		break;
	case 11:
		ring.head->released = v;
		break;
	default:
		ring.mark->produced = v;
	}
}

static void use_once(void)
{
	struct afu_ring_record rec;
	struct iovec iov[4];
	struct afu_iter it;
	uint32_t n = random_size();
	uint64_t walked = 0;
	int found;

	(void)afu_ring_ready(&ring, rx);
	(void)afu_ring_unread(&ring);
	(void)afu_ring_used(&ring, tx);
	it = pieces(iov, source, n);
	found = afu_ring_put(&ring, tx, NULL, &it, n, (uint32_t)tap_below(4096), 1000);
	CHECK(found == 0 || found == -EAGAIN);
	found = afu_ring_front(&ring, rx, &rec);
	while (found > 0) {
		CHECK(rec.length <= LARGE && rec.offset <= rec.length);
		n = (uint32_t)tap_below(rec.length - rec.offset + UINT64_C(1));
		it = pieces(iov, target, n);
		if (walked < 50)
			CHECK_EQ(afu_ring_read(&ring, &rec, rec.offset, &it, n), 0);
		if (++walked > 2 * LARGE / 8) {
			tap_failed(__FILE__, __LINE__, "looking ahead does not end");
			tap_leave();
		}
		found = afu_ring_next(&ring, &rec);
	}
	CHECK(found == 0 || found == -EPROTO);
	if (afu_ring_front(&ring, rx, &rec) == 1) {
		if (tap_below(2))
			afu_ring_advance(rx, &rec, (uint32_t)tap_random());
		else
			afu_ring_take(&ring, rx, &rec, (uint32_t)tap_random());
	}
	if (tap_below(4) == 0)
		afu_ring_recover_tx(&ring, tx);
	if (tap_below(4) == 0)
		afu_ring_recover_rx(&ring, rx);
}

static void hostile(void)
{
	for (int end = 0; end < 2; end++) {
		set_up(end);
		for (unsigned int i = 0; i < 60000; i++) {
			if (i % 64 == 0)
				begin_at(tap_below(2) ? nasty() & ~UINT64_C(7) : IN_LARGE);
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
		tear_down();
	}
}

/* Holes can be punched into sealed memory: any word may turn to 0 at any time. */
static void punched(void)
{
	struct afu_ring_record rec;

	set_up(1);
	for (unsigned int i = 0; i < 2000; i++) {
		begin_at(tap_below(2) ? IN_LARGE | 8 * tap_below(10000) : 8 * tap_below(1000));
		for (unsigned int k = 0; k < 5; k++)
			put(k, (uint32_t)tap_below(400), 0, 100);
		if (tap_below(2))
			memset(ring.area[tap_below(2)], 0, SMALL);
		if (tap_below(2))
			memset((void *)ring.head, 0, sizeof *ring.head);
		for (unsigned int k = 0; k < 10 && afu_ring_front(&ring, rx, &rec) == 1; k++)
			afu_ring_take(&ring, rx, &rec, 100);
		use_once();
	}
	tear_down();
}

/* Headers all over, each right for this lap: one time round, and that was it. */
static void full_of_headers(void)
{
	struct afu_ring_record rec;
	uint64_t *words, walked = 1;

	set_up(1);
	begin_at(IN_LARGE);
	words = (void *)ring.area[1];
	for (size_t i = 0; i < LARGE / 8; i++)
		words[i] = UINT64_C(1) << 48;
	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	while (walked < LARGE && afu_ring_next(&ring, &rec) == 1)
		walked++;
	CHECK_EQ(walked, LARGE / 8);
	tear_down();
}

/* A peer that keeps writing headers ahead of a reader that only looks. */
static void racing_headers(void)
{
	struct afu_ring_record rec;
	uint64_t *words, walked = 1;

	set_up(1);
	begin_at(IN_LARGE);
	words = (void *)ring.area[1];
	words[0] = UINT64_C(1) << 48;
	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	do {
		uint64_t at = rec.at + 8, lap = ((at & ~IN_LARGE) >> AFU_RING_LARGE_SHIFT) & 0xffff;

		words[(at & (LARGE - 1)) / 8] = lap << 32 | UINT64_C(1) << 48;
	} while (walked++ < 8 * LARGE && afu_ring_next(&ring, &rec) == 1);
	CHECK(walked <= LARGE / 8 + 1);
	tear_down();
}

static const struct tap_case cases[] = {
	{ "every size to beyond the window", every_size },
	{ "the longest record, and lengths that never fit", largest },
	{ "one byte more than the longest is refused or whole", one_more },
	{ "round the end of the small area, every position", wrap_small },
	{ "round the end of the large area, every position", wrap_large },
	{ "full to the last byte, through the switch, and drained", full },
	{ "charges add up", charges },
	{ "a bad buffer leaves nothing", bad_buffer },
	{ "buffers shorter than the length", short_buffer },
	{ "peeking over several records", peeking },
	{ "consumed in parts", partly },
	{ "the offset of a record in the small area is not for one in the large", partly_then_switch },
	{ "the offset of a record is not for one 4 GiB later", partly_then_4_gib },
	{ "random use against a plain queue, at many laps", randomly },
	{ "a header of an earlier lap is nothing", stale_header },
	{ "hostile values in every word", hostile },
	{ "words that turn to 0", punched },
	{ "an area full of headers", full_of_headers },
	{ "looking ahead ends after one lap, whatever is written meanwhile", racing_headers },
};

int main(int argc, char **argv)
{
	return tap_run(cases, sizeof cases / sizeof *cases, 60, argc > 1 ? argv[1] : NULL);
}
