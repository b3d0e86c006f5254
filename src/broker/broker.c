/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "broker/history.h"
#include "broker/state.h"

#include "base/futex.h"
#include "base/memory.h"
#include "channel/waiter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Some 60 processes more can attach to a domain that is full. */
#define SPARE 256

static uint32_t read_setting(const char *path, uint32_t otherwise)
{
	unsigned int value;
	FILE *f = fopen(path, "re");

	if (!f)
		return otherwise;
	if (fscanf(f, "%u", &value) != 1)
		value = otherwise;
	fclose(f);
	return value;
}

/*
 * The word that sleepers watch: our thread id, marked by the kernel when we die; it wakes
 * somebody only if the word says that somebody waits.
 */
static int make_book(struct afu_broker *b)
{
	struct robust_list_head *head;
	size_t length;
	void *p;

	b->book = afu_memory_make("afunix:book", sizeof *b->book_page);
	if (b->book < 0 || afu_memory_map(b->book, sizeof *b->book_page, 1, &p) < 0)
		return -1;
	b->book_page = p;
	atomic_store(&b->book_page->alive, (uint32_t)afu_sys(SYS_gettid) | FUTEX_WAITERS);
	if (afu_sys(SYS_get_robust_list, 0, &head, &length) == 0)
		head->list_op_pending = (void *)((char *)p - head->futex_offset);
	return afu_memory_seal_writes(b->book);
}

static dev_t device_of_pipes(void)
{
	struct stat st = { 0 };
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return 0;
	fstat(fds[0], &st);
	close(fds[0]);
	close(fds[1]);
	return st.st_dev;
}

struct afu_broker *afu_broker_new(const void *secret, size_t length)
{
	struct afu_broker *b = calloc(1, sizeof *b);

	if (!b || length > sizeof b->secret) {
		free(b);
		return NULL;
	}
	memcpy(b->secret, secret, length);
	b->secret_length = length;
	b->next_id = b->next_process = 1;
	b->somaxconn = read_setting("/proc/sys/net/core/somaxconn", 4096);
	b->sndbuf = read_setting("/proc/sys/net/core/wmem_default", 212992);
	b->rcvbuf = read_setting("/proc/sys/net/core/rmem_default", 212992);
	b->queue_max = read_setting("/proc/sys/net/unix/max_dgram_qlen", 10);
	b->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (b->inotify >= 0 && afu_hide)
		b->inotify = afu_hide(b->inotify);
	b->book = b->outside = b->globs = -1;
	b->pipes = device_of_pipes();
	if (b->inotify < 0 || make_book(b) < 0) {
		afu_broker_free(b);
		return NULL;
	}
	return b;
}

void afu_broker_free(struct afu_broker *b)
{
	struct bsock *s, *next;
	struct afu_client *c, *next_client;

	HASH_ITER(by_id, b->by_id, s, next)
	afu_connection_abandon(b, s);
	HASH_ITER(hh, b->clients, c, next_client)
	afu_broker_client_gone(b, c);
	if (b->book_page) {
		struct robust_list_head *head;
		size_t length;

		atomic_store(&b->book_page->alive, 0);
		afu_futex_wake(&b->book_page->alive, INT32_MAX, 1);
		if (afu_sys(SYS_get_robust_list, 0, &head, &length) == 0)
			head->list_op_pending = NULL;
		munmap(b->book_page, sizeof *b->book_page);
	}
	if (b->book >= 0)
		close(b->book);
	if (b->inotify >= 0)
		close(b->inotify);
	if (b->outside >= 0)
		close(b->outside);
	if (b->globs >= 0)
		close(b->globs);
	afu_history_free(b);
	free(b);
}

int afu_broker_events(const struct afu_broker *b)
{
	return b->inotify;
}

struct afu_client *afu_broker_client_new(struct afu_broker *b)
{
	struct afu_client *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->process = b->next_process++;
	c->page = c->status = -1;
	HASH_ADD(hh, b->clients, process, sizeof c->process, c);
	return c;
}

void afu_broker_client_groups(struct afu_client *c, pid_t pid, const gid_t *groups, unsigned int n)
{
	c->groups_of = pid;
	c->n_groups = n < 64 ? n : 64;
	memcpy(c->groups, groups, c->n_groups * sizeof *groups);
}

void afu_broker_client_gone(struct afu_broker *b, struct afu_client *c)
{
	struct bsock *s, *next;

	afu_waiters_forget(c->process);
	for (unsigned int i = 0; i < c->bells; i++) {
		if (c->bell[i] >= 0)
			close(c->bell[i]);
	}
	free(c->bell);
	afu_identity_forget(c);
	if (c->page >= 0)
		close(c->page);
	HASH_DEL(b->clients, c);
	afu_broker_drain(b);
	/*
	 * It may have been killed between a publish and its wake-up: whoever shares a
	 * socket with it, and the other ends, look again.
	 */
	HASH_ITER(by_id, b->by_id, s, next)
	{
		if (afu_bsock_held(s, c))
			afu_connection_kick(s);
	}
	afu_broker_ring_rest(b);
	free(c);
}

void afu_call_give(struct call *c, int fd, int ours)
{
	c->out->fd[c->out->n] = fd;
	c->out->ours[c->out->n++] = ours;
}

static int take_fd(struct call *c, unsigned int i)
{
	int fd = c->fds[i];

	c->fds[i] = -1;
	return afu_hide ? afu_hide(fd) : fd;
}

/*
 * Memory that others can map and read without harm: of one size, and of ordinary pages, of
 * which there always is one.  Whoever takes it from the broker need not look again.
 */
static int is_page(int fd)
{
	const int fixed = F_SEAL_GROW | F_SEAL_SHRINK;
	int seals = fcntl(fd, F_GET_SEALS);
	struct statfs fs;

	return seals >= 0 && (seals & fixed) == fixed && fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

static enum afu_cause attach(struct call *c)
{
	if (c->req->arg[0] != AFU_PROTOCOL || c->n != 1)
		return AFU_CAUSE_PROTOCOL_ERROR;
	if (c->req->length != c->b->secret_length || memcmp(c->req->data, c->b->secret, c->b->secret_length) != 0)
		return AFU_CAUSE_IDENTITY;
	if (c->client->attached)
		return AFU_CAUSE_REQUEST_FORM;
	if (!is_page(c->fds[0]))
		return AFU_CAUSE_REQUEST_FORM;
	if (getrandom(c->client->key, sizeof c->client->key, 0) != (ssize_t)sizeof c->client->key)
		return AFU_CAUSE_NO_MEMORY;
	c->client->page = take_fd(c, 0);
	c->client->attached = 1;
	c->reply->length = sizeof c->client->key;
	memcpy(c->reply->data, c->client->key, sizeof c->client->key);
	c->reply->arg[0] = c->client->process;
	afu_call_give(c, c->b->book, 1);
	return AFU_CAUSE_NONE;
}

/* A new socket of the caller's, with memory and a token. */
static enum afu_cause make_socket(struct call *c, struct bsock **to)
{
	uint64_t type = c->req->arg[0];
	enum afu_cause cause;
	struct bsock *s;
	int token;

	if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
		return AFU_CAUSE_REQUEST_FORM;
	s = afu_bsock_new(c->b, (int)type);
	if (!s)
		return AFU_CAUSE_NO_MEMORY;
	s->uid = c->who->uid;
	s->gid = c->who->gid;
	cause = afu_store_socket(c->b, s);
	if (!cause && type == SOCK_DGRAM)
		cause = afu_flow_begin(c->b, s);
	token = cause ? -1 : afu_store_token(s);
	if (token < 0) {
		afu_connection_close(c->b, s);
		return cause ? cause : AFU_CAUSE_DOMAIN_FULL;
	}
	afu_bsock_hold(c->b, s, c->client);
	afu_call_give(c, token, 0);
	*to = s;
	return AFU_CAUSE_NONE;
}

static enum afu_cause op_socket(struct call *c)
{
	struct bsock *s;
	enum afu_cause cause = make_socket(c, &s);

	if (cause)
		return cause;
	c->reply->socket = s->id;
	afu_call_give(c, s->memory, 1);
	if (s->events_memory >= 0)
		afu_call_give(c, s->events_memory, 1);
	return AFU_CAUSE_NONE;
}

/* Connects the two; what they share, if it is one thing, in conn. */
static enum afu_cause join(struct call *c, struct bsock *s[2], struct conn **to)
{
	enum afu_cause cause;
	struct conn *conn;

	*to = NULL;
	for (unsigned int i = 0; i < 2; i++)
		afu_identity_record(c, &s[i]->peer);
	if (s[0]->type == SOCK_DGRAM)
		return afu_flow_pair(c->b, s[0], s[1]);
	cause = afu_store_conn(c->b, &conn, 0, 0);
	if (cause)
		return cause;
	for (unsigned int i = 0; i < 2; i++) {
		conn->end[i] = s[i];
		s[i]->conn = conn;
		s[i]->side = i;
		s[i]->state = AFU_CONNECTED;
		afu_store_state(s[i]);
	}
	*to = conn;
	return AFU_CAUSE_NONE;
}

static enum afu_cause op_pair(struct call *c)
{
	struct bsock *s[2] = { NULL, NULL };
	struct conn *conn = NULL;
	enum afu_cause cause;

	cause = make_socket(c, &s[0]);
	if (!cause)
		cause = make_socket(c, &s[1]);
	if (!cause)
		cause = join(c, s, &conn);
	if (cause) {
		for (int i = 0; i < 2; i++) {
			if (s[i])
				afu_connection_close(c->b, s[i]);
		}
		return cause;
	}
	c->reply->socket = s[0]->id;
	c->reply->arg[0] = s[1]->id;
	afu_call_give(c, s[0]->memory, 1);
	afu_call_give(c, s[1]->memory, 1);
	if (conn)
		afu_seal_conn(c, conn, 1u << 0 | 1u << 1);
	afu_call_give(c, conn ? conn->memory : s[0]->events_memory, 1);
	if (!conn)
		afu_call_give(c, s[1]->events_memory, 1);
	return AFU_CAUSE_NONE;
}

static enum afu_cause op_channel(struct call *c)
{
	const struct bsock *s = c->socket;

	if (s->state == AFU_MOVED) {
		afu_moving_tell(c);
		return AFU_CAUSE_NONE;
	}
	c->reply->arg[0] = s->state;
	c->reply->arg[1] = s->side;
	c->reply->arg[2] = (uint64_t)s->type;
	if (s->events_memory >= 0) {
		afu_call_give(c, s->events_memory, 1);
	} else if (s->conn) {
		afu_seal_conn(c, s->conn, 1u << s->side);
		afu_call_give(c, s->conn->memory, 1);
	}
	afu_outside_show(c, s);
	return AFU_CAUSE_NONE;
}

static enum afu_cause op_show(struct call *c)
{
	struct bsock *s;

	if (c->n != 1)
		return AFU_CAUSE_REQUEST_FORM;
	s = afu_store_shown(c->b, c->fds[0]);
	if (!s)
		return AFU_CAUSE_NOT_A_SOCKET;
	afu_rights_held(c->b, s);
	afu_bsock_hold(c->b, s, c->client);
	c->socket = s;
	c->reply->socket = s->id;
	afu_call_give(c, s->memory, 1);
	return op_channel(c);
}

static enum afu_cause op_peercred(struct call *c)
{
	const struct credentials *p = &c->socket->peer;

	c->reply->arg[0] = p->known ? (uint64_t)p->pid : 0;
	c->reply->arg[1] = p->known ? (uint64_t)p->uid << 32 | p->gid : UINT64_MAX;
	c->reply->arg[2] = (uint64_t)p->known;
	afu_identity_asker(c);
	return AFU_CAUSE_NONE;
}

static enum afu_cause op_sync(struct call *c)
{
	return AFU_CAUSE_NONE; /* the work was done before the request was looked at */
}

static int reopen_bell(int fd)
{
	char path[32];

	/* a fresh open file description: nobody can clear its O_NONBLOCK for others */
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && afu_hide ? afu_hide(fd) : fd;
}

/*
 * The write end of an anonymous pipe and nothing else: it is opened again with the
 * broker's rights, which must not reach any file of the caller's choice.
 */
static int is_bell(const struct afu_broker *b, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct statx st;

	/* without a round trip: it may be a file of a hostile filesystem */
	return flags >= 0 && !(flags & O_PATH) && (flags & O_ACCMODE) == O_WRONLY &&
	       statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 && S_ISFIFO(st.stx_mode) &&
	       makedev(st.stx_dev_major, st.stx_dev_minor) == b->pipes;
}

static enum afu_cause op_waiter(struct call *c)
{
	uint64_t index = c->req->arg[0];
	int bell;

	if (c->n != 1 || !is_bell(c->b, c->fds[0]) || index >= AFU_WAITERS ||
	    (index < c->client->bells && c->client->bell[index] >= 0))
		return AFU_CAUSE_REQUEST_FORM;
	if (index >= c->client->bells) {
		unsigned int room = (unsigned int)index + 8;
		int *more = realloc(c->client->bell, room * sizeof *more);

		if (!more)
			return AFU_CAUSE_NO_MEMORY;
		for (unsigned int i = c->client->bells; i < room; i++)
			more[i] = -1;
		c->client->bell = more;
		c->client->bells = room;
	}
	bell = reopen_bell(c->fds[0]);
	if (bell < 0)
		return AFU_CAUSE_DOMAIN_FULL;
	c->client->bell[index] = bell;
	return AFU_CAUSE_NONE;
}

static const struct afu_client *bell_of(const struct afu_broker *b, uint64_t id, unsigned int *index)
{
	uint32_t process = (uint32_t)(id >> 32);
	struct afu_client *other;

	*index = (id >> 16) & 0xffff;
	HASH_FIND(hh, b->clients, &process, sizeof process, other);
	return other && *index < other->bells && other->bell[*index] >= 0 ? other : NULL;
}

static enum afu_cause op_fetch(struct call *c)
{
	unsigned int index;
	const struct afu_client *other = bell_of(c->b, c->req->arg[0], &index);
	int fd;

	if (!other)
		return AFU_CAUSE_IDENTITY;
	fd = reopen_bell(other->bell[index]);
	if (fd < 0)
		return AFU_CAUSE_DOMAIN_FULL;
	afu_call_give(c, other->page, 1);
	afu_call_give(c, fd, 0);
	return AFU_CAUSE_NONE;
}

/* The broker as a waker: it has every bell already. */
static struct afu_broker *ringing;

static int fetch_own(uint64_t id, int *page, int *bell)
{
	unsigned int index;
	const struct afu_client *other = bell_of(ringing, id, &index);

	if (!other)
		return -ESRCH;
	*page = fcntl(other->page, F_DUPFD_CLOEXEC, 0);
	*bell = fcntl(other->bell[index], F_DUPFD_CLOEXEC, 0);
	if (*page >= 0 && *bell >= 0)
		return 0;
	/* it would be taken for a bell, and never ring */
	if (*page >= 0)
		close(*page);
	if (*bell >= 0)
		close(*bell);
	return -EMFILE;
}

static void ring_client(struct afu_broker *b, const struct afu_client *c)
{
	for (unsigned int i = 0; i < c->bells; i++) {
		if (c->bell[i] < 0 || afu_bell_ring_all(c->bell[i]) != -EAGAIN)
			continue;
		/* its owner reads it after this, or there is room by now */
		atomic_fetch_add(&b->book_page->unheard, 1);
		afu_bell_ring_all(c->bell[i]);
	}
}

/*
 * More watchers than a side has slots: rare, and a bell is only a hint.  Any client can say so of
 * any number of sides, so they are rung once, after whatever was to be told.
 */
static int everybody;

static void ring_everybody(struct afu_side *side)
{
	everybody = 1;
}

void afu_broker_ring_rest(struct afu_broker *b)
{
	struct afu_client *c, *next;

	if (!everybody)
		return;
	everybody = 0;
	HASH_ITER(hh, b->clients, c, next)
	{
		ring_client(b, c);
	}
}

void afu_broker_rings(struct afu_broker *b)
{
	static const struct afu_waiter_ops fetching = { NULL, fetch_own };

	ringing = b;
	b->spare = SPARE;
	afu_waiter_ops = &fetching;
	afu_watch_overflow = ring_everybody;
}

static void ring_holders(struct afu_broker *b, const struct bsock *s)
{
	for (unsigned int i = 0; s && i < s->holders; i++) {
		struct afu_client *h;

		HASH_FIND(hh, b->clients, &s->holder[i], sizeof s->holder[i], h);
		/* once, at however many flows it is met */
		if (!h || h->rung == b->rings)
			continue;
		h->rung = b->rings;
		ring_client(b, h);
	}
}

/* Rings everybody that holds the caller's end of the connection, or the other ones. */
static enum afu_cause op_ring(struct call *c)
{
	const struct bsock *s = c->socket;
	struct flow *f;

	c->b->rings++;
	ring_holders(c->b, c->req->arg[0] ? s : s->conn ? s->conn->end[1 - s->side] : NULL);
	if (c->req->arg[0])
		return AFU_CAUSE_NONE;
	DL_FOREACH2(s->out, f, out_next)
	{
		ring_holders(c->b, f->to);
	}
	DL_FOREACH2(s->in, f, in_next)
	{
		ring_holders(c->b, f->from);
	}
	return AFU_CAUSE_NONE;
}

static enum afu_cause op_holder(struct call *c)
{
	return c->n == 1 ? AFU_CAUSE_NAME_IN_USE : AFU_CAUSE_REQUEST_FORM;
}

static const struct {
	enum afu_cause (*serve)(struct call *);
	int names_socket;
} ops[AFU_OPS] = {
	[AFU_OP_ATTACH] = { attach, 0 },
	[AFU_OP_SOCKET] = { op_socket, 0 },
	[AFU_OP_PAIR] = { op_pair, 0 },
	[AFU_OP_SHOW] = { op_show, 0 },
	[AFU_OP_CHANNEL] = { op_channel, 1 },
	[AFU_OP_BIND_BEGIN] = { afu_name_begin, 1 },
	[AFU_OP_BIND_PATH] = { afu_name_bind_path, 1 },
	[AFU_OP_BIND_ABSTRACT] = { afu_name_bind_abstract, 1 },
	[AFU_OP_LISTEN] = { afu_connection_listen, 1 },
	[AFU_OP_CONNECT] = { afu_connection_connect, 1 },
	[AFU_OP_CONNECT_CANCEL] = { afu_connection_cancel, 1 },
	[AFU_OP_ACCEPT] = { afu_connection_accept, 1 },
	[AFU_OP_NAME] = { afu_name_get, 1 },
	[AFU_OP_PEERCRED] = { op_peercred, 1 },
	[AFU_OP_SHUTDOWN] = { afu_connection_shutdown, 1 },
	[AFU_OP_AUTOBIND] = { afu_name_autobind_now, 1 },
	[AFU_OP_PARKING] = { afu_rights_parking, 1 },
	[AFU_OP_ENTRUST] = { afu_rights_entrust, 1 },
	[AFU_OP_CLAIM] = { afu_rights_claim, 1 },
	[AFU_OP_IDENTITY] = { afu_voice_speak, 1 },
	[AFU_OP_WHO] = { afu_voice_who, 1 },
	[AFU_OP_SENDTO] = { afu_flow_sendto, 1 },
	[AFU_OP_DISCONNECT] = { afu_flow_disconnect, 1 },
	[AFU_OP_FLOWS] = { afu_flow_list, 1 },
	[AFU_OP_FLOW] = { afu_flow_get, 1 },
	[AFU_OP_SEAL] = { afu_seal_note, 1 },
	[AFU_OP_SEALED] = { afu_seal_ask, 1 },
	[AFU_OP_RENAMING] = { afu_seal_renaming, 0 },
	[AFU_OP_SYNC] = { op_sync, 0 },
	[AFU_OP_WAITER] = { op_waiter, 0 },
	[AFU_OP_FETCH] = { op_fetch, 0 },
	[AFU_OP_RING] = { op_ring, 1 },
	[AFU_OP_PEERGROUPS] = { afu_identity_groups, 1 },
	[AFU_OP_PEERPIDFD] = { afu_identity_pidfd, 1 },
	[AFU_OP_FILE] = { afu_file_get, 1 },
	[AFU_OP_FILTER] = { afu_filter_tell, 1 },
	[AFU_OP_MOVE] = { afu_moving_request, 1 },
	[AFU_OP_HOLDER] = { op_holder, 0 },
	[AFU_OP_TAKEN] = { afu_outside_moved, 1 },
	[AFU_OP_CLOSING] = { afu_outside_closing, 0 },
	[AFU_OP_EXPOSED] = { afu_outside_globs, 0 },
};

static enum afu_cause serve(struct call *c)
{
	uint32_t op = c->req->op;

	if (op >= AFU_OPS || !ops[op].serve || c->req->length > sizeof c->req->data)
		return AFU_CAUSE_REQUEST_FORM;
	if (!c->client->attached && op != AFU_OP_ATTACH)
		return AFU_CAUSE_IDENTITY;
	if (ops[op].names_socket) {
		HASH_FIND(by_id, c->b->by_id, &c->req->socket, sizeof c->req->socket, c->socket);
		if (!c->socket || c->socket->embryo || !afu_bsock_held(c->socket, c->client))
			return AFU_CAUSE_IDENTITY;
	}
	return ops[op].serve(c);
}

void afu_broker_handle(struct afu_broker *b, struct afu_client *client, const struct afu_caller *who,
		       const struct afu_request *req, int *fds, unsigned int n, struct afu_reply *reply,
		       struct afu_reply_fds *out)
{
	struct call c = { b, client, who, req, fds, n, reply, out, NULL };

	memset(reply, 0, sizeof *reply);
	out->n = 0;
	reply->serial = req->serial;
	/* Close is synchronous: what was let go before this request is closed before it is served. */
	afu_broker_drain(b);
	reply->cause = (uint32_t)serve(&c);
	if (reply->cause)
		afu_outside_refused(&c);
	afu_rights_settle(b);
	afu_broker_ring_rest(b);
	afu_history_served(&c, reply->cause);
	if (reply->cause) {
		for (unsigned int i = 0; i < out->n; i++) {
			if (!out->ours[i])
				close(out->fd[i]);
		}
		out->n = 0;
	}
}
