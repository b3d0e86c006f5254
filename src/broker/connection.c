/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "broker/state.h"

#include "base/memory.h"
#include "base/sys.h"
#include "channel/waiter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

/* Tells a listener's holders how many connections wait. */
static void publish_pending(struct bsock *l, int wake)
{
	atomic_store_explicit(&l->events->pending, l->pending, memory_order_release);
	/* release: whoever sees it asks the broker, which orders the rest */
	if (wake)
		afu_wake_one(&l->events->side[0]);
}

static void enqueue(struct bsock *l, struct bsock *embryo)
{
	embryo->listener = l;
	DL_APPEND(l->queue, embryo);
	l->pending++;
	atomic_fetch_add(&l->events->arrived, 1);
	publish_pending(l, 1);
}

static void become_connected(struct bsock *client)
{
	client->state = AFU_CONNECTED;
	if (client->listener)
		afu_identity_copy(&client->peer, &client->listener->peer);
	client->listener = NULL;
	afu_store_state(client);
}

/* Marks one end as gone and tells the other.  reset: whatever lies unread. */
static void hang_up(struct afu_broker *b, struct conn *conn, unsigned int side, int reset)
{
	struct afu_channel *ch;

	/* of one that has moved the kernel tells */
	if (conn->end[1 - side] && conn->end[1 - side]->state != AFU_MOVED &&
	    afu_channel_map(conn->memory, 0, &ch) == 0) {
		struct afu_side *other = &ch->side[1 - side];
		struct afu_ring inward = afu_channel_ring(ch, 1 - side);

		if (reset || afu_ring_unread(&inward))
			atomic_store(&other->error, ECONNRESET);
		atomic_fetch_or(&ch->side[side].flags, AFU_SIDE_CLOSED | AFU_SIDE_RSHUT | AFU_SIDE_WSHUT);
		atomic_fetch_or(&other->flags, AFU_SIDE_RSHUT | AFU_SIDE_WSHUT);
		afu_kick(other);
		afu_signal(other, AFU_EVENT_HUP);
		afu_channel_unmap(ch, 0);
	}
	conn->end[side] = NULL;
	/* what was sent to the one that is gone goes with it */
	afu_rights_drop(b, &conn->from[1 - side]);
	afu_store_conn_unref(b, conn);
}

/* Lets those in the line into the backlog, as far as there is room; at most n. */
static void admit(struct bsock *l, unsigned int n)
{
	while (n-- && l->line && l->pending <= l->backlog) {
		struct bsock *client = l->line, *embryo = client->conn->end[1];
		struct afu_channel *ch;

		DL_DELETE(l->line, client);
		become_connected(client);
		enqueue(l, embryo);
		if (afu_channel_map(client->conn->memory, 0, &ch) == 0) {
			afu_kick(&ch->side[0]);
			afu_channel_unmap(ch, 0);
		}
	}
}

/* A page on which the broker tells the socket's holders its news. */
enum afu_cause afu_connection_watch(struct afu_broker *b, struct bsock *s)
{
	s->events_memory = afu_store_channel(b, s->id, 1);
	if (s->events_memory < 0)
		return AFU_CAUSE_DOMAIN_FULL;
	if (afu_channel_map(s->events_memory, 1, &s->events) == 0)
		return AFU_CAUSE_NONE;
	close(s->events_memory);
	s->events_memory = -1;
	return AFU_CAUSE_DOMAIN_FULL;
}

enum afu_cause afu_connection_listen(struct call *c)
{
	struct bsock *s = c->socket;
	uint32_t backlog = (uint32_t)c->req->arg[0];

	if (s->type == SOCK_DGRAM)
		return AFU_CAUSE_LISTEN_TYPE;
	if (!s->name.length)
		return AFU_CAUSE_LISTEN_UNBOUND;
	if (s->state != AFU_UNCONNECTED && s->state != AFU_LISTENING)
		return AFU_CAUSE_LISTEN_CONNECTED;
	if (s->state == AFU_UNCONNECTED) {
		enum afu_cause cause = afu_connection_watch(c->b, s);

		if (cause)
			return cause;
		atomic_store(&s->events->side[0].flags, (uint32_t)c->req->arg[1] & (AFU_SIDE_RSHUT | AFU_SIDE_WSHUT));
		s->shut_read = (c->req->arg[1] & AFU_SIDE_RSHUT) != 0;
		s->state = AFU_LISTENING;
		afu_store_state(s);
	}
	s->backlog = backlog < c->b->somaxconn ? backlog : c->b->somaxconn;
	afu_identity_record(c, &s->peer);
	admit(s, UINT32_MAX);
	afu_call_give(c, s->events_memory, 1);
	return AFU_CAUSE_NONE;
}

static enum afu_cause make_connection(struct call *c, struct bsock *client, struct bsock *l, struct bsock **embryo)
{
	enum afu_cause cause;
	struct conn *conn;
	struct bsock *e;

	cause = afu_store_conn(c->b, &conn, afu_store_wants(client),
			       AFU_WANTS_EMBRYO | (afu_store_wants(l) & AFU_WANTS_INHERITED));
	if (cause)
		return cause;
	e = afu_bsock_new(c->b, client->type);
	if (!e) {
		afu_store_conn_unref(c->b, conn);
		return AFU_CAUSE_NO_MEMORY;
	}
	e->embryo = 1;
	e->state = AFU_CONNECTED;
	e->name = l->name;
	e->conn = conn;
	e->side = 1;
	afu_identity_record(c, &e->peer);
	afu_file_share(e, l);
	afu_store_inherit(e, l);
	conn->end[0] = client;
	conn->end[1] = e;
	conn->name[0] = client->name;
	conn->name[1] = l->name;
	client->conn = conn;
	client->side = 0;
	client->listener = l;
	*embryo = e;
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_connection_connect(struct call *c)
{
	struct bsock *s = c->socket, *l = NULL, *embryo;
	enum afu_cause cause;
	int full;

	if (s->type == SOCK_DGRAM)
		return afu_flow_connect(c);
	if (c->req->arg[0] & AFU_CONNECT_PASS) {
		cause = afu_name_autobind(c->b, s);
		if (cause)
			return cause;
	}
	cause = afu_name_find(c, s->type, &l);
	if (cause)
		return cause;
	if (l->state != AFU_LISTENING)
		return AFU_CAUSE_CONNECT_NOT_LISTENING;
	if (l->shut_read)
		return AFU_CAUSE_CONNECT_SHUT;
	full = l->pending > l->backlog;
	/* room comes before the own state: one that can't connect anyhow waits without a place in the line */
	if (full && (!(c->req->arg[0] & AFU_CONNECT_WAIT) || s->state != AFU_UNCONNECTED))
		return AFU_CAUSE_CONNECT_FULL;
	if (s->state == AFU_LISTENING)
		return AFU_CAUSE_CONNECT_LISTENING;
	if (s->state != AFU_UNCONNECTED)
		return AFU_CAUSE_CONNECT_AGAIN;
	cause = make_connection(c, s, l, &embryo);
	if (cause)
		return cause;
	/* the embryo is what the listener will hand out; the state of the client is told last */
	if (full || l->line) {
		s->state = AFU_CONNECTING;
		DL_APPEND(l->line, s);
		afu_store_state(s);
	} else {
		become_connected(s);
		enqueue(l, embryo);
	}
	/* whoever connects speaks first, as a rule before anybody has accepted: that is recorded */
	afu_seal_conn(c, s->conn, 1u << 0);
	if (c->req->arg[1] == ((uint64_t)c->who->uid << 32 | c->who->gid) && s->conn->from[0].voices)
		c->reply->arg[1] = afu_voice_admit(c, s->conn->from[0].voices);
	c->reply->arg[0] = s->state;
	afu_call_give(c, s->conn->memory, 1);
	return AFU_CAUSE_NONE;
}

static void forget(struct afu_broker *b, struct bsock *s)
{
	afu_rights_forget(b, s);
	afu_outside_drop(b, s);
	afu_name_drop(b, s);
	afu_file_drop(s);
	afu_identity_drop(&s->peer);
	afu_moving_close(s);
	afu_store_forget(b, s);
	if (s->watch >= 0) {
		HASH_DELETE(by_watch, b->by_watch, s);
		inotify_rm_watch(b->inotify, s->watch);
	}
	if (s->memory >= 0)
		close(s->memory);
	if (s->events)
		afu_channel_unmap(s->events, 1);
	if (s->events_memory >= 0)
		close(s->events_memory);
	HASH_DELETE(by_id, b->by_id, s);
	free(s->holder);
	free(s);
}

/* Takes a waiting socket out of the line; it is unconnected again. */
static void leave_line(struct afu_broker *b, struct bsock *s, int wake)
{
	struct conn *conn = s->conn;
	struct bsock *embryo = conn->end[1];
	struct afu_channel *ch;

	DL_DELETE(s->listener->line, s);
	s->conn = NULL;
	s->listener = NULL;
	s->state = AFU_UNCONNECTED;
	afu_store_state(s);
	/* the state first: who is woken looks at it */
	if (wake && afu_channel_map(conn->memory, 0, &ch) == 0) {
		afu_kick(&ch->side[0]);
		afu_channel_unmap(ch, 0);
	}
	conn->end[0] = conn->end[1] = NULL;
	afu_store_conn_unref(b, conn);
	forget(b, embryo);
}

static void leave_queue(struct bsock *l, struct bsock *embryo)
{
	DL_DELETE(l->queue, embryo);
	l->pending--;
	publish_pending(l, 0);
	embryo->listener = NULL;
}

/* A connection that came out of the line is given back, unless somebody has accepted it already. */
static void withdraw(struct afu_broker *b, struct bsock *s)
{
	struct conn *conn = s->conn;
	struct bsock *embryo = s->state == AFU_CONNECTED && conn ? conn->end[1] : NULL, *l;

	if (!embryo || embryo == s || !embryo->embryo || !embryo->listener)
		return;
	l = embryo->listener;
	leave_queue(l, embryo);
	s->conn = NULL;
	s->state = AFU_UNCONNECTED;
	afu_store_state(s);
	conn->end[0] = conn->end[1] = NULL;
	embryo->conn = NULL;
	afu_store_conn_unref(b, conn);
	forget(b, embryo);
	admit(l, 1);
}

enum afu_cause afu_connection_cancel(struct call *c)
{
	int shut = 0;

	if (c->req->arg[0])
		withdraw(c->b, c->socket);
	if (c->socket->state == AFU_CONNECTING) {
		shut = c->socket->listener->shut_read;
		leave_line(c->b, c->socket, 0);
	}
	c->reply->arg[0] = c->socket->state;
	/* a wait that ends looks once more, as the kernel does */
	return shut ? AFU_CAUSE_CONNECT_SHUT : AFU_CAUSE_NONE;
}

/* The accepted socket's page is there: what was recorded only for an embryo no longer is. */
static void born(struct bsock *s)
{
	struct afu_channel *ch;

	if (afu_channel_map(s->conn->memory, 0, &ch) < 0)
		return;
	atomic_fetch_and(&ch->side[s->side].wants, ~(uint32_t)AFU_WANTS_EMBRYO);
	afu_channel_unmap(ch, 0);
}

/* It became a kernel socket while it waited: that one is accepted, and we are through with it. */
static enum afu_cause accept_moved(struct call *c, struct bsock *l, struct bsock *s)
{
	struct conn *conn = s->conn;
	int fd = fcntl(s->kernel - 1, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return AFU_CAUSE_DOMAIN_FULL;
	leave_queue(l, s);
	c->reply->arg[0] = AFU_MOVED;
	c->reply->length = conn->name[0].length;
	memcpy(c->reply->data, conn->name[0].address, conn->name[0].length);
	afu_call_give(c, fd, 0);
	conn->end[1] = NULL;
	afu_store_conn_unref(c->b, conn);
	forget(c->b, s);
	admit(l, 1);
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_connection_accept(struct call *c)
{
	struct bsock *l = c->socket, *s;
	enum afu_cause cause;
	int token;

	if (l->state != AFU_LISTENING)
		return AFU_CAUSE_ACCEPT_STATE;
	s = l->queue;
	if (!s)
		return l->shut_read ? AFU_CAUSE_ACCEPT_SHUT : AFU_CAUSE_ACCEPT_EMPTY;
	if (s->state == AFU_MOVED)
		return accept_moved(c, l, s);
	s->uid = c->who->uid;
	s->gid = c->who->gid;
	cause = afu_store_socket(c->b, s);
	if (cause)
		return cause;
	token = afu_store_token(s);
	if (token < 0) {
		afu_store_undo(c->b, s);
		return AFU_CAUSE_DOMAIN_FULL;
	}
	leave_queue(l, s);
	s->embryo = 0;
	born(s);
	afu_store_state(s);
	afu_bsock_hold(c->b, s, c->client);
	admit(l, 1);
	c->reply->socket = s->id;
	c->reply->length = s->conn->name[0].length;
	memcpy(c->reply->data, s->conn->name[0].address, s->conn->name[0].length);
	afu_seal_conn(c, s->conn, 1u << s->side);
	afu_call_give(c, token, 0);
	afu_call_give(c, s->memory, 1);
	afu_call_give(c, s->conn->memory, 1);
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_connection_shutdown(struct call *c)
{
	struct bsock *s = c->socket;
	int how = (int)c->req->arg[0]; /* bit 0: reading, bit 1: writing */

	if (s->type == SOCK_DGRAM) {
		afu_outside_shutdown(c->b, s, how - 1);
		return afu_flow_shutdown(c);
	}
	if (s->state != AFU_LISTENING)
		return AFU_CAUSE_NONE;
	afu_outside_shutdown(c->b, s, how - 1);
	if (how & 1)
		s->shut_read = 1;
	atomic_fetch_or(&s->events->side[0].flags, (uint32_t)((how & 1 ? AFU_SIDE_RSHUT : 0) | (how & 2 ? AFU_SIDE_WSHUT : 0)));
	afu_kick(&s->events->side[0]);
	return AFU_CAUSE_NONE;
}

void afu_connection_close(struct afu_broker *b, struct bsock *s)
{
	if (s->type == SOCK_DGRAM) {
		afu_flow_close(b, s);
	} else if (s->state == AFU_LISTENING) {
		while (s->line)
			leave_line(b, s->line, 1);
		while (s->queue) {
			struct bsock *embryo = s->queue;

			DL_DELETE(s->queue, embryo);
			hang_up(b, embryo->conn, 1, 1);
			forget(b, embryo);
		}
	} else if (s->state == AFU_CONNECTING) {
		leave_line(b, s, 0);
	} else if (s->conn) {
		hang_up(b, s->conn, s->side, 0);
	}
	forget(b, s);
}

void afu_connection_kick(struct bsock *s)
{
	struct afu_channel *ch;

	if (s->type == SOCK_DGRAM) {
		afu_flow_kick(s);
		return;
	}
	if (s->events)
		afu_kick(&s->events->side[0]);
	if (!s->conn || afu_channel_map(s->conn->memory, 0, &ch) < 0)
		return;
	afu_kick(&ch->side[0]);
	afu_kick(&ch->side[1]);
	afu_channel_unmap(ch, 0);
}

void afu_connection_abandon(struct afu_broker *b, struct bsock *s)
{
	if (s->conn) {
		s->conn->end[s->side] = NULL;
		afu_store_conn_unref(b, s->conn);
	}
	afu_flow_abandon(b, s);
	/* its holders live on, and nobody would tell them who comes */
	if (s->state == AFU_LISTENING || s->type == SOCK_DGRAM)
		afu_outside_shutdown(b, s, SHUT_RDWR);
	forget(b, s);
}
