/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Who speaks.  A message that carries credentials names an identity, which its sender
 * had to prove to the broker: the request for it was carried by the kernel in that very
 * name.  The receiver asks who it is, and is told only if that identity was proved at the
 * end that the message came from.
 */
#include "broker/state.h"

#include "base/memory.h"
#include "base/sys.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The latest are never forgotten, and more than that many cannot speak at one end. */
#define VOICES_RECENT 64
#define VOICES_MAX 4096
#define KEYS_MAX 4

struct voices *afu_voices_new(void)
{
	struct voices *v = calloc(1, sizeof *v);

	if (v)
		v->refs = 1;
	return v;
}

struct voices *afu_voices_ref(struct voices *v)
{
	if (v)
		v->refs++;
	return v;
}

static void unlist(struct afu_broker *b, struct voice *who)
{
	if (who->listed)
		HASH_DELETE(hh, b->voices, who);
	who->listed = 0;
}

static void unref(struct afu_broker *b, struct voice *who)
{
	if (--who->refs)
		return;
	unlist(b, who);
	if (who->pidfd >= 0)
		afu_close_hidden(who->pidfd);
	free(who);
}

void afu_voices_unref(struct afu_broker *b, struct voices *v)
{
	if (!v || --v->refs)
		return;
	for (unsigned int i = 0; i < v->n; i++)
		unref(b, v->who[i].voice);
	free(v->who);
	free(v);
}

/* Of a process that ended the number may be somebody else's by now. */
static int is_alive(const struct voice *who)
{
	struct pollfd p = { .fd = who->pidfd, .events = POLLIN };

	return who->pidfd >= 0 && poll(&p, 1, 0) == 0;
}

/* Whoever spoke in the same name anywhere in the domain, if it is still the same process. */
static struct voice *find(struct afu_broker *b, const struct voice_key *key)
{
	struct voice *who;

	HASH_FIND(hh, b->voices, key, sizeof *key, who);
	if (who && !is_alive(who)) {
		unlist(b, who);
		who = NULL;
	}
	return who;
}

static struct voice *make(struct afu_broker *b, const struct voice_key *key)
{
	struct voice *who = calloc(1, sizeof *who);

	if (!who)
		return NULL;
	who->id = b->next_id++;
	who->who = *key;
	who->pidfd = (int)afu_sys(SYS_pidfd_open, key->pid, 0);
	if (who->pidfd >= 0 && afu_hide)
		who->pidfd = afu_hide(who->pidfd);
	who->listed = 1;
	HASH_ADD(hh, b->voices, who, sizeof who->who, who);
	return who;
}

/*
 * Whoever is gone is forgotten once many others have spoken after him: an end that short-lived
 * processes inherit must not cost the broker a descriptor for each of them.
 */
static void forget_gone(struct afu_broker *b, struct voices *v)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < v->n; i++) {
		if (i + VOICES_RECENT < v->n && !is_alive(v->who[i].voice))
			unref(b, v->who[i].voice);
		else
			v->who[kept++] = v->who[i];
	}
	v->n = kept;
}

/* One that executes programs has a key in each: the latest few are enough. */
static void forget_keys(struct afu_broker *b, struct voices *v, const struct voice *who)
{
	unsigned int first = 0, keys = 0;

	for (unsigned int i = v->n; i-- > 0;) {
		if (v->who[i].voice != who)
			continue;
		first = i;
		keys++;
	}
	if (keys < KEYS_MAX)
		return;
	unref(b, v->who[first].voice);
	memmove(&v->who[first], &v->who[first + 1], (--v->n - first) * sizeof *v->who);
}

static int add(struct afu_broker *b, struct voices *v, struct voice *who, const uint64_t key[2])
{
	if (v->n == v->room && v->n >= 2 * VOICES_RECENT)
		forget_gone(b, v);
	if (v->n >= VOICES_MAX)
		return -1;
	if (v->n == v->room) {
		unsigned int room = v->room ? 2 * v->room : 2;
		struct spoken *more = realloc(v->who, room * sizeof *more);

		if (!more)
			return -1;
		v->who = more;
		v->room = room;
	}
	v->who[v->n++] = (struct spoken){ who, { key[0], key[1] } };
	who->refs++;
	return 0;
}

uint64_t afu_voice_admit(struct call *c, struct voices *v)
{
	const uint64_t *own = c->client->key;
	struct voice_key key;
	struct voice *who;

	memset(&key, 0, sizeof key); /* it is compared as bytes */
	key.pid = c->who->pid;
	key.uid = c->who->uid;
	key.gid = c->who->gid;
	who = find(c->b, &key);
	for (unsigned int i = 0; who && i < v->n; i++) {
		if (v->who[i].voice == who && v->who[i].key[0] == own[0] && v->who[i].key[1] == own[1])
			return who->id;
	}
	if (!who)
		who = make(c->b, &key);
	if (!who)
		return 0;
	who->refs++;
	forget_keys(c->b, v, who);
	if (add(c->b, v, who, own) < 0) {
		unref(c->b, who);
		return 0;
	}
	who->refs--;
	return who->id;
}

/* Those at the caller's own end. */
static struct voices *own_voices(const struct bsock *s)
{
	if (s->type == SOCK_DGRAM)
		return s->voices;
	return s->conn ? s->conn->from[s->side].voices : NULL;
}

enum afu_cause afu_voice_speak(struct call *c)
{
	struct voices *v = own_voices(c->socket);

	if (!v)
		return AFU_CAUSE_NOT_CONNECTED;
	afu_seal_voice(c, c->socket);
	c->reply->arg[0] = afu_voice_admit(c, v);
	return c->reply->arg[0] ? AFU_CAUSE_NONE : AFU_CAUSE_NO_MEMORY;
}

enum afu_cause afu_voice_who(struct call *c)
{
	const struct direction *d = afu_flow_direction(c, 0);
	const struct voices *v = d ? d->voices : NULL;

	for (unsigned int i = 0; v && i < v->n; i++) {
		const struct voice *who = v->who[i].voice;

		if (who->id != c->req->arg[1])
			continue;
		c->reply->arg[0] = (uint64_t)who->who.pid;
		c->reply->arg[1] = (uint64_t)who->who.uid << 32 | who->who.gid;
		afu_identity_asker(c);
		if (c->req->arg[2] && who->pidfd >= 0)
			afu_call_give(c, who->pidfd, 1);
		return AFU_CAUSE_NONE;
	}
	return AFU_CAUSE_IDENTITY;
}
