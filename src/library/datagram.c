/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Sending a datagram: where it goes.
 *
 * An address leads to a flow.  The broker finds it the first time; after that the
 * process remembers which inode, or which abstract name, leads to which flow.  That holds
 * for as long as the flow's receiver lives: its name is for life, and the broker keeps
 * the inode's number from being used again.  The path itself is walked each time.
 */
#include "library/transfer.h"

#include "base/cause.h"
#include "base/clock.h"
#include "base/limit.h"
#include "library/domain.h"
#include "library/flows.h"
#include "library/speaker.h"
#include "library/holder.h"
#include "library/outside.h"
#include "library/screen.h"
#include "library/view.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif

#define REMEMBERED 64

/* What leads to a flow: the address itself if it is abstract, else the inode. */
struct way {
	uint64_t socket; /* the sender's */
	uint64_t flow;
	uint64_t device, inode;
	uint32_t length; /* 0: by inode */
	uint8_t address[sizeof(struct sockaddr_un)];
};

static struct way ways[REMEMBERED];
static unsigned int next_way;
static struct afu_plock lock;

static int same_way(const struct way *one, const struct way *other)
{
	return one->socket == other->socket && one->length == other->length && one->device == other->device &&
	       one->inode == other->inode && memcmp(one->address, other->address, one->length) == 0;
}

/* The flow that was remembered for it; 0. */
static uint64_t recall(const struct way *w)
{
	struct afu_thread *th = afu_thread();
	uint64_t flow = 0;

	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	for (unsigned int i = 0; i < REMEMBERED && !flow; i++) {
		if (ways[i].flow && same_way(&ways[i], w))
			flow = ways[i].flow;
	}
	afu_plock_release(&lock);
	afu_thread_leave(th);
	return flow;
}

static void remember(const struct way *w)
{
	struct afu_thread *th = afu_thread();

	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	ways[next_way++ % REMEMBERED] = *w;
	afu_plock_release(&lock);
	afu_thread_leave(th);
}

void afu_transfer_forked(void)
{
	lock = (struct afu_plock){0};
	/* another thread may have been writing there */
	memset(ways, 0, sizeof ways);
}

int afu_transfer_open_path(const char *path, int flags)
{
	int fd = (int)afu_sys(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC | flags);

	if (fd == -EMFILE) {
		struct afu_limit limit = afu_limit_raise();

		fd = (int)afu_sys(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC | flags);
		afu_limit_restore(limit);
	}
	return fd;
}

int afu_transfer_open(const struct afu_name *name)
{
	int fd = afu_transfer_open_path(name->un.sun_path, 0), err;
	struct stat st;

	if (fd < 0)
		return afu_refuse_path(-fd, name->un.sun_path);
	err = (int)afu_sys(SYS_faccessat2, fd, "", 2 /* W_OK */, AT_EMPTY_PATH | AT_EACCESS);
	if (err == 0) {
		if (afu_sys(SYS_fstat, fd, &st) == 0 && S_ISSOCK(st.st_mode))
			return fd;
		afu_sys_close(fd);
		return afu_refuse_as(AFU_CAUSE_CONNECT_NOBODY, ECONNREFUSED, name->un.sun_path);
	}
	afu_sys_close(fd);
	if (err == -EACCES)
		return afu_refuse_as(AFU_CAUSE_PATH_DENIED, EACCES, name->un.sun_path);
	return afu_refuse_path(-err, name->un.sun_path);
}

static int is_alive(struct afu_sock *s, uint64_t id)
{
	const struct afu_flow *f = id ? afu_flows_find(afu_sock_flows(s), id) : NULL;

	return f && !(afu_side_flags(f->out.peer) & AFU_SIDE_CLOSED);
}

/* The flow to a name; the view is in use.  0 or negative errno. */
static int resolve(struct afu_sock *s, const struct afu_name *name, uint64_t *flow)
{
	struct afu_request req = {.op = AFU_OP_SENDTO, .socket = s->id};
	struct way w = {.socket = s->id};
	struct afu_reply reply;
	int node = -1, got[AFU_MESSAGE_FDS], err;
	struct stat st;
	unsigned int n;

	if (name->abstract) {
		w.length = req.length = name->length;
		memcpy(w.address, &name->un, name->length);
		memcpy(req.data, &name->un, name->length);
	} else {
		node = afu_transfer_open(name);
		if (node < 0)
			return node;
		afu_sys(SYS_fstat, node, &st);
		w.device = st.st_dev;
		w.inode = st.st_ino;
	}
	*flow = recall(&w);
	err = 0;
	if (!is_alive(s, *flow)) {
		err = afu_domain_call(&req, node >= 0 ? &node : NULL, node >= 0, &reply, got, &n);
		if (!err) {
			*flow = w.flow = reply.arg[0];
			remember(&w);
		}
	}
	if (node >= 0)
		afu_sys_close(node);
	return err ? afu_holder_name(name, err) : 0;
}

/* The peer was found dead: the association ends, and what lies in the queue is thrown away.  The view is in
 * use. */
static int peer_died(struct afu_sock *s, struct afu_thread *th)
{
	struct afu_request req = {.op = AFU_OP_DISCONNECT, .arg = {AFU_CONNECT_DEAD}};
	struct afu_reply reply;
	int err;

	err = afu_domain_ask(&req, s->id, NULL, 0, &reply);
	if (err)
		return err;
	if (reply.arg[0])
		afu_dgram_purge(s, th);
	return afu_refuse(AFU_CAUSE_DGRAM_PEER_DEAD);
}

/* Whether the caller's buffers can be read at all: that is looked at before the destination. */
static int readable(const struct afu_transfer *t)
{
	struct afu_iter it = {t->iov, t->n, 0};
	size_t left = t->length;
	char scratch[4096];

	while (left) {
		size_t part = left < sizeof scratch ? left : sizeof scratch;

		if (afu_iter_gather(&it, scratch, part))
			return 0;
		left -= part;
	}
	return 1;
}

/* What is looked at before the destination: 0, or the refusal that comes first. */
static int graver(const struct afu_transfer *t, struct afu_sock *s, struct afu_sending *m)
{
	int err = m->rights ? m->park(m, s, NULL, 0) : 0;

	if (!err && !readable(t))
		err = afu_refuse(AFU_CAUSE_BAD_POINTER);
	return err;
}

/* One attempt at one destination. */
struct sending {
	const struct afu_transfer *t;
	const struct afu_destination *to;
	struct afu_sending *m;
	struct afu_patience p;
	uint64_t flow; /* where the address leads; 0: not known yet */
	int admitted;  /* what precedes the destination was looked at */
	struct afu_screen *screen; /* the last filter that was fetched */
};

/* Whether the message has to say who sends it, and does not yet. */
static int unidentified(const struct afu_sock *s, uint32_t wants, const struct afu_sending *m)
{
	return ((wants & AFU_WANTS_IDENTITY) || m->claim || s->ep->option[SO_PASSCRED] || s->ep->option[AFU_SO_PASSPIDFD]) &&
	       !m->identity;
}

/* Whether the receiver's filter, if it has one, is at hand. */
static int screened(struct sending *c, const struct afu_sock *s, const struct afu_flow *flow, uint32_t wants)
{
	uint32_t version = afu_screen_wanted(wants);

	c->m->screen = NULL;
	if (__builtin_expect(!version, 1))
		return 1;
	if ((c->screen->version != version || c->screen->flow != flow->id) &&
	    !afu_screen_recall(s, flow->id, version, c->screen))
		return 0;
	c->m->screen = c->screen;
	return 1;
}

static uint32_t wants_of(const struct afu_flow *flow)
{
	/* relaxed: a message that crosses a change of the option may go either way */
	return atomic_load_explicit(&flow->out.peer->wants, memory_order_relaxed);
}

enum { UNIDENTIFIED = 1, UNSCREENED };
/* No result of a call. */
enum { AGAIN = -100000 };

/* Outside the view: waits, or asks.  AGAIN, or what ends the call. */
static ssize_t beyond(struct sending *c, struct afu_sock *s, struct afu_thread *th, struct afu_flow *flow,
		      int why)
{
	ssize_t err;

	switch (why) {
	case UNIDENTIFIED:
		err = afu_speaker_identity(s, c->m->claim, &c->m->identity);
		break;
	case UNSCREENED:
		err = afu_screen_fetch(s, flow->id, afu_screen_wanted(wants_of(flow)), c->screen);
		break;
	case -EBUSY:
		err = afu_sock_busy(s, th, &c->p);
		if (err && err != AFU_ELSEWHERE)
			err = afu_refuse(err == -EINTR ? AFU_CAUSE_INTERRUPTED : AFU_CAUSE_SEND_FULL);
		break;
	case -EAGAIN:
		err = flow ? afu_dgram_await_queue(s, th, flow, &c->p) : afu_dgram_await_buffer(s, th, &c->p);
		break;
	case -ESHUTDOWN:
		if (flow == afu_sock_flows(s)->peer)
			return peer_died(s, th);
		c->flow = 0;
		err = 0;
		break;
	default:
		err = resolve(s, &c->to->name, &c->flow);
		if (err) {
			int first = graver(c->t, s, c->m);

			if (first)
				return first;
		}
		if (err == -ECONNREFUSED && afu_thread_self.refusal.cause == AFU_CAUSE_CONNECT_NOBODY &&
		    !afu_domain_embedded())
			return afu_outside_send(s, c->t, c->to, c->m);
		break;
	}
	return err ? err : AGAIN;
}

/* In the view: AGAIN with *why and *flow set if something is to be done outside, or the call's result. */
static ssize_t attempt(struct sending *c, struct afu_sock *s, struct afu_thread *th, struct afu_flow **flow,
		       int *why)
{
	struct afu_flows *f = afu_sock_flows(s);
	struct afu_iter it = {c->t->iov, c->t->n, 0};
	ssize_t n = c->admitted ? 0 : afu_dgram_admit(s, c->t->length, c->m);
	uint32_t wants;

	*flow = NULL;
	if (n == -EAGAIN) {
		*why = -EAGAIN;
		return AGAIN;
	}
	if (n)
		return n;
	c->admitted = 1;
	if (c->to) {
		*flow = c->flow ? afu_flows_find(f, c->flow) : NULL;
		*why = 0;
		if (!*flow)
			return AGAIN;
	} else {
		*flow = f ? f->peer : NULL;
		if (!*flow) {
			n = graver(c->t, s, c->m);
			return n ? n : afu_refuse(AFU_CAUSE_NOT_CONNECTED);
		}
	}
	wants = wants_of(*flow);
	if (__builtin_expect(unidentified(s, wants, c->m), 0) && !c->m->claim)
		c->m->identity = afu_speaker_known(s);
	if (__builtin_expect(unidentified(s, wants, c->m), 0)) {
		*why = UNIDENTIFIED;
		return AGAIN;
	}
	if (!screened(c, s, *flow, wants)) {
		*why = UNSCREENED;
		return AGAIN;
	}
	n = afu_dgram_put(s, th, *flow, &it, c->t->length, c->m);
	if (__builtin_expect(n < 0 && n != -EBUSY, 0)) {
		int first = graver(c->t, s, c->m);

		if (first)
			return first;
	}
	if (n == -EAGAIN || n == -EBUSY || n == -ESHUTDOWN) {
		*why = (int)n;
		return AGAIN;
	}
	return n;
}

ssize_t afu_transfer_datagram(struct afu_sock *s, struct afu_thread *th, const struct afu_transfer *t,
			      const struct afu_destination *to, struct afu_sending *m)
{
	struct afu_screen room;
	struct sending c = {.t = t, .to = to, .m = m, .screen = &room};
	uint32_t rounds = 0;
	int err = 0, used = 0;

	room.version = 0;
	c.p.nonblocking = afu_transfer_patience(&c.p, s, th, t->flags, s->ep->sndtimeo_ns);
	c.p.rounds = &rounds;
	for (;;) {
		struct afu_flow *flow;
		int why = 0;
		ssize_t n = attempt(&c, s, th, &flow, &why);

		/* once admitted, the kernel has made a buffer, and to free it is an event */
		if (__builtin_expect(n < 0 && n != AGAIN && c.admitted, 0))
			afu_relieve(s->own);
		if (__builtin_expect(n == AGAIN, 0)) {
			_Atomic uint32_t *pin;

			if (!used++)
				afu_view_get(s);
			pin = afu_flows_pin(th, s);
			afu_view_leave(th);
			n = beyond(&c, s, th, flow, why);
			if (n < 0 && n != AGAIN && c.admitted)
				afu_relieve(s->own);
			afu_flows_unpin(th, s, pin);
		} else {
			afu_view_leave(th);
		}
		if (n == AGAIN) {
			err = afu_view_reenter(th, s);
			if (!err)
				continue;
			n = err;
		}
		if (used)
			afu_view_put(s);
		return n;
	}
}
