/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Bells by which cold sockets are called: names, whatever was written around them, and
 * who of several exclusive watchers is rung.
 */
#include "channel/channel.h"
#include "channel/waiter.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define OWNER 7u
#define OTHER 8u
#define SIDES 64
#define MESSAGES 40000u

static int status_page = -1;
static int bells[AFU_WAITERS];
static unsigned int announced;

static int announce(uint32_t index, int bell_write)
{
	bells[index] = dup(bell_write);
	announced++;
	return bells[index] < 0 ? -EMFILE : 0;
}

static int fetch(uint64_t id, int *page, int *bell_write)
{
	uint32_t index = (id >> 16) & 0xffff;

	if (id >> 32 != OWNER || index >= announced)
		return -ESRCH;
	*page = dup(status_page);
	*bell_write = dup(bells[index]);
	return 0;
}

static const struct afu_waiter_ops ops = {announce, fetch};

static struct afu_waiter *set_up(void)
{
	struct afu_waiter *w;

	afu_waiter_ops = &ops;
	NEED(afu_waiters_start(&status_page) == 0);
	afu_waiters_process(OWNER);
	w = afu_waiter_get();
	NEED(w != NULL);
	return w;
}

static void *share(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	NEED(p != MAP_FAILED);
	return p;
}

struct heard {
	unsigned int n;
	uint32_t name[2048];
};

static void note(void *arg, uint32_t name)
{
	struct heard *h = arg;

	if (h->n < 2048)
		h->name[h->n++] = name;
}

static uint32_t hear(struct afu_waiter *w, struct heard *h)
{
	h->n = 0;
	return afu_waiter_hear(w, note, h);
}

static void names_arrive(void)
{
	static const uint32_t names[] = {1, 63, 64, 4095, 4096, 1u << 20, AFU_NAME_MAX};
	struct afu_waiter *w = set_up();
	struct heard h;

	CHECK_EQ(hear(w, &h), 0);
	/* whether anybody sleeps or not */
	for (unsigned int i = 0; i < sizeof names / sizeof *names; i++)
		CHECK_EQ(afu_waiter_call(w->id, names[i]), 0);
	CHECK_EQ(hear(w, &h), 1);
	CHECK_EQ(h.n, sizeof names / sizeof *names);
	for (unsigned int i = 0; i < h.n; i++)
		CHECK_EQ(h.name[i], names[i]);
	CHECK_EQ(hear(w, &h), 0);
	CHECK_EQ(afu_bell_ring(w->bell_write), 0);
	CHECK_EQ(hear(w, &h), 1);
	CHECK_EQ(h.n, 0);
	CHECK_EQ(afu_bell_ring_all(w->bell_write), 0);
	CHECK_EQ(afu_waiter_call(w->id, 5), 0);
	CHECK_EQ(hear(w, &h), AFU_BELL_ALL);
	CHECK_EQ(afu_waiter_call((uint64_t)99 << 32, 5), -ESRCH);
}

/* Every byte that a peer may leave before a name, and the beginnings of names. */
static void names_among_anything(void)
{
	static const unsigned char parts[][3] = {{0x80, 0x40, 0x40}, {0xff, 0x7f, 0x7f}, {0x80, 0x80, 0x40}};
	struct afu_waiter *w = set_up();
	struct heard h;

	for (unsigned int byte = 0; byte < 256; byte++) {
		unsigned char c = (unsigned char)byte;

		NEED(write(w->bell_write, &c, 1) == 1);
		CHECK_EQ(afu_waiter_call(w->id, 77777), 0);
		NEED(write(w->bell_write, &c, 1) == 1);
		CHECK(hear(w, &h) != 0);
		CHECK_EQ(h.n, 1);
		CHECK_EQ(h.name[0], 77777);
	}
	for (unsigned int i = 0; i < sizeof parts / sizeof *parts; i++) {
		for (size_t n = 1; n <= 3; n++) {
			NEED(write(w->bell_write, parts[i], n) == (ssize_t)n);
			CHECK_EQ(afu_waiter_call(w->id, 77777), 0);
			CHECK(hear(w, &h) != 0);
			CHECK(h.n >= 1);
			CHECK_EQ(h.name[h.n - 1], 77777);
		}
	}
}

/* When there is no room for a name, its owner looks at everything. */
static void full(void)
{
	struct afu_waiter *w = set_up();
	struct heard h;
	char byte = 0;

	for (unsigned int spare = 0; spare < 6; spare++) {
		for (unsigned int i = 0; i < 4096 - spare; i++)
			NEED(write(w->bell_write, &byte, 1) == 1);
		CHECK_EQ(afu_waiter_call(w->id, 3), 0);
		CHECK(hear(w, &h) == AFU_BELL_ALL || (h.n == 1 && h.name[0] == 3));
		CHECK_EQ(hear(w, &h), 0);
	}
}

static unsigned int asked;

static void ask(struct afu_side *side)
{
	(void)side;
	asked++;
}

/* One byte that a peer splices into a bell makes it as full as thousands: nothing can be added to it. */
static void full_of_nothing(void)
{
	struct afu_side *side = share(4096);
	_Atomic uint32_t *missed = share(4096);
	struct afu_waiter *w;
	struct heard h;
	int other[2];

	afu_unheard = missed;
	afu_watch_overflow = ask;
	w = set_up();
	CHECK_EQ(afu_watch(side, w->id, AFU_WATCH_IN, afu_tag(9, 1)), 0);
	/* of two, so that it's a page of its own, to which nothing is added */
	NEED(pipe(other) == 0 && write(other[1], "ab", 2) == 2);
	NEED(splice(other[0], NULL, w->bell_write, NULL, 1, SPLICE_F_NONBLOCK) == 1);
	afu_wake(side, AFU_IN);
	/* the name stays, and somebody else is asked */
	CHECK_EQ(asked, 1);
	CHECK_EQ(AFU_TAG_NAME(atomic_load(&side->tag[0])), 9);
	CHECK_EQ(afu_bell_ring_all(w->bell_write), -EAGAIN);
	/* who can only count */
	atomic_fetch_add(missed, 1);
	CHECK_EQ(hear(w, &h), AFU_BELL_ALL);
	CHECK_EQ(hear(w, &h), 0);
	afu_wake(side, AFU_IN);
	CHECK_EQ(asked, 1);
	CHECK_EQ(hear(w, &h), 1);
	CHECK_EQ(h.n, 1);
	afu_watch_overflow = NULL;
	afu_unheard = NULL;
	close(other[0]);
	close(other[1]);
}

/* A tag is taken back by whoever called it, but not one that was given anew. */
static void tags(void)
{
	struct afu_waiter *w = set_up();
	struct afu_side *side = share(4096);
	struct heard h;

	CHECK_EQ(afu_watch(side, w->id, AFU_WATCH_IN, afu_tag(9, 1)), 0);
	afu_wake(side, AFU_IN);
	afu_wake(side, AFU_IN);
	CHECK_EQ(hear(w, &h), 1);
	CHECK_EQ(h.n, 1);
	CHECK_EQ(h.name[0], 9);
	CHECK_EQ(atomic_load(&side->tag[0]), 0);
	CHECK_EQ(afu_watch(side, w->id, AFU_WATCH_IN, afu_tag(9, 2)), 0);
	CHECK(afu_tag(9, 1) != afu_tag(9, 2));
	afu_kick(side);
	CHECK_EQ(hear(w, &h), 1);
	CHECK_EQ(h.n, 1);
	/* hot again: nobody sleeps, nothing is written */
	CHECK_EQ(afu_watch(side, w->id, AFU_WATCH_IN, 0), 0);
	afu_wake(side, AFU_IN);
	CHECK_EQ(hear(w, &h), 0);
}

static unsigned int how_many_rung(struct afu_waiter *const *w, unsigned int n)
{
	struct heard h;
	unsigned int rung = 0;

	for (unsigned int i = 0; i < n; i++)
		rung += hear(w[i], &h) != 0;
	return rung;
}

static void exclusive(void)
{
	struct afu_side *side = share(4096);
	struct afu_waiter *w[4] = {set_up()};

	for (unsigned int i = 1; i < 4; i++)
		NEED((w[i] = afu_waiter_get()) != NULL);
	for (unsigned int i = 0; i < 4; i++)
		CHECK_EQ(afu_watch(side, w[i]->id, AFU_WATCH_IN, AFU_TAG_EXCLUSIVE), 0);
	afu_wake(side, AFU_IN);
	CHECK_EQ(how_many_rung(w, 4), 0);
	for (unsigned int i = 0; i < 4; i++)
		atomic_store(&w[i]->word->asleep, i != 2);
	for (unsigned int i = 0; i < 20; i++) {
		afu_wake_one(side);
		CHECK_EQ(how_many_rung(&w[2], 1), 0);
		CHECK_EQ(how_many_rung(w, 4), 1);
	}
	/* for an end, all of them; and a plain one always */
	afu_kick(side);
	CHECK_EQ(how_many_rung(w, 4), 3);
	CHECK_EQ(afu_watch(side, w[0]->id, AFU_WATCH_IN, 0), 0);
	afu_wake_one(side);
	CHECK_EQ(how_many_rung(w, 1), 1);
	CHECK_EQ(how_many_rung(w, 4), 1);
	/* cold, with nobody asleep: each is told, or nobody would look */
	for (unsigned int i = 1; i < 4; i++) {
		atomic_store(&w[i]->word->asleep, 0);
		CHECK_EQ(afu_watch(side, w[i]->id, AFU_WATCH_IN, AFU_TAG_EXCLUSIVE | afu_tag(5, 1)), 0);
	}
	afu_wake_one(side);
	CHECK_EQ(how_many_rung(&w[1], 3), 3);
	CHECK_EQ(atomic_load(&side->tag[1]), AFU_TAG_EXCLUSIVE);
}

/* What the owner and the others of the last test share. */
struct yard {
	struct afu_side side[SIDES];
	_Atomic uint32_t published[SIDES];
	_Atomic uint32_t done;
};

static void publish(struct yard *y, const struct afu_waiter *w)
{
	uint32_t seed = 1;

	for (uint32_t i = 0; i < MESSAGES; i++) {
		uint32_t at = (seed = seed * 1103515245u + 12345u) >> 16 & (SIDES - 1);

		atomic_fetch_add_explicit(&y->published[at], 1, memory_order_release);
		afu_wake(&y->side[at], AFU_IN);
		/* and what a hostile one would leave */
		if (i % 8 == 0)
			CHECK_EQ(afu_waiter_call(w->id, seed & AFU_NAME_MAX), 0);
	}
	atomic_store(&y->done, 1);
	CHECK_EQ(afu_waiter_call(w->id, SIDES + 1), 0);
}

struct collector {
	struct yard *y;
	const struct afu_waiter *w;
	uint32_t taken[SIDES], turn;
};

/* Looks at it, and makes it cold again. */
static void take(void *arg, uint32_t name)
{
	struct collector *c = arg;

	if (!name || name > SIDES)
		return;
	CHECK_EQ(afu_watch(&c->y->side[name - 1], c->w->id, AFU_WATCH_IN, afu_tag(name, ++c->turn)), 0);
	c->taken[name - 1] = atomic_load_explicit(&c->y->published[name - 1], memory_order_acquire);
}

/* The owner looks at nothing that was not called, and has everything in the end. */
static void none_is_lost(void)
{
	struct afu_waiter *w = set_up();
	struct collector c = {.y = share(sizeof(struct yard)), .w = w};
	struct pollfd bell = {.fd = w->bell_read, .events = POLLIN};
	pid_t pid;
	int done;

	for (uint32_t i = 1; i <= SIDES; i++)
		take(&c, i);
	pid = tap_fork();
	NEED(pid >= 0);
	if (pid == 0) {
		int page;

		afu_waiters_forked();
		afu_thread_forked();
		NEED(afu_waiters_start(&page) == 0);
		afu_waiters_process(OTHER);
		publish(c.y, w);
		tap_leave();
	}
	do {
		done = (int)atomic_load(&c.y->done);
		NEED(done || poll(&bell, 1, 20000) == 1);
		if (afu_waiter_hear(w, take, &c) == AFU_BELL_ALL) {
			for (uint32_t i = 1; i <= SIDES; i++)
				take(&c, i);
		}
	} while (!done);
	CHECK_EQ(tap_wait(pid), 0);
	for (uint32_t i = 0; i < SIDES; i++)
		CHECK_EQ(c.taken[i], atomic_load(&c.y->published[i]));
}

static const struct tap_case cases[] = {
	{"names arrive as they were called", names_arrive},
	{"names are found among anything", names_among_anything},
	{"a full bell has called everybody", full},
	{"a bell that is full of one byte", full_of_nothing},
	{"a tag is taken back once", tags},
	{"one of the exclusive watchers", exclusive},
	{"no call is lost between processes", none_is_lost},
};

int main(int argc, char **argv)
{
	return tap_run(cases, sizeof cases / sizeof *cases, 60, argc > 1 ? argv[1] : NULL);
}
