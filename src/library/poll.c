/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * poll() and select() over afunix sockets and kernel descriptors together.
 */
#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/sys.h"
#include "library/domain.h"
#include "library/epoll.h"
#include "library/table.h"
#include "library/view.h"
#include "library/wait.h"

#include <string.h>
#include <sys/mman.h>

#define ON_STACK 128
/* With afunix sockets busy for this many looks, the kernel is asked about its own only this often. */
#define BUSY_LOOKS 32
#define KERNEL_LOOK_NS 50000

struct polling {
	struct afu_thread *th;
	struct pollfd *fds;    /* the application's, copied */
	struct pollfd *kernel; /* the same for the kernel: ours are -1; room for two more */
	struct afu_sock **held; /* while it sleeps, the sockets live, as in the kernel */
	unsigned int n, n_held;
	int kernels; /* how many are the kernel's */
	_Atomic uint32_t peer_cpu;
};

static uint32_t look_at(struct polling *p, int fd, uint32_t events)
{
	struct afu_epoll *ep = afu_fd_epoll(fd) ? afu_epoll_get(fd) : NULL;
	struct afu_sock *s;
	uint32_t now;
	int err;

	if (ep) {
		now = afu_epoll_ready(ep) ? events & (POLLIN | POLLRDNORM) : 0;
		afu_epoll_put(ep);
		return now;
	}
	s = afu_view_enter(p->th, fd, &err);
	if (!s)
		return err == AFU_ELSEWHERE ? 0 : POLLERR | POLLHUP;
	now = afu_sock_events(s) & (events | POLLERR | POLLHUP);
	if (s->state == AFU_CONNECTED && s->type != SOCK_DGRAM)
		atomic_store_explicit(&p->peer_cpu, atomic_load_explicit(&s->peer->cpu, memory_order_relaxed),
				      memory_order_relaxed); /* a hint */
	afu_view_leave(p->th);
	return now;
}

/*
 * The number was ours, and is no longer: another thread closed it, or its socket has become one of the kernel's,
 * which is asked from now on.
 */
static uint32_t gone(struct polling *p, unsigned int i)
{
	struct timespec none = { 0, 0 };

	p->kernel[i] = p->fds[i];
	p->kernels++;
	afu_sys(SYS_ppoll, &p->kernel[i], 1, &none, 0, 0);
	return (uint32_t)(unsigned short)p->kernel[i].revents;
}

static int look(struct polling *p)
{
	int ready = 0;

	for (unsigned int i = 0; i < p->n; i++) {
		struct pollfd *f = &p->fds[i];

		if (f->fd < 0 || (!afu_fd_known(f->fd) && p->kernel[i].fd >= 0))
			continue;
		f->revents = (short)look_at(p, f->fd, (uint32_t)(unsigned short)f->events);
		if (!afu_fd_known(f->fd))
			f->revents = (short)gone(p, i);
		ready += f->revents != 0;
	}
	return ready;
}

static int look_any(void *arg)
{
	struct polling *p = arg;

	for (unsigned int i = 0; i < p->n; i++) {
		if (afu_fd_known(p->fds[i].fd) &&
		    look_at(p, p->fds[i].fd, (uint32_t)(unsigned short)p->fds[i].events))
			return 1;
	}
	return 0;
}

static void split(struct polling *p)
{
	p->kernels = 0;
	for (unsigned int i = 0; i < p->n; i++) {
		p->kernel[i] = p->fds[i];
		p->kernel[i].revents = 0;
		/* an epoll instance may have kernel descriptors too: it is polled by both */
		if (afu_fd_ours(p->fds[i].fd))
			p->kernel[i].fd = -1;
		else if (p->fds[i].fd >= 0)
			p->kernels++;
	}
}

/* Adds what the kernel says; the count of all that have something. */
static int merge(struct polling *p)
{
	int ready = 0;

	for (unsigned int i = 0; i < p->n; i++) {
		if (p->kernel[i].fd >= 0) {
			if (!afu_fd_epoll(p->fds[i].fd))
				p->fds[i].revents = 0;
			p->fds[i].revents = (short)(p->fds[i].revents | p->kernel[i].revents);
		}
		ready += p->fds[i].revents != 0;
	}
	return ready;
}

static void watch(struct polling *p, uint64_t waiter, int hold)
{
	for (unsigned int i = 0; i < p->n; i++) {
		int err, fd = p->fds[i].fd;
		struct afu_epoll *ep = afu_fd_epoll(fd) ? afu_epoll_get(fd) : NULL;
		struct afu_sock *s;

		if (ep) {
			afu_epoll_watch(ep, waiter);
			afu_epoll_put(ep);
		}
		s = afu_fd_ours(fd) ? afu_view_enter(p->th, fd, &err) : NULL;

		if (!s)
			continue;
		afu_sock_watch(s, waiter, (uint32_t)(unsigned short)p->fds[i].events, 0);
		if (hold) {
			afu_view_get(s);
			p->held[p->n_held++] = s;
		}
		afu_view_leave(p->th);
	}
}

static int look_kernel_now(struct polling *p)
{
	static __thread int64_t last;
	static __thread unsigned int busy;
	struct timespec none = { 0, 0 };
	int64_t now;

	if (!p->kernels)
		return 0;
	/* with a fresh socket set nobody is busy yet: exact until it proves to be */
	now = afu_clock_ns();
	busy = now - last < 10 * KERNEL_LOOK_NS ? busy + 1 : 0;
	if (busy > BUSY_LOOKS && now - last < KERNEL_LOOK_NS)
		return 0;
	last = now;
	return (int)afu_sys(SYS_ppoll, p->kernel, p->n, &none, 0, 0);
}

static int any_closed(const struct polling *p)
{
	for (unsigned int i = 0; i < p->n; i++) {
		if (p->fds[i].revents & POLLNVAL)
			return 1;
	}
	return 0;
}

static int run(struct polling *p, int64_t deadline, const sigset_t *mask)
{
	uint32_t sig_seq = atomic_load_explicit(&p->th->sig_seq, memory_order_relaxed); /* its own */
	struct afu_waiter *w;
	int ready, err, first = 1, rang = 0;

	split(p);
	if (look(p)) {
		err = look_kernel_now(p);
		return err < 0 ? err : merge(p);
	}
	if (!mask && deadline > afu_clock_ns() &&
	    afu_spin(p->th, &p->peer_cpu, look_any, p, deadline) && look(p))
		return merge(p);
	if (!p->th->waiter)
		p->th->waiter = afu_waiter_get();
	w = p->th->waiter;
	for (;;) {
		if (w) {
			/* asleep before announced: a waker that takes the announcement away must ring */
			afu_wait_asleep(p->th, w);
			watch(p, w->id, first);
			first = 0;
			atomic_thread_fence(memory_order_seq_cst); /* before the look that follows */
		}
		ready = look(p) ? 0 : 1;
		if (!ready) {
			struct timespec none = { 0, 0 };

			err = p->kernels ? (int)afu_sys(SYS_ppoll, p->kernel, p->n, &none, 0, 0) : 0;
		} else {
			err = afu_wait_kernel(p->th, w, p->kernel, p->n, deadline, mask, sig_seq, &rang);
		}
		if (rang)
			afu_waiter_drain(w);
		rang = 0;
		if (w)
			afu_wait_awake(p->th, w);
		if (err < 0 && err != -EINTR)
			return err;
		look(p);
		/* a signal comes before what its handler did, but after a descriptor that was closed */
		if (err == -EINTR && !any_closed(p))
			return err;
		if (merge(p))
			return merge(p);
		if (deadline != AFU_NEVER && afu_clock_ns() >= deadline)
			return 0;
	}
}

static int do_poll(struct pollfd *user, nfds_t n, int64_t deadline, const sigset_t *mask)
{
	struct pollfd stack[2 * ON_STACK + 2];
	struct afu_sock *held[ON_STACK];
	struct polling p = { .th = afu_thread(), .fds = stack, .held = held, .n = (unsigned int)n };
	size_t pairs = (2 * n + 2) * sizeof *user, bytes = pairs + n * sizeof *p.held;
	int ret;

	afu_call_begin(p.th);
	if (n > ON_STACK) {
		if (n > afu_limit_soft())
			return afu_refuse(AFU_CAUSE_POLL_COUNT);
		p.fds = afu_sys_mmap(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		if (afu_sys_failed(p.fds))
			return afu_refuse(AFU_CAUSE_NO_MEMORY);
	}
	if (p.fds != stack)
		p.held = (void *)((char *)p.fds + pairs);
	p.kernel = p.fds + n;
	if (afu_copy(p.fds, user, n * sizeof *user)) {
		ret = afu_refuse(AFU_CAUSE_BAD_POINTER);
	} else {
		for (unsigned int i = 0; i < p.n; i++)
			p.fds[i].revents = 0;
		ret = run(&p, deadline, mask);
		while (p.n_held)
			afu_view_put(p.held[--p.n_held]);
		if (ret == -EINTR)
			afu_refuse(AFU_CAUSE_INTERRUPTED);
		for (unsigned int i = 0; ret >= 0 && i < p.n; i++) {
			if (afu_copy(&user[i].revents, &p.fds[i].revents, sizeof user[i].revents))
				ret = afu_refuse(AFU_CAUSE_BAD_POINTER);
		}
	}
	if (p.fds != stack)
		afu_sys_munmap(p.fds, bytes);
	return ret;
}

int afunix_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	return (int)afu_return(do_poll(fds, n, afu_wait_deadline_ms(timeout_ms), NULL));
}

static int bad_time(const struct timespec *t)
{
	return t && (t->tv_sec < 0 || t->tv_nsec < 0 || t->tv_nsec >= 1000000000);
}

int afunix_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	if (bad_time(timeout))
		return (int)afu_return(afu_refuse(AFU_CAUSE_POLL_COUNT));
	return (int)afu_return(do_poll(fds, n, afu_wait_deadline_ts(timeout), mask));
}

/* select(2) in terms of poll(2), as the kernel defines the three sets. */
#define READ_SET (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define WRITE_SET (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)

/* Not the macros of libc: a fortified one ends the program beyond FD_SETSIZE. */
static int set_has(int fd, const fd_set *set)
{
	return (((const unsigned long *)(const void *)set)[fd / 64] >> (fd % 64)) & 1;
}

static void set_drop(int fd, fd_set *set)
{
	((unsigned long *)(void *)set)[fd / 64] &= ~(1ul << (fd % 64));
}

static int select_with(struct pollfd *fds, int n, fd_set *r, fd_set *w, fd_set *e, int64_t deadline,
		       const sigset_t *mask)
{
	unsigned int count = 0;
	int ret;

	for (int fd = 0; fd < n; fd++) {
		int events = 0;

		if (r && set_has(fd, r))
			events |= POLLIN | POLLRDNORM;
		if (w && set_has(fd, w))
			events |= POLLOUT | POLLWRNORM;
		if (e && set_has(fd, e))
			events |= POLLPRI;
		if (events)
			fds[count++] = (struct pollfd){ .fd = fd, .events = (short)events };
	}
	ret = do_poll(fds, count, deadline, mask);
	if (ret < 0)
		return ret;
	for (unsigned int i = 0; i < count; i++) {
		if (fds[i].revents & POLLNVAL)
			return afu_refuse(AFU_CAUSE_BAD_DESCRIPTOR);
	}
	ret = 0;
	for (unsigned int i = 0; i < count; i++) {
		int fd = fds[i].fd, got = fds[i].revents, asked = fds[i].events;

		if (asked & POLLIN) {
			if (got & READ_SET)
				ret++;
			else
				set_drop(fd, r);
		}
		if (asked & POLLOUT) {
			if (got & WRITE_SET)
				ret++;
			else
				set_drop(fd, w);
		}
		if (asked & POLLPRI) {
			if (got & POLLPRI)
				ret++;
			else
				set_drop(fd, e);
		}
	}
	return ret;
}

static int do_select(int n, fd_set *r, fd_set *w, fd_set *e, int64_t deadline, const sigset_t *mask)
{
	struct pollfd stack[256], *fds = stack;
	size_t bytes = (size_t)n * sizeof *fds;
	int ret;

	if (n < 0)
		return afu_refuse(AFU_CAUSE_POLL_COUNT);
	/* a set may be longer than FD_SETSIZE says; beyond the table there is nothing */
	if (n > (int)afu_table_size)
		n = (int)afu_table_size;
	if (n > 256) {
		fds = afu_sys_mmap(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
		if (afu_sys_failed(fds))
			return afu_refuse(AFU_CAUSE_NO_MEMORY);
	}
	ret = select_with(fds, n, r, w, e, deadline, mask);
	if (fds != stack)
		afu_sys_munmap(fds, bytes);
	return ret;
}

int afunix_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	int64_t deadline = AFU_NEVER;
	int ret;

	if (timeout) {
		struct timespec t = { timeout->tv_sec + timeout->tv_usec / 1000000,
				      (timeout->tv_usec % 1000000) * 1000 };

		if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
			return (int)afu_return(afu_refuse(AFU_CAUSE_POLL_COUNT));
		deadline = afu_wait_deadline_ts(&t);
	}
	ret = do_select(n, r, w, e, deadline, NULL);
	if (timeout && deadline != AFU_NEVER) {
		int64_t left = deadline - afu_clock_ns();

		/* Linux writes the remaining time back */
		left = left > 0 ? left : 0;
		timeout->tv_sec = left / 1000000000;
		timeout->tv_usec = left % 1000000000 / 1000;
	}
	return (int)afu_return(ret);
}

int afunix_pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout, const sigset_t *mask)
{
	if (bad_time(timeout))
		return (int)afu_return(afu_refuse(AFU_CAUSE_POLL_COUNT));
	return (int)afu_return(do_select(n, r, w, e, afu_wait_deadline_ts(timeout), mask));
}
