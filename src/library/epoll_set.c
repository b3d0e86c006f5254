/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/epoll_set.h"

#include "base/memory.h"
#include "base/pool.h"
#include "channel/channel.h"
#include "library/view.h"

#include <poll.h>
#include <string.h>
#include <sys/mman.h>

/* As many looks at a quiet socket cost about what it costs to be called for it once; less if they are too
 * many for the cache. */
#define QUIET_LOOKS 128
#define QUIET_LOOKS_MANY 32
#define MANY 64
#define NAMES_MIN 512
#define EPOLLOUT_ANY (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)

struct afu_plock afu_epoll_structure;
static struct afu_pool entries = {.size = sizeof(struct afu_epoll_entry)};

/* Before the first, where the next look ends. */
static void link_last(struct afu_epoll_entry **ring, struct afu_epoll_entry *e)
{
	struct afu_epoll_entry *first = *ring;

	if (!first) {
		*ring = e->next = e->prev = e;
		return;
	}
	e->next = first;
	e->prev = first->prev;
	e->prev->next = e;
	first->prev = e;
}

static void unlink_from(struct afu_epoll_entry **ring, struct afu_epoll_entry *e)
{
	if (e->next == e) {
		*ring = NULL;
		return;
	}
	e->prev->next = e->next;
	e->next->prev = e->prev;
	if (*ring == e)
		*ring = e->next;
}

static void count(_Atomic uint32_t *n, uint32_t by)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_relaxed);
	/* relaxed: written under the lock, a hint without */
}

/* Whether a number of the socket is registered with the instance. */
static int in_instance(const struct afu_sock *s, const struct afu_epoll *ep)
{
	const struct afu_epoll_entry *e = s->watches;

	while (e && e->ep != ep)
		e = e->sock_next;
	return e != NULL;
}

struct afu_epoll_entry *afu_epoll_set_add(struct afu_epoll *ep, struct afu_epoll_set *set, struct afu_sock *s,
					  int fd)
{
	struct afu_epoll_entry *e = afu_pool_get(&entries);

	if (!e)
		return NULL;
	e->ep = ep;
	e->sock = s;
	e->fd = fd;
	e->seen.fresh = e->passed.fresh = 1;
	/* a slot has room for one name */
	for (struct afu_epoll_entry *other = s->watches; other; other = other->sock_next) {
		if (other->ep != ep)
			continue;
		e->shared = other->shared = 1;
		afu_epoll_set_heat(set, other);
	}
	e->sock_next = s->watches;
	s->watches = e;
	link_last(&set->hot, e);
	count(&set->n_hot, 1);
	return e;
}

/* A name that is given back says where the next vacant one is. */
static void name_back(struct afu_epoll_set *set, struct afu_epoll_entry *e)
{
	if (!e->name)
		return;
	set->named[e->name] = (struct afu_epoll_entry *)((uintptr_t)set->vacant << 1 | 1);
	set->vacant = e->name;
	e->name = 0;
}

static struct afu_epoll_entry *by_name(const struct afu_epoll_set *set, uint32_t name)
{
	return name && name <= set->names && !((uintptr_t)set->named[name] & 1) ? set->named[name] : NULL;
}

static int more_names(struct afu_epoll_set *set)
{
	uint32_t room = set->room ? 2 * set->room : NAMES_MIN;
	struct afu_epoll_entry **more =
		afu_sys_mmap(room * sizeof *more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (afu_sys_failed(more))
		return -ENOMEM;
	if (set->named) {
		memcpy(more, set->named, set->room * sizeof *more);
		afu_sys_munmap(set->named, set->room * sizeof *more);
	}
	set->named = more;
	set->room = room;
	return 0;
}

static int name_it(struct afu_epoll_set *set, struct afu_epoll_entry *e)
{
	if (e->name)
		return 0;
	if (set->vacant) {
		e->name = set->vacant;
		set->vacant = (uint32_t)((uintptr_t)set->named[e->name] >> 1);
	} else {
		if (set->names + 1 >= set->room && (set->room > AFU_NAME_MAX / 2 || more_names(set)))
			return -ENOMEM;
		e->name = ++set->names;
	}
	set->named[e->name] = e;
	return 0;
}

/* What a socket of datagrams has mapped goes as soon as nobody names it.  The thread's hazard before. */
static const void *guard(struct afu_thread *th, const struct afu_sock *s)
{
	const void *before = atomic_load_explicit(&th->hazard, memory_order_relaxed); /* its own */

	atomic_store_explicit(&th->hazard, s,
			      memory_order_relaxed); /* the other half: afu_thread_quiesce() */
	atomic_signal_fence(memory_order_seq_cst);
	return before;
}

static void unguard(struct afu_thread *th, const void *before)
{
	atomic_store_explicit(&th->hazard, before, memory_order_release);
	/* release: pairs with acquire in afu_thread_quiesce() */
}

/* It may have been rung in another's place.  The socket is the thread's hazard. */
static void pass_on(const struct afu_epoll_entry *e)
{
	const struct afu_sock *s = e->sock;

	if ((e->events & EPOLLEXCLUSIVE) && !afu_sock_stale(s) && s->own && (afu_sock_events(s) & POLLIN))
		afu_nudge(s->own, AFU_IN);
}

static void unwatch(struct afu_epoll_set *set, const struct afu_epoll_entry *e)
{
	struct afu_thread *th = afu_thread();
	const void *before = guard(th, e->sock);

	afu_sock_unwatch(e->sock, set->waiter->id);
	pass_on(e);
	unguard(th, before);
}

void afu_epoll_set_remove(struct afu_epoll_set *set, struct afu_epoll_entry *e)
{
	struct afu_sock *s = e->sock;
	struct afu_epoll_entry **at = (struct afu_epoll_entry **)&s->watches;

	while (*at && *at != e)
		at = &(*at)->sock_next;
	if (*at)
		*at = e->sock_next;
	unlink_from(e->cold ? &set->cold : &set->hot, e);
	count(e->cold ? &set->n_cold : &set->n_hot, UINT32_MAX);
	name_back(set, e);
	if (set->waiter && !in_instance(s, e->ep))
		unwatch(set, e);
	afu_pool_put(&entries, e);
}

void afu_epoll_set_clear(struct afu_epoll_set *set)
{
	while (set->hot)
		afu_epoll_set_remove(set, set->hot);
	while (set->cold)
		afu_epoll_set_remove(set, set->cold);
	if (set->named)
		afu_sys_munmap(set->named, set->room * sizeof *set->named);
	set->named = NULL;
}

void afu_epoll_set_heat(struct afu_epoll_set *set, struct afu_epoll_entry *e)
{
	e->quiet = 0;
	e->watched = 0;
	if (!e->cold)
		return;
	e->cold = 0;
	unlink_from(&set->cold, e);
	count(&set->n_cold, UINT32_MAX);
	link_last(&set->hot, e);
	count(&set->n_hot, 1);
}

static uint64_t tag_of(const struct afu_epoll_entry *e)
{
	uint64_t tag = e->cold ? afu_tag(e->name, e->cooled) : 0;

	return e->events & EPOLLEXCLUSIVE ? tag | AFU_TAG_EXCLUSIVE : tag;
}

void afu_epoll_set_watch(struct afu_epoll_entry *e, uint64_t waiter)
{
	struct afu_thread *th = afu_thread();
	const void *before = guard(th, e->sock);

	if (!afu_sock_stale(e->sock))
		e->watched = !afu_sock_watch(e->sock, waiter, e->events, tag_of(e)) &&
			     afu_sock_watchable(e->sock, e->events) && e->sock->type != SOCK_DGRAM &&
			     !(e->events & EPOLLOUT_ANY);
	unguard(th, before);
}

/* The socket is the thread's hazard, and its view is fresh.  Whether it goes cold; it is to be looked at once
 * more. */
static int cool(struct afu_epoll_set *set, struct afu_epoll_entry *e)
{
	if (e->shared || !set->waiter || afu_alive_lost() || !afu_sock_watchable(e->sock, e->events) ||
	    name_it(set, e))
		return 0;
	e->cold = 1;
	e->cooled++;
	if (afu_sock_watch(e->sock, set->waiter->id, e->events, tag_of(e))) {
		e->cold = 0; /* no slot: it can't be called */
		return 0;
	}
	unlink_from(&set->hot, e);
	count(&set->n_hot, UINT32_MAX);
	link_last(&set->cold, e);
	count(&set->n_cold, 1);
	return 1;
}

/* The socket has had nothing for so many looks that it's better to be called. */
static int quiet_enough(const struct afu_epoll_set *set, const struct afu_epoll_entry *e)
{
	return e->quiet >= (set->n_hot > MANY ? QUIET_LOOKS_MANY : QUIET_LOOKS) && set->n_hot > AFU_EPOLL_HOT;
}

struct hearing {
	struct afu_epoll_set *set;
	uint32_t heated; /* how many */
	uint32_t rung;	 /* as afu_waiter_hear() has it */
};

static void hear_name(void *arg, uint32_t name)
{
	struct hearing *h = arg;
	struct afu_epoll_entry *e = by_name(h->set, name);

	if (!e || !e->cold)
		return;
	afu_epoll_set_heat(h->set, e);
	h->heated++;
}

static struct hearing hear_locked(struct afu_epoll_set *set)
{
	struct hearing h = {.set = set};

	if (set->waiter)
		h.rung = afu_waiter_hear(set->waiter, hear_name, &h);
	for (; h.rung == AFU_BELL_ALL && set->cold; h.heated++)
		afu_epoll_set_heat(set, set->cold);
	return h;
}

int afu_epoll_set_hear(struct afu_thread *th, struct afu_epoll_set *set)
{
	uint32_t heard;

	afu_thread_enter(th);
	afu_plock_acquire(&set->lock);
	heard = hear_locked(set).heated;
	afu_plock_release(&set->lock);
	afu_thread_leave(th);
	return heard != 0;
}

void afu_epoll_set_pass_on(struct afu_thread *th, struct afu_epoll_set *set)
{
	const struct afu_epoll_entry *e;
	uint32_t left;

	if (!set->exclusive)
		return;
	afu_thread_enter(th);
	afu_plock_acquire(&set->lock);
	left = hear_locked(set).rung ? set->n_hot : 0;
	e = set->hot;
	for (; left; left--, e = e->next) {
		const void *before = guard(th, e->sock);

		pass_on(e);
		unguard(th, before);
	}
	afu_plock_release(&set->lock);
	afu_thread_leave(th);
	/* others may sleep on the bell that is silent now */
	if (set->waiter)
		afu_waiter_notify(set->waiter->id, 0);
}

/* What the entry has to report now; *stale: the socket's view must be renewed first. */
static uint32_t report(struct afu_epoll_set *set, struct afu_epoll_entry *e, int take,
		       struct afu_sock **stale)
{
	uint32_t wanted = e->events & ~(uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP), now;

	if (e->spent)
		return 0;
	if (__builtin_expect(afu_sock_stale(e->sock), 0)) {
		*stale = e->sock;
		return 0;
	}
	now = afu_sock_events(e->sock) & (wanted | EPOLLERR | EPOLLHUP);
	if (!now)
		return 0;
	if ((e->events & EPOLLET) && !afu_sock_edge(e->sock, &e->seen, wanted, take))
		return 0;
	if (take) {
		e->spent = (e->events & EPOLLONESHOT) != 0;
		if (e->sock->state == AFU_CONNECTED && e->sock->type != SOCK_DGRAM)
			atomic_store_explicit(&set->peer_cpu,
					      atomic_load_explicit(&e->sock->peer->cpu, memory_order_relaxed),
					      memory_order_relaxed); /* a hint */
	}
	return now;
}

/* The same, and what follows from finding nothing. */
static uint32_t look(struct afu_thread *th, struct afu_epoll_set *set, struct afu_epoll_entry *e, int take,
		     struct afu_sock **stale)
{
	uint32_t now;

	guard(th, e->sock);
	now = report(set, e, take, stale);
	e->stale = *stale != NULL;
	if (*stale)
		e->watched = 0;
	if (take != AFU_EPOLL_TAKE || *stale)
		return now;
	if (now) {
		e->quiet = 0;
	} else if (e->quiet++, quiet_enough(set, e) && !afu_sock_stale(e->sock) && cool(set, e)) {
		now = report(set, e, take, stale);
		e->stale = *stale != NULL;
		if (now || *stale)
			afu_epoll_set_heat(set, e);
	}
	return now;
}

/* What one call of afu_epoll_set_collect() wants and has. */
struct collecting {
	struct epoll_event *out;
	int max, found, take;
	int again;		/* only those that were stale */
	struct afu_sock *stale; /* the first whose view must be renewed before it can be looked at */
};

/* newest: of those that were heated last; 0: of all. */
static void go_round(struct afu_thread *th, struct afu_epoll_set *set, uint32_t newest, struct collecting *c)
{
	struct afu_epoll_entry *e = set->hot, *next;
	uint32_t left = set->n_hot;

	if (newest && newest < left) {
		for (left = newest; newest; newest--)
			e = e->prev;
	}
	for (; left && c->found < c->max; left--, e = next) {
		struct afu_sock *stale = NULL;
		uint32_t now;

		next = e->next; /* it may go cold */
		if (c->again && !e->stale)
			continue;
		now = look(th, set, e, c->take, &stale);
		if (!c->stale)
			c->stale = stale;
		if (!now || stale)
			continue;
		if (c->take)
			c->out[c->found] = (struct epoll_event){.events = now, .data.u64 = e->data};
		c->found++;
	}
	if (c->take && c->found == c->max)
		set->hot = e;
}

int afu_epoll_set_collect(struct afu_thread *th, struct afu_epoll_set *set, struct epoll_event *out, int max,
			  int take, int listen)
{
	struct collecting c = {.out = out, .max = max, .take = take};
	uint32_t heard;

	do {
		/* what was reported is not looked at twice */
		c.again = c.found > 0;
		c.stale = NULL;
		afu_thread_enter(th);
		afu_plock_acquire(&set->lock);
		if (set->hot)
			go_round(th, set, 0, &c);
		/* under the same lock: nobody is reported twice.  Also if there is no room for more: those
		 * that are called have their turn in the next looks */
		heard = !c.stale && (listen & (c.found ? AFU_EPOLL_HEAR_ALSO : AFU_EPOLL_HEAR_ELSE))
				? hear_locked(set).heated
				: 0;
		c.again = 0;
		if (heard && c.found < max)
			go_round(th, set, heard, &c);
		if (c.stale)
			afu_view_get(c.stale);
		atomic_store_explicit(&th->hazard, NULL, memory_order_release);
		afu_plock_release(&set->lock);
		afu_thread_leave(th);
		if (__builtin_expect(c.stale != NULL, 0)) {
			int err = afu_view_renew(c.stale);

			afu_view_put(c.stale);
			if (err && err != AFU_ELSEWHERE)
				break;
		}
	} while (c.stale && c.found < max);
	return c.found;
}

int afu_epoll_set_edge(struct afu_thread *th, struct afu_epoll_set *set, int take)
{
	struct afu_epoll_entry *e;
	int edge = 0;

	afu_thread_enter(th);
	afu_plock_acquire(&set->lock);
	e = set->hot;
	for (uint32_t left = set->n_hot; left; left--, e = e->next) {
		struct afu_sock *stale = NULL;

		/* all of them, when they are taken */
		if ((!edge || take) && look(th, set, e, 0, &stale) &&
		    afu_sock_edge(e->sock, &e->passed, e->events, take))
			edge = 1;
	}
	atomic_store_explicit(&th->hazard, NULL, memory_order_release);
	afu_plock_release(&set->lock);
	afu_thread_leave(th);
	return edge;
}

/* The first whose view has to be renewed before it can be watched; in use. */
static void note_stale(struct afu_epoll_entry *e, struct afu_sock **stale)
{
	if (*stale || !afu_sock_stale(e->sock))
		return;
	*stale = e->sock;
	afu_view_get(*stale);
}

static void watch_plain(struct afu_thread *th, struct afu_epoll_entry *e, uint64_t waiter)
{
	const void *before = guard(th, e->sock);

	if (!afu_sock_stale(e->sock))
		afu_sock_watch(e->sock, waiter, e->events, AFU_TAG_PLAIN);
	unguard(th, before);
}

static void watch_ring(struct afu_thread *th, struct afu_epoll_entry *e, uint32_t left, uint64_t waiter,
		       int plain, struct afu_sock **stale)
{
	for (; left; left--, e = e->next) {
		note_stale(e, stale);
		if (plain)
			watch_plain(th, e, waiter);
		else if (!e->watched)
			afu_epoll_set_watch(e, waiter);
	}
}

void afu_epoll_set_watch_all(struct afu_thread *th, struct afu_epoll_set *set, uint64_t waiter, int all)
{
	struct afu_sock *stale;
	int err;

	do {
		stale = NULL;
		err = 0;
		afu_thread_enter(th);
		afu_plock_acquire(&set->lock);
		watch_ring(th, set->hot, set->n_hot, waiter, all, &stale);
		if (all)
			watch_ring(th, set->cold, set->n_cold, waiter, 1, &stale);
		afu_plock_release(&set->lock);
		afu_thread_leave(th);
		/* whoever changed it rang before anybody slept here, and what it is now is not watched yet */
		if (stale) {
			err = afu_view_renew(stale);
			afu_view_put(stale);
		}
	} while (stale && (!err || err == AFU_ELSEWHERE));
}

void afu_epoll_set_forked(void)
{
	afu_epoll_structure = entries.lock = (struct afu_plock){0};
}

void afu_epoll_set_inherited(struct afu_epoll_set *set)
{
	struct afu_epoll_entry *e;

	set->lock = (struct afu_plock){0};
	set->waiter = NULL;
	/* the names stand for the parent's */
	while (set->cold)
		afu_epoll_set_heat(set, set->cold);
	e = set->hot;
	for (uint32_t left = set->n_hot; left; left--, e = e->next)
		e->watched = 0;
}
