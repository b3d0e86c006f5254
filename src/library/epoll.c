/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/epoll.h"

#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/pool.h"
#include "library/domain.h"
#include "library/epoll_set.h"
#include "library/view.h"
#include "library/wait.h"

#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

/* With afunix sockets busy for this many looks, the kernel is asked about its own, and the bell heard, only
 * this often. */
#define BUSY_LOOKS 32
/* Events of one call: fewer than asked for is allowed, and the rest comes with the next. */
#define BATCH 256
#define SYSTEM_LOOK_NS 50000

/* Another instance inside this one, for the afunix sockets in it; the kernel knows it too. */
struct nested {
	struct afu_epoll *ep;
	int fd;
	int spent; /* a one-shot that has reported */
	int fresh; /* of edges: registered anew */
	struct epoll_event event;
	struct nested *next;
};
#define POLLERS 4

struct afu_epoll {
	struct afu_epoll_set set;
	int fd;
	uint32_t numbers, uses; /* under the table's lock */
	int kernels;		/* kernel descriptors that were added; closing may have taken some away */
	_Atomic int64_t last_kernel_look, last_hearing;
	struct nested *nested;	  /* under the set's lock, as what follows */
	uint64_t poller[POLLERS]; /* waiters that poll the instance itself */
	int more_pollers;	  /* than there are places for */
	_Atomic uint32_t busy;	  /* looks in a row that found something of ours */
};

static struct afu_pool epolls = {.size = sizeof(struct afu_epoll)};
static struct afu_pool nests = {.size = sizeof(struct nested)};

int afu_epoll_enter(int fd)
{
	struct afu_thread *th = afu_thread();
	struct afu_epoll *ep;

	afu_thread_enter(th);
	ep = afu_pool_get(&epolls);
	afu_thread_leave(th);
	if (!ep)
		return -ENOMEM;
	ep->fd = fd;
	afu_table_lock();
	afu_epoll_number(ep, fd);
	afu_table_unlock();
	return 0;
}

void afu_epoll_number(struct afu_epoll *ep, int fd)
{
	ep->numbers++;
	afu_table_set(fd, (uintptr_t)ep + 1);
}

struct afu_epoll *afu_epoll_get(int fd)
{
	struct afu_epoll *ep;

	afu_table_lock();
	ep = afu_fd_epoll(fd);
	if (ep)
		ep->uses++;
	afu_table_unlock();
	return ep;
}

/* Under the table's lock. */
static void end_if_unused(struct afu_epoll *ep)
{
	if (ep->numbers || ep->uses)
		return;
	afu_plock_acquire(&afu_epoll_structure);
	afu_plock_acquire(&ep->set.lock);
	afu_epoll_set_clear(&ep->set);
	while (ep->nested) {
		struct nested *in = ep->nested;

		ep->nested = in->next;
		afu_pool_put(&nests, in);
	}
	afu_plock_release(&ep->set.lock);
	afu_plock_release(&afu_epoll_structure);
	if (ep->set.waiter)
		afu_waiter_put(ep->set.waiter);
	afu_pool_put(&epolls, ep);
}

void afu_epoll_put(struct afu_epoll *ep)
{
	afu_table_lock();
	ep->uses--;
	end_if_unused(ep);
	afu_table_unlock();
}

void afu_epoll_number_gone(struct afu_epoll *ep)
{
	ep->numbers--;
	end_if_unused(ep);
}

void afu_epoll_forget_sock(struct afu_sock *s)
{
	struct afu_thread *th = afu_thread();

	if (!s->watches)
		return;
	afu_thread_enter(th);
	afu_plock_acquire(&afu_epoll_structure);
	while (s->watches) {
		struct afu_epoll_entry *e = s->watches;
		struct afu_epoll *ep = e->ep;

		afu_plock_acquire(&ep->set.lock);
		afu_epoll_set_remove(&ep->set, e);
		afu_plock_release(&ep->set.lock);
	}
	afu_plock_release(&afu_epoll_structure);
	afu_thread_leave(th);
}

/* The first registration of the socket that is to move along. */
static struct afu_epoll_entry *first_moved(const struct afu_sock *s, int number)
{
	struct afu_epoll_entry *e = s->watches;

	while (e && number >= 0 && e->fd != number)
		e = e->sock_next;
	return e;
}

void afu_epoll_moved(struct afu_sock *s, int number, int fd)
{
	struct afu_thread *th = afu_thread();
	struct afu_epoll_entry *e;

	/* also if there are none yet: another thread may be in the middle of registering one */
	afu_thread_enter(th);
	afu_plock_acquire(&afu_epoll_structure);
	while ((e = first_moved(s, number)) != NULL) {
		struct afu_epoll *ep = e->ep;
		/* a one-shot that has reported waits for its owner; of hang-ups the kernel tells all the same
		 */
		struct epoll_event event = {.events = e->spent ? EPOLLONESHOT : e->events,
					    .data.u64 = e->data};
		int err;

		afu_plock_acquire(&ep->set.lock);
		err = (int)afu_sys(SYS_epoll_ctl, ep->fd, EPOLL_CTL_ADD, fd, &event);
		/* a child, or a parent, that shares the instance may have been the first */
		ep->kernels += !err || err == -EEXIST;
		afu_epoll_set_remove(&ep->set, e);
		afu_plock_release(&ep->set.lock);
		/* who sleeps on our sockets alone must look at the kernel's too */
		if (ep->set.waiter)
			afu_waiter_notify(ep->set.waiter->id, 0);
	}
	afu_plock_release(&afu_epoll_structure);
	afu_thread_leave(th);
}

void afu_epoll_rearm(struct afu_sock *s)
{
	struct afu_thread *th = afu_thread();

	if (!s->watches)
		return;
	afu_thread_enter(th);
	afu_plock_acquire(&afu_epoll_structure);
	for (struct afu_epoll_entry *e = s->watches; e; e = e->sock_next) {
		struct afu_epoll_set *set = &e->ep->set;

		afu_plock_acquire(&set->lock);
		afu_epoll_set_heat(set, e);
		if (set->waiter) {
			afu_epoll_set_watch(e, set->waiter->id);
			afu_waiter_notify(set->waiter->id, 0);
		}
		afu_plock_release(&set->lock);
	}
	afu_plock_release(&afu_epoll_structure);
	afu_thread_leave(th);
}

void afu_epoll_lock(void)
{
	afu_plock_acquire(&afu_epoll_structure);
}

void afu_epoll_unlock(void)
{
	afu_plock_release(&afu_epoll_structure);
}

void afu_epoll_forked(void)
{
	epolls.lock = nests.lock = (struct afu_plock){0};
	afu_epoll_set_forked();
	for (unsigned int fd = 0; fd < afu_table_top(); fd++) {
		struct afu_epoll *ep = afu_fd_epoll((int)fd);

		if (!ep)
			continue;
		afu_epoll_set_inherited(&ep->set);
		ep->uses = 0;
	}
}

/* Whether some of its afunix sockets has something; edge: and had it not when it was last taken. */
static int inner_ready(struct afu_thread *th, struct afu_epoll *ep, int edge, int take)
{
	if (!afu_epoll_ready(ep))
		return 0;
	return !edge || afu_epoll_set_edge(th, &ep->set, take);
}

/* The i-th instance inside; copied, since its sockets are looked at without the lock. */
static int nested_at(struct afu_thread *th, struct afu_epoll *ep, unsigned int i, struct nested *copy)
{
	struct nested *in;

	afu_thread_enter(th);
	afu_plock_acquire(&ep->set.lock);
	in = ep->nested;
	while (in && i--)
		in = in->next;
	if (in)
		*copy = *in;
	afu_plock_release(&ep->set.lock);
	afu_thread_leave(th);
	return in != NULL;
}

/* It, if it is still open under its number; in use.  Another thread may be closing it. */
static struct afu_epoll *hold_nested(const struct nested *in)
{
	struct afu_epoll *ep = afu_epoll_get(in->fd);

	if (ep && ep != in->ep) {
		afu_epoll_put(ep);
		ep = NULL;
	}
	return ep;
}

static struct nested **find_nested(struct afu_epoll *ep, int fd)
{
	struct nested **at = &ep->nested;

	while (*at && (*at)->fd != fd)
		at = &(*at)->next;
	return at;
}

/* It was reported: what that changes. */
static void nested_taken(struct afu_thread *th, struct afu_epoll *ep, int fd)
{
	struct nested *in;

	afu_thread_enter(th);
	afu_plock_acquire(&ep->set.lock);
	in = *find_nested(ep, fd);
	if (in) {
		in->fresh = 0;
		in->spent = (in->event.events & EPOLLONESHOT) != 0;
	}
	afu_plock_release(&ep->set.lock);
	afu_thread_leave(th);
}

/* Whether one inside has something to report; if it is reported, that is taken. */
static int nested_ready(struct afu_thread *th, const struct nested *in, int take)
{
	int edge = (in->event.events & EPOLLET) != 0;

	if (in->fresh ? !afu_epoll_ready(in->ep) : !inner_ready(th, in->ep, edge, take))
		return 0;
	if (take && in->fresh && edge)
		afu_epoll_set_edge(th, &in->ep->set, 1);
	return 1;
}

/* Reports instances inside that have something of ours. */
static int collect_nested(struct afu_thread *th, struct afu_epoll *ep, struct epoll_event *out, int max)
{
	struct nested in;
	int found = 0;

	for (unsigned int i = 0; ep->nested && found < max && nested_at(th, ep, i, &in); i++) {
		int ready;

		if (in.spent || !(in.event.events & (EPOLLIN | EPOLLRDNORM)) || !hold_nested(&in))
			continue;
		ready = nested_ready(th, &in, out != NULL);
		afu_epoll_put(in.ep);
		if (!ready)
			continue;
		if (out) {
			nested_taken(th, ep, in.fd);
			out[found] = in.event;
			out[found].events = in.event.events & (EPOLLIN | EPOLLRDNORM);
		}
		found++;
	}
	return found;
}

int afu_epoll_ready(struct afu_epoll *ep)
{
	struct afu_thread *th = afu_thread();
	int heard = ep->set.n_cold && afu_epoll_set_hear(th, &ep->set), ready;

	ready = (ep->set.n_hot && afu_epoll_set_collect(th, &ep->set, NULL, 1, AFU_EPOLL_PEEK, 0)) ||
		collect_nested(th, ep, NULL, 1);
	/* who asks does not take it: somebody may have slept on the bell that is silent now */
	if (heard && ready)
		afu_waiter_notify(ep->set.waiter->id, 0);
	return ready;
}

/* The kernel has accepted the change already. */
static void nest(struct afu_epoll *ep, struct afu_epoll *inner, int op, int fd,
		 const struct epoll_event *event)
{
	struct afu_thread *th = afu_thread();
	struct nested **at, *in;

	afu_thread_enter(th);
	afu_plock_acquire(&ep->set.lock);
	at = find_nested(ep, fd);
	in = *at;
	if (op == EPOLL_CTL_DEL && in) {
		*at = in->next;
		afu_pool_put(&nests, in);
	} else if (op != EPOLL_CTL_DEL) {
		if (!in)
			in = afu_pool_get(&nests);
		if (in)
			*in = (struct nested){inner, fd, 0, 1, *event, *at ? in->next : NULL};
		*at = in;
	}
	afu_plock_release(&ep->set.lock);
	afu_thread_leave(th);
}

static struct afu_epoll_entry *find(struct afu_epoll *ep, const struct afu_sock *s, int fd)
{
	struct afu_epoll_entry *e = s->watches;

	while (e && (e->ep != ep || e->fd != fd))
		e = e->sock_next;
	return e;
}

/* EPOLLEXCLUSIVE is for newcomers, and goes with few others: as the kernel, before the descriptor is looked
 * for. */
static int bad_exclusive(int op, uint32_t events)
{
	uint32_t allowed = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

	if (!(events & EPOLLEXCLUSIVE))
		return 0;
	return op == EPOLL_CTL_MOD || (op == EPOLL_CTL_ADD && (events & ~allowed));
}

static int control_locked(struct afu_epoll *ep, int op, int fd, struct afu_sock *s,
			  const struct epoll_event *event)
{
	struct afu_epoll_entry *e = find(ep, s, fd);

	/* its registrations are the kernel's, or are about to be */
	if (s->state == AFU_MOVED)
		return AFU_ELSEWHERE;
	if (bad_exclusive(op, event->events))
		return afu_refuse(AFU_CAUSE_EPOLL_ARGUMENT);
	switch (op) {
	case EPOLL_CTL_ADD:
		if (e)
			return afu_refuse(AFU_CAUSE_EPOLL_KNOWN);
		e = afu_epoll_set_add(ep, &ep->set, s, fd);
		if (!e)
			return afu_refuse(AFU_CAUSE_NO_MEMORY);
		e->events = event->events;
		e->data = event->data.u64;
		ep->set.exclusive |= (event->events & EPOLLEXCLUSIVE) != 0;
		break;
	case EPOLL_CTL_MOD:
		if (!e)
			return afu_refuse(AFU_CAUSE_EPOLL_UNKNOWN);
		if (e->events & EPOLLEXCLUSIVE)
			return afu_refuse(AFU_CAUSE_EPOLL_ARGUMENT);
		e->events = event->events;
		e->data = event->data.u64;
		e->seen.fresh = 1;
		e->spent = 0;
		afu_epoll_set_heat(&ep->set, e);
		break;
	case EPOLL_CTL_DEL:
		if (!e)
			return afu_refuse(AFU_CAUSE_EPOLL_UNKNOWN);
		afu_epoll_set_remove(&ep->set, e);
		/* an instance inside may have it too: who sleeps enters himself again */
		if (ep->nested && ep->set.waiter)
			afu_waiter_notify(ep->set.waiter->id, 0);
		return 0;
	default:
		return afu_refuse(AFU_CAUSE_EPOLL_ARGUMENT);
	}
	/* somebody may sleep on the instance, or poll it: they must look at the newcomer */
	for (unsigned int i = 0; i < POLLERS; i++) {
		if (ep->poller[i] && !afu_sock_stale(s))
			afu_sock_watch(s, ep->poller[i], e->events, AFU_TAG_PLAIN);
		if (ep->poller[i] && afu_waiter_notify(ep->poller[i], 0) == -ESRCH)
			ep->poller[i] = 0;
	}
	if (ep->more_pollers)
		afu_waiters_ring_all();
	if (ep->set.waiter) {
		afu_epoll_set_watch(e, ep->set.waiter->id);
		afu_waiter_notify(ep->set.waiter->id, 0);
	}
	return 0;
}

static int control(struct afu_epoll *ep, int op, int fd, const struct epoll_event *user)
{
	struct afu_thread *th = afu_thread();
	struct epoll_event event = {0};
	struct afu_sock *s;
	int err;

	if (op != EPOLL_CTL_DEL && afu_copy(&event, user, sizeof event))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	afu_plock_acquire(&afu_epoll_structure);
	afu_plock_acquire(&ep->set.lock);
	err = control_locked(ep, op, fd, s, &event);
	afu_plock_release(&ep->set.lock);
	afu_plock_release(&afu_epoll_structure);
	afu_view_leave(th);
	return err;
}

static int control_kernel(struct afu_epoll *ep, int epfd, int op, int fd, struct epoll_event *event)
{
	int err = afu_fd_hidden(fd) ? -EBADF : (int)afu_sys(SYS_epoll_ctl, epfd, op, fd, event);

	if (err == -EPERM && afu_fd_ours(fd))
		return -EINVAL; /* the kernel takes the token for a file; epfd is what is wrong */
	if (!ep || err)
		return err;
	if (afu_fd_epoll(fd))
		nest(ep, afu_fd_epoll(fd), op, fd, event);
	ep->kernels += op == EPOLL_CTL_ADD;
	if (ep->set.waiter)
		afu_waiter_notify(ep->set.waiter->id, 0);
	return 0;
}

/*
 * One of our sockets joins what was never seen here: an instance that came through exec or with a message, or
 * none at all.  The kernel would say EPERM to both; of a descriptor that it can poll it says ENOENT or
 * EINVAL.
 */
static struct afu_epoll *recognise(int epfd)
{
	int probe = (int)afu_sys(SYS_eventfd2, 0, EFD_CLOEXEC), err;

	if (probe < 0)
		return NULL;
	err = (int)afu_sys(SYS_epoll_ctl, epfd, EPOLL_CTL_DEL, probe, NULL);
	afu_sys_close(probe);
	if (err != -ENOENT || afu_fd_hidden(epfd) || afu_epoll_enter(epfd))
		return NULL;
	return afu_epoll_get(epfd);
}

int afunix_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct afu_epoll *ep = afu_epoll_get(epfd);
	int err = AFU_ELSEWHERE;

	if (!ep && afu_fd_ours(fd) && !afu_fd_known(epfd)) {
		ep = recognise(epfd);
		if (ep)
			ep->kernels = 1; /* for all that is known */
	}
	while (ep && err == AFU_ELSEWHERE && afu_fd_ours(fd))
		err = control(ep, op, fd, event);
	if (err == AFU_ELSEWHERE)
		err = control_kernel(ep, epfd, op, fd, event);
	if (ep)
		afu_epoll_put(ep);
	return (int)afu_return(err);
}

struct waiting {
	struct afu_thread *th;
	struct afu_epoll *ep;
};

static int any_ready(void *arg)
{
	const struct waiting *w = arg;

	return afu_epoll_set_collect(w->th, &w->ep->set, NULL, 1, AFU_EPOLL_PEEK, 0) ||
	       collect_nested(w->th, w->ep, NULL, 1);
}

static void note_poller(struct afu_epoll *ep, uint64_t waiter)
{
	unsigned int vacant = POLLERS;

	for (unsigned int i = 0; i < POLLERS; i++) {
		if (ep->poller[i] == waiter)
			return;
		if (!ep->poller[i] || !afu_waiter_own(ep->poller[i]))
			vacant = i;
	}
	if (vacant < POLLERS)
		ep->poller[vacant] = waiter;
	else
		ep->more_pollers = 1;
}

/* A waiter of somebody else's doesn't know the names of cold sockets: it watches those too. */
void afu_epoll_watch(struct afu_epoll *ep, uint64_t waiter)
{
	struct afu_thread *th = afu_thread();
	int foreign = !ep->set.waiter || ep->set.waiter->id != waiter;
	struct nested in;

	if (foreign) {
		afu_thread_enter(th);
		afu_plock_acquire(&ep->set.lock);
		note_poller(ep, waiter);
		afu_plock_release(&ep->set.lock);
		afu_thread_leave(th);
	}
	afu_epoll_set_watch_all(th, &ep->set, waiter, foreign);
	for (unsigned int i = 0; ep->nested && nested_at(th, ep, i, &in); i++) {
		if (!hold_nested(&in))
			continue;
		afu_epoll_watch(in.ep, waiter);
		afu_epoll_put(in.ep);
	}
}

static int kernel_events(struct afu_epoll *ep, struct epoll_event *out, int max)
{
	int n = (int)afu_sys(SYS_epoll_pwait, ep->fd, out, max, 0, NULL, 0);

	atomic_store_explicit(&ep->last_kernel_look, afu_clock_ns(), memory_order_relaxed); /* a rate limit */
	return n;
}

/* With ours busy, what costs a system call is looked at only so often. */
static int rarely(const struct afu_epoll *ep, const _Atomic int64_t *last)
{
	return atomic_load_explicit(&ep->busy, memory_order_relaxed) >= BUSY_LOOKS &&
	       afu_clock_ns() - atomic_load_explicit(last, memory_order_relaxed) <= SYSTEM_LOOK_NS;
	/* relaxed: a rate limit */
}

/* What a look is for. */
enum occasion {
	ASKED,	/* the call doesn't sleep */
	SLEEPY, /* it does if there is nothing, and the bell will wake it */
	RUNG,
};

/* The hot sockets, and the cold ones that were called. */
static int gather_ours(struct afu_thread *th, struct afu_epoll *ep, struct epoll_event *out, int max,
		       enum occasion why)
{
	int listen = 0, take = AFU_EPOLL_TAKE, n;

	if (why == RUNG)
		listen = AFU_EPOLL_HEAR_ALSO | AFU_EPOLL_HEAR_ELSE;
	else if (ep->set.n_cold)
		listen = (rarely(ep, &ep->last_hearing) ? 0 : AFU_EPOLL_HEAR_ALSO) |
			 (why == ASKED ? AFU_EPOLL_HEAR_ELSE : 0);
	/* who does nothing but ask loses nothing by looking at quiet ones too, if they are few */
	if (why == ASKED && !ep->busy && ep->set.n_hot <= 4 * AFU_EPOLL_HOT)
		take = AFU_EPOLL_POLL;
	n = afu_epoll_set_collect(th, &ep->set, out, max, take, listen);
	if (listen & AFU_EPOLL_HEAR_ALSO)
		atomic_store_explicit(&ep->last_hearing, afu_clock_ns(),
				      memory_order_relaxed); /* a rate limit */
	/* what it rang for may be left, and others sleep on it */
	if (listen && n == max && ep->set.waiter)
		afu_waiter_notify(ep->set.waiter->id, 0);
	return n;
}

/* Both halves, without sleeping; the kernel's seldom while ours is busy. */
static int gather(struct afu_thread *th, struct afu_epoll *ep, struct epoll_event *out, int max,
		  enum occasion why)
{
	int n = afu_epoll_set_count(&ep->set) ? gather_ours(th, ep, out, max, why) : 0, more = 0;

	if (ep->nested && n < max) {
		int in = collect_nested(th, ep, out + n, max - n);

		if (in)
			return n + in; /* without the kernel's half, which may name the same instance */
	}

	atomic_store_explicit(&ep->busy, n ? atomic_load_explicit(&ep->busy, memory_order_relaxed) + 1 : 0,
			      memory_order_relaxed); /* a rate limit */
	if (!ep->kernels || n == max)
		return n;
	if (!rarely(ep, &ep->last_kernel_look))
		more = kernel_events(ep, out + n, max - n);
	return more < 0 && !n ? more : n + (more > 0 ? more : 0);
}

static int sleep_once(struct waiting *w, int64_t deadline, const sigset_t *mask, uint32_t sig_seq, int *rang)
{
	struct afu_epoll *ep = w->ep;
	/* also if there is none of the kernel's: one may come, and another thread hear of it in our place */
	struct pollfd fds[3] = {{.fd = ep->fd, .events = POLLIN}};
	int err = 0;

	if (ep->set.waiter) {
		/* asleep before announced: a waker that takes the announcement away must ring */
		afu_wait_asleep(w->th, ep->set.waiter);
		afu_epoll_watch(ep, ep->set.waiter->id);
		atomic_thread_fence(memory_order_seq_cst); /* before the look that follows */
	}
	if (!any_ready(w))
		err = afu_wait_kernel(w->th, ep->set.waiter, fds, 1, deadline, mask, sig_seq, rang);
	if (ep->set.waiter)
		afu_wait_awake(w->th, ep->set.waiter);
	/* else the look that follows hears it */
	if (*rang && !afu_epoll_set_count(&ep->set))
		afu_waiter_drain(ep->set.waiter);
	return err;
}

static void need_waiter(struct afu_epoll *ep)
{
	struct afu_waiter *made = afu_waiter_get();

	afu_table_lock();
	if (!ep->set.waiter) {
		ep->set.waiter = made;
		made = NULL;
	}
	afu_table_unlock();
	if (made)
		afu_waiter_put(made);
}

static int wait_for(struct afu_epoll *ep, struct epoll_event *out, int max, int64_t deadline,
		    const sigset_t *mask)
{
	struct waiting w = {afu_thread(), ep};
	uint32_t sig_seq = atomic_load_explicit(&w.th->sig_seq, memory_order_relaxed); /* its own */
	int n, asked = deadline != AFU_NEVER && deadline <= afu_clock_ns();

	if (!ep->set.waiter && afu_epoll_set_count(&ep->set) > AFU_EPOLL_HOT)
		need_waiter(ep); /* those that are quiet go cold */
	n = gather(w.th, ep, out, max, asked ? ASKED : SLEEPY);
	if (n || asked)
		return n;
	if (afu_epoll_set_count(&ep->set) && !mask &&
	    afu_spin(w.th, &ep->set.peer_cpu, any_ready, &w, deadline)) {
		n = gather(w.th, ep, out, max, SLEEPY);
		if (n)
			return n;
	}
	if (!ep->set.waiter)
		need_waiter(ep);
	for (;;) {
		int rang = 0, err = sleep_once(&w, deadline, mask, sig_seq, &rang);

		if (err == -EINTR) {
			afu_epoll_set_pass_on(w.th, &ep->set);
			return afu_refuse(AFU_CAUSE_INTERRUPTED);
		}
		n = gather(w.th, ep, out, max, rang ? RUNG : SLEEPY);
		if (n) {
			/* whoever drained the bell leaves nothing behind for sleepers that share it */
			if (n == max && ep->set.waiter && any_ready(&w))
				afu_waiter_notify(ep->set.waiter->id, 0);
			return n;
		}
		if (err < 0)
			return err;
		/* who called after the sleep, and before it was over, took this one for asleep */
		if (deadline != AFU_NEVER && afu_clock_ns() >= deadline)
			return ep->set.n_cold && !rang ? gather(w.th, ep, out, max, RUNG) : 0;
	}
}

static void release(void *ep)
{
	afu_epoll_put(ep);
}

static int start_wait(int epfd, struct epoll_event *events, int n, int64_t deadline, const sigset_t *mask)
{
	struct epoll_event batch[BATCH];
	struct afu_epoll *ep;
	struct afu_thread *th = afu_thread();
	char probe;
	int got;

	if (n <= 0)
		return afu_refuse(AFU_CAUSE_EPOLL_ARGUMENT);
	/* as the kernel: the pointer is looked at even if nothing is reported */
	if (afu_copy(&probe, events, 1))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	afu_call_begin(th);
	ep = afu_epoll_get(epfd);
	if (!ep)
		return afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR);
	afu_hold(th, release, ep);
	th->sig_norestart = 0;
	got = wait_for(ep, batch, n < BATCH ? n : BATCH, deadline, mask);
	if (afu_unhold(th, ep))
		afu_epoll_put(ep);
	if (got > 0 && afu_copy(events, batch, (size_t)got * sizeof *batch))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	return got;
}

int afunix_epoll_pwait(int epfd, struct epoll_event *events, int n, int timeout_ms, const sigset_t *mask)
{
	if (!afu_fd_epoll(epfd))
		return (int)afu_return(
			afu_sys(SYS_epoll_pwait, epfd, events, n, timeout_ms, mask, sizeof(uint64_t)));
	return (int)afu_return(start_wait(epfd, events, n, afu_wait_deadline_ms(timeout_ms), mask));
}

int afunix_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms)
{
	return afunix_epoll_pwait(epfd, events, n, timeout_ms, NULL);
}

int afunix_epoll_pwait2(int epfd, struct epoll_event *events, int n, const struct timespec *timeout,
			const sigset_t *mask)
{
	if (!afu_fd_epoll(epfd))
		return (int)afu_return(
			afu_sys(SYS_epoll_pwait2, epfd, events, n, timeout, mask, sizeof(uint64_t)));
	if (timeout && (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1000000000))
		return (int)afu_return(afu_refuse(AFU_CAUSE_POLL_COUNT));
	return (int)afu_return(start_wait(epfd, events, n, afu_wait_deadline_ts(timeout), mask));
}

int afunix_epoll_create1(int flags)
{
	int fd, err = afu_domain_start();

	if (err)
		return (int)afu_return(err);
	fd = (int)afu_sys(SYS_epoll_create1, flags);
	if (fd < 0)
		return (int)afu_return(fd);
	afu_fd_forget(fd);
	err = afu_epoll_enter(fd);
	if (err)
		afu_sys_close(fd);
	return (int)afu_return(err ? err : fd);
}

int afunix_epoll_create(int size)
{
	return size <= 0 ? (int)afu_return(afu_refuse(AFU_CAUSE_EPOLL_ARGUMENT)) : afunix_epoll_create1(0);
}
