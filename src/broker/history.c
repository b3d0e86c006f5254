/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "broker/history.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

/* A path's inode with its birth, or type and abstract name. */
struct key {
	uint32_t length; /* of the abstract name's bytes; 0: an inode */
	uint64_t device, inode, born_s, born_ns;
	uint8_t bytes[sizeof(((struct bsock *)0)->key)];
};

struct record {
	uint64_t socket;
	struct key key;
	pid_t pid;
	uid_t uid;
	char command[16];
	int64_t since_ns, until_ns;
	UT_hash_handle hh, by_key;
};

struct afu_history {
	struct record *held, *by_key;
	struct record released[AFU_HISTORY_NAMES];
	unsigned int n; /* how many were ever released */
};

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int inode_key(int fd, struct key *key)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO | STATX_BTIME, &st) < 0)
		return -1;
	key->device = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
	key->inode = st.stx_ino;
	if (st.stx_mask & STATX_BTIME) {
		key->born_s = (uint64_t)st.stx_btime.tv_sec;
		key->born_ns = st.stx_btime.tv_nsec;
	}
	return 0;
}

/* What the socket is bound to. */
static int key_of(const struct bsock *s, struct key *key)
{
	memset(key, 0, sizeof *key);
	if (s->node >= 0)
		return inode_key(s->node, key);
	if (!s->key_length)
		return -1;
	key->length = s->key_length;
	memcpy(key->bytes, s->key, s->key_length);
	return 0;
}

/* What the request names. */
static int key_named(const struct call *c, struct key *key)
{
	memset(key, 0, sizeof *key);
	if (c->n && c->req->op != AFU_OP_BIND_ABSTRACT)
		return c->fds[0] < 0 ? -1 : inode_key(c->fds[0], key);
	if (!c->socket || c->req->length <= PATH_AT || c->req->length > sizeof(struct sockaddr_un))
		return -1;
	/* as the names are kept: the type, then the bytes */
	key->bytes[0] = (uint8_t)c->socket->type;
	memcpy(key->bytes + 1, c->req->data + PATH_AT, c->req->length - PATH_AT);
	key->length = 1 + c->req->length - (uint32_t)PATH_AT;
	return 0;
}

static void read_command(pid_t pid, char *to, size_t size)
{
	char path[48];
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, to, size - 1);
	if (fd >= 0)
		close(fd);
	to[n > 0 ? n : 0] = 0;
	to[strcspn(to, "\n")] = 0;
}

static void bound(struct call *c)
{
	struct afu_history *h = c->b->history;
	struct record *r = NULL;
	struct key key;

	if (!h)
		h = c->b->history = calloc(1, sizeof *h);
	if (!h || key_of(c->socket, &key) < 0)
		return;
	HASH_FIND(hh, h->held, &c->socket->id, sizeof c->socket->id, r);
	if (r) /* bound before, and asked to bind automatically again */
		return;
	r = calloc(1, sizeof *r);
	if (!r)
		return;
	*r = (struct record){.socket = c->socket->id,
			     .key = key,
			     .pid = c->who->pid,
			     .uid = c->who->uid,
			     .since_ns = now()};
	read_command(r->pid, r->command, sizeof r->command);
	HASH_ADD(hh, h->held, socket, sizeof r->socket, r);
	HASH_ADD(by_key, h->by_key, key, sizeof r->key, r);
}

void afu_history_released(struct afu_broker *b, const struct bsock *s)
{
	struct afu_history *h = b->history;
	struct record *r = NULL, *to;

	if (!h)
		return;
	HASH_FIND(hh, h->held, &s->id, sizeof s->id, r);
	if (!r)
		return;
	HASH_DELETE(hh, h->held, r);
	HASH_DELETE(by_key, h->by_key, r);
	to = &h->released[h->n++ % AFU_HISTORY_NAMES];
	*to = *r;
	to->until_ns = now();
	free(r);
}

void afu_history_free(struct afu_broker *b)
{
	struct afu_history *h = b->history;
	struct record *r, *next;

	if (!h)
		return;
	HASH_CLEAR(by_key, h->by_key);
	HASH_ITER(hh, h->held, r, next)
	{
		HASH_DELETE(hh, h->held, r);
		free(r);
	}
	free(h);
	b->history = NULL;
}

static const struct record *find_held(const struct afu_history *h, const struct key *key)
{
	struct record *r = NULL;

	HASH_FIND(by_key, h->by_key, key, sizeof *key, r);
	return r;
}

static const struct record *find_released(const struct afu_history *h, const struct key *key)
{
	for (unsigned int i = 0; i < AFU_HISTORY_NAMES && i < h->n; i++) {
		const struct record *r = &h->released[(h->n - 1 - i) % AFU_HISTORY_NAMES];

		if (memcmp(&r->key, key, sizeof *key) == 0)
			return r;
	}
	return NULL;
}

static void write_age(char *to, size_t size, int64_t ns)
{
	int64_t ms = ns / 1000000, s = ms / 1000;

	if (ms < 1000)
		snprintf(to, size, "%d ms", (int)ms);
	else if (s < 120)
		snprintf(to, size, "%d s", (int)s);
	else if (s < 120 * 60)
		snprintf(to, size, "%d min", (int)(s / 60));
	else
		snprintf(to, size, "%ld h", (long)(s / 3600));
}

static void write_holder(const struct call *c, const struct record *r, char *to, size_t size)
{
	char age[32], command[24] = "";

	if (c->who->uid == 0 || c->who->uid == r->uid)
		snprintf(command, sizeof command, " (%s)", r->command[0] ? r->command : "?");
	write_age(age, sizeof age, now() - (r->until_ns ? r->until_ns : r->since_ns));
	if (r->until_ns)
		snprintf(to, size, "last held by pid %d%s until %s ago", (int)r->pid, command, age);
	else
		snprintf(to, size, "held by pid %d%s for %s", (int)r->pid, command, age);
}

/* What to say beside the holder. */
static void add_backlog(const struct call *c, uint64_t id, char *text, size_t size)
{
	const struct bsock *l = NULL;
	size_t n = strlen(text);

	HASH_FIND(by_id, c->b->by_id, &id, sizeof id, l);
	if (l)
		snprintf(text + n, size - n, ", %u connections wait, the backlog is %u", l->pending,
			 l->backlog);
}

static int is_about_a_name(enum afu_cause cause)
{
	switch (cause) {
	case AFU_CAUSE_NAME_IN_USE:
	case AFU_CAUSE_CONNECT_NOBODY:
	case AFU_CAUSE_CONNECT_NOT_LISTENING:
	case AFU_CAUSE_CONNECT_SHUT:
	case AFU_CAUSE_CONNECT_TYPE:
	case AFU_CAUSE_CONNECT_FULL:
	case AFU_CAUSE_PATH_DENIED:
	case AFU_CAUSE_DGRAM_PEER_ELSEWHERE:
	case AFU_CAUSE_DGRAM_QUEUE_FULL:
		return 1;
	default:
		return 0;
	}
}

static void explain(struct call *c, enum afu_cause cause)
{
	const struct record *r;
	struct key key;

	if (!c->b->history || key_named(c, &key) < 0)
		return;
	r = find_held(c->b->history, &key);
	if (!r)
		r = find_released(c->b->history, &key);
	if (!r)
		return;
	write_holder(c, r, c->reply->detail, sizeof c->reply->detail);
	if (cause == AFU_CAUSE_CONNECT_FULL)
		add_backlog(c, r->socket, c->reply->detail, sizeof c->reply->detail);
}

void afu_history_served(struct call *c, enum afu_cause cause)
{
	if (cause == AFU_CAUSE_NONE) {
		if (c->req->op == AFU_OP_BIND_PATH || c->req->op == AFU_OP_BIND_ABSTRACT ||
		    c->req->op == AFU_OP_AUTOBIND)
			bound(c);
	} else if (is_about_a_name(cause) && !c->reply->detail[0]) {
		explain(c, cause);
	}
}
