/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/view.h"

#include "base/cause.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/pool.h"
#include "channel/waiter.h"
#include "library/async.h"
#include "library/domain.h"
#include "library/epoll.h"
#include "library/flows.h"
#include "library/speaker.h"
#include "library/known.h"
#include "library/moved.h"
#include "library/parking.h"
#include "library/screen.h"
#include "library/transfer.h"

#include <fcntl.h>
#include <sys/socket.h>

static struct afu_pool pool = { .size = sizeof(struct afu_sock) };
struct afu_plock afu_view_renewing;

void afu_view_lock(void)
{
	afu_thread_enter(afu_thread());
	afu_plock_acquire(&afu_view_renewing);
}

void afu_view_unlock(void)
{
	afu_plock_release(&afu_view_renewing);
	afu_thread_leave(afu_thread());
}

struct afu_sock *afu_view_new(uint64_t id, int type)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;

	afu_thread_enter(th);
	s = afu_pool_get(&pool);
	afu_thread_leave(th);
	if (!s)
		return NULL;
	s->id = id;
	s->type = type;
	s->fd = -1;
	return s;
}

/* Whether what is mapped as the channel is the one page of the broker's news. */
static int one_page(const struct afu_sock *s, uint32_t state)
{
	return s->type == SOCK_DGRAM || state == AFU_LISTENING;
}

static void unmap_channel(struct afu_sock *s)
{
	struct afu_channel *ch = s->ch;

	s->ch = NULL;
	if (!ch)
		return;
	/* a call that waits on it may still be asleep there: it goes with the next one, or the view */
	if (s->retired)
		afu_channel_unmap(s->retired, s->retired_news);
	s->retired = ch;
	s->retired_news = s->news;
}

static void unmap(struct afu_sock *s)
{
	afu_flows_free(s);
	afu_parking_close(&s->in.parking);
	afu_parking_close(&s->out.parking);
	if (s->ch)
		afu_channel_unmap(s->ch, s->news);
	if (s->retired)
		afu_channel_unmap(s->retired, s->retired_news);
	s->retired = NULL;
	afu_parking_close(&s->outside);
	if (s->ep)
		afu_sys_munmap(s->ep, afu_endpoint_size(s->type));
	s->ch = NULL;
	s->ep = NULL;
}

void afu_view_free(struct afu_sock *s)
{
	struct afu_thread *th = afu_thread();

	afu_async_forget(s);
	unmap(s);
	afu_thread_enter(th);
	afu_pool_put(&pool, s);
	afu_thread_leave(th);
}

int afu_view_map(struct afu_sock *s, int endpoint, int channel, uint32_t state, uint32_t side)
{
	int err = 0, fresh;

	if (!s->ep && endpoint >= 0) {
		void *p;

		err = afu_memory_map(endpoint, afu_endpoint_size(s->type), 1, &p);
		if (err)
			return err;
		s->ep = p;
	}
	/*
	 * What one waited for in a listener's line is the same connection once it is let in, and the
	 * broker's news of datagrams are on one page for life.
	 */
	if (s->ch && s->type != SOCK_DGRAM &&
	    (channel < 0 || (state != s->state && s->state != AFU_CONNECTING)))
		unmap_channel(s);
	if (channel >= 0 && !s->ch) {
		struct afu_channel *ch;

		s->news = one_page(s, state);
		err = afu_channel_map(channel, s->news, &ch);
		if (err)
			return err;
		side &= 1;
		s->own = &ch->side[side];
		s->peer = &ch->side[1 - side];
		s->out = (struct afu_way_out){ afu_channel_ring(ch, side), &s->ep->tx, s->own, s->peer, 0, 0, { 0 } };
		s->in = (struct afu_way_in){ afu_channel_ring(ch, 1 - side), &s->ep->rx, s->own, s->peer, 0, 0, 0, { 0 } };
		s->ch = ch;
		s->channel_id = ch->id;
	}
	fresh = state != s->state;
	atomic_thread_fence(memory_order_release); /* who sees the state sees the view */
	s->state = state;
	/* also what was set while it stood in a listener's line */
	if (state == AFU_CONNECTED && s->type != SOCK_DGRAM && s->ch)
		afu_sock_tell_new(s, s->own);
	if (s->type != SOCK_DGRAM && s->ch)
		afu_sock_signal_watch(s, fresh);
	return 0;
}

/* The broker says that it is a kernel socket now: gets ready for its options to be read.  0 or negative errno. */
static int moved(struct afu_sock *s, const struct afu_reply *reply, int endpoint, int kernel)
{
	int err = s->ep ? 0 : afu_view_map(s, endpoint, -1, s->state, 0);

	if (err)
		return err;
	afu_moved_adopt(s, kernel, (reply->arg[1] & AFU_MOVED_FIRST) != 0);
	return AFU_ELSEWHERE;
}

/* What a reply about a socket brought. */
struct shown {
	int endpoint, channel, outside; /* -1 */
};

static struct shown sort_out(const struct afu_reply *reply, const int *got, unsigned int n, int endpoint)
{
	struct shown to = { -1, -1, -1 };

	if ((reply->arg[2] & AFU_SHOWN_OUTSIDE) && n)
		to.outside = got[--n];
	if (endpoint && n) {
		to.endpoint = *got++;
		n--;
	}
	if (n)
		to.channel = *got;
	return to;
}

/* Keeps the kernel socket of the same name; fd is the caller's still. */
static void keep_outside(struct afu_sock *s, int fd)
{
	int none = 0, copy;

	if (fd < 0 || atomic_load(&s->outside))
		return;
	copy = afu_table_spare(fd);
	if (copy < 0)
		return; /* no number is left: nobody from outside is served here */
	afu_table_set(copy, AFU_TABLE_HIDDEN);
	if (!atomic_compare_exchange_strong(&s->outside, &none, 1 + copy))
		afu_close_hidden(copy);
}

/*
 * The version of what was mapped, which a reply brought: if the page tells of another state the socket has gone on
 * since, and the view is out of date.  The broker writes the state first.
 */
static uint32_t mapped_version(const struct afu_sock *s)
{
	uint32_t version = atomic_load(&s->ep->version);

	return version && __atomic_load_n(&s->ep->now.state, __ATOMIC_RELAXED) != s->state ? version - 1 : version;
}

int afu_view_renew(struct afu_sock *s)
{
	struct afu_request req = { .socket = s->id };
	struct afu_reply reply;
	struct afu_thread *th = afu_thread();
	int got[AFU_MESSAGE_FDS], err = 0;
	unsigned int n = 0;

	afu_thread_enter(th);
	afu_plock_acquire(&afu_view_renewing);
	if (s->state == AFU_MOVED) {
		afu_moved_rest(s);
		err = AFU_ELSEWHERE;
	} else if (afu_sock_stale(s)) {
		uint32_t version = s->ep ? atomic_load(&s->ep->version) : 0;
		int shown = s->ep == NULL; /* only now: another thread may have mapped it while this one waited */

		req.op = shown ? AFU_OP_SHOW : AFU_OP_CHANNEL;
		err = afu_domain_call(&req, &s->fd, shown ? 1 : 0, &reply, got, &n);
		if (!err && shown)
			s->type = (int)(reply.arg[2] & ~(uint64_t)AFU_SHOWN_OUTSIDE);
		if (!err) {
			struct shown what = sort_out(&reply, got, n, shown);

			if (reply.arg[0] == AFU_MOVED)
				err = moved(s, &reply, what.endpoint, what.channel);
			else
				err = afu_view_map(s, what.endpoint, what.channel, (uint32_t)reply.arg[0],
						   (uint32_t)reply.arg[1]);
			if (!err)
				keep_outside(s, what.outside);
		}
		while (n)
			afu_sys_close(got[--n]);
		if (!err && shown)
			version = mapped_version(s);
		if (!err && s->type == SOCK_DGRAM)
			err = afu_flows_renew(s);
		if (!err)
			s->version = version;
	}
	afu_plock_release(&afu_view_renewing);
	afu_thread_leave(th);
	return err;
}

void afu_view_settle(struct afu_sock *s)
{
	uint32_t version = mapped_version(s);

	/* of datagrams the flows are still to be had, unless nothing was ever changed */
	s->version = s->type == SOCK_DGRAM && version ? version - 1 : version;
}

int afu_view_connected(struct afu_sock *s, int channel)
{
	struct afu_thread *th = afu_thread();
	int err = 0;

	afu_thread_enter(th);
	afu_plock_acquire(&afu_view_renewing);
	if (afu_sock_stale(s) && s->ep) {
		err = afu_view_map(s, -1, channel, AFU_CONNECTED, 0);
		if (!err)
			s->version = mapped_version(s);
	}
	afu_plock_release(&afu_view_renewing);
	afu_thread_leave(th);
	return err;
}

struct afu_sock *afu_view_enter(struct afu_thread *th, int fd, int *err)
{
	for (;;) {
		struct afu_sock *s;

		*err = 0;
		afu_thread_enter(th);
		s = afu_fd_sock(fd);
		if (!s) {
			afu_thread_leave(th);
			*err = AFU_ELSEWHERE;
			return NULL;
		}
		atomic_store_explicit(&th->hazard, s, memory_order_relaxed);
		/* relaxed: the closer's membarrier orders it before the look at the table */
		atomic_signal_fence(memory_order_seq_cst);
		if (__builtin_expect(afu_fd_sock(fd) == s && !afu_sock_stale(s), 1))
			return s;
		if (afu_fd_sock(fd) == s) {
			afu_view_get(s);
			afu_view_leave(th);
			*err = afu_view_renew(s);
			afu_view_put(s);
			if (*err)
				return NULL;
			continue;
		}
		afu_view_leave(th);
	}
}

int afu_view_reenter(struct afu_thread *th, struct afu_sock *s)
{
	int err;

	for (;;) {
		afu_thread_enter(th);
		atomic_store_explicit(&th->hazard, s, memory_order_relaxed); /* as in afu_view_enter() */
		atomic_signal_fence(memory_order_seq_cst);
		if (!afu_sock_stale(s))
			return 0;
		afu_view_leave(th);
		err = afu_view_renew(s);
		if (err)
			return err;
	}
}

/* The last number and the last use are gone. */
static void end(struct afu_sock *s, int fd)
{
	afu_epoll_forget_sock(s);
	afu_view_free(s);
	if (fd >= 0) {
		afu_sys_close(fd);
		afu_domain_sync();
	}
	afu_waiters_tidy();
}

void afu_view_put(struct afu_sock *s)
{
	if (afu_unhold(&afu_thread_self, s))
		afu_view_release(s);
}

void afu_view_release(void *object)
{
	struct afu_sock *s = object;
	int last;

	if (atomic_fetch_sub(&s->uses, 1) != 1)
		return;
	afu_table_lock();
	last = s->numbers == 0 && s->hidden && atomic_load(&s->uses) == 0;
	if (last)
		s->hidden = 0;
	afu_table_unlock();
	if (last) {
		afu_table_set(s->fd, 0);
		end(s, s->fd);
	}
}

void afu_view_number(struct afu_sock *s, int fd)
{
	afu_table_lock();
	s->numbers++;
	if (s->fd < 0)
		s->fd = fd;
	afu_table_set(fd, (uintptr_t)s);
	afu_table_unlock();
}

/*
 * After a number went out of the table: 1 if it was the last and nobody uses the view.
 * alive: a number under which the token is still open, or -1.
 */
static int number_gone(struct afu_sock *s, int fd, int alive)
{
	int last;

	afu_table_lock();
	last = --s->numbers == 0;
	if (!last && s->fd == fd) {
		for (unsigned int other = 0; other < afu_table_top(); other++) {
			if (afu_fd_sock((int)other) == s)
				s->fd = (int)other;
		}
	}
	afu_table_unlock();
	if (!last)
		return 0;
	afu_thread_quiesce(s);
	afu_table_lock();
	if (atomic_load(&s->uses)) {
		/* somebody sleeps in a call: the socket lives until the call leaves */
		int dup = alive >= 0 ? afu_table_spare(alive) : -1;

		if (dup >= 0)
			afu_table_set(dup, AFU_TABLE_HIDDEN);
		s->fd = dup;
		s->hidden = 1;
		last = 0;
	}
	afu_table_unlock();
	return last;
}

void afu_view_number_gone(struct afu_sock *s, int fd, int spare)
{
	if (number_gone(s, fd, spare))
		end(s, spare);
	else if (spare >= 0)
		afu_sys_close(spare);
}

struct afu_sock *afu_view_reserve(int fd)
{
	struct afu_sock *s;

	afu_table_lock();
	s = afu_fd_sock(fd);
	if (s)
		s->numbers++;
	afu_table_unlock();
	return s;
}

void afu_view_reserved(struct afu_sock *s, int to)
{
	if (to < 0) {
		afu_view_number_gone(s, -1, -1);
		return;
	}
	afu_table_lock();
	if (s->fd < 0)
		s->fd = to;
	afu_table_set(to, (uintptr_t)s);
	afu_table_unlock();
}

void afu_view_replaced(int fd, int spare)
{
	struct afu_sock *s;

	afu_table_lock();
	s = afu_fd_sock(fd);
	if (s)
		afu_table_set(fd, 0);
	afu_table_unlock();
	if (s)
		afu_view_number_gone(s, fd, spare);
	else
		afu_sys_close(spare);
}

int afu_view_close(int fd)
{
	struct afu_sock *s;
	int spare = -1;

	afu_table_lock();
	s = afu_fd_sock(fd);
	if (s) {
		afu_table_set(fd, 0);
		/*
		 * With other threads about, the number closes together with its entry: a dup()
		 * finds both or neither.  A spare keeps the token for calls that sleep on it.
		 */
		if (!afu_thread_alone())
			spare = afu_table_spare(fd);
		if (spare >= 0)
			afu_sys_close(fd);
	}
	afu_table_unlock();
	if (!s)
		return -EBADF;
	afu_view_number_gone(s, fd, spare < 0 ? fd : spare);
	return 0;
}

/* One more number for a socket that has some, if it has. */
static int number_known(uint64_t id, int fd)
{
	int found = 0;

	afu_table_lock();
	for (unsigned int other = 0; other < afu_table_top() && !found; other++) {
		struct afu_sock *s = afu_fd_sock((int)other);

		if (!s || s->id != id)
			continue;
		s->numbers++;
		afu_table_set(fd, (uintptr_t)s);
		found = 1;
	}
	afu_table_unlock();
	return found;
}

/* The token of a socket that has moved: the kernel socket takes its number. */
static int recognised_moved(struct afu_sock *s, int fd, const struct afu_reply *reply, const int got[2])
{
	afu_view_number(s, fd);
	afu_view_get(s);
	afu_view_lock();
	moved(s, reply, got[0], got[1]);
	afu_view_unlock();
	afu_view_put(s);
	afu_sys_close(got[0]);
	afu_sys_close(got[1]);
	return 1;
}

int afu_view_recognise(int fd)
{
	struct afu_request req = { .op = AFU_OP_SHOW };
	struct afu_reply reply;
	struct afu_sock *s;
	struct shown what;
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n = 0;

	if (afu_domain_call(&req, &fd, 1, &reply, got, &n) < 0)
		return 0;
	if (number_known(reply.socket, fd)) {
		while (n)
			afu_sys_close(got[--n]);
		return 1;
	}
	s = afu_view_new(reply.socket, (int)(reply.arg[2] & ~(uint64_t)AFU_SHOWN_OUTSIDE));
	if (s && reply.arg[0] == AFU_MOVED && n == 2)
		return recognised_moved(s, fd, &reply, got);
	what = sort_out(&reply, got, n, 1);
	err = s ? afu_view_map(s, what.endpoint, what.channel, (uint32_t)reply.arg[0], (uint32_t)reply.arg[1]) : -1;
	if (!err)
		keep_outside(s, what.outside);
	while (n)
		afu_sys_close(got[--n]);
	if (err) {
		if (s)
			afu_view_free(s);
		return 0;
	}
	afu_view_settle(s);
	afu_view_number(s, fd);
	afu_async_inherit(fd);
	return 1;
}

void afu_view_forked(void)
{
	pool.lock = afu_view_renewing = (struct afu_plock){ 0 };
	afu_async_forked();
	afu_flows_forked();
	afu_known_forked();
	afu_speaker_forked();
	afu_seal_forked();
	afu_screen_forked();
	afu_transfer_forked();
	for (unsigned int fd = 0; fd < afu_table_top(); fd++) {
		struct afu_sock *s = afu_fd_sock((int)fd);

		if (!s)
			continue;
		/* the mappings did not follow; the other threads' calls are not ours */
		s->ep = NULL;
		s->ch = s->retired = NULL;
		s->flows = NULL;
		for (int i = 0; i < 2; i++) {
			s->old_flows[i] = NULL;
			s->old_flow[i] = NULL;
			atomic_store(&s->pins[i], 0);
		}
		s->in.parking = s->out.parking = s->outside = 0;
		s->speaker.identity = 0;
		s->peer_name.valid = 0; /* another thread may have been writing it */
		/* none that the page may show: fresh only when all of it is mapped, whatever thread looks */
		s->version = UINT32_MAX;
		atomic_store(&s->uses, 0);
	}
}
