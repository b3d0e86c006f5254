/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/epoll.h"

#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/pool.h"
#include "library/domain.h"
#include "library/view.h"
#include "library/wait.h"

#include <string.h>
#include <sys/epoll.h>

/* With afunix sockets busy for this many looks, the kernel is asked about its own only this often. */
#define BUSY_LOOKS 32
/* Events of one call: fewer than asked for is allowed, and the rest comes with the next. */
#define BATCH 256
#define KERNEL_LOOK_NS 50000

struct entry {
	struct afu_epoll *ep;
	struct afu_sock *sock;
	int fd;
	uint32_t events; /* as registered */
	int spent;       /* a one-shot that has reported */
	uint64_t data;
	struct afu_edges seen;
	struct entry *prev, *next;   /* ring of the instance */
	struct entry *sock_next;     /* others of the same socket */
};

/* Another instance inside this one, for the afunix sockets in it; the kernel knows it too. */
struct nested {
	struct afu_epoll *ep;
	int fd;
	struct epoll_event event;
};
#define NESTED_MAX 8
#define POLLERS 4

struct afu_epoll {
	struct afu_plock lock;
	int fd;
	uint32_t numbers, uses; /* under the table's lock */
	int kernels; /* kernel descriptors that were added; closing may have taken some away */
	unsigned int count;
	struct entry *head; /* where the next look begins */
	struct afu_waiter *waiter;
	_Atomic uint32_t peer_cpu;
	_Atomic int64_t last_kernel_look;
	struct nested nested[NESTED_MAX];
	unsigned int n_nested;
	uint64_t poller[POLLERS]; /* waiters that poll the instance itself; under its lock */
	int more_pollers;         /* than there are places for */
	_Atomic uint32_t busy; /* looks in a row that found something of ours */
};

/* Before an instance's own lock: the lists that hang on sockets. */
static struct afu_plock structure;
static struct afu_pool epolls = { .size = sizeof(struct afu_epoll) };
static struct afu_pool entries = { .size = sizeof(struct entry) };

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

/* Whether a number of the socket is registered with the instance. */
static int in_instance(const struct afu_sock *s, const struct afu_epoll *ep)
{
	const struct entry *e = s->watches;

	while (e && e->ep != ep)
		e = e->sock_next;
	return e != NULL;
}

static void unlink_locked(struct entry *e)
{
	struct afu_epoll *ep = e->ep;
	struct entry **at = (struct entry **)&e->sock->watches;

	while (*at && *at != e)
		at = &(*at)->sock_next;
	if (*at)
		*at = e->sock_next;
	if (e->next == e) {
		ep->head = NULL;
	} else {
		e->prev->next = e->next;
		e->next->prev = e->prev;
		if (ep->head == e)
			ep->head = e->next;
	}
	ep->count--;
	if (ep->waiter && !in_instance(e->sock, ep))
		afu_sock_unwatch(e->sock, ep->waiter->id);
	afu_pool_put(&entries, e);
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
	afu_plock_acquire(&structure);
	afu_plock_acquire(&ep->lock);
	while (ep->head)
		unlink_locked(ep->head);
	afu_plock_release(&ep->lock);
	afu_plock_release(&structure);
	if (ep->waiter)
		afu_waiter_put(ep->waiter);
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
	afu_plock_acquire(&structure);
	while (s->watches) {
		struct entry *e = s->watches;
		struct afu_epoll *ep = e->ep;

		afu_plock_acquire(&ep->lock);
		unlink_locked(e);
		afu_plock_release(&ep->lock);
	}
	afu_plock_release(&structure);
	afu_thread_leave(th);
}

/* The first registration of the socket that is to move along. */
static struct entry *first_moved(const struct afu_sock *s, int number)
{
	struct entry *e = s->watches;

	while (e && number >= 0 && e->fd != number)
		e = e->sock_next;
	return e;
}

void afu_epoll_moved(struct afu_sock *s, int number, int fd)
{
	struct afu_thread *th = afu_thread();
	struct entry *e;

	if (!s->watches)
		return;
	afu_thread_enter(th);
	afu_plock_acquire(&structure);
	while ((e = first_moved(s, number)) != NULL) {
		struct afu_epoll *ep = e->ep;
		struct epoll_event event = { .events = e->events, .data.u64 = e->data };

		afu_plock_acquire(&ep->lock);
		if (afu_sys(SYS_epoll_ctl, ep->fd, EPOLL_CTL_ADD, fd, &event) == 0)
			ep->kernels++;
		unlink_locked(e);
		afu_plock_release(&ep->lock);
		/* who sleeps on our sockets alone must look at the kernel's too */
		if (ep->waiter)
			afu_waiter_notify(ep->waiter->id, 0);
	}
	afu_plock_release(&structure);
	afu_thread_leave(th);
}

void afu_epoll_rearm(struct afu_sock *s)
{
	struct afu_thread *th = afu_thread();

	if (!s->watches)
		return;
	afu_thread_enter(th);
	afu_plock_acquire(&structure);
	for (struct entry *e = s->watches; e; e = e->sock_next) {
		if (!e->ep->waiter)
			continue;
		if (!afu_sock_stale(s))
			afu_sock_watch(s, e->ep->waiter->id, e->events);
		afu_waiter_notify(e->ep->waiter->id, 0);
	}
	afu_plock_release(&structure);
	afu_thread_leave(th);
}

void afu_epoll_lock(void)
{
	afu_plock_acquire(&structure);
}

void afu_epoll_unlock(void)
{
	afu_plock_release(&structure);
}

void afu_epoll_forked(void)
{
	structure = epolls.lock = entries.lock = (struct afu_plock){ 0 };
	for (unsigned int fd = 0; fd < afu_table_top(); fd++) {
		struct afu_epoll *ep = afu_fd_epoll((int)fd);

		if (!ep)
			continue;
		ep->lock = (struct afu_plock){ 0 };
		ep->waiter = NULL;
		ep->uses = 0;
	}
}

/* What the entry has to report now; *stale: the socket's view must be renewed first. */
static uint32_t report(struct afu_thread *th, struct entry *e, int take, struct afu_sock **stale)
{
	uint32_t wanted = e->events & ~(uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP), now;

	if (e->spent)
		return 0;
	atomic_store_explicit(&th->hazard, e->sock, memory_order_relaxed); /* the other half: afu_thread_quiesce() */
	atomic_signal_fence(memory_order_seq_cst);
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
			atomic_store_explicit(&e->ep->peer_cpu,
					      atomic_load_explicit(&e->sock->peer->cpu, memory_order_relaxed),
					      memory_order_relaxed); /* a hint */
	}
	return now;
}

/*
 * Goes once round the ring.  take: up to max events are reported into out, and
 * the next look begins behind the last one; else it stops at the first.
 */
static int collect(struct afu_thread *th, struct afu_epoll *ep, struct epoll_event *out, int max, int take)
{
	struct afu_sock *stale;
	int found;

again:
	found = 0;
	stale = NULL;
	afu_thread_enter(th);
	afu_plock_acquire(&ep->lock);
	if (ep->head) {
		struct entry *e = ep->head;

		for (unsigned int left = ep->count; left && found < max; left--, e = e->next) {
			uint32_t now = report(th, e, take, &stale);

			if (stale)
				break;
			if (!now)
				continue;
			if (take) {
				out[found].events = now;
				out[found].data.u64 = e->data;
			}
			found++;
		}
		if (take && found == max)
			ep->head = e;
		if (stale)
			afu_view_get(stale);
	}
	atomic_store_explicit(&th->hazard, NULL, memory_order_release);
	afu_plock_release(&ep->lock);
	afu_thread_leave(th);
	if (__builtin_expect(stale != NULL, 0)) {
		int err = afu_view_renew(stale);

		afu_view_put(stale);
		if ((!err || err == AFU_ELSEWHERE) && !found)
			goto again;
	}
	return found;
}

static int collect_nested(struct afu_epoll *ep, struct epoll_event *out, int max);

int afu_epoll_ready(struct afu_epoll *ep)
{
	return (ep->count && collect(afu_thread(), ep, NULL, 1, 0)) || collect_nested(ep, NULL, 1);
}

/* Reports instances inside that have something of ours.  Their level is enough: who asks looks at them. */
static int collect_nested(struct afu_epoll *ep, struct epoll_event *out, int max)
{
	int found = 0;

	for (unsigned int i = 0; i < ep->n_nested && found < max; i++) {
		const struct nested *in = &ep->nested[i];

		if (afu_fd_epoll(in->fd) != in->ep || !(in->event.events & EPOLLIN) || !afu_epoll_ready(in->ep))
			continue;
		if (out) {
			out[found] = in->event;
			out[found].events = EPOLLIN;
		}
		found++;
	}
	return found;
}

static void nest(struct afu_epoll *ep, struct afu_epoll *inner, int op, int fd, const struct epoll_event *event)
{
	unsigned int i = 0;

	while (i < ep->n_nested && ep->nested[i].fd != fd)
		i++;
	if (op == EPOLL_CTL_DEL && i < ep->n_nested)
		ep->nested[i] = ep->nested[--ep->n_nested];
	else if (op != EPOLL_CTL_DEL && i < NESTED_MAX) {
		ep->nested[i] = (struct nested){ inner, fd, *event };
		if (i == ep->n_nested)
			ep->n_nested++;
	}
}

static struct entry *find(struct afu_epoll *ep, const struct afu_sock *s, int fd)
{
	struct entry *e = s->watches;

	while (e && (e->ep != ep || e->fd != fd))
		e = e->sock_next;
	return e;
}

/* EPOLLEXCLUSIVE is for newcomers, and goes with few others: as the kernel, before the descriptor is looked for. */
static int bad_exclusive(int op, uint32_t events)
{
	uint32_t allowed = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

	if (!(events & EPOLLEXCLUSIVE))
		return 0;
	return op == EPOLL_CTL_MOD || (op == EPOLL_CTL_ADD && (events & ~allowed));
}

static int control_locked(struct afu_epoll *ep, int op, int fd, struct afu_sock *s, const struct epoll_event *event)
{
	struct entry *e = find(ep, s, fd);

	if (bad_exclusive(op, event->events))
		return afu_refuse(AFU_CAUSE_EPOLL_ARGUMENT);
	switch (op) {
	case EPOLL_CTL_ADD:
		if (e)
			return afu_refuse(AFU_CAUSE_EPOLL_KNOWN);
		e = afu_pool_get(&entries);
		if (!e)
			return afu_refuse(AFU_CAUSE_NO_MEMORY);
		e->ep = ep;
		e->sock = s;
		e->fd = fd;
		e->events = event->events;
		e->data = event->data.u64;
		e->seen.fresh = 1;
		e->sock_next = s->watches;
		s->watches = e;
		if (ep->head) {
			e->next = ep->head;
			e->prev = ep->head->prev;
			e->prev->next = e;
			ep->head->prev = e;
		} else {
			ep->head = e->next = e->prev = e;
		}
		ep->count++;
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
		break;
	case EPOLL_CTL_DEL:
		if (!e)
			return afu_refuse(AFU_CAUSE_EPOLL_UNKNOWN);
		unlink_locked(e);
		return 0;
	default:
		return afu_refuse(AFU_CAUSE_EPOLL_ARGUMENT);
	}
	/* somebody may sleep on the instance, or poll it: they must look at the newcomer */
	for (unsigned int i = 0; i < POLLERS; i++) {
		if (ep->poller[i] && !afu_sock_stale(s))
			afu_sock_watch(s, ep->poller[i], e->events);
		if (ep->poller[i] && afu_waiter_notify(ep->poller[i], 0) == -ESRCH)
			ep->poller[i] = 0;
	}
	if (ep->more_pollers)
		afu_waiters_ring_all();
	if (ep->waiter) {
		if (!afu_sock_stale(s))
			afu_sock_watch(s, ep->waiter->id, e->events);
		afu_waiter_notify(ep->waiter->id, 0);
	}
	return 0;
}

static int control(struct afu_epoll *ep, int op, int fd, const struct epoll_event *user)
{
	struct afu_thread *th = afu_thread();
	struct epoll_event event = { 0 };
	struct afu_sock *s;
	int err;

	if (op != EPOLL_CTL_DEL && afu_copy(&event, user, sizeof event))
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	afu_plock_acquire(&structure);
	afu_plock_acquire(&ep->lock);
	err = control_locked(ep, op, fd, s, &event);
	afu_plock_release(&ep->lock);
	afu_plock_release(&structure);
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
	if (ep->waiter)
		afu_waiter_notify(ep->waiter->id, 0);
	return 0;
}

int afunix_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct afu_epoll *ep = afu_epoll_get(epfd);
	int err = ep && afu_fd_ours(fd) ? control(ep, op, fd, event) : AFU_ELSEWHERE;

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

	return collect(w->th, w->ep, NULL, 1, 0) || collect_nested(w->ep, NULL, 1);
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

static void watch_all(struct afu_thread *th, struct afu_epoll *ep, uint64_t waiter)
{
	struct entry *e;

	afu_thread_enter(th);
	afu_plock_acquire(&ep->lock);
	if (!ep->waiter || ep->waiter->id != waiter)
		note_poller(ep, waiter);
	e = ep->head;
	for (unsigned int left = ep->count; left; left--, e = e->next) {
		if (!afu_sock_stale(e->sock))
			afu_sock_watch(e->sock, waiter, e->events);
	}
	afu_plock_release(&ep->lock);
	afu_thread_leave(th);
}

void afu_epoll_watch(struct afu_epoll *ep, uint64_t waiter)
{
	watch_all(afu_thread(), ep, waiter);
	for (unsigned int i = 0; i < ep->n_nested; i++) {
		if (afu_fd_epoll(ep->nested[i].fd) == ep->nested[i].ep)
			afu_epoll_watch(ep->nested[i].ep, waiter);
	}
}

static int kernel_events(struct afu_epoll *ep, struct epoll_event *out, int max)
{
	int n = (int)afu_sys(SYS_epoll_pwait, ep->fd, out, max, 0, NULL, 0);

	atomic_store_explicit(&ep->last_kernel_look, afu_clock_ns(), memory_order_relaxed); /* a rate limit */
	return n;
}

/* Both halves, without sleeping; the kernel's seldom while ours is busy. */
static int gather(struct afu_thread *th, struct afu_epoll *ep, struct epoll_event *out, int max)
{
	int n = ep->count ? collect(th, ep, out, max, 1) : 0, more = 0;

	if (ep->n_nested && n < max) {
		int in = collect_nested(ep, out + n, max - n);

		if (in)
			return n + in; /* without the kernel's half, which may name the same instance */
	}

	atomic_store_explicit(&ep->busy, n ? atomic_load_explicit(&ep->busy, memory_order_relaxed) + 1 : 0,
			      memory_order_relaxed); /* a rate limit */
	if (!ep->kernels || n == max)
		return n;
	if (atomic_load_explicit(&ep->busy, memory_order_relaxed) < BUSY_LOOKS || afu_clock_ns() - atomic_load_explicit(&ep->last_kernel_look, memory_order_relaxed) > KERNEL_LOOK_NS)
		more = kernel_events(ep, out + n, max - n);
	return more < 0 && !n ? more : n + (more > 0 ? more : 0);
}

static int sleep_once(struct waiting *w, int64_t deadline, const sigset_t *mask, uint32_t sig_seq)
{
	struct afu_epoll *ep = w->ep;
	struct pollfd fds[3] = { { .events = POLLIN } };
	int err = 0;

	if (ep->waiter) {
		/* asleep before announced: a waker that takes the announcement away must ring */
		afu_wait_asleep(w->th, ep->waiter);
		afu_epoll_watch(ep, ep->waiter->id);
		atomic_thread_fence(memory_order_seq_cst); /* before the look that follows */
	}
	/* only now: who adds the first kernel descriptor rings if we were asleep already */
	fds[0].fd = ep->kernels ? ep->fd : -1;
	if (!any_ready(w))
		err = afu_wait_kernel(w->th, ep->waiter, fds, 1, deadline, mask, sig_seq);
	if (ep->waiter)
		afu_wait_awake(w->th, ep->waiter);
	return err;
}

static int wait_for(struct afu_epoll *ep, struct epoll_event *out, int max, int64_t deadline, const sigset_t *mask)
{
	struct waiting w = { afu_thread(), ep };
	uint32_t sig_seq = atomic_load_explicit(&w.th->sig_seq, memory_order_relaxed); /* its own */
	int n = gather(w.th, ep, out, max);

	if (n || (deadline != AFU_NEVER && deadline <= afu_clock_ns()))
		return n;
	if (ep->count && !mask && afu_spin(w.th, &ep->peer_cpu, any_ready, &w, deadline)) {
		n = gather(w.th, ep, out, max);
		if (n)
			return n;
	}
	if (!ep->waiter) {
		struct afu_waiter *made = afu_waiter_get();

		afu_table_lock();
		if (!ep->waiter) {
			ep->waiter = made;
			made = NULL;
		}
		afu_table_unlock();
		if (made)
			afu_waiter_put(made);
	}
	for (;;) {
		int err = sleep_once(&w, deadline, mask, sig_seq);

		if (err == -EINTR)
			return afu_refuse(AFU_CAUSE_INTERRUPTED);
		n = gather(w.th, ep, out, max);
		if (n) {
			/* whoever drained the bell leaves nothing behind for sleepers that share it */
			if (n == max && ep->waiter && any_ready(&w))
				afu_waiter_notify(ep->waiter->id, 0);
			return n;
		}
		if (err < 0)
			return err;
		if (deadline != AFU_NEVER && afu_clock_ns() >= deadline)
			return 0;
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
		return (int)afu_return(afu_sys(SYS_epoll_pwait, epfd, events, n, timeout_ms, mask, sizeof(uint64_t)));
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
		return (int)afu_return(afu_sys(SYS_epoll_pwait2, epfd, events, n, timeout, mask, sizeof(uint64_t)));
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
