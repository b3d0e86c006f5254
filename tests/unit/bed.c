/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "bed.h"

#include "tap.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PATTERN 0xa5
#define OBJECTS 7

/* A shared object between its guards. */
struct guarded {
	char *page, *at;
	size_t pages, size;
};

static struct guarded objects[OBJECTS];
struct afu_ring ring;
struct afu_ring_tx *tx;
struct afu_ring_rx *rx;
char *source, *target;

/* An object of whole pages is not written at all: it takes up memory as it is used. */
static char *place(unsigned int i, size_t size, int at_end)
{
	size_t pages = (size + PAGE - 1) / PAGE;
	char *p = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(p != MAP_FAILED);
	p += PAGE;
	NEED(mprotect(p, pages * PAGE, PROT_READ | PROT_WRITE) == 0);
	(void)madvise(p, pages * PAGE, MADV_NOHUGEPAGE);
	objects[i] = (struct guarded){p, at_end ? p + pages * PAGE - size : p, pages, size};
	if (size % PAGE) {
		memset(p, PATTERN, pages * PAGE);
		memset(objects[i].at, 0, size);
	}
	return objects[i].at;
}

uint64_t bed_size(unsigned int area)
{
	static const uint64_t size[] = {SMALL, LARGE, HUGE};

	return size[area];
}

void bed_up(int at_end)
{
	for (unsigned int i = 0; i < AFU_RING_AREAS; i++)
		ring.area[i] = place(i, bed_size(i), at_end);
	ring.head = (void *)place(3, sizeof *ring.head, at_end);
	ring.mark = (void *)place(4, sizeof *ring.mark, at_end);
	tx = (void *)place(5, sizeof *tx, at_end);
	rx = (void *)place(6, sizeof *rx, at_end);
	if (!source) {
		source = malloc(BUFFER);
		target = malloc(BUFFER);
	}
	NEED(source && target);
}

void bed_down(void)
{
	for (unsigned int i = 0; i < OBJECTS; i++) {
		size_t touched = 0;

		for (size_t k = 0; objects[i].size % PAGE && k < objects[i].pages * PAGE; k++) {
			char *byte = objects[i].page + k;

			if (byte < objects[i].at || byte >= objects[i].at + objects[i].size)
				touched += (unsigned char)*byte != PATTERN;
		}
		CHECK_EQ(touched, 0);
		munmap(objects[i].page - PAGE, (objects[i].pages + 2) * PAGE);
	}
}

void bed_set_positions(uint64_t at)
{
	atomic_store(&tx->tail, at);
	tx->seen = at;
	atomic_store(&rx->head, at);
	atomic_store(&ring.head->position, at);
}

void bed_begin_at(uint64_t at)
{
	memset(ring.area[0], 0, SMALL);
	for (unsigned int i = 1; i < AFU_RING_AREAS; i++)
		NEED(madvise(ring.area[i], bed_size(i), MADV_DONTNEED) == 0);
	memset((void *)ring.head, 0, sizeof *ring.head);
	memset((void *)ring.mark, 0, sizeof *ring.mark);
	memset((void *)tx, 0, sizeof *tx);
	memset((void *)rx, 0, sizeof *rx);
	bed_set_positions(at);
	rx->released_at = at;
	tx->intent_at = at - 8;
	/* an offset of 0 at some other position */
	rx->partial = (uint64_t)(uint32_t)(at - 8) << 32;
}

/* Adds up the pages of an area that were touched: those that are zero inside count too, or not. */
static size_t sum_pages(unsigned int area, int bytes_only)
{
	static unsigned char resident[HUGE / PAGE];
	size_t pages = bed_size(area) / PAGE, n = 0;

	NEED(mincore(ring.area[area], bed_size(area), resident) == 0);
	for (size_t i = 0; i < pages; i++) {
		const char *page = ring.area[area] + i * PAGE;

		if (!(resident[i] & 1))
			continue;
		if (!bytes_only)
			n += PAGE;
		else if (page[0] || memcmp(page, page + 1, PAGE - 1) != 0)
			for (size_t k = 0; k < PAGE; k++)
				n += page[k] != 0;
	}
	return n;
}

size_t bed_not_zero(void)
{
	size_t n = sum_pages(1, 1) + sum_pages(2, 1);

	for (size_t i = 0; i < SMALL; i++)
		n += ring.area[0][i] != 0;
	return n;
}

size_t bed_resident(unsigned int area)
{
	return sum_pages(area, 0);
}

uint32_t bed_flags(uint32_t words_max)
{
	uint32_t flags =
		(uint32_t)tap_below(4096) & ~(uint32_t)(AFU_RECORD_OOB | AFU_RECORD_SHELL | AFU_RECORD_WORDS);

	return flags | (uint32_t)tap_below(words_max + 1);
}

uint64_t bed_extent(uint32_t n, uint32_t flags)
{
	return 8 + 8 * (flags & AFU_RECORD_WORDS) + ((n + UINT64_C(7)) & ~UINT64_C(7));
}

static char content(uint64_t seed, size_t i)
{
	/* never 0: an erased byte is told from a right one */
	return (char)((((seed * 2654435761u) >> 7) + i * 131 + (i >> 8)) % 255 + 1);
}

/* Likewise: no byte of it is 0. */
static uint64_t word(uint64_t seed, uint32_t i)
{
	return (seed * 0x9e3779b97f4a7c15u + i) | 0x8181818181818181u;
}

struct afu_iter bed_pieces(struct iovec iov[4], char *from, size_t n)
{
	size_t off = 0;

	for (unsigned int i = 0; i < 4; i++) {
		size_t part = i == 3 ? n - off : tap_below(n - off + 1);

		iov[i] = (struct iovec){from + off, part};
		off += part;
	}
	return (struct afu_iter){iov, 4, 0};
}

int bed_put(uint64_t seed, uint32_t n, uint32_t flags, uint32_t charge)
{
	uint64_t words[AFU_RING_WORDS];
	struct iovec iov[4];
	struct afu_iter from;

	for (uint32_t i = 0; i < AFU_RING_WORDS; i++)
		words[i] = word(seed, i);
	for (size_t i = 0; i < n && i < BUFFER; i++)
		source[i] = content(seed, i);
	from = bed_pieces(iov, source, n);
	return afu_ring_put(&ring, tx, words, &from, n, flags, charge);
}

void bed_check_content(const struct afu_ring_record *rec, uint64_t seed, uint32_t offset, uint32_t n)
{
	uint64_t words[AFU_RING_WORDS];
	size_t wrong = 0;
	struct iovec iov[4];
	struct afu_iter to = bed_pieces(iov, target, n);

	memset(target, 0, n);
	CHECK_EQ(afu_ring_read(&ring, rec, offset, &to, n), 0);
	for (size_t i = 0; i < n; i++)
		wrong += target[i] != content(seed, offset + i);
	CHECK_EQ(wrong, 0);
	memset(words, 1, sizeof words);
	afu_ring_words(&ring, rec, words);
	for (uint32_t i = 0; i < AFU_RING_WORDS; i++)
		CHECK_EQ(words[i], i < (rec->flags & AFU_RECORD_WORDS) ? word(seed, i) : 0);
}

void bed_check_front(uint64_t seed, uint32_t n, uint32_t flags, struct afu_ring_record *rec)
{
	CHECK(afu_ring_ready(&ring, rx));
	NEED(afu_ring_front(&ring, rx, rec) == 1);
	CHECK_EQ(rec->length, n);
	CHECK_EQ(rec->flags, flags);
	CHECK_EQ(rec->offset, 0);
	if (rec->length == n)
		bed_check_content(rec, seed, 0, n);
}

void bed_take(const struct afu_ring_record *rec, uint32_t charge)
{
	afu_ring_take(&ring, rx, rec, charge);
}

void bed_check_empty(void)
{
	struct afu_ring_record rec;

	/* before front(), which follows a switch */
	CHECK(!afu_ring_ready(&ring, rx));
	CHECK(!afu_ring_unread(&ring));
	CHECK(!afu_ring_occupied(&ring));
	CHECK_EQ(afu_ring_front(&ring, rx, &rec), 0);
	CHECK(!afu_ring_ready(&ring, rx));
	CHECK(!afu_ring_unread(&ring));
	CHECK(!afu_ring_occupied(&ring));
	CHECK_EQ(afu_ring_used(&ring, tx), 0);
	CHECK_EQ(bed_not_zero(), 0);
}

void bed_there_and_back(uint32_t n, uint32_t words_max)
{
	struct afu_ring_record rec;
	uint64_t seed = tap_random();
	uint32_t flags = bed_flags(words_max);
	uint64_t produced = ring.mark->produced;

	NEED(bed_put(seed, n, flags, n + 100) == 0);
	CHECK(ring.mark->produced != produced);
	CHECK_EQ(afu_ring_used(&ring, tx), n + 100);
	CHECK_EQ(afu_ring_unread(&ring), n != 0);
	CHECK(afu_ring_occupied(&ring));
	bed_check_front(seed, n, flags, &rec);
	bed_take(&rec, n + 100);
	CHECK_EQ(afu_ring_used(&ring, tx), 0);
	CHECK_EQ(afu_ring_front(&ring, rx, &rec), 0);
}
