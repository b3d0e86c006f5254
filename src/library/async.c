/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/async.h"

#include "base/lock.h"
#include "base/sys.h"
#include "channel/waiter.h"
#include "library/view.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>

#define SOCKETS_MAX 256

enum { IO, URGENT, BELLS };

/* What this process has for one socket. */
struct async {
	uint64_t socket; /* 0: none */
	struct afu_waiter *waiter[BELLS];
	_Atomic int bell[BELLS]; /* read ends plus one, for handlers; 0: none */
	_Atomic int fd;		 /* the number that the application used */
};

static struct async asyncs[SOCKETS_MAX];
static unsigned int used; /* of those; only grows */
static struct afu_plock lock;

static struct async *find_locked(uint64_t socket)
{
	for (unsigned int i = 0; i < used; i++) {
		if (asyncs[i].socket == socket)
			return &asyncs[i];
	}
	return NULL;
}

static struct async *make_locked(uint64_t socket)
{
	struct async *a = find_locked(0);

	if (!a && used < SOCKETS_MAX)
		a = &asyncs[used++];
	if (a)
		a->socket = socket;
	return a;
}

/* Makes the bell, if it is wanted, or ends it.  Its id, or 0. */
static uint64_t set_bell_locked(struct async *a, unsigned int which, int wanted,
				const struct f_owner_ex *owner, int signal, uint32_t events)
{
	struct afu_waiter *w = a->waiter[which];

	/* with the old one goes what was entered anywhere: it is another one from now on */
	if (w) {
		atomic_store(&a->bell[which], 0);
		afu_waiter_put(w);
	}
	w = wanted ? afu_waiter_get() : NULL;
	if (w && afu_waiter_signal(w, owner, signal, events) < 0) {
		afu_waiter_put(w);
		w = NULL;
	}
	a->waiter[which] = w;
	if (w)
		atomic_store(&a->bell[which], w->bell_read + 1);
	return w ? w->id : 0;
}

/* What the token says, made true.  The view is entered. */
static void refresh_locked(struct afu_sock *s, int fd, const struct f_owner_ex *owner, int signal)
{
	int io = owner->pid && (atomic_load(&s->ep->status_flags) & O_ASYNC);
	int urgent = owner->pid && s->type == SOCK_STREAM;
	struct async *a = find_locked(s->id);
	uint64_t id[BELLS] = {0, 0};

	if (!a && (io || urgent))
		a = make_locked(s->id);
	if (a) {
		atomic_store(&a->fd, fd);
		id[IO] = set_bell_locked(a, IO, io, owner, signal,
					 AFU_EVENT_IN | AFU_EVENT_OUT | AFU_EVENT_HUP | AFU_EVENT_ERR);
		id[URGENT] = set_bell_locked(a, URGENT, urgent, owner, SIGURG, AFU_EVENT_URG);
		if (!a->waiter[IO] && !a->waiter[URGENT])
			a->socket = 0;
	}
	for (unsigned int i = 0; i < BELLS; i++) {
		uint64_t old = atomic_exchange(&s->ep->signaller[i], id[i]);

		if (old && old != id[i])
			afu_sock_unwatch(s, old);
	}
	atomic_thread_fence(
		memory_order_seq_cst); /* who makes a way for the socket from now on sees the bells */
	if (id[IO] || id[URGENT])
		afu_sock_signal_watch(s, 0);
}

void afu_async_refresh(int fd)
{
	struct afu_thread *th = afu_thread();
	struct f_owner_ex owner = {0};
	struct afu_sock *s;
	int signal, err;

	signal = (int)afu_sys(SYS_fcntl, fd, F_GETSIG);
	if (signal < 0 || afu_sys(SYS_fcntl, fd, F_GETOWN_EX, &owner) < 0)
		return;
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return;
	afu_plock_acquire(&lock);
	refresh_locked(s, fd, &owner, signal);
	afu_plock_release(&lock);
	afu_view_leave(th);
	/* a way that was made meanwhile did not know of the bells yet */
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return;
	afu_sock_signal_watch(s, 0);
	afu_view_leave(th);
}

void afu_async_inherit(int fd)
{
	struct f_owner_ex owner = {0};

	if (afu_sys(SYS_fcntl, fd, F_GETOWN_EX, &owner) == 0 && owner.pid &&
	    owner.pid == (pid_t)afu_sys(SYS_getpid))
		afu_async_refresh(fd);
}

static void end_locked(struct async *a, struct afu_sock *s)
{
	for (unsigned int i = 0; i < BELLS; i++) {
		struct afu_waiter *w = a->waiter[i];
		uint64_t id = w ? w->id : 0;

		if (!w)
			continue;
		atomic_store(&a->bell[i], 0);
		a->waiter[i] = NULL;
		if (s->ep)
			atomic_compare_exchange_strong(&s->ep->signaller[i], &id, 0);
		afu_waiter_put(w);
	}
	a->socket = 0;
}

void afu_async_forget(struct afu_sock *s)
{
	struct afu_thread *th = afu_thread();
	struct async *a;

	if (!used)
		return;
	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	a = find_locked(s->id);
	if (a)
		end_locked(a, s);
	afu_plock_release(&lock);
	afu_thread_leave(th);
}

static void say(siginfo_t *info, int fd, int code, long band)
{
	info->si_fd = fd;
	info->si_code = code;
	info->si_band = band;
}

/* What the kernel says of the socket's own event. */
static void translate(siginfo_t *info, int fd, uint32_t event)
{
	switch (event) {
	case AFU_EVENT_OUT:
		say(info, fd, POLL_OUT, POLLOUT | POLLWRNORM | POLLWRBAND);
		break;
	case AFU_EVENT_HUP:
		say(info, fd, POLL_HUP, POLLHUP | POLLERR);
		break;
	case AFU_EVENT_ERR:
		say(info, fd, POLL_ERR, POLLERR);
		break;
	case AFU_EVENT_URG:
		memset((char *)info + offsetof(siginfo_t, si_code), 0,
		       sizeof *info - offsetof(siginfo_t, si_code));
		info->si_code = SI_KERNEL;
		break;
	default:
		say(info, fd, POLL_IN, POLLIN | POLLRDNORM);
		break;
	}
}

void afu_async_info(int sig, siginfo_t *info)
{
	if (!used || info->si_code != POLL_IN || sig == SIGCHLD || sig == SIGTRAP || sig == SIGSEGV ||
	    sig == SIGBUS || sig == SIGFPE || sig == SIGILL)
		return;
	for (unsigned int i = 0; i < used; i++) {
		for (unsigned int which = 0; which < BELLS; which++) {
			int bell = atomic_load(&asyncs[i].bell[which]);

			if (bell && bell - 1 == info->si_fd) {
				translate(info, atomic_load(&asyncs[i].fd), afu_bell_take(bell - 1));
				return;
			}
		}
	}
}

void afu_async_forked(void)
{
	lock = (struct afu_plock){0};
	memset(asyncs, 0, sizeof asyncs);
	used = 0;
}
