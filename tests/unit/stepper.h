/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Children that work on rings in shared memory and under their locks, one instruction at a
 * time, and what is left when they die.
 */
#ifndef TESTS_UNIT_STEPPER_H
#define TESTS_UNIT_STEPPER_H

#include "base/lock.h"
#include "ring/ring.h"

#include <stdint.h>
#include <sys/types.h>

#define SMALL (1u << AFU_RING_SMALL_SHIFT)
#define LARGE (1u << AFU_RING_LARGE_SHIFT)
#define HUGE (1u << AFU_RING_HUGE_SHIFT)
/* What is used of the huge area, at its begin and at its end; looked at and copied. */
#define WINDOW (now->steps ? 2 * LARGE : 65536u)
#define PAGE 4096u
#define LENGTH_MAX (LARGE + 4096)
#define KILLS 20
#define STEPS_MAX 100000
#define RECORDS_MAX 64

struct shared {
	char small[SMALL], large[LARGE];
	struct afu_ring_head head;
	struct afu_ring_mark mark;
	_Alignas(64) struct afu_lock tx_lock;
	struct afu_ring_tx tx;
	_Alignas(64) struct afu_lock rx_lock;
	struct afu_ring_rx rx;
	_Atomic uint32_t done[2]; /* the operation of the child that puts, that takes is over */
	/* what a child that took a record says */
	uint32_t took, took_length;
};

struct scenario {
	const char *name;
	uint64_t start;		/* positions begin here */
	unsigned int before;	/* records in the ring */
	uint32_t before_length; /* of each */
	uint32_t length;	/* of the child's record */
	int takes;		/* the child takes the first record instead */
	uint32_t words;		/* of the child's record */
	unsigned int to;	/* the area where the producer is afterwards, if it put */
	unsigned int steps;	/* no more instructions than this; 0: all of them */
	int oob;		/* the last before and the child's are out of band; or the child takes that */
};

enum { CHILDS_ID = 100, LATER_ID = 200, LAST_ID = 250 };

/* All that is in the ring. */
struct drained {
	uint32_t id[RECORDS_MAX];
	unsigned int n;
};

/* The children work on the first; what s and ring name is looked at. */
extern struct shared *theirs, *copy, *s;
extern char *their_huge, *copy_huge;
extern struct afu_ring ring;
extern const struct scenario *now;
/* The record whose byte was taken ahead of its place; 0: none. */
extern uint32_t shelled;

void use(struct shared *which);
void prepare(const struct scenario *sc);
void fill(uint32_t id, uint32_t n);
int put(uint32_t id, uint32_t n);
void put_later(void);
/* recv(MSG_OOB): the record's id, or 0. */
uint32_t take_mark(void);

/* A child that stands before its first instruction; its pid. */
pid_t begin(int takes);
/* Up to n instructions; how many there were before the operation was over. */
unsigned int step(pid_t pid, int takes, unsigned int n, int *ended);
/* To the end of the operation at full speed. */
void go_on(pid_t pid, int takes);
/* Kills it; whether it held the lock. */
int end(pid_t pid, struct afu_lock *lock, int ended);
/* Takes over from the dead: the lock says that it died if and only if it held it. */
void take_over(int held, int takes);

void drain(struct drained *d);
/* Bytes of the areas, as far as they are used, that are not 0. */
size_t not_zero(void);
/* Pages of a huge area between what is used of it. */
size_t pages_touched(char *huge);
/* The charge of everything that is there, by looking ahead. */
uint64_t lying(unsigned int *records);
void check_at_rest(void);
void check_order(const struct drained *d, unsigned int first, int may_lack_first, int may_have_childs,
		 int must_have_childs, int later);

#endif
