/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Datagrams: who may send to whom, and the memory between them.
 *
 * A flow is made when a socket first sends to another, or connects to it.  The broker
 * alone says, in the flow's own memory, what the sender has to know of the receiver: that
 * it was shut down, is connected back, is connected elsewhere, or is gone.
 */
#include "broker/state.h"

#include "base/memory.h"
#include "channel/waiter.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SENDER, RECEIVER };

enum afu_cause afu_flow_begin(struct afu_broker *b, struct bsock *s)
{
	s->queue_max = b->queue_max;
	s->voices = afu_voices_new();
	if (!s->voices)
		return AFU_CAUSE_NO_MEMORY;
	return afu_connection_watch(b, s);
}

struct flow *afu_flow_find(const struct bsock *s, uint64_t id)
{
	struct flow *f;

	DL_FOREACH2(s->out, f, out_next)
	{
		if (f->id == id)
			return f;
	}
	DL_FOREACH2(s->in, f, in_next)
	{
		if (f->id == id)
			return f;
	}
	return NULL;
}

struct direction *afu_flow_direction(struct call *c, int outgoing)
{
	struct bsock *s = c->socket;
	struct flow *f;

	if (!c->req->arg[0]) {
		/* one that has moved has descriptors to claim, of records that were received before */
		if (!s->conn || (s->state != AFU_CONNECTED && s->state != AFU_MOVED))
			return NULL;
		return &s->conn->from[outgoing ? s->side : 1 - s->side];
	}
	f = afu_flow_find(s, c->req->arg[0]);
	return f && (outgoing ? f->from : f->to) == s ? &f->way : NULL;
}

static struct flow *flow_to(const struct bsock *s, const struct bsock *to)
{
	struct flow *f;

	DL_FOREACH2(s->out, f, out_next)
	{
		if (f->to == to)
			return f;
	}
	return NULL;
}

/*
 * A free slot, -1 if all are taken.  They go round: a holder that was stopped in the middle of a
 * flow that has ended meanwhile still writes into its place, which nobody else should have yet.
 */
static int take_slot(struct bsock *s, unsigned int role)
{
	unsigned int from = s->next_slot[role];

	for (unsigned int i = 0; i < AFU_FLOWS_MAX; i++) {
		unsigned int slot = (from + i) % AFU_FLOWS_MAX;
		uint64_t bit = UINT64_C(1) << (slot % 64);

		if (s->slots[role][slot / 64] & bit)
			continue;
		s->slots[role][slot / 64] |= bit;
		s->next_slot[role] = slot + 1;
		return (int)slot;
	}
	return -1;
}

static void give_slot(struct bsock *s, unsigned int role, unsigned int slot)
{
	s->slots[role][slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}

static void leave_sender(struct flow *f)
{
	if (!f->from)
		return;
	DL_DELETE2(f->from->out, f, out_prev, out_next);
	give_slot(f->from, SENDER, f->slot[SENDER]);
	f->from->removals++;
	f->from = NULL;
}

static void leave_receiver(struct flow *f)
{
	if (!f->to)
		return;
	for (unsigned int i = 0; f->ended && i < AFU_FLOWS_ENDED; i++) {
		if (f->to->ended[i] == f)
			f->to->ended[i] = NULL;
	}
	f->ended = 0;
	DL_DELETE2(f->to->in, f, in_prev, in_next);
	give_slot(f->to, RECEIVER, f->slot[RECEIVER]);
	f->to->removals++;
	f->to = NULL;
}

static void free_flow(struct afu_broker *b, struct flow *f)
{
	leave_sender(f);
	leave_receiver(f);
	afu_rights_fini(b, &f->way);
	close(f->memory);
	free(f->last_filter);
	free(f);
}

/* Changes what the sender is told of the receiver. */
static void tell_sender(const struct flow *f, uint32_t set, uint32_t clear, int wake)
{
	struct afu_channel *ch;

	if (afu_channel_map(f->memory, 0, &ch) < 0)
		return;
	atomic_fetch_and(&ch->side[RECEIVER].flags, ~clear);
	atomic_fetch_or(&ch->side[RECEIVER].flags, set);
	if (wake) {
		struct afu_ring ring = afu_channel_ring(ch, SENDER);

		/* whoever waited for room, or whose messages are thrown away, sees an edge */
		if ((atomic_load(&ch->side[SENDER].want) & (AFU_OUT | AFU_WATCH_OUT)) ||
		    ((set & AFU_SIDE_CLOSED) && afu_ring_occupied(&ring)))
			atomic_fetch_add(&ch->side[SENDER].rooms, 1);
		afu_kick(&ch->side[SENDER]);
	}
	afu_channel_unmap(ch, 0);
}

/* What the receiver's own connection means for a sender. */
static uint32_t relation(const struct bsock *to, const struct bsock *from)
{
	uint32_t self = to == from ? AFU_SIDE_SELF : 0;

	if (to->peer_id)
		return self | (to->peer_id == from->id ? AFU_SIDE_BACK : AFU_SIDE_ELSEWHERE);
	return self ? self | AFU_SIDE_BACK : 0;
}

/* The socket was connected, or is no longer: its senders are told. */
static void retell(struct bsock *s)
{
	struct flow *f;

	DL_FOREACH2(s->in, f, in_next)
	{
		if (f->from)
			tell_sender(f, relation(s, f->from),
				    (AFU_SIDE_BACK | AFU_SIDE_ELSEWHERE) & ~relation(s, f->from),
				    !!(relation(s, f->from) & AFU_SIDE_BACK));
	}
}

/*
 * The sender is gone and nothing is left to read.  The receiver may have taken the last message just
 * now, and ask next who has sent it, or for its descriptors: the flow goes after some others.
 * Whether one went.
 */
static int end(struct afu_broker *b, struct flow *f)
{
	struct bsock *to = f->to;
	struct flow **place = &to->ended[to->n_ended++ % AFU_FLOWS_ENDED], *old = *place;

	*place = f;
	f->ended = 1;
	if (!old)
		return 0;
	old->ended = 0; /* its place is the other's already */
	free_flow(b, old);
	return 1;
}

/* Flows whose sender is gone, and that are empty. */
static void sweep(struct afu_broker *b, struct bsock *s)
{
	struct afu_channel *ch;
	struct flow *f;

	for (f = s->in; f; f = f->in_next) { /* others may go meanwhile, not this one */
		struct afu_ring ring;
		int occupied;

		if (f->from || f->ended || afu_channel_map(f->memory, 0, &ch) < 0)
			continue;
		ring = afu_channel_ring(ch, SENDER);
		occupied = afu_ring_occupied(&ring);
		afu_channel_unmap(ch, 0);
		if (!occupied)
			end(b, f);
	}
}

static enum afu_cause make_inbox(const struct afu_broker *b, struct bsock *s)
{
	if (s->inbox_memory < 0)
		s->inbox_memory = afu_store_memory(b, "afunix:inbox", sizeof(struct afu_inbox));
	return s->inbox_memory < 0 ? AFU_CAUSE_DOMAIN_FULL : AFU_CAUSE_NONE;
}

static enum afu_cause take_slots(struct flow *f, struct bsock *from, struct bsock *to)
{
	int out = take_slot(from, SENDER), in = out < 0 ? -1 : take_slot(to, RECEIVER);

	if (in < 0) {
		if (out >= 0)
			give_slot(from, SENDER, (unsigned int)out);
		return AFU_CAUSE_DOMAIN_FULL;
	}
	f->slot[SENDER] = (unsigned int)out;
	f->slot[RECEIVER] = (unsigned int)in;
	if (afu_store_slot(from, SENDER, f->slot[SENDER]) < 0 ||
	    afu_store_slot(to, RECEIVER, f->slot[RECEIVER]) < 0) {
		give_slot(from, SENDER, f->slot[SENDER]);
		give_slot(to, RECEIVER, f->slot[RECEIVER]);
		return AFU_CAUSE_NO_MEMORY;
	}
	return AFU_CAUSE_NONE;
}

/* The flow between two sockets, made if need be. */
static enum afu_cause open_flow(struct afu_broker *b, struct bsock *from, struct bsock *to,
				struct flow **result)
{
	struct flow *f = flow_to(from, to);
	enum afu_cause cause;
	struct afu_channel *ch;

	*result = f;
	if (f)
		return AFU_CAUSE_NONE;
	sweep(b, to);
	cause = make_inbox(b, to);
	if (cause)
		return cause;
	f = calloc(1, sizeof *f);
	if (!f)
		return AFU_CAUSE_NO_MEMORY;
	f->id = b->next_id++;
	f->memory = afu_store_channel(b, f->id, 0);
	cause = f->memory < 0 ? AFU_CAUSE_DOMAIN_FULL : take_slots(f, from, to);
	if (cause) {
		if (f->memory >= 0)
			close(f->memory);
		free(f);
		return cause;
	}
	if (afu_channel_map(f->memory, 0, &ch) == 0) {
		atomic_store(&ch->side[RECEIVER].flags,
			     relation(to, from) | (to->shut_read ? AFU_SIDE_RSHUT : 0));
		atomic_store(&ch->side[RECEIVER].wants, afu_store_wants(to));
		afu_channel_unmap(ch, 0);
	}
	f->from = from;
	f->to = to;
	f->way.voices = afu_voices_ref(from->voices);
	f->name[SENDER] = from->name;
	f->name[RECEIVER] = to->name;
	DL_APPEND2(from->out, f, out_prev, out_next);
	DL_APPEND2(to->in, f, in_prev, in_next);
	/* the receiver's holders know of the flow before anything can be sent through it */
	afu_store_state(to);
	afu_store_signals(to, f->memory);
	afu_rouse(&to->events->side[0]);
	if (from != to)
		afu_store_state(from);
	*result = f;
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_flow_pair(struct afu_broker *b, struct bsock *one, struct bsock *other)
{
	enum afu_cause cause = open_flow(b, one, other, &one->peer_flow);

	if (!cause)
		cause = open_flow(b, other, one, &other->peer_flow);
	if (cause)
		return cause;
	one->peer_id = other->id;
	other->peer_id = one->id;
	one->state = other->state = AFU_CONNECTED;
	retell(one);
	retell(other);
	afu_store_state(one);
	afu_store_state(other);
	return AFU_CAUSE_NONE;
}

/* Whom the request's address names, as somebody to send to. */
static enum afu_cause find_receiver(struct call *c, struct bsock **to)
{
	enum afu_cause cause;

	if (c->req->arg[0] & AFU_CONNECT_PASS) {
		cause = afu_name_autobind(c->b, c->socket);
		if (cause)
			return cause;
	}
	cause = afu_name_find(c, SOCK_DGRAM, to);
	if (cause)
		return cause;
	if (relation(*to, c->socket) & AFU_SIDE_ELSEWHERE)
		return AFU_CAUSE_DGRAM_PEER_ELSEWHERE;
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_flow_sendto(struct call *c)
{
	enum afu_cause cause;
	struct bsock *to;
	struct flow *f;

	if (c->socket->type != SOCK_DGRAM)
		return AFU_CAUSE_REQUEST_FORM;
	cause = find_receiver(c, &to);
	/* its filter comes first, and the sender sees in the flow's memory what comes then */
	if (cause == AFU_CAUSE_DGRAM_PEER_ELSEWHERE && (afu_store_wants(to) & AFU_WANTS_FILTER))
		cause = AFU_CAUSE_NONE;
	if (!cause)
		cause = open_flow(c->b, c->socket, to, &f);
	if (!cause)
		c->reply->arg[0] = f->id;
	return cause;
}

/*
 * The socket's peer is no longer its peer.  unread: datagrams lie in its queue and are
 * thrown away; then a peer that was connected back is told.
 */
static void give_up_peer(struct afu_broker *b, struct bsock *s, int unread)
{
	struct flow *old = s->peer_flow;
	struct bsock *peer;

	HASH_FIND(by_id, b->by_id, &s->peer_id, sizeof s->peer_id, peer);
	if (unread && peer && peer->peer_id == s->id && peer != s) {
		afu_store_error(peer, ECONNRESET);
		afu_kick(&peer->events->side[0]);
		afu_signal(&peer->events->side[0], AFU_EVENT_ERR);
	}
	s->peer_flow = NULL;
	s->peer_id = 0;
	s->state = AFU_UNCONNECTED;
	/* one to a receiver that is gone was kept for this only */
	if (old && !old->to)
		free_flow(b, old);
}

enum afu_cause afu_flow_connect(struct call *c)
{
	struct bsock *s = c->socket, *to;
	uint64_t before = s->peer_id;
	enum afu_cause cause;
	struct flow *f;

	cause = find_receiver(c, &to);
	if (!cause)
		cause = open_flow(c->b, s, to, &f);
	if (cause)
		return cause;
	if (before && before != to->id)
		give_up_peer(c->b, s, (c->req->arg[0] & AFU_CONNECT_UNREAD) != 0);
	s->peer_flow = f;
	s->peer_id = to->id;
	s->state = AFU_CONNECTED;
	afu_store_state(s);
	retell(s);
	/* also to the same peer again: whatever the old association waited for is over */
	if (before)
		afu_relieve(&s->events->side[0]);
	c->reply->arg[0] = s->state;
	c->reply->arg[1] = f->id;
	c->reply->arg[2] = before && before != to->id;
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_flow_disconnect(struct call *c)
{
	struct bsock *s = c->socket;

	if (s->type != SOCK_DGRAM)
		return AFU_CAUSE_REQUEST_FORM;
	c->reply->arg[0] = s->peer_id != 0;
	if (!s->peer_id || ((c->req->arg[0] & AFU_CONNECT_DEAD) && s->peer_flow && s->peer_flow->to)) {
		c->reply->arg[0] = 0;
		return AFU_CAUSE_NONE;
	}
	give_up_peer(c->b, s, (c->req->arg[0] & AFU_CONNECT_UNREAD) != 0);
	afu_store_state(s);
	retell(s);
	afu_relieve(&s->events->side[0]);
	return AFU_CAUSE_NONE;
}

/* The ids in order; the lists are, since ids grow. */
enum afu_cause afu_flow_list(struct call *c)
{
	const struct bsock *s = c->socket;
	uint64_t ids[sizeof c->reply->data / sizeof(uint64_t)];
	const struct flow *out = s->out, *in;
	uint64_t after = c->req->arg[0];
	unsigned int n = 0;

	if (s->type != SOCK_DGRAM)
		return AFU_CAUSE_REQUEST_FORM;
	sweep(c->b, c->socket);
	in = s->in;
	while ((out || in) && n < sizeof ids / sizeof *ids) {
		const struct flow *f = !in || (out && out->id <= in->id) ? out : in;

		if (out == f)
			out = out->out_next;
		if (in == f)
			in = in->in_next;
		if (f->id > after)
			ids[n++] = f->id;
	}
	c->reply->arg[0] = s->removals;
	c->reply->arg[1] = s->peer_flow ? s->peer_flow->id : 0;
	c->reply->arg[2] = n;
	c->reply->length = (uint32_t)(n * sizeof *ids);
	memcpy(c->reply->data, ids, n * sizeof *ids);
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_flow_get(struct call *c)
{
	const struct bsock *s = c->socket;
	struct flow *f = afu_flow_find(s, c->req->arg[0]);
	uint64_t roles;

	if (!f)
		return AFU_CAUSE_IDENTITY;
	roles = (f->to == s ? 1u : 0u) | (f->from == s ? 2u : 0u);
	c->reply->arg[0] = f->slot[SENDER] | (uint64_t)f->slot[RECEIVER] << 16 | roles << 32;
	c->reply->arg[1] = f->to ? f->to->queue_max : 0;
	c->reply->length = f->name[SENDER].length;
	memcpy(c->reply->data, f->name[SENDER].address, f->name[SENDER].length);
	afu_seal_flow(c, f, (f->to == s ? AFU_PARTY_RECEIVES : 0u) | (f->from == s ? AFU_PARTY_SENDS : 0u));
	afu_call_give(c, f->memory, 1);
	/* of a receiver that is gone nothing counts any more */
	afu_call_give(c, f->to ? f->to->inbox_memory : f->memory, 1);
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_flow_shutdown(struct call *c)
{
	struct bsock *s = c->socket;
	struct flow *f;

	if (!(c->req->arg[0] & 1))
		return AFU_CAUSE_NONE;
	s->shut_read = 1;
	DL_FOREACH2(s->in, f, in_next)
	{
		struct afu_channel *ch;

		/* nobody is woken: a sender that waits for room goes on waiting */
		if (afu_channel_map(f->memory, 0, &ch) < 0)
			continue;
		atomic_fetch_or(&ch->side[RECEIVER].flags, AFU_SIDE_RSHUT);
		afu_channel_unmap(ch, 0);
	}
	return AFU_CAUSE_NONE;
}

void afu_flow_renamed(struct bsock *s)
{
	struct flow *f;

	DL_FOREACH2(s->out, f, out_next)
	{
		f->name[SENDER] = s->name;
		if (f->to)
			afu_store_names(f->to);
	}
	DL_FOREACH2(s->in, f, in_next)
	{
		f->name[RECEIVER] = s->name;
	}
}

void afu_flow_kick(struct bsock *s)
{
	struct flow *f;
	struct afu_channel *ch;

	if (s->events)
		afu_kick(&s->events->side[0]);
	DL_FOREACH2(s->out, f, out_next)
	{
		if (afu_channel_map(f->memory, 0, &ch) < 0)
			continue;
		afu_nudge(&ch->side[RECEIVER], AFU_IN);
		afu_channel_unmap(ch, 0);
	}
	DL_FOREACH2(s->in, f, in_next)
	{
		if (afu_channel_map(f->memory, 0, &ch) < 0)
			continue;
		afu_nudge(&ch->side[SENDER], AFU_OUT);
		afu_channel_unmap(ch, 0);
	}
}

/* The receiver is gone: what lies in the flow goes with it. */
static void close_in(struct afu_broker *b, struct flow *f)
{
	struct bsock *from = f->from;

	/* the filter is run for a sender's peer also when that is gone */
	if (from && from->peer_flow == f)
		f->last_filter = afu_filter_copy(f->to);
	tell_sender(f, AFU_SIDE_CLOSED, AFU_SIDE_BACK | AFU_SIDE_ELSEWHERE, 1);
	leave_receiver(f);
	afu_rights_drop(b, &f->way);
	if (!from || from->peer_flow != f)
		free_flow(b, f);
	if (from)
		afu_store_state(from);
}

/* The sender is gone: what lies in the flow is still delivered. */
static void close_out(struct afu_broker *b, struct flow *f)
{
	struct bsock *to = f->to;
	struct afu_channel *ch;
	int occupied = 0;

	leave_sender(f);
	if (to && afu_channel_map(f->memory, 0, &ch) == 0) {
		struct afu_ring ring = afu_channel_ring(ch, SENDER);

		atomic_fetch_or(&ch->side[SENDER].flags, AFU_SIDE_CLOSED);
		occupied = afu_ring_occupied(&ring);
		afu_channel_unmap(ch, 0);
	}
	if (occupied)
		return;
	if (!to)
		free_flow(b, f);
	else if (end(b, f))
		afu_store_state(to);
}

void afu_flow_close(struct afu_broker *b, struct bsock *s)
{
	/* one to itself first: it goes whole */
	struct flow *f = flow_to(s, s);

	s->peer_flow = NULL;
	if (f)
		free_flow(b, f);
	while (s->in)
		close_in(b, s->in);
	while (s->out)
		close_out(b, s->out);
	afu_voices_unref(b, s->voices);
	s->voices = NULL;
	if (s->inbox_memory >= 0)
		close(s->inbox_memory);
	s->inbox_memory = -1;
}

void afu_flow_abandon(struct afu_broker *b, struct bsock *s)
{
	s->peer_flow = NULL;
	while (s->in)
		free_flow(b, s->in);
	while (s->out)
		free_flow(b, s->out);
	afu_voices_unref(b, s->voices);
	s->voices = NULL;
	if (s->inbox_memory >= 0)
		close(s->inbox_memory);
	s->inbox_memory = -1;
}
