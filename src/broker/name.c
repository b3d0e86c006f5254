/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "broker/history.h"
#include "broker/state.h"

#include "base/memory.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

static int64_t wall_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void set_name(struct bsock *s, const void *address, uint32_t length)
{
	s->name.length = length;
	memcpy(s->name.address, address, length);
	if (s->conn) {
		s->conn->name[s->side] = s->name;
		if (s->conn->end[1 - s->side])
			afu_store_names(s->conn->end[1 - s->side]);
	}
	afu_flow_renamed(s);
}

static uint32_t make_key(uint8_t key[2 + sizeof(struct sockaddr_un)], int type, const uint8_t *address,
			 uint32_t length)
{
	key[0] = (uint8_t)type;
	memcpy(key + 1, address + PATH_AT, length - PATH_AT);
	return 1 + length - (uint32_t)PATH_AT;
}

static int stat_fd(int fd, struct statx *st)
{
	/* a hostile filesystem must not hang the broker: no round trip to it */
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
		     STATX_TYPE | STATX_MODE | STATX_UID | STATX_GID | STATX_INO | STATX_NLINK | STATX_CTIME, st);
}

static struct inode_key inode_of(const struct statx *st)
{
	return (struct inode_key){ (uint64_t)st->stx_dev_major << 32 | st->stx_dev_minor, st->stx_ino };
}

static int is_path(int fd)
{
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_PATH);
}

static int is_unix(const uint8_t *address)
{
	sa_family_t family;

	memcpy(&family, address, sizeof family);
	return family == AF_UNIX;
}

enum afu_cause afu_name_begin(struct call *c)
{
	/* the clock that file times are taken from */
	c->socket->bind_began_ns = wall_ns(CLOCK_REALTIME_COARSE);
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_name_bind_path(struct call *c)
{
	struct bsock *s = c->socket, *other;
	struct inode_key key;
	struct statx st;

	enum afu_cause cause;

	/* the broker keeps it: a name of the file, and nothing open whose close may take long */
	if (c->n < 1 || c->n > 2 || !is_path(c->fds[0]))
		return AFU_CAUSE_REQUEST_FORM;
	/* what others are told is the caller's text, but it can't be an abstract name, which would be somebody's */
	if (c->req->length <= PATH_AT || c->req->length > sizeof s->name.address || !is_unix(c->req->data) ||
	    !c->req->data[PATH_AT])
		return AFU_CAUSE_REQUEST_FORM;
	if (s->name.length)
		return AFU_CAUSE_ALREADY_NAMED;
	if (stat_fd(c->fds[0], &st) < 0)
		return AFU_CAUSE_INODE_NOT_FRESH;
	key = inode_of(&st);
	HASH_FIND(by_inode, c->b->by_inode, &key, sizeof key, other);
	if (other)
		return AFU_CAUSE_NAME_IN_USE;
	/*
	 * Nobody adopts somebody else's dead socket file: it must be the caller's own,
	 * under one name, and younger than the call.
	 */
	if (!S_ISSOCK(st.stx_mode) || st.stx_uid != c->who->uid || st.stx_nlink != 1 || !s->bind_began_ns ||
	    (int64_t)st.stx_ctime.tv_sec * 1000000000 + st.stx_ctime.tv_nsec < s->bind_began_ns)
		return AFU_CAUSE_INODE_NOT_FRESH;
	cause = c->n == 2 ? afu_outside_keep(c, 1) : AFU_CAUSE_NONE;
	if (cause)
		return cause;
	s->node = afu_hide ? afu_hide(c->fds[0]) : c->fds[0];
	c->fds[0] = -1;
	afu_file_bound(s);
	s->inode = key;
	HASH_ADD(by_inode, c->b->by_inode, inode, sizeof s->inode, s);
	set_name(s, c->req->data, c->req->length);
	if (c->n == 2)
		afu_store_state(s); /* its holders fetch what came with it */
	return AFU_CAUSE_NONE;
}

static enum afu_cause bind_abstract(struct afu_broker *b, struct bsock *s, const uint8_t *address, uint32_t length)
{
	struct bsock *other;

	s->key_length = make_key(s->key, s->type, address, length);
	HASH_FIND(by_name, b->by_name, s->key, s->key_length, other);
	if (other) {
		s->key_length = 0;
		return AFU_CAUSE_NAME_IN_USE;
	}
	HASH_ADD_KEYPTR(by_name, b->by_name, s->key, s->key_length, s);
	set_name(s, address, length);
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_name_autobind(struct afu_broker *b, struct bsock *s)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	uint32_t candidate = 0;

	if (s->name.length)
		return AFU_CAUSE_NONE;
	if (getrandom(&candidate, sizeof candidate, GRND_NONBLOCK) < 0)
		candidate = (uint32_t)wall_ns(CLOCK_REALTIME);
	for (uint32_t i = 0; i < 1u << 20; i++) {
		char digits[8];

		snprintf(digits, sizeof digits, "%05x", (candidate + i) & 0xfffff);
		memcpy(un.sun_path + 1, digits, 5);
		if (bind_abstract(b, s, (const uint8_t *)&un, PATH_AT + 6) == AFU_CAUSE_NONE)
			return AFU_CAUSE_NONE;
	}
	return AFU_CAUSE_AUTOBIND_FULL;
}

enum afu_cause afu_name_bind_abstract(struct call *c)
{
	struct bsock *s = c->socket;
	enum afu_cause cause;

	if (c->req->length == PATH_AT)
		return afu_name_autobind(c->b, s);
	if (c->req->length <= PATH_AT || c->req->length > sizeof(struct sockaddr_un) || !is_unix(c->req->data) ||
	    c->req->data[PATH_AT])
		return AFU_CAUSE_REQUEST_FORM;
	if (s->name.length)
		return AFU_CAUSE_ALREADY_NAMED;
	cause = c->n ? afu_outside_keep(c, 0) : AFU_CAUSE_NONE;
	if (!cause)
		cause = bind_abstract(c->b, s, c->req->data, c->req->length);
	if (cause)
		afu_outside_drop(c->b, s);
	else if (c->n)
		afu_store_state(s); /* its holders fetch what came with it */
	return cause;
}

void afu_name_drop(struct afu_broker *b, struct bsock *s)
{
	afu_history_released(b, s);
	if (s->node >= 0) {
		HASH_DELETE(by_inode, b->by_inode, s);
		if (!s->file)
			close(s->node);
		s->node = -1;
	}
	if (s->key_length) {
		HASH_DELETE(by_name, b->by_name, s);
		s->key_length = 0;
	}
}

/* Write permission on the inode, as far as mode bits tell; the caller has asked the kernel itself too. */
static int may_write(const struct call *c, const struct statx *st)
{
	if (c->who->uid == 0)
		return 1;
	if (c->who->uid == st->stx_uid)
		return (st->stx_mode & S_IWUSR) != 0;
	/* which groups is asked last, and only if it matters */
	if (!(st->stx_mode & S_IWGRP) == !(st->stx_mode & S_IWOTH))
		return (st->stx_mode & S_IWOTH) != 0;
	if (c->who->gid == st->stx_gid || afu_identity_in_group(c, st->stx_gid))
		return (st->stx_mode & S_IWGRP) != 0;
	return (st->stx_mode & S_IWOTH) != 0;
}

/* The socket that the request's address names: by the inode shown, or by the abstract name. */
static enum afu_cause find_named(struct call *c, int type, struct bsock **found)
{
	if (c->n == 1) {
		struct inode_key key;
		struct statx st;

		if (stat_fd(c->fds[0], &st) < 0)
			return AFU_CAUSE_CONNECT_NOBODY;
		key = inode_of(&st);
		HASH_FIND(by_inode, c->b->by_inode, &key, sizeof key, *found);
		if (!*found)
			return AFU_CAUSE_CONNECT_NOBODY;
		if (!may_write(c, &st))
			return AFU_CAUSE_PATH_DENIED;
		return (*found)->type == type ? AFU_CAUSE_NONE : AFU_CAUSE_CONNECT_TYPE;
	}
	if (c->req->length > PATH_AT && c->req->length <= sizeof(struct sockaddr_un)) {
		uint8_t key[2 + sizeof(struct sockaddr_un)];
		uint32_t length = make_key(key, type, c->req->data, c->req->length);

		HASH_FIND(by_name, c->b->by_name, key, length, *found);
		return *found ? AFU_CAUSE_NONE : AFU_CAUSE_CONNECT_NOBODY;
	}
	return AFU_CAUSE_REQUEST_FORM;
}

enum afu_cause afu_name_find(struct call *c, int type, struct bsock **found)
{
	enum afu_cause cause = find_named(c, type, found);

	/* one that has become the kernel's is reached there */
	return !cause && (*found)->state == AFU_MOVED ? AFU_CAUSE_CONNECT_NOBODY : cause;
}

/* Whose name is asked for; NULL: there is nobody. */
static const struct name *named(const struct call *c)
{
	const struct bsock *s = c->socket;
	const struct flow *f = s->peer_flow;

	switch (c->req->arg[0]) {
	case AFU_NAME_OWN:
		return &s->name;
	case AFU_NAME_SENDER:
		f = afu_flow_find(s, c->req->arg[1]);
		return f ? &f->name[0] : NULL;
	default:
		if (f)
			return &f->name[1];
		return s->conn && s->state != AFU_CONNECTING ? &s->conn->name[1 - s->side] : NULL;
	}
}

enum afu_cause afu_name_autobind_now(struct call *c)
{
	return afu_name_autobind(c->b, c->socket);
}

enum afu_cause afu_name_get(struct call *c)
{
	const struct name *name = named(c);

	if (!name)
		return AFU_CAUSE_NOT_CONNECTED;
	c->reply->length = name->length;
	memcpy(c->reply->data, name->address, name->length);
	return AFU_CAUSE_NONE;
}
