/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The out-of-band mark, shells, and what counts as unread.
 */
#include "bed.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define OOB AFU_RECORD_OOB
#define SHELL AFU_RECORD_SHELL

/* The i-th record from the head on. */
static struct afu_ring_record nth(unsigned int i)
{
	struct afu_ring_record rec;

	NEED(afu_ring_front(&ring, rx, &rec) == 1);
	while (i--)
		NEED(afu_ring_next(&ring, &rec) == 1);
	return rec;
}

static enum afu_ring_oob kind(unsigned int i)
{
	struct afu_ring_record rec = nth(i);

	return afu_ring_oob(&ring, &rec);
}

static void shell(unsigned int i)
{
	struct afu_ring_record rec = nth(i);

	afu_ring_reflag(&ring, &rec, SHELL, 0);
}

static void take_first(void)
{
	struct afu_ring_record rec = nth(0);

	bed_take(&rec, 1);
}

/* Where each test begins: in every area, near its end, and where one leads to the next. */
static const uint64_t starts[] = {
	0,	 SMALL - 40,	       SMALL * 0x10000 - 40, IN_LARGE, IN_LARGE | (LARGE - 40),
	IN_HUGE, IN_HUGE | (HUGE - 40)};

#define EVERYWHERE(body)                                                                                     \
	do {                                                                                                 \
		bed_up(1);                                                                                   \
		for (size_t where = 0; where < sizeof starts / sizeof *starts; where++) {                    \
			bed_begin_at(starts[where]);                                                         \
			body();                                                                              \
			if (tap_failures()) {                                                                \
				tap_note("from 0x%llx on", (unsigned long long)starts[where]);               \
				tap_leave();                                                                 \
			}                                                                                    \
		}                                                                                            \
		bed_down();                                                                                  \
	} while (0)

static void newest_body(void)
{
	struct afu_ring_record rec;

	CHECK(!afu_ring_find_oob(&ring, rx, &rec));
	CHECK(!afu_ring_oob_pending(&ring, rx));
	NEED(bed_put(1, 5, 0, 1) == 0 && bed_put(2, 1, OOB | 2, 1) == 0 && bed_put(3, 1, 0, 1) == 0);
	CHECK_EQ(kind(0), AFU_OOB_NONE);
	CHECK_EQ(kind(1), AFU_OOB_PENDING);
	CHECK_EQ(kind(2), AFU_OOB_NONE);
	CHECK(afu_ring_oob_pending(&ring, rx));
	NEED(afu_ring_find_oob(&ring, rx, &rec) == 1);
	CHECK_EQ(rec.at, nth(1).at);
	CHECK_EQ(rec.flags, OOB | 2);
	bed_check_content(&rec, 2, 0, 1);
	/* a newer one: the older is data like any other */
	NEED(bed_put(4, 1, OOB, 1) == 0);
	CHECK_EQ(kind(1), AFU_OOB_NONE);
	CHECK_EQ(kind(3), AFU_OOB_PENDING);
	for (unsigned int i = 0; i < 3; i++) {
		NEED(afu_ring_find_oob(&ring, rx, &rec) == 1);
		CHECK_EQ(rec.at, nth(3 - i).at);
		take_first();
	}
	CHECK_EQ(kind(0), AFU_OOB_PENDING);
	take_first();
	CHECK(!afu_ring_find_oob(&ring, rx, &rec));
	CHECK(!afu_ring_oob_pending(&ring, rx));
	bed_check_empty();
	/* an ordinary record at the next place inherits nothing */
	NEED(bed_put(5, 1, 0, 1) == 0);
	CHECK_EQ(kind(0), AFU_OOB_NONE);
	CHECK(!afu_ring_oob_pending(&ring, rx));
	take_first();
}

static void newest(void)
{
	EVERYWHERE(newest_body);
}

static void shells_body(void)
{
	struct afu_ring_record rec;

	NEED(bed_put(1, 9, 0, 1) == 0 && bed_put(2, 1, OOB | 0x101, 1) == 0 && bed_put(3, 300, 3, 1) == 0);
	NEED(afu_ring_find_oob(&ring, rx, &rec) == 1);
	afu_ring_reflag(&ring, &rec, SHELL, 0);
	CHECK_EQ(rec.flags, OOB | SHELL | 0x101);
	CHECK_EQ(kind(1), AFU_OOB_SHELL);
	CHECK(!afu_ring_find_oob(&ring, rx, &rec));
	CHECK(!afu_ring_oob_pending(&ring, rx));
	/* it is as whole as before */
	rec = nth(1);
	CHECK_EQ(rec.length, 1);
	bed_check_content(&rec, 2, 0, 1);
	rec = nth(2);
	bed_check_content(&rec, 3, 0, 300);
	/* in line again: OOB taken off the newest */
	NEED(bed_put(4, 1, OOB, 1) == 0);
	rec = nth(3);
	CHECK_EQ(afu_ring_oob(&ring, &rec), AFU_OOB_PENDING);
	afu_ring_reflag(&ring, &rec, 0, OOB);
	CHECK_EQ(rec.flags, 0);
	CHECK_EQ(kind(3), AFU_OOB_NONE);
	CHECK_EQ(kind(1), AFU_OOB_SHELL);
	CHECK(!afu_ring_oob_pending(&ring, rx));
	for (unsigned int i = 0; i < 4; i++)
		take_first();
	bed_check_empty();
}

static void shells(void)
{
	EVERYWHERE(shells_body);
}

/* A flag that is set in a record of which a part was read leaves that part read. */
static void reflag_part_body(void)
{
	struct afu_ring_record rec;

	NEED(bed_put(1, 20, 0x203, 1) == 0);
	rec = nth(0);
	afu_ring_advance(rx, &rec, 7);
	rec = nth(0);
	afu_ring_reflag(&ring, &rec, 0x400, 0x200);
	rec = nth(0);
	CHECK_EQ(rec.flags, 0x403);
	CHECK_EQ(rec.offset, 7);
	CHECK_EQ(rec.length, 20);
	bed_check_content(&rec, 1, 7, 13);
	take_first();
	bed_check_empty();
}

static void reflag_part(void)
{
	EVERYWHERE(reflag_part_body);
}

static void check_lying(int unread, int occupied)
{
	CHECK_EQ(afu_ring_unread(&ring), unread);
	CHECK_EQ(afu_ring_occupied(&ring), occupied);
	CHECK_EQ(afu_ring_ready(&ring, rx), occupied);
}

/* One empty record or shell at the head does not count, whatever stands behind it does. */
static void unread_body(void)
{
	check_lying(0, 0);
	NEED(bed_put(1, 0, 0x12, 1) == 0);
	check_lying(0, 1);
	NEED(bed_put(2, 0, 0, 1) == 0);
	check_lying(1, 1);
	take_first();
	check_lying(0, 1);
	NEED(bed_put(3, 1, OOB, 1) == 0);
	check_lying(1, 1);
	take_first();
	check_lying(1, 1);
	shell(0);
	check_lying(0, 1);
	NEED(bed_put(4, 1, OOB, 1) == 0);
	check_lying(1, 1);
	shell(1);
	check_lying(1, 1);
	take_first();
	check_lying(0, 1);
	NEED(bed_put(5, 4, 0, 1) == 0);
	check_lying(1, 1);
	take_first();
	check_lying(1, 1);
	take_first();
	check_lying(0, 0);
	/* behind a shell and a switch */
	NEED(bed_put(6, 1, OOB, 1) == 0);
	shell(0);
	check_lying(0, 1);
	NEED(bed_put(7, 300000, 0, 1) == 0);
	CHECK_EQ(tx->tail >> 56, 2);
	check_lying(1, 1);
	take_first();
	check_lying(1, 1);
	take_first();
	check_lying(0, 0);
	bed_check_empty();
}

static void unread(void)
{
	EVERYWHERE(unread_body);
}

/* As a producer leaves it that is stopped or dies between the mark and its record. */
static void before_record_body(void)
{
	struct afu_ring_record rec;
	uint64_t first;

	NEED(bed_put(1, 9, 0, 1) == 0 && bed_put(2, 1, OOB, 1) == 0);
	first = nth(1).at;
	atomic_store(&ring.mark->oob_before, atomic_load(&ring.mark->oob));
	CHECK_EQ(kind(1), AFU_OOB_PENDING);
	atomic_store(&ring.mark->oob, tx->tail | 1);
	CHECK_EQ(kind(1), AFU_OOB_PENDING);
	CHECK(afu_ring_oob_pending(&ring, rx));
	NEED(afu_ring_find_oob(&ring, rx, &rec) == 1);
	CHECK_EQ(rec.at, first);
	afu_ring_recover_tx(&ring, tx);
	CHECK_EQ(ring.mark->oob, first | 1);
	afu_ring_recover_tx(&ring, tx);
	CHECK_EQ(ring.mark->oob, first | 1);
	/* the next one, which comes to stand there, is the newest if it is one */
	NEED(bed_put(3, 1, 0, 1) == 0);
	CHECK_EQ(kind(1), AFU_OOB_PENDING);
	CHECK_EQ(kind(2), AFU_OOB_NONE);
	NEED(bed_put(4, 1, OOB, 1) == 0);
	CHECK_EQ(kind(1), AFU_OOB_NONE);
	CHECK_EQ(kind(3), AFU_OOB_PENDING);
	afu_ring_recover_tx(&ring, tx);
	CHECK_EQ(kind(3), AFU_OOB_PENDING);
	for (unsigned int i = 0; i < 4; i++)
		take_first();
	bed_check_empty();
}

static void before_record(void)
{
	EVERYWHERE(before_record_body);
}

/* The mark is the peer's: it names nothing that is not there, not ours, or not one byte. */
static void hostile_mark_body(void)
{
	const uint64_t head = rx->head;
	struct afu_ring_record rec;

	NEED(bed_put(1, 40, 0, 1) == 0 && bed_put(2, 2, OOB, 1) == 0 && bed_put(3, 1, 0, 1) == 0 &&
	     bed_put(4, 1, OOB, 1) == 0 && bed_put(5, 8, 0, 1) == 0);
	for (unsigned int i = 0; i < 30000; i++) {
		static const unsigned int shifts[] = {3, 7, 12, 20, 26, 55, 60, 63};
		uint64_t v = tap_random() >> (64 - shifts[tap_below(8)]), good = nth(3).at | 1;

		if (tap_below(2))
			v += head - 64;
		if (tap_below(4) == 0)
			v = tap_below(2) ? nth((unsigned int)tap_below(5)).at | 1
					 : head | AREA(tap_below(256));
		atomic_store(&ring.mark->oob, v);
		atomic_store(&ring.mark->oob_before, tap_below(2) ? v : tap_random());
		if (v == good) {
			CHECK(afu_ring_find_oob(&ring, rx, &rec) == 1 && rec.at == nth(3).at);
		} else if (v != good && atomic_load(&ring.mark->oob_before) == v) {
			CHECK(!afu_ring_find_oob(&ring, rx, &rec));
			CHECK(!afu_ring_oob_pending(&ring, rx));
			CHECK_EQ(kind(3), AFU_OOB_NONE);
		}
		CHECK_EQ(kind(0), AFU_OOB_NONE);
		CHECK_EQ(kind(2), AFU_OOB_NONE);
		if (tap_failures()) {
			tap_note("mark 0x%llx, head 0x%llx", (unsigned long long)v, (unsigned long long)head);
			tap_leave();
		}
	}
	/* what lies before the head is gone, though a header stands there */
	take_first();
	*(uint64_t *)(void *)(ring.area[head >> 56] + (head & (bed_size((unsigned int)(head >> 56)) - 1))) =
		1 |
		((head & (AREA(1) - 1)) >> (head >> 56 == 0   ? 11
					    : head >> 56 == 1 ? 18
							      : 24) &
		 0xffff) << 32 |
		UINT64_C(1) << 48 | (uint64_t)OOB << 52;
	atomic_store(&ring.mark->oob, head | 1);
	CHECK(!afu_ring_find_oob(&ring, rx, &rec));
}

static void hostile_mark(void)
{
	EVERYWHERE(hostile_mark_body);
}

/* A plain list of what is there. */
#define LIST_MAX 4096
static struct {
	uint64_t seed;
	uint32_t n, words;
	int oob, taken;
} list[LIST_MAX];
static size_t first, last;

static size_t newest_in_list(void)
{
	for (size_t i = last; i-- > first;) {
		if (list[i].oob)
			return list[i].taken ? LIST_MAX : i;
	}
	return LIST_MAX;
}

static void check_list(void)
{
	struct afu_ring_record rec, found;
	size_t pending = newest_in_list(), i = first;
	int more = afu_ring_front(&ring, rx, &rec);

	CHECK_EQ(afu_ring_oob_pending(&ring, rx), pending < LIST_MAX);
	CHECK_EQ(afu_ring_find_oob(&ring, rx, &found), pending < LIST_MAX);
	CHECK_EQ(afu_ring_occupied(&ring), first < last);
	CHECK_EQ(afu_ring_unread(&ring), last - first > 1 || (last - first == 1 && !list[first].taken));
	for (; more == 1 && i < last; i++, more = afu_ring_next(&ring, &rec)) {
		enum afu_ring_oob is = list[i].taken  ? AFU_OOB_SHELL
				       : i == pending ? AFU_OOB_PENDING
						      : AFU_OOB_NONE;

		CHECK_EQ(rec.length, list[i].n);
		CHECK_EQ(afu_ring_oob(&ring, &rec), is);
		if (i == pending)
			CHECK_EQ(found.at, rec.at);
		if (i == first || i == pending)
			bed_check_content(&rec, list[i].seed, 0, rec.length);
	}
	CHECK_EQ(more, 0);
	CHECK_EQ(i, last);
}

static void step_list(void)
{
	size_t pending = newest_in_list();
	struct afu_ring_record rec;

	switch (tap_below(6)) {
	case 0:
	case 1: /* data */
	case 2: /* or the byte */
		list[last].oob = tap_below(3) == 0;
		list[last].taken = 0;
		list[last].seed = tap_random();
		list[last].words = (uint32_t)tap_below(4);
		list[last].n = list[last].oob ? 1 : 1 + (uint32_t)tap_below(tap_below(100) ? 90 : 20000);
		if (bed_put(list[last].seed, list[last].n, list[last].words | (list[last].oob ? OOB : 0),
			    1) == 0)
			last++;
		break;
	case 3: /* recv(MSG_OOB) */
		if (pending < LIST_MAX && afu_ring_find_oob(&ring, rx, &rec) == 1) {
			afu_ring_reflag(&ring, &rec, SHELL, 0);
			list[pending].taken = 1;
		}
		break;
	case 4: /* made ordinary at the head: SO_OOBINLINE */
		if (pending == first && first < last && tap_below(2)) {
			rec = nth(0);
			afu_ring_reflag(&ring, &rec, 0, OOB);
			list[first].oob = 0;
		}
		break;
	default:
		if (first < last) {
			take_first();
			first++;
		}
	}
}

static void list_body(void)
{
	first = last = 0;
	while (last < 700 && !tap_failures()) {
		step_list();
		if (tap_below(50) == 0)
			afu_ring_recover_tx(&ring, tx);
		if (tap_below(50) == 0)
			afu_ring_recover_rx(&ring, rx);
		check_list();
	}
	while (first < last) {
		take_first();
		first++;
	}
	bed_check_empty();
}

static void against_list(void)
{
	EVERYWHERE(list_body);
}

/*
 * A producer that sends its number again and again out of band, while the other end looks and
 * takes: the newest only ever gets newer, one is pending all the time until it is taken, and the
 * flags that the consumer writes reach every record and no other.
 */
#define NUMBERS 200000u

static _Atomic uint32_t consumed;

static void *send_numbers(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < NUMBERS;) {
		uint64_t words[AFU_RING_WORDS] = {i, ~(uint64_t)i, 0};
		struct iovec iov = {&i, 1};
		struct afu_iter from = {&iov, 1, 0};

		/* at most a hundred on the way: areas are gone through round and round */
		if (i - atomic_load_explicit(&consumed, memory_order_acquire) < 100 &&
		    afu_ring_put(&ring, tx, words, &from, 1, OOB | 2, 1) == 0)
			i++;
	}
	return NULL;
}

static void concurrent_from(uint64_t start)
{
	uint64_t words[AFU_RING_WORDS], newest_seen = 0, shells = 0, lost = 0, wrong = 0, older = 0;
	struct afu_ring_record rec;
	pthread_t producer;

	bed_begin_at(start);
	atomic_store(&consumed, 0);
	NEED(pthread_create(&producer, NULL, send_numbers, NULL) == 0);
	for (uint32_t i = 0; i < NUMBERS;) {
		int seen = 0;

		/* nothing is consumed here: once there, one stays there */
		for (unsigned int k = 0; k < 4; k++) {
			int found = afu_ring_find_oob(&ring, rx, &rec);

			lost += seen && !found;
			seen |= found;
			if (!found)
				continue;
			afu_ring_words(&ring, &rec, words);
			older += words[0] < newest_seen;
			newest_seen = words[0];
			wrong += words[1] != ~words[0] || !afu_ring_oob_pending(&ring, rx);
		}
		if (seen && i % 3 == 0) {
			afu_ring_reflag(&ring, &rec, SHELL, 0);
			shells++;
		}
		while (afu_ring_front(&ring, rx, &rec) == 1 && i < NUMBERS) {
			afu_ring_words(&ring, &rec, words);
			wrong += words[0] != i || words[1] != ~words[0] || rec.length != 1;
			shells -= afu_ring_oob(&ring, &rec) == AFU_OOB_SHELL;
			bed_take(&rec, 1);
			atomic_store_explicit(&consumed, ++i, memory_order_release);
			if (i % 7 == 0)
				break;
		}
	}
	pthread_join(producer, NULL);
	CHECK_EQ(lost, 0);
	CHECK_EQ(older, 0);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(shells, 0);
	CHECK(newest_seen > 0);
	bed_check_empty();
}

static void concurrent(void)
{
	bed_up(1);
	concurrent_from(0);
	concurrent_from(IN_LARGE | (LARGE - 40));
	concurrent_from(IN_HUGE | (HUGE - 40));
	bed_down();
}

static const struct tap_case cases[] = {
	{"only the newest is pending", newest},
	{"shells, and a byte made ordinary", shells},
	{"flags of a record that is read in part", reflag_part},
	{"what counts as unread, and what there is at all", unread},
	{"a mark before its record", before_record},
	{"hostile values in the mark", hostile_mark},
	{"random use against a plain list", against_list},
	{"the producer goes on while the byte is taken", concurrent},
};

int main(int argc, char **argv)
{
	return tap_run(cases, sizeof cases / sizeof *cases, 100, argc > 1 ? argv[1] : NULL);
}
