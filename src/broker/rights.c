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

#include "base/memory.h"
#include "base/sys.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PARKING_BUFFER (4 << 20)
/* So long the broker waits for descriptors to close before it goes on without. */
#define CLOSING_NS 20000000

enum { TO_PARK, TO_FETCH };

static enum afu_cause make_parking(struct direction *d)
{
	int fds[2], size = PARKING_BUFFER;

	if (d->parking[0])
		return AFU_CAUSE_NONE;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return AFU_CAUSE_DOMAIN_FULL;
	/* a parcel is announced by a record, so it is the ring that is full first */
	setsockopt(fds[TO_PARK], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
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
	if (!cause)
		afu_call_give(c, d->parking[outgoing ? TO_PARK : TO_FETCH] - 1, 1);
	return cause;
}

enum afu_cause afu_rights_entrust(struct call *c)
{
	struct direction *d = afu_flow_direction(c, 1);
	uint64_t ids[AFU_MESSAGE_FDS];

	if (!d)
		return AFU_CAUSE_NOT_CONNECTED;
	for (unsigned int i = 0; i < c->n; i++) {
		struct bsock *s = afu_store_shown(c->b, c->fds[i]);
		struct parcel *p = s ? calloc(1, sizeof *p) : NULL;

		if (!p)
			return s ? AFU_CAUSE_NO_MEMORY : AFU_CAUSE_NOT_A_SOCKET;
		p->number = c->req->arg[1];
		p->socket = s;
		s->in_flight++;
		DL_APPEND(d->parcels, p);
		ids[i] = s->id;
	}
	c->reply->length = (uint32_t)(c->n * sizeof *ids);
	memcpy(c->reply->data, ids, c->reply->length);
	return AFU_CAUSE_NONE;
}

static void let_go(struct afu_broker *b, struct direction *d, struct parcel *p)
{
	struct bsock *s = p->socket;

	DL_DELETE(d->parcels, p);
	free(p);
	b->collect = 1;
	if (--s->in_flight == 0 && s->unheld && !s->dropped) {
		s->dropped = 1;
		DL_APPEND2(b->dropped, s, dropped_prev, dropped_next);
	}
}

enum afu_cause afu_rights_claim(struct call *c)
{
	uint8_t how = c->req->data[0];
	struct direction *d = afu_flow_direction(c, how == AFU_CLAIM_CANCEL);
	struct parcel *p;
	int token;

	if (!d)
		return AFU_CAUSE_NOT_CONNECTED;
	DL_FOREACH(d->parcels, p)
	{
		if (p->number == c->req->arg[1] && p->socket->id == c->req->arg[2])
			break;
	}
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
		let_go(c->b, d, p);
	return AFU_CAUSE_NONE;
}

static void *close_in_thread(void *fd)
{
	close((int)(intptr_t)fd);
	return NULL;
}

/*
 * Closes a parking.  What is in it closes too, and that may take as long as somebody likes;
 * mostly it is at once, and then it is over when this returns.
 */
static void close_parking(int fd)
{
	struct timespec until;
	pthread_t thread;
	int unread = 0;

	if (ioctl(fd, FIONREAD, &unread) < 0 || !unread ||
	    pthread_create(&thread, NULL, close_in_thread, (void *)(intptr_t)fd) != 0) {
		close(fd);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += CLOSING_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	if (pthread_timedjoin_np(thread, NULL, &until) != 0)
		pthread_detach(thread);
}

void afu_rights_drop(struct afu_broker *b, struct direction *d)
{
	while (d->parcels)
		let_go(b, d, d->parcels);
	for (int i = 0; i < 2; i++) {
		if (d->parking[i])
			close_parking(d->parking[i] - 1);
		d->parking[i] = 0;
	}
}

void afu_rights_fini(struct afu_broker *b, struct direction *d)
{
	afu_rights_drop(b, d);
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
	afu_rights_held(b, s);
	if (s->dropped)
		DL_DELETE2(b->dropped, s, dropped_prev, dropped_next);
	s->dropped = 0;
}

static void reach(struct bsock *s);

static void reach_all(const struct direction *d)
{
	struct parcel *p;

	DL_FOREACH(d->parcels, p)
	{
		reach(p->socket);
	}
}

/* Whatever lies in the queues of a socket that can be received from can be received. */
static void reach(struct bsock *s)
{
	struct flow *f;
	struct bsock *e;

	if (s->reached)
		return;
	s->reached = 1;
	if (s->conn)
		reach_all(&s->conn->from[1 - s->side]);
	DL_FOREACH2(s->in, f, in_next)
	{
		reach_all(&f->way);
	}
	DL_FOREACH(s->queue, e)
	{
		reach(e);
	}
	DL_FOREACH(s->line, e)
	{
		if (e->conn && e->conn->end[1])
			reach(e->conn->end[1]);
	}
}

static struct bsock *first_garbage(struct afu_broker *b)
{
	struct bsock *s, *next;

	HASH_ITER(by_id, b->by_id, s, next)
	{
		if (s->unheld && !s->reached)
			return s;
	}
	return NULL;
}

static void collect(struct afu_broker *b)
{
	struct bsock *s, *next;

	HASH_ITER(by_id, b->by_id, s, next)
	{
		s->reached = 0;
	}
	/* an embryo lives by its listener */
	HASH_ITER(by_id, b->by_id, s, next)
	{
		if (!s->unheld && !s->embryo)
			reach(s);
	}
	while ((s = first_garbage(b)) != NULL)
		afu_connection_close(b, s);
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
		if (s->unheld && !s->in_flight)
			afu_connection_close(b, s);
	}
}
