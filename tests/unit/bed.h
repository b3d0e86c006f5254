/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A record ring with both ends in one process, to be tested.
 *
 * Every shared object lies against a page that may not be touched, once with its
 * begin and once with its end, and the rest of its page is filled with a pattern:
 * whatever is read beyond it crashes on one of the sides, whatever is written is
 * seen.  Contents and words are a function of a seed, so a record is known by its seed.
 */
#ifndef TESTS_UNIT_BED_H
#define TESTS_UNIT_BED_H

#include "ring/ring.h"

#define SMALL (UINT64_C(1) << AFU_RING_SMALL_SHIFT)
#define LARGE (UINT64_C(1) << AFU_RING_LARGE_SHIFT)
#define HUGE (UINT64_C(1) << AFU_RING_HUGE_SHIFT)
#define AREA(i) ((uint64_t)(i) << 56)
#define IN_LARGE AREA(1)
#define IN_HUGE AREA(2)
#define PAGE 4096u
#define BUFFER (HUGE + 64)

extern struct afu_ring ring;
extern struct afu_ring_tx *tx;
extern struct afu_ring_rx *rx;
extern char *source, *target;

void bed_up(int at_end);
/* Also looks whether anything was written beside the objects. */
void bed_down(void);

uint64_t bed_size(unsigned int area);
void bed_set_positions(uint64_t at);
/* Forgets everything and begins at a position, as after that many bytes. */
void bed_begin_at(uint64_t at);
/* Bytes of the areas that are not 0. */
size_t bed_not_zero(void);
/* Bytes of an area that take up memory. */
size_t bed_resident(unsigned int area);

/* Any flags but those of an out-of-band record; up to so many words. */
uint32_t bed_flags(uint32_t words_max);
/* The room of a record. */
uint64_t bed_extent(uint32_t n, uint32_t flags);
/* The buffer in four pieces, some of them empty. */
struct afu_iter bed_pieces(struct iovec iov[4], char *from, size_t n);
int bed_put(uint64_t seed, uint32_t n, uint32_t flags, uint32_t charge);
/* Reads n bytes of a record from offset on, and its words, and compares. */
void bed_check_content(const struct afu_ring_record *rec, uint64_t seed, uint32_t offset, uint32_t n);
/* Needs a record at the head, and it is this one. */
void bed_check_front(uint64_t seed, uint32_t n, uint32_t flags, struct afu_ring_record *rec);
void bed_take(const struct afu_ring_record *rec, uint32_t charge);
/* Nothing is there, and nothing was left. */
void bed_check_empty(void);
/* One record in and out of an empty ring. */
void bed_there_and_back(uint32_t n, uint32_t words_max);

#endif
