/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Death after each instruction.
 *
 * A child works on rings in shared memory and under their locks, one instruction
 * at a time.  After each of them a copy of the memory is taken, with the lock marked
 * as the kernel would mark it; and after some of them, spread evenly, the child is
 * killed for real.  What is left behind is taken over as the socket room does it: take
 * the lock, and recover if the owner is said to have died.  Then a record is there whole or
 * not at all, those before and behind it are right, the charges add up and the
 * drained areas are zero; of the huge area, recovery has touched no more than was written.
 * With the out-of-band byte, the newest that is there is pending.  In the pairs, one end stands still in the
 * middle of its operation while the other end dies and is recovered, and goes on after that.
 */
#include "stepper.h"
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int look_at_mark;

/* Of the out-of-band bytes that are there, the newest is pending unless it was taken. */
static void check_mark(const struct scenario *sc, int ended)
{
	struct afu_ring_record rec, newest = {0}, pending;
	unsigned int marks = 0, shell = 0, old = sc->before && sc->before_length == 1, new = !sc->takes;

	for (int found = afu_ring_front(&ring, &s->rx, &rec); found == 1;
	     found = afu_ring_next(&ring, &rec)) {
		if (!(rec.flags & AFU_RECORD_OOB))
			continue;
		newest = rec;
		marks++;
		if (rec.flags >> 4 == shelled) {
			CHECK_EQ(afu_ring_oob(&ring, &rec), AFU_OOB_SHELL);
			shell = 1;
		}
	}
	CHECK(marks >= old && marks <= old + new);
	CHECK(!ended || marks == old + new);
	CHECK_EQ(shell, shelled != 0);
	if (!marks)
		return;
	if (newest.flags & AFU_RECORD_SHELL) {
		CHECK(sc->takes || newest.flags >> 4 == shelled);
		CHECK(!afu_ring_oob_pending(&ring, &s->rx));
		return;
	}
	CHECK(!sc->takes || !ended);
	NEED(afu_ring_find_oob(&ring, &s->rx, &pending) == 1);
	CHECK_EQ(pending.at, newest.at);
	CHECK_EQ(afu_ring_oob(&ring, &newest), AFU_OOB_PENDING);
}

/* What must hold once somebody has taken over from a child that was done or was not. */
static void check_left(const struct scenario *sc, int ended)
{
	struct drained d;
	unsigned int records;
	int consumes = sc->takes && !sc->oob;

	CHECK_EQ(afu_ring_used(&ring, &s->tx), lying(&records));
	if (sc->oob)
		check_mark(sc, ended);
	if (!sc->takes && ended)
		CHECK_EQ(atomic_load(&s->tx.tail) >> 56, sc->to);
	if (look_at_mark)
		CHECK_EQ(s->mark.produced, atomic_load(&s->tx.tail));
	put_later();
	CHECK_EQ(afu_ring_used(&ring, &s->tx), lying(&records));
	drain(&d);
	check_order(&d, ended && consumes ? 2 : 1, consumes && !ended, !sc->takes, !sc->takes && ended, 1);
	check_at_rest();
	drain(&d);
	CHECK(d.n == 1 && d.id[0] == LAST_ID);
	CHECK_EQ(not_zero(), 0);
}

/* A death after k instructions. */
static void die_at(const struct scenario *sc, unsigned int k)
{
	unsigned int failures = tap_failures();
	int ended, held;
	pid_t pid;

	prepare(sc);
	pid = begin(sc->takes);
	step(pid, sc->takes, k, &ended);
	held = end(pid, sc->takes ? &s->rx_lock : &s->tx_lock, ended);
	take_over(held, sc->takes);
	check_left(sc, ended);
	if (tap_failures() != failures)
		tap_note("%s: killed after %u instructions, lock %s", sc->name, k, held ? "held" : "free");
}

/* What the kernel does to the lock when its owner dies; see exit_robust_list(). */
static int mark_dead(pid_t pid, struct afu_lock *lock, struct afu_lock *childs)
{
	struct robust_list_head *head = afu_thread()->robust; /* at the same address in the child */
	uint32_t word = atomic_load(&lock->word);
	uintptr_t pending;

	if ((word & FUTEX_TID_MASK) != (uint32_t)pid)
		return 0;
	pending = (uintptr_t)ptrace(PTRACE_PEEKDATA, pid, &head->list_op_pending, NULL);
	CHECK_EQ(pending, (uintptr_t)afu_lock_node(afu_thread(), childs));
	atomic_store(&lock->word, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED);
	return 1;
}

static void copy_all(void)
{
	*copy = *theirs;
	memcpy(copy_huge, their_huge, WINDOW);
	memcpy(copy_huge + HUGE - WINDOW, their_huge + HUGE - WINDOW, WINDOW);
}

/* Death after every instruction, each on a copy.  How many there are. */
static unsigned int die_in_copies(const struct scenario *sc, int take_first)
{
	unsigned int k, failures = tap_failures();
	int ended = 0, held;
	pid_t pid;

	prepare(sc);
	pid = begin(sc->takes);
	for (k = 0; k < (sc->steps ? sc->steps : STEPS_MAX) && !ended && tap_failures() < failures + 4; k++) {
		unsigned int so_far = tap_failures();

		step(pid, sc->takes, 1, &ended);
		copy_all();
		use(copy);
		/* the byte is taken from beside the dead producer, before anybody repairs anything */
		shelled = take_first ? take_mark() : 0;
		held = mark_dead(pid, sc->takes ? &s->rx_lock : &s->tx_lock,
				 sc->takes ? &theirs->rx_lock : &theirs->tx_lock);
		take_over(held, sc->takes);
		check_left(sc, ended);
		if (tap_failures() != so_far)
			tap_note("%s: dead after %u instructions, lock %s", sc->name, k + 1,
				 held ? "held" : "free");
		use(theirs);
		shelled = 0;
	}
	tap_kill(pid);
	return k;
}

static unsigned int instructions(const struct scenario *sc)
{
	unsigned int n;
	int ended;
	pid_t pid;

	prepare(sc);
	pid = begin(sc->takes);
	n = step(pid, sc->takes, sc->steps ? sc->steps : STEPS_MAX, &ended);
	tap_kill(pid);
	CHECK(ended || n == sc->steps);
	return n;
}

static void die_everywhere(const struct scenario *sc)
{
	unsigned int kills = 0, failures = tap_failures(), n;

	if (sc->oob && !sc->takes)
		die_in_copies(sc, 1);
	n = die_in_copies(sc, 0);
	for (unsigned int k = 0; k <= n && tap_failures() == failures; k += 1 + n / KILLS, kills++)
		die_at(sc, k);
	if (!sc->steps)
		CHECK_EQ(pages_touched(their_huge) + pages_touched(copy_huge), 0);
	tap_note("%s: dead after each of %u instructions, %u times for real", sc->name, n, kills);
}

#define IN_LARGE (UINT64_C(1) << 56)
#define IN_HUGE (UINT64_C(2) << 56)

static const struct scenario plain[] = {
	{"put, first record", .length = 20},
	{"put, others before", SMALL * 3 + 8, 3, 50, 20, .words = 1},
	{"put of nothing", 8, 1, .words = 0},
	{"put of words alone", 8, 1, 0, 0, .words = 3},
	{"put round the end", SMALL - 16, .length = 300},
	{"put round the end, others before", SMALL - 80, 2, 20, .length = 100},
	{"put of words round the end", SMALL - 24, .length = 40, .words = 3},
	{"put in the large area", IN_LARGE | 8, 2, 100, 65, .to = 1},
	{"put round the end of the large area", IN_LARGE | (LARGE - 24), .length = 65, .words = 2, .to = 1},
	{"put in the huge area", IN_HUGE | 8, 2, 100, 65, .words = 1, .to = 2},
	{"put round the end of the huge area", IN_HUGE | (HUGE - 24), .length = 65, .to = 2},
	{"put of the same extent as the one before", 8, 1, 20, 20, .words = 1},
	{"put of the same extent, in the next lap", SMALL - 40, 1, 20, 20, .words = 1},
};

static const struct scenario switches[] = {
	{"put that switches, full", 0, 14, 120, 80, .to = 1},
	{"put that switches, empty", SMALL * 5, .length = SMALL - 15, .to = 1},
	{"put that switches, empty, words", SMALL * 5, .length = SMALL - 39, .words = 3, .to = 1},
	{"put that switches, at the end", SMALL - 8, 13, 120, 208, .words = 2, .to = 1},
	{"put that switches to the huge area", IN_LARGE, 8, 32700, 340, .to = 2},
	{"put that switches to the huge area, at the end", IN_LARGE | (LARGE - 8), 8, 32700, 400, .words = 1,
	 .to = 2},
	{"put that switches twice", 40, 2, 30, LARGE, .words = 1, .to = 2, .steps = 1500},
	{"put that switches twice, at the end", SMALL - 8, .length = LARGE - 15, .to = 2, .steps = 1500},
};

static const struct scenario takes[] = {
	{"take the only one", 0, 1, 30, .takes = 1},
	{"take the first", SMALL * 7 + 24, 3, 30, .takes = 1},
	{"take nothing", 40, .takes = 1},
	{"take round the end", SMALL - 48, 2, 100, .takes = 1},
	{"take in the large area", IN_LARGE | 64, 2, 30, .takes = 1},
	{"take round the end of the large area", IN_LARGE | (LARGE - 48), 2, 100, .takes = 1},
	{"take in the huge area", IN_HUGE | 64, 2, 30, .takes = 1},
	{"take round the end of the huge area", IN_HUGE | (HUGE - 48), 2, 100, .takes = 1},
};

static const struct scenario through[] = {
	{"take the first behind the switch", 8, 1, SMALL - 15, .takes = 1},
	{"take the first behind the second switch", IN_LARGE | 8, 1, LARGE - 15, .takes = 1, .steps = 1500},
	{"take the first behind both switches", 8, 1, LARGE - 15, .takes = 1, .steps = 1500},
};

static const struct scenario bulk[] = {
	{"put 1,800 bytes", SMALL - 1000, .length = 1800},
	{"take 1,800 bytes", SMALL - 1000, 1, 1800, .takes = 1},
};

static const struct scenario marks[] = {
	{"put of the first mark", 8, .length = 1, .oob = 1},
	{"put of a second mark", SMALL - 40, 1, 1, 1, .words = 1, .oob = 1},
	{"put of a mark, others before", IN_LARGE | (LARGE - 24), 4, 1, 1, .to = 1, .oob = 1},
	{"put of a mark that switches", 0, 13, 136, 1, .words = 3, .to = 1, .oob = 1},
	{"put of a mark in the huge area", IN_HUGE | (HUGE - 40), 2, 1, 1, .words = 2, .to = 2, .oob = 1},
	{"take of the mark", SMALL - 24, 2, 1, .takes = 1, .oob = 1},
	{"take of the mark in the huge area", IN_HUGE | (HUGE - 40), 3, 1, .takes = 1, .oob = 1},
};

static void set_up(void)
{
	theirs = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	copy = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	their_huge = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	copy_huge = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(theirs != MAP_FAILED && copy != MAP_FAILED && their_huge != MAP_FAILED &&
	     copy_huge != MAP_FAILED);
	(void)madvise(copy_huge, HUGE, MADV_NOHUGEPAGE);
	use(theirs);
	afu_thread();
}

#define EVERYWHERE(list)                                                                                     \
	do {                                                                                                 \
		set_up();                                                                                    \
		for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++)                                   \
			die_everywhere(&(list)[i]);                                                          \
	} while (0)

static void die_in_put(void)
{
	EVERYWHERE(plain);
}

static void die_in_switch(void)
{
	EVERYWHERE(switches);
}

static void die_in_take(void)
{
	EVERYWHERE(takes);
}

static void die_behind_switch(void)
{
	EVERYWHERE(through);
}

static void die_in_bulk(void)
{
	EVERYWHERE(bulk);
}

static void die_at_mark(void)
{
	EVERYWHERE(marks);
}

/* Edge-triggered readers look at the mark: it has moved with every record that is there. */
static void die_before_mark(void)
{
	static const struct scenario one = {"put", 8, 1, 30, .length = 30};

	look_at_mark = 1;
	set_up();
	die_everywhere(&one);
}

/* The second owner dies too, in the middle of the recovery. */
static void die_in_recovery(const struct scenario *sc)
{
	unsigned int n = instructions(sc);

	for (unsigned int i = 0; i < 40 && !tap_failures(); i++) {
		unsigned int k = (unsigned int)tap_below(n), m = (unsigned int)tap_below(n + n / 2);
		int ended, held, again;
		struct drained d;
		unsigned int records;
		pid_t pid;

		prepare(sc);
		pid = begin(sc->takes);
		step(pid, sc->takes, k, &ended);
		end(pid, sc->takes ? &s->rx_lock : &s->tx_lock, ended);
		pid = begin(sc->takes);
		step(pid, sc->takes, m, &ended);
		held = end(pid, sc->takes ? &s->rx_lock : &s->tx_lock, ended);
		again = !held &&
			(atomic_load(sc->takes ? &s->rx_lock.word : &s->tx_lock.word) & FUTEX_OWNER_DIED);
		take_over(held || again, sc->takes);
		CHECK_EQ(afu_ring_used(&ring, &s->tx), lying(&records));
		drain(&d);
		CHECK(d.n <= sc->before + 2);
		for (unsigned int r = 1; r < d.n; r++)
			CHECK(d.id[r] == d.id[r - 1] + 1 || d.id[r] == CHILDS_ID);
		check_at_rest();
		drain(&d);
		CHECK(d.n == 1 && d.id[0] == LAST_ID);
		CHECK_EQ(not_zero(), 0);
		if (tap_failures())
			tap_note("%s: killed after %u, the next after %u", sc->name, k, m);
	}
}

static void die_twice_in_put(void)
{
	set_up();
	die_in_recovery(&plain[1]);
	die_in_recovery(&plain[4]);
	die_in_recovery(&switches[0]);
}

static void die_twice_in_take(void)
{
	set_up();
	die_in_recovery(&takes[1]);
	die_in_recovery(&takes[3]);
}

/*
 * One end stands still after a instructions while the other dies after b and is
 * recovered; then it goes on.
 */
static void pair(const struct scenario *sc, unsigned int a, unsigned int b, int consumer_dies, int look_first)
{
	struct drained d;
	unsigned int i = 0, id = 1;
	int still_ended, dead_ended, held;
	pid_t still, dead;

	prepare(sc);
	still = begin(!consumer_dies);
	dead = begin(consumer_dies);
	if (look_first) {
		step(still, !consumer_dies, a, &still_ended);
		step(dead, consumer_dies, b, &dead_ended);
	} else {
		step(dead, consumer_dies, b, &dead_ended);
		step(still, !consumer_dies, a, &still_ended);
	}
	held = end(dead, consumer_dies ? &s->rx_lock : &s->tx_lock, dead_ended);
	take_over(held, consumer_dies);
	if (!consumer_dies)
		put_later();
	if (!still_ended)
		go_on(still, !consumer_dies);
	if (consumer_dies)
		put_later();
	if (s->took) {
		CHECK_EQ(s->took, sc->before ? 1 : s->took == LATER_ID ? LATER_ID : CHILDS_ID);
		d.id[i++] = s->took;
	}
	/* those that a dead consumer took are lost with it; nothing else is, and nothing comes twice */
	{
		struct drained rest;

		drain(&rest);
		for (unsigned int k = 0; k < rest.n && i < RECORDS_MAX; k++)
			d.id[i++] = rest.id[k];
		d.n = i;
	}
	for (unsigned int k = 1; k < d.n; k++)
		CHECK(d.id[k] > d.id[k - 1]);
	if (d.n && d.id[0] == 2 && consumer_dies)
		id = 2;
	for (i = 0; id <= sc->before && !(sc->before == 1 && consumer_dies && d.id[0] != 1); id++, i++)
		CHECK(i < d.n && d.id[i] == id);
	CHECK(d.n && d.id[d.n - 1] == LATER_ID);
	check_at_rest();
	drain(&d);
	CHECK(d.n == 1 && d.id[0] == LAST_ID);
	if (tap_failures())
		tap_note("%s: the %s dead after %u, the other still after %u", sc->name,
			 consumer_dies ? "consumer" : "producer", b, a);
}

static void pairs(int consumer_dies)
{
	static const struct scenario mixed[] = {
		{"pair, empty", 8, .length = 40},
		{"pair, one before", SMALL * 9 - 56, 1, 40, .length = 40},
		{"pair, nearly full", SMALL * 9, 14, 120, 60, .words = 1},
		{"pair, in the large area", IN_LARGE | (LARGE - 56), 1, 40, .length = 40},
		{"pair, the large area nearly full", IN_LARGE, 8, 32700, .length = 340, .steps = 1500},
		{"pair, in the huge area", IN_HUGE | (HUGE - 56), 1, 40, 40, .words = 2},
	};

	set_up();
	for (size_t i = 0; i < sizeof mixed / sizeof *mixed; i++) {
		struct scenario taking = mixed[i];
		unsigned int n = instructions(&mixed[i]), m;

		taking.takes = 1;
		m = instructions(&taking) + 20;
		for (unsigned int k = 0; k < 40 && !tap_failures(); k++) {
			unsigned int p = (unsigned int)tap_below(n + 10), c = (unsigned int)tap_below(m);

			pair(&mixed[i], consumer_dies ? p : c, consumer_dies ? c : p, consumer_dies, k & 1);
		}
	}
}

static void producer_dies(void)
{
	pairs(0);
}

static void consumer_dies(void)
{
	pairs(1);
}

static const struct tap_case cases[] = {
	{"the producer dies in a put", die_in_put},
	{"the producer dies in a put that switches", die_in_switch},
	{"the consumer dies in a take", die_in_take},
	{"the consumer dies as it follows a switch", die_behind_switch},
	{"either dies at the out-of-band mark", die_at_mark},
	{"either dies in a long record", die_in_bulk},
	{"a record that is there after a death has moved the mark", die_before_mark},
	{"the next producer dies too", die_twice_in_put},
	{"the next consumer dies too", die_twice_in_take},
	{"the producer dies while the consumer is in the middle of a take", producer_dies},
	{"the consumer dies while the producer is in the middle of a put", consumer_dies},
};

int main(int argc, char **argv)
{
	return tap_run(cases, sizeof cases / sizeof *cases, 240, argc > 1 ? argv[1] : NULL);
}
