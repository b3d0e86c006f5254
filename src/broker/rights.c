/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Descriptors in flight.
 *
 * The kernel's own are parked in a kernel socketpair of the direction's, and are never
 * received by the broker: closing some of them can take as long as their owner likes.
 * Sockets of ours are a count here.  One that nobody has a descriptor of lives on while it
 * lies in a queue; if that queue can be reached only through sockets of its own kind, the
 * collector finds that and closes them.
 */
#include "broker/state.h"

#include "base/clock.h"
#include "base/closing.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PARKING_BUFFER (4 << 20)
/* So long the broker waits for descriptors to close before it goes on without. */
#define CLOSING_NS 20000000
/* What takes no longer doesn't count; of all its time the broker waits that part at most for the rest. */
#define CLOSING_QUICK_NS 1000000
#define CLOSING_SHARE 50

/*
 * Sockets in one direction.  The kernel counts what accompanies them against the sender's
 * limit of open files; this one is for those who announce parcels and send none.
 */
#define PARCELS_MAX (1u << 17)

enum { TO_PARK, TO_FETCH };

static enum afu_cause make_parking(struct direction *d)
{
	int fds[2], size = PARKING_BUFFER, on = 1;

	if (d->parking[0])
		return AFU_CAUSE_NONE;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return AFU_CAUSE_DOMAIN_FULL;
	/* a parcel is announced by a record, so it is the ring that is full first */
	setsockopt(fds[TO_PARK], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	/* each shows who parked it, and he need not be who announced it */
	setsockopt(fds[TO_FETCH], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	for (int i = 0; i < 2; i++)
		d->parking[i] = 1 + (afu_hide ? afu_hide(fds[i]) : fds[i]);
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_rights_parking(struct call *c)
{
	int outgoing = c->req->arg[1] == 1;
	struct direction *d = afu_flow_direction(c, outgoing);
	enum afu_cause cause;

	if (!d)
		return AFU_CAUSE_NOT_CONNECTED;
	cause = make_parking(d);
	d->handed |= !outgoing;
	if (!cause)
		afu_call_give(c, d->parking[outgoing ? TO_PARK : TO_FETCH] - 1, 1);
	return cause;
}

static void let_go(struct afu_broker *b, struct parcel *p)
{
	struct bsock *s = p->socket;

	DL_DELETE(p->in->parcels, p);
	DL_DELETE2(s->lies_in, p, of_prev, of_next);
	p->in->n_parcels--;
	free(p);
	b->collect = 1;
	if (--s->in_flight == 0 && s->unheld && !s->dropped) {
		s->dropped = 1;
		DL_APPEND2(b->dropped, s, dropped_prev, dropped_next);
	}
}

static enum afu_cause entrust_one(struct call *c, struct direction *d, int fd, uint64_t *id)
{
	struct bsock *s = afu_store_shown(c->b, fd);
	struct parcel *p;

	if (!s)
		return AFU_CAUSE_NOT_A_SOCKET;
	*id = s->id;
	if (d->n_parcels >= PARCELS_MAX)
		return AFU_CAUSE_RIGHTS_IN_FLIGHT;
	p = calloc(1, sizeof *p);
	if (!p)
		return AFU_CAUSE_NO_MEMORY;
	p->number = c->req->arg[1];
	p->socket = s;
	p->in = d;
	s->in_flight++;
	d->n_parcels++;
	DL_APPEND(d->parcels, p);
	DL_APPEND2(s->lies_in, p, of_prev, of_next);
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_rights_entrust(struct call *c)
{
	struct direction *d = afu_flow_direction(c, 1);
	uint64_t ids[AFU_MESSAGE_FDS];

	if (!d)
		return AFU_CAUSE_NOT_CONNECTED;
	for (unsigned int i = 0; i < c->n; i++) {
		enum afu_cause cause = entrust_one(c, d, c->fds[i], &ids[i]);

		for (; cause && i; i--)
			let_go(c->b, d->parcels->prev);
		if (cause)
			return cause;
	}
	/* nobody would ever take them out, and no queue that can be reached would hold them */
	for (unsigned int i = 0; d->ended && i < c->n; i++)
		let_go(c->b, d->parcels->prev);
	c->reply->length = (uint32_t)(c->n * sizeof *ids);
	memcpy(c->reply->data, ids, c->reply->length);
	return AFU_CAUSE_NONE;
}

static struct parcel *find_parcel(const struct direction *d, uint64_t number, uint64_t id)
{
	struct parcel *p;

	DL_FOREACH(d->parcels, p)
	{
		if (p->number == number && p->socket->id == id)
			return p;
	}
	return NULL;
}

/*
 * What was announced before the parcel at hand.  Receivers claim under the lock of their end and in the
 * order of the numbers: those who did not were killed, or the record never came.
 */
static void let_go_before(struct afu_broker *b, struct direction *d, uint64_t number)
{
	while (d->parcels && d->parcels->number < number)
		let_go(b, d->parcels);
}

static enum afu_cause drop_all(struct afu_broker *b, struct direction *d, uint64_t number)
{
	struct parcel *p, *next;

	DL_FOREACH_SAFE(d->parcels, p, next)
	{
		if (p->number == number)
			let_go(b, p);
	}
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_rights_claim(struct call *c)
{
	uint8_t how = c->req->data[0];
	struct direction *d = afu_flow_direction(c, how == AFU_CLAIM_CANCEL);
	struct parcel *p;
	int token;

	if (!d)
		return AFU_CAUSE_NOT_CONNECTED;
	if (how == AFU_CLAIM_TAKE || how == AFU_CLAIM_DROP)
		let_go_before(c->b, d, c->req->arg[1]);
	if (how == AFU_CLAIM_DROP && !c->req->arg[2])
		return drop_all(c->b, d, c->req->arg[1]);
	p = find_parcel(d, c->req->arg[1], c->req->arg[2]);
	if (!p)
		return AFU_CAUSE_IDENTITY;
	if (how == AFU_CLAIM_TAKE || how == AFU_CLAIM_COPY) {
		token = afu_store_token(p->socket);
		if (token < 0)
			return AFU_CAUSE_DOMAIN_FULL;
		afu_rights_held(c->b, p->socket);
		afu_call_give(c, token, 0);
	}
	if (how != AFU_CLAIM_COPY)
		let_go(c->b, p);
	return AFU_CAUSE_NONE;
}

void afu_rights_close(struct afu_broker *b, int fd)
{
	int64_t now = afu_clock_ns(), took;

	/* waiting is a courtesy: whoever parks slow things again and again takes little of everybody's time */
	b->patience_ns += (now - b->patient_ns) / CLOSING_SHARE;
	if (b->patience_ns > CLOSING_NS)
		b->patience_ns = CLOSING_NS;
	b->patient_ns = now;
	took = afu_close_within(fd, CLOSING_QUICK_NS + b->patience_ns);
	if (took > CLOSING_QUICK_NS)
		b->patience_ns = took < CLOSING_QUICK_NS + b->patience_ns ?
					 b->patience_ns - (took - CLOSING_QUICK_NS) :
					 0;
}

/* Whether anything that was sent from here was not received, whatever it is. */
static int is_unread(int fd)
{
	int left = 0;

	return ioctl(fd, SIOCOUTQ, &left) < 0 || left;
}

/*
 * Closes a parking.  What is in it closes too, and that may take as long as somebody likes.  What there is is
 * found out by the other end's count: a receive would wait for a client that was stopped in the middle of one.
 */
static void close_parking(struct afu_broker *b, struct direction *d)
{
	int queued[2], fd[2];

	if (!d->parking[0])
		return;
	for (int i = 0; i < 2; i++) {
		fd[i] = d->parking[i] - 1;
		d->parking[i] = 0;
		if (afu_unhide)
			afu_unhide(fd[i]);
		shutdown(fd[i], SHUT_RDWR);
	}
	for (int i = 0; i < 2; i++)
		queued[i] = is_unread(fd[1 - i]);
	for (int i = 0; i < 2; i++) {
		if (queued[i])
			afu_rights_close(b, fd[i]);
		else
			close(fd[i]);
	}
}

void afu_rights_drop(struct afu_broker *b, struct direction *d)
{
	d->ended = 1;
	while (d->parcels)
		let_go(b, d->parcels);
	close_parking(b, d);
}

void afu_rights_moved(struct afu_broker *b, struct direction *d)
{
	struct parcel *p, *next;

	d->ended = 1;
	DL_FOREACH_SAFE(d->parcels, p, next)
	{
		if (p->moved)
			let_go(b, p);
	}
	close_parking(b, d);
}

void afu_rights_fini(struct afu_broker *b, struct direction *d)
{
	afu_rights_drop(b, d);
	afu_seal_fini(d);
	afu_voices_unref(b, d->voices);
	d->voices = NULL;
}

void afu_rights_held(struct afu_broker *b, struct bsock *s)
{
	b->unheld -= (unsigned int)s->unheld;
	s->unheld = 0;
}

void afu_rights_unheld(struct afu_broker *b, struct bsock *s)
{
	b->collect = 1;
	if (!s->in_flight) {
		afu_connection_close(b, s);
		return;
	}
	afu_store_trust(b, s);
	b->unheld += (unsigned int)!s->unheld;
	s->unheld = 1;
}

void afu_rights_forget(struct afu_broker *b, struct bsock *s)
{
	/* one that only kept itself alive, with others, may lie in queues of those that are closed after it */
	while (s->lies_in)
		let_go(b, s->lies_in);
	afu_rights_held(b, s);
	if (s->dropped)
		DL_DELETE2(b->dropped, s, dropped_prev, dropped_next);
	s->dropped = 0;
}

/* Enters a socket that can be reached; what lies in its queues is looked at later. */
static void reach(struct bsock **todo, struct bsock *s)
{
	if (s->reached)
		return;
	s->reached = 1;
	s->reach_next = *todo;
	*todo = s;
}

static void reach_all(struct bsock **todo, const struct direction *d)
{
	struct parcel *p;

	DL_FOREACH(d->parcels, p)
	{
		reach(todo, p->socket);
	}
}

/* Whatever lies in the queues of a socket that can be received from can be received. */
static void reach_from(struct bsock **todo, const struct bsock *s)
{
	struct flow *f;
	struct bsock *e;

	if (s->conn)
		reach_all(todo, &s->conn->from[1 - s->side]);
	DL_FOREACH2(s->in, f, in_next)
	{
		reach_all(todo, &f->way);
	}
	DL_FOREACH(s->queue, e)
	{
		reach(todo, e);
	}
	DL_FOREACH(s->line, e)
	{
		if (e->conn && e->conn->end[1])
			reach(todo, e->conn->end[1]);
	}
}

/* Closing one may close others, so they are only marked and entered here. */
static void condemn(struct afu_broker *b, struct bsock *s)
{
	s->garbage = 1;
	if (!s->dropped)
		DL_APPEND2(b->dropped, s, dropped_prev, dropped_next);
	s->dropped = 1;
}

static void collect(struct afu_broker *b)
{
	struct bsock *s, *next, *todo = NULL;

	HASH_ITER(by_id, b->by_id, s, next)
	{
		s->reached = 0;
	}
	/* an embryo lives by its listener */
	HASH_ITER(by_id, b->by_id, s, next)
	{
		if (!s->unheld && !s->embryo)
			reach(&todo, s);
	}
	/* a list and no recursion: how deep they lie in each other is up to the clients */
	while ((s = todo) != NULL) {
		todo = s->reach_next;
		reach_from(&todo, s);
	}
	HASH_ITER(by_id, b->by_id, s, next)
	{
		if (s->unheld && !s->reached)
			condemn(b, s);
	}
}

void afu_rights_settle(struct afu_broker *b)
{
	while (b->dropped || (b->collect && b->unheld)) {
		struct bsock *s = b->dropped;

		if (!s) {
			b->collect = 0;
			collect(b);
			continue;
		}
		DL_DELETE2(b->dropped, s, dropped_prev, dropped_next);
		s->dropped = 0;
		if (s->unheld && (s->garbage || !s->in_flight))
			afu_connection_close(b, s);
	}
}
