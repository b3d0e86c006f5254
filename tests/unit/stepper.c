/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "stepper.h"

#include "tap.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* The children work on the first; what s and ring name is looked at. */
struct shared *theirs, *copy, *s;
char *their_huge, *copy_huge;
struct afu_ring ring;
const struct scenario *now;
static char buffer[LENGTH_MAX], got_bytes[LENGTH_MAX];
/* The record whose byte was taken ahead of its place; 0: none. */
uint32_t shelled;

void use(struct shared *which)
{
	s = which;
	ring = (struct afu_ring){
		{s->small, s->large, s == theirs ? their_huge : copy_huge}, &s->head, &s->mark};
}

static char content(uint32_t id, size_t i)
{
	return (char)((id * 37 + i * 11 + i / 256) % 255 + 1);
}

static uint32_t charge_of(uint32_t n)
{
	return n + 1000;
}

static uint64_t word(uint32_t id, uint32_t i)
{
	return (id + 1) * UINT64_C(0x0101010101010101) ^ i;
}

/* A record is known by its flags: the id, words that follow from it, and whether it is out of band. */
static uint32_t flags_of(uint32_t id)
{
	int oob = now->oob && (id == CHILDS_ID || (id == now->before && now->before_length == 1));

	return id << 4 | (id == CHILDS_ID ? now->words : id % 4) | (oob ? AFU_RECORD_OOB : 0);
}

static int put_locked(uint32_t id, uint32_t n)
{
	uint64_t words[AFU_RING_WORDS] = {word(id, 0), word(id, 1), word(id, 2)};
	struct iovec iov = {buffer, n};
	struct afu_iter from = {&iov, 1, 0};

	return afu_ring_put(&ring, &s->tx, words, &from, n, flags_of(id), charge_of(n));
}

void fill(uint32_t id, uint32_t n)
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

int put(uint32_t id, uint32_t n)
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

static void check_flags(const struct afu_ring_record *rec)
{
	uint32_t id = rec->flags >> 4, n = rec->flags & AFU_RECORD_WORDS, wrong = 0;
	uint64_t words[AFU_RING_WORDS];

	afu_ring_words(&ring, rec, words);
	for (uint32_t i = 0; i < n; i++)
		wrong += words[i] != word(id, i);
	CHECK_EQ(wrong, 0);
	CHECK_EQ(rec->flags & ~(uint32_t)(now->oob ? AFU_RECORD_SHELL : 0), flags_of(id));
}

/* The first record's id and length; its content in got_bytes.  1, 0, or an error. */
static int take(uint32_t *id, uint32_t *n)
{
	struct afu_thread *th = afu_thread();
	struct afu_ring_record rec;
	struct iovec iov = {got_bytes, LENGTH_MAX};
	struct afu_iter to = {&iov, 1, 0};
	int found;

	afu_thread_enter(th);
	lock_rx();
	found = afu_ring_front(&ring, &s->rx, &rec);
	if (found == 1) {
		found = afu_ring_read(&ring, &rec, 0, &to, rec.length) == 0 ? 1 : -EFAULT;
		check_flags(&rec);
		*id = rec.flags >> 4;
		*n = rec.length;
		afu_ring_take(&ring, &s->rx, &rec, charge_of(rec.length));
	}
	afu_lock_release(&s->rx_lock, th);
	afu_thread_leave(th);
	return found;
}

void prepare(const struct scenario *sc)
{
	use(theirs);
	now = sc;
	memset(s, 0, sizeof *s);
	memset(their_huge, 0, WINDOW);
	memset(their_huge + HUGE - WINDOW, 0, WINDOW);
	shelled = 0;
	atomic_store(&s->tx.tail, sc->start);
	atomic_store(&s->rx.head, sc->start);
	atomic_store(&s->head.position, sc->start);
	s->tx.seen = s->rx.released_at = sc->start;
	s->tx.intent_at = sc->start - 8;
	for (uint32_t i = 1; i <= sc->before; i++) {
		fill(i, sc->before_length);
		NEED(put_locked(i, sc->before_length) == 0);
	}
}

/* recv(MSG_OOB) */
uint32_t take_mark(void)
{
	struct afu_thread *th = afu_thread();
	struct afu_ring_record rec;
	uint32_t id = 0;

	afu_thread_enter(th);
	lock_rx();
	if (afu_ring_find_oob(&ring, &s->rx, &rec)) {
		id = rec.flags >> 4;
		afu_ring_reflag(&ring, &rec, AFU_RECORD_SHELL, 0);
	}
	afu_lock_release(&s->rx_lock, th);
	afu_thread_leave(th);
	return id;
}

static void child_puts(void)
{
	put(CHILDS_ID, now->length);
}

static void child_takes(void)
{
	uint32_t id = 0, n = 0;

	if (now->oob) {
		s->took = take_mark();
		return;
	}
	if (take(&id, &n) == 1) {
		s->took_length = n;
		s->took = id;
	}
}

/* A child that stands before its first instruction; its pid. */
pid_t begin(int takes)
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
unsigned int step(pid_t pid, int takes, unsigned int n, int *ended)
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
void go_on(pid_t pid, int takes)
{
	NEED(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	while (!atomic_load(&theirs->done[takes]))
		usleep(50);
	tap_kill(pid);
}

/* Kills it; whether it held the lock. */
int end(pid_t pid, struct afu_lock *lock, int ended)
{
	int held = !ended && (atomic_load(&lock->word) & FUTEX_TID_MASK) == (uint32_t)pid;

	tap_kill(pid);
	return held;
}

/* Takes over from the dead: the lock says that it died if and only if it held it. */
void take_over(int held, int takes)
{
	struct afu_thread *th = afu_thread();
	int got;

	afu_thread_enter(th);
	got = takes ? lock_rx() : lock_tx();
	afu_lock_release(takes ? &s->rx_lock : &s->tx_lock, th);
	afu_thread_leave(th);
	CHECK_EQ(got, held);
}

void drain(struct drained *d)
{
	uint32_t id, n;

	memset(d, 0, sizeof *d);
	while (d->n < RECORDS_MAX && take(&id, &n) == 1) {
		uint32_t expected = id == CHILDS_ID ? now->length : id < CHILDS_ID ? now->before_length : 40;
		size_t wrong = 0;

		CHECK_EQ(n, expected);
		for (size_t i = 0; i < n && i < LENGTH_MAX; i++)
			wrong += got_bytes[i] != content(id, i);
		CHECK_EQ(wrong, 0);
		d->id[d->n++] = id;
	}
}

size_t not_zero(void)
{
	size_t n = 0;

	for (size_t i = 0; i < SMALL; i++)
		n += s->small[i] != 0;
	for (size_t i = 0; i < LARGE; i++)
		n += s->large[i] != 0;
	for (size_t i = 0; i < WINDOW; i++)
		n += ring.area[2][i] || ring.area[2][HUGE - WINDOW + i];
	return n;
}

/* Of the huge area, between the windows. */
size_t pages_touched(char *huge)
{
	static unsigned char resident[HUGE / PAGE];
	size_t n = 0;

	NEED(mincore(huge, HUGE, resident) == 0);
	for (size_t i = WINDOW / PAGE; i < (HUGE - WINDOW) / PAGE; i++)
		n += resident[i] & 1;
	return n;
}

void check_at_rest(void)
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
void check_order(const struct drained *d, unsigned int first, int may_lack_first, int may_have_childs,
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

void put_later(void)
{
	fill(LATER_ID, 40);
	CHECK_EQ(put(LATER_ID, 40), 0);
}

/* The charge of everything that is there, by looking ahead. */
uint64_t lying(unsigned int *records)
{
	struct afu_ring_record rec;
	uint64_t sum = 0;

	*records = 0;
	for (int found = afu_ring_front(&ring, &s->rx, &rec); found == 1;
	     found = afu_ring_next(&ring, &rec)) {
		sum += charge_of(rec.length);
		++*records;
	}
	return sum;
}
