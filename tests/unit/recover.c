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
 * drained areas are zero.  In the pairs, one end stands still in the middle of its
 * operation while the other end dies and is recovered, and goes on after that.
 */
#include "base/lock.h"
#include "ring/ring.h"
#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL (1u << AFU_RING_SMALL_SHIFT)
#define LARGE (1u << AFU_RING_LARGE_SHIFT)
#define LENGTH_MAX 2048
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
	char copy[LENGTH_MAX];
};

struct scenario {
	const char *name;
	uint64_t start;         /* positions begin here */
	unsigned int before;    /* records in the ring */
	uint32_t before_length; /* of each */
	uint32_t length;        /* of the child's record */
	int takes;              /* the child takes the first record instead */
};

/* The children work on the first; what s and ring name is looked at. */
static struct shared *theirs, *copy, *s;
static struct afu_ring ring;
static const struct scenario *now;
static char buffer[LENGTH_MAX];
static int look_at_mark;

static void use(struct shared *which)
{
	s = which;
	ring = (struct afu_ring){ { s->small, s->large }, &s->head, &s->mark };
}

static char content(uint32_t id, size_t i)
{
	return (char)((id * 37 + i * 11 + i / 256) % 255 + 1);
}

static uint32_t charge_of(uint32_t n)
{
	return n + 1000;
}

/* A record is known by its flags. */
static int put_locked(uint32_t id, uint32_t n)
{
	struct iovec iov = { buffer, n };
	struct afu_iter from = { &iov, 1, 0 };

	return afu_ring_put(&ring, &s->tx, NULL, &from, n, id, charge_of(n));
}

static void fill(uint32_t id, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		buffer[i] = content(id, i);
}

/* Nobody else is about to hold a lock here: -EBUSY is a failure. */
static int lock_tx(void)
{
	int got = afu_lock_acquire(&s->tx_lock, afu_thread());

	if (got > 0)
		afu_ring_recover_tx(&ring, &s->tx);
	return got;
}

static int lock_rx(void)
{
	int got = afu_lock_acquire(&s->rx_lock, afu_thread());

	if (got > 0)
		afu_ring_recover_rx(&ring, &s->rx);
	return got;
}

static int put(uint32_t id, uint32_t n)
{
	struct afu_thread *th = afu_thread();
	int err;

	afu_thread_enter(th);
	lock_tx();
	err = put_locked(id, n);
	afu_lock_release(&s->tx_lock, th);
	afu_thread_leave(th);
	return err;
}

/* The first record's id and length; its content in s->copy.  1, 0, or an error. */
static int take(uint32_t *id, uint32_t *n)
{
	struct afu_thread *th = afu_thread();
	struct afu_ring_record rec;
	struct iovec iov = { s->copy, LENGTH_MAX };
	struct afu_iter to = { &iov, 1, 0 };
	int found;

	afu_thread_enter(th);
	lock_rx();
	found = afu_ring_front(&ring, &s->rx, &rec);
	if (found == 1) {
		found = afu_ring_read(&ring, &rec, 0, &to, rec.length) == 0 ? 1 : -EFAULT;
		*id = rec.flags;
		*n = rec.length;
		afu_ring_take(&ring, &s->rx, &rec, charge_of(rec.length));
	}
	afu_lock_release(&s->rx_lock, th);
	afu_thread_leave(th);
	return found;
}

static void prepare(const struct scenario *sc)
{
	use(theirs);
	memset(s, 0, sizeof *s);
	atomic_store(&s->tx.tail, sc->start);
	atomic_store(&s->rx.head, sc->start);
	atomic_store(&s->head.position, sc->start);
	s->tx.seen = s->rx.released_at = sc->start;
	s->tx.intent_at = sc->start - 8;
	now = sc;
	for (uint32_t i = 1; i <= sc->before; i++) {
		fill(i, sc->before_length);
		NEED(put_locked(i, sc->before_length) == 0);
	}
}

enum { CHILDS_ID = 100, LATER_ID = 200, LAST_ID = 300 };

static void child_puts(void)
{
	put(CHILDS_ID, now->length);
}

static void child_takes(void)
{
	uint32_t id = 0, n = 0;

	if (take(&id, &n) == 1) {
		s->took_length = n;
		s->took = id;
	}
}

/* A child that stands before its first instruction; its pid. */
static pid_t begin(int takes)
{
	pid_t pid;
	int status;

	fill(CHILDS_ID, now->length);
	atomic_store(&s->done[takes], 0);
	pid = tap_fork();
	NEED(pid >= 0);
	if (pid == 0) {
		afu_thread_forked();
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGTRAP);
		__asm__ volatile("int3" : : : "memory");
		if (takes)
			child_takes();
		else
			child_puts();
		atomic_store(&s->done[takes], 1);
		for (;;)
			pause();
	}
	NEED(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		tap_skip("ptrace() is not allowed here");
	NEED(WIFSTOPPED(status));
	ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_EXITKILL);
	NEED(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	return pid;
}

/* Up to n instructions; how many there were before the operation was over. */
static unsigned int step(pid_t pid, int takes, unsigned int n, int *ended)
{
	unsigned int i;
	int status;

	for (i = 0; i < n && !atomic_load(&theirs->done[takes]); i++) {
		NEED(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		NEED(waitpid(pid, &status, 0) == pid);
		NEED(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	}
	*ended = (int)atomic_load(&theirs->done[takes]);
	return i;
}

/* To the end of the operation at full speed. */
static void go_on(pid_t pid, int takes)
{
	NEED(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	while (!atomic_load(&theirs->done[takes]))
		usleep(50);
	tap_kill(pid);
}

/* Kills it; whether it held the lock. */
static int end(pid_t pid, struct afu_lock *lock, int ended)
{
	int held = !ended && (atomic_load(&lock->word) & FUTEX_TID_MASK) == (uint32_t)pid;

	tap_kill(pid);
	return held;
}

/* Takes over from the dead: the lock says that it died if and only if it held it. */
static void take_over(int held, int takes)
{
	struct afu_thread *th = afu_thread();
	int got;

	afu_thread_enter(th);
	got = takes ? lock_rx() : lock_tx();
	afu_lock_release(takes ? &s->rx_lock : &s->tx_lock, th);
	afu_thread_leave(th);
	CHECK_EQ(got, held);
}

/* All that is in the ring. */
struct drained {
	uint32_t id[RECORDS_MAX];
	unsigned int n;
};

static void drain(struct drained *d)
{
	uint32_t id, n;

	memset(d, 0, sizeof *d);
	while (d->n < RECORDS_MAX && take(&id, &n) == 1) {
		uint32_t expected = id == CHILDS_ID ? now->length : id < CHILDS_ID ? now->before_length : 40;
		size_t wrong = 0;

		CHECK_EQ(n, expected);
		for (size_t i = 0; i < n && i < LENGTH_MAX; i++)
			wrong += s->copy[i] != content(id, i);
		CHECK_EQ(wrong, 0);
		d->id[d->n++] = id;
	}
}

static size_t not_zero(void)
{
	size_t n = 0;

	for (size_t i = 0; i < SMALL; i++)
		n += s->small[i] != 0;
	for (size_t i = 0; i < LARGE; i++)
		n += s->large[i] != 0;
	return n;
}

static void check_at_rest(void)
{
	CHECK_EQ(afu_ring_used(&ring, &s->tx), 0);
	fill(LAST_ID, 40);
	CHECK_EQ(put(LAST_ID, 40), 0);
	/* a sum that ran ahead shows only now */
	CHECK_EQ(afu_ring_used(&ring, &s->tx), charge_of(40));
}

/*
 * What comes out is 1, 2, ... before, perhaps without the first (taken), perhaps with
 * the child's, and then what was put later.
 */
static void check_order(const struct drained *d, unsigned int first, int may_lack_first, int may_have_childs,
			int must_have_childs, int later)
{
	unsigned int i = 0, id = first, has_childs;

	if (may_lack_first && i < d->n && d->id[i] == first + 1)
		id++;
	else if (may_lack_first && now->before == first && (i == d->n || d->id[i] != first))
		id++;
	for (; id <= now->before; id++, i++)
		CHECK(i < d->n && d->id[i] == id);
	has_childs = i < d->n && d->id[i] == CHILDS_ID;
	i += has_childs;
	CHECK(has_childs ? may_have_childs : !must_have_childs);
	if (later) {
		CHECK(i < d->n && d->id[i] == LATER_ID);
		i++;
	}
	CHECK_EQ(d->n, i);
}

static void put_later(void)
{
	fill(LATER_ID, 40);
	CHECK_EQ(put(LATER_ID, 40), 0);
}

/* The charge of everything that is there, by looking ahead. */
static uint64_t lying(unsigned int *records)
{
	struct afu_ring_record rec;
	uint64_t sum = 0;

	*records = 0;
	for (int found = afu_ring_front(&ring, &s->rx, &rec); found == 1; found = afu_ring_next(&ring, &rec)) {
		sum += charge_of(rec.length);
		++*records;
	}
	return sum;
}

/* What must hold once somebody has taken over from a child that was done or was not. */
static void check_left(const struct scenario *sc, int ended)
{
	struct drained d;
	unsigned int records;

	CHECK_EQ(afu_ring_used(&ring, &s->tx), lying(&records));
	if (look_at_mark)
		CHECK_EQ(s->mark.produced, atomic_load(&s->tx.tail));
	put_later();
	CHECK_EQ(afu_ring_used(&ring, &s->tx), lying(&records));
	drain(&d);
	check_order(&d, ended && sc->takes ? 2 : 1, sc->takes && !ended, !sc->takes, !sc->takes && ended, 1);
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

/* Death after every instruction, each on a copy.  How many there are. */
static unsigned int die_in_copies(const struct scenario *sc)
{
	unsigned int k, failures = tap_failures();
	int ended = 0, held;
	pid_t pid;

	prepare(sc);
	pid = begin(sc->takes);
	for (k = 0; k < STEPS_MAX && !ended && tap_failures() < failures + 4; k++) {
		unsigned int so_far = tap_failures();

		step(pid, sc->takes, 1, &ended);
		*copy = *theirs;
		use(copy);
		held = mark_dead(pid, sc->takes ? &s->rx_lock : &s->tx_lock,
				 sc->takes ? &theirs->rx_lock : &theirs->tx_lock);
		take_over(held, sc->takes);
		check_left(sc, ended);
		if (tap_failures() != so_far)
			tap_note("%s: dead after %u instructions, lock %s", sc->name, k + 1, held ? "held" : "free");
		use(theirs);
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
	n = step(pid, sc->takes, STEPS_MAX, &ended);
	tap_kill(pid);
	CHECK(ended);
	return n;
}

static void die_everywhere(const struct scenario *sc)
{
	unsigned int n = die_in_copies(sc), kills = 0, failures = tap_failures();

	for (unsigned int k = 0; k <= n && tap_failures() == failures; k += 1 + n / KILLS, kills++)
		die_at(sc, k);
	tap_note("%s: dead after each of %u instructions, %u times for real", sc->name, n, kills);
}

#define IN_LARGE (UINT64_C(1) << 56)

static const struct scenario plain[] = {
	{ "put, first record", 0, 0, 0, 20, 0 },
	{ "put, others before", SMALL * 3 + 8, 3, 50, 20, 0 },
	{ "put of nothing", 8, 1, 0, 0, 0 },
	{ "put round the end", SMALL - 16, 0, 0, 300, 0 },
	{ "put round the end, others before", SMALL - 80, 2, 20, 100, 0 },
	{ "put in the large area", IN_LARGE | 8, 2, 100, 65, 0 },
	{ "put round the end of the large area", IN_LARGE | (LARGE - 24), 0, 0, 65, 0 },
	{ "put of the same extent as the one before", 8, 1, 20, 24, 0 },
};

static const struct scenario switches[] = {
	{ "put that switches, full", 0, 15, 120, 80, 0 },
	{ "put that switches, empty", SMALL * 5, 0, 0, SMALL - 15, 0 },
	{ "put that switches, at the end", SMALL - 8, 14, 120, 200, 0 },
};

static const struct scenario takes[] = {
	{ "take the only one", 0, 1, 30, 0, 1 },
	{ "take the first", SMALL * 7 + 24, 3, 30, 0, 1 },
	{ "take nothing", 40, 0, 0, 0, 1 },
	{ "take round the end", SMALL - 48, 2, 100, 0, 1 },
	{ "take in the large area", IN_LARGE | 64, 2, 30, 0, 1 },
	{ "take round the end of the large area", IN_LARGE | (LARGE - 48), 2, 100, 0, 1 },
};

static const struct scenario through[] = {
	{ "take the first behind the switch", 8, 1, SMALL - 15, 0, 1 },
};

static const struct scenario bulk[] = {
	{ "put 1,800 bytes", SMALL - 1000, 0, 0, 1800, 0 },
	{ "take 1,800 bytes", SMALL - 1000, 1, 1800, 0, 1 },
};

static void set_up(void)
{
	theirs = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	copy = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(theirs != MAP_FAILED && copy != MAP_FAILED);
	use(theirs);
	afu_thread();
}

#define EVERYWHERE(list)                                                                                     \
	do {                                                                                                 \
		set_up();                                                                                    \
		for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++)             \
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

/* Edge-triggered readers look at the mark: it has moved with every record that is there. */
static void die_before_mark(void)
{
	static const struct scenario one = { "put", 8, 1, 30, 30, 0 };

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
		again = !held && (atomic_load(sc->takes ? &s->rx_lock.word : &s->tx_lock.word) & FUTEX_OWNER_DIED);
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
		{ "pair, empty", 8, 0, 0, 40, 0 },
		{ "pair, one before", SMALL * 9 - 56, 1, 40, 40, 0 },
		{ "pair, nearly full", SMALL * 9, 15, 120, 60, 0 },
		{ "pair, in the large area", IN_LARGE | (LARGE - 56), 1, 40, 40, 0 },
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
	{ "the producer dies in a put", die_in_put },
	{ "the producer dies in a put that switches", die_in_switch },
	{ "the consumer dies in a take", die_in_take },
	{ "the consumer dies as it follows a switch", die_behind_switch },
	{ "either dies in a long record", die_in_bulk },
	{ "a record that is there after a death has moved the mark", die_before_mark },
	{ "the next producer dies too", die_twice_in_put },
	{ "the next consumer dies too", die_twice_in_take },
	{ "the producer dies while the consumer is in the middle of a take", producer_dies },
	{ "the consumer dies while the producer is in the middle of a put", consumer_dies },
};

int main(int argc, char **argv)
{
	return tap_run(cases, sizeof cases / sizeof *cases, 240, argc > 1 ? argv[1] : NULL);
}
