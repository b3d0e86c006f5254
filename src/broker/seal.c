/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Whose word a record is.
 *
 * A record names its speaker in memory that everybody can write who ever had it.  That will do as
 * long as nobody could lie: whoever writes is the one that is named, or the only one that reads.
 * When somebody else is about to get the memory, or to be believed, the direction is *sealed* first: the
 * broker takes down what lies there and is signed with a key that only its speaker has, and from then on each
 * record with a speaker counts only if that one has told the broker of it, by its place and a digest, in a
 * request that the kernel carried in his name.  The receiver asks about what it has copied.  That a direction
 * is sealed is told in the book, which nobody else can write.
 */
#include "broker/state.h"

#include "channel/seal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More than a ring holds of what SO_SNDBUF admits; beyond it the oldest are forgotten. */
#define SEALS_MAX 16384u
/* What a request about a record has: a digest, and whether its reader takes it away. */
#define ABOUT_SIZE (AFU_DIGEST_SIZE + 1)
/* So much is looked at when a direction is sealed: more than lies there, if it is honest. */
#define WALKS_MAX 64
#define RECORDS_MAX (2 * SEALS_MAX)
#define BYTES_MAX (2u << AFU_RING_HUGE_SHIFT)

/* One direction with what is to be known of it. */
struct way {
	struct direction *d;
	const struct parties *parties;
	int memory;
	unsigned int ring;	/* the side that sends */
	uint8_t receives;	/* the bit of those who do */
	uint64_t told[2];	/* by whose ids its ends look into the book; 0 */
	const struct bsock *to; /* NULL: gone */
	size_t positions;	/* of the receiver, in its page */
};

static struct way way_of(struct conn *conn, unsigned int from)
{
	return (struct way){
		.d = &conn->from[from],
		.parties = &conn->parties,
		.memory = conn->memory,
		.ring = from,
		.receives = (uint8_t)(1u << (1 - from)),
		.told = {conn->end[0] ? conn->end[0]->id : 0, conn->end[1] ? conn->end[1]->id : 0},
		.to = conn->end[1 - from],
		.positions = offsetof(struct afu_endpoint, rx),
	};
}

static struct way way_of_flow(struct flow *f)
{
	return (struct way){
		.d = &f->way,
		.parties = &f->parties,
		.memory = f->memory,
		.receives = AFU_PARTY_RECEIVES,
		.told = {f->id, 0},
		.to = f->to,
		.positions = AFU_ENDPOINT_RX_AT + (size_t)f->slot[1] * AFU_ENDPOINT_SLOT,
	};
}

static int same(const struct voice_key *a, const struct voice_key *b)
{
	return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

/* Whether one of those who had the memory could pass for that speaker with another of them. */
static int forgeable(const struct way *w, const struct voice_key *speaker)
{
	const struct parties *p = w->parties;

	if (p->n == AFU_PARTIES)
		return (p->ends & w->receives) != 0; /* of three one is neither the speaker nor the reader */
	for (unsigned int writer = 0; writer < p->n; writer++) {
		for (unsigned int reader = 0; reader < p->n; reader++) {
			if ((p->who[reader].ends & w->receives) && writer != reader &&
			    !same(&p->who[writer].key, speaker))
				return 1;
		}
	}
	return 0;
}

/* newcomer: the others were judged already; NULL: it is the parties that are new. */
static int exposed(const struct way *w, const struct voice_key *newcomer)
{
	const struct voices *v = w->d->voices;

	if (newcomer)
		return forgeable(w, newcomer);
	for (unsigned int i = 0; v && i < v->n && w->parties->n > 1; i++) {
		if (forgeable(w, &v->who[i].voice->who))
			return 1;
	}
	return 0;
}

/* A place at the end.  NULL: no memory. */
static struct seal *enter(struct seals *s)
{
	if (s->n == SEALS_MAX && !s->first)
		s->first = SEALS_MAX / 4;
	if (s->n == s->room && s->first >= s->n / 4 && s->first) {
		memmove(s->seal, s->seal + s->first, (s->n - s->first) * sizeof *s->seal);
		s->n -= s->first;
		s->first = 0;
	}
	if (s->n == s->room) {
		unsigned int room = s->room ? 2 * s->room : 16;
		struct seal *more = realloc(s->seal, room * sizeof *more);

		if (!more)
			return NULL;
		s->seal = more;
		s->room = room;
	}
	return &s->seal[s->n++];
}

/* Whether it bears the signature of somebody who proved to be the speaker that it names. */
static int is_signed(const struct voices *v, uint64_t speaker, const struct afu_ring_record *rec,
		     const uint64_t words[AFU_RING_WORDS], const void *payload)
{
	uint32_t n = rec->flags & AFU_RECORD_WORDS;

	for (unsigned int i = 0; v && n && (rec->flags & AFU_RECORD_SIGNED) && i < v->n; i++) {
		struct afu_sip s;

		if (v->who[i].voice->id != speaker)
			continue;
		afu_seal_sign(&s, v->who[i].key, rec, words, n - 1);
		afu_sip_add(&s, payload, rec->length);
		if (afu_sip_end(&s) == words[n - 1])
			return 1;
	}
	return 0;
}

/* Takes down one record that lies in the ring, unless its speaker has told of it already. */
static void take_down(struct seals *to, const struct way *w, const struct afu_ring *r,
		      const struct afu_ring_record *rec)
{
	uint64_t words[AFU_RING_WORDS], speaker;
	struct seals *before = &w->d->seals;
	struct seal seal = {.at = rec->at}, *place;
	struct iovec copy = {malloc(rec->length + 1), rec->length};
	struct afu_iter it = {&copy, 1, 0};

	if (!copy.iov_base)
		return;
	afu_ring_words(r, rec, words);
	afu_ring_read(r, rec, 0, &it, rec->length);
	speaker = afu_seal_speaker(rec->flags, words);
	while (before->first < before->n && before->seal[before->first].at < rec->at)
		before->first++;
	if (before->first < before->n && before->seal[before->first].at == rec->at) {
		seal = before->seal[before->first];
	} else if (speaker && is_signed(w->d->voices, speaker, rec, words, copy.iov_base)) {
		seal.speaker = speaker;
		afu_seal_digest(rec, words, copy.iov_base, seal.digest);
	}
	place = seal.speaker ? enter(to) : NULL;
	if (place)
		*place = seal;
	free(copy.iov_base);
}

/* Where the receiver stands: it says so before it erases anything. */
static uint64_t position_of(const struct way *w, const struct afu_ring *r)
{
	uint64_t shared = atomic_load(&r->head->position), own = 0;
	size_t at = w->positions + offsetof(struct afu_ring_rx, head);

	if (w->to && w->to->memory >= 0 &&
	    pread(w->to->memory, &own, sizeof own, (off_t)at) == (ssize_t)sizeof own && own > shared)
		return own;
	return shared;
}

/*
 * What lies there is its speaker's if that one has signed it.  The receiver may go on reading, and what it
 * has read is erased: then the walk goes on from where it stands.
 */
static void take_down_all(const struct way *w)
{
	struct seals found = {0};
	uint64_t bytes = 0, from, last = 0;
	unsigned int records = 0;
	struct afu_channel *ch;
	struct afu_ring_record rec;
	struct afu_ring r;

	if (afu_channel_map(w->memory, 0, &ch) < 0)
		return;
	r = afu_channel_ring(ch, w->ring);
	from = position_of(w, &r);
	for (unsigned int i = 0; i < WALKS_MAX && (from > last || !i); i++) {
		for (int more = afu_ring_from(&r, from, &rec); more > 0 && bytes < BYTES_MAX && records < RECORDS_MAX;
		     more = afu_ring_next(&r, &rec)) {
			records++;
			take_down(&found, w, &r, &rec);
			bytes += rec.length;
			last = rec.at;
		}
		if (from == position_of(w, &r))
			break;
		from = position_of(w, &r);
	}
	afu_channel_unmap(ch, 0);
	free(w->d->seals.seal);
	found.on = w->d->seals.on;
	w->d->seals = found;
}

static void judge(struct afu_broker *b, const struct way *w, const struct voice_key *newcomer)
{
	if (w->d->seals.on || !exposed(w, newcomer))
		return;
	take_down_all(w);
	w->d->seals.on = 1;
	for (unsigned int i = 0; i < 2; i++) {
		if (w->told[i])
			atomic_fetch_add(&b->book_page->seal[w->told[i] % AFU_BOOK_SEALS], 1);
	}
}

/* Those who had the memory; whether somebody is new, or has a new role. */
static int join(struct parties *p, const struct voice_key *key, unsigned int ends)
{
	unsigned int i = 0;

	while (i < p->n && !same(&p->who[i].key, key))
		i++;
	if (i < p->n && (p->who[i].ends & ends) == ends)
		return 0;
	if (i < p->n) {
		p->who[i].ends |= (uint8_t)ends;
	} else if (i < AFU_PARTIES) {
		p->who[i].key = *key;
		p->who[i].ends = (uint8_t)ends;
		p->n++;
	} else if ((p->ends & ends) == ends) {
		return 0;
	}
	p->ends |= (uint8_t)ends;
	return 1;
}

static struct voice_key key_of(const struct afu_caller *who)
{
	return (struct voice_key){who->pid, who->uid, who->gid};
}

static void share_conn(struct afu_broker *b, struct conn *conn, const struct voice_key *key,
		       unsigned int ends)
{
	if (!join(&conn->parties, key, ends))
		return;
	for (unsigned int from = 0; from < 2; from++) {
		struct way w = way_of(conn, from);

		judge(b, &w, NULL);
	}
}

static void share_flow(struct afu_broker *b, struct flow *f, const struct voice_key *key, unsigned int ends)
{
	struct way w;

	if (!join(&f->parties, key, ends))
		return;
	w = way_of_flow(f);
	judge(b, &w, NULL);
}

void afu_seal_conn(struct call *c, struct conn *conn, unsigned int ends)
{
	struct voice_key key = key_of(c->who);

	share_conn(c->b, conn, &key, ends);
}

void afu_seal_flow(struct call *c, struct flow *f, unsigned int ends)
{
	struct voice_key key = key_of(c->who);

	share_flow(c->b, f, &key, ends);
}

void afu_seal_voice(struct call *c, struct bsock *s)
{
	struct voice_key key = key_of(c->who);
	struct way w;
	struct flow *f;

	if (s->conn) {
		w = way_of(s->conn, s->side);
		judge(c->b, &w, &key);
	}
	DL_FOREACH2(s->out, f, out_next)
	{
		w = way_of_flow(f);
		judge(c->b, &w, &key);
	}
}

/* The caller will not be who he was: whatever he has the memory of is somebody else's too. */
enum afu_cause afu_seal_renaming(struct call *c)
{
	static const struct voice_key nobody;
	struct bsock *s, *next;
	struct flow *f;

	HASH_ITER(by_id, c->b->by_id, s, next)
	{
		if (!afu_bsock_held(s, c->client))
			continue;
		if (s->conn)
			share_conn(c->b, s->conn, &nobody, 1u << s->side);
		DL_FOREACH2(s->out, f, out_next)
		{
			share_flow(c->b, f, &nobody, AFU_PARTY_SENDS);
		}
		DL_FOREACH2(s->in, f, in_next)
		{
			share_flow(c->b, f, &nobody, AFU_PARTY_RECEIVES);
		}
	}
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_seal_note(struct call *c)
{
	struct direction *d = afu_flow_direction(c, 1);
	struct seal *seal;
	struct seals *s;
	uint64_t speaker;

	if (!d || !d->voices)
		return AFU_CAUSE_NOT_CONNECTED;
	if (c->req->length != ABOUT_SIZE)
		return AFU_CAUSE_REQUEST_FORM;
	s = &d->seals;
	c->reply->arg[0] = (uint64_t)s->on;
	speaker = afu_voice_admit(c, d->voices);
	if (!speaker)
		return AFU_CAUSE_NO_MEMORY;
	/* the order of the places is the order of the words: what was noted further on is void */
	while (s->n > s->first && s->seal[s->n - 1].at >= c->req->arg[1])
		s->n--;
	seal = enter(s);
	if (!seal)
		return AFU_CAUSE_NO_MEMORY;
	seal->at = c->req->arg[1];
	seal->speaker = speaker;
	seal->secret = c->req->arg[2];
	memcpy(seal->digest, c->req->data, AFU_DIGEST_SIZE);
	return AFU_CAUSE_NONE;
}

/* What the broker was told of the record at that place; NULL. */
static struct seal *told(const struct seals *s, uint64_t at, const void *digest)
{
	for (unsigned int i = s->first; i < s->n && s->seal[i].at <= at; i++) {
		if (s->seal[i].at == at && memcmp(s->seal[i].digest, digest, AFU_DIGEST_SIZE) == 0)
			return &s->seal[i];
	}
	return NULL;
}

uint64_t afu_seal_proven(const struct direction *d, const struct afu_ring_record *rec,
			 const uint64_t words[AFU_RING_WORDS], const void *payload, const uint64_t **secret)
{
	uint64_t speaker = afu_seal_speaker(rec->flags, words);
	uint8_t digest[AFU_DIGEST_SIZE];
	const struct seal *seal;

	if (!speaker)
		return 0;
	afu_seal_digest(rec, words, payload, digest);
	seal = told(&d->seals, rec->at, digest);
	if (seal) {
		*secret = &seal->secret;
		return seal->speaker;
	}
	return !d->seals.on && is_signed(d->voices, speaker, rec, words, payload) ? speaker : 0;
}

enum afu_cause afu_seal_ask(struct call *c)
{
	struct direction *d = afu_flow_direction(c, 0);
	struct seal *seal;
	struct seals *s;

	if (!d)
		return AFU_CAUSE_NOT_CONNECTED;
	if (c->req->length != ABOUT_SIZE)
		return AFU_CAUSE_REQUEST_FORM;
	s = &d->seals;
	c->reply->arg[0] = (uint64_t)s->on;
	/* what lies before the first record was read */
	while (s->first < s->n && s->seal[s->first].at < c->req->arg[2])
		s->first++;
	seal = told(s, c->req->arg[1], c->req->data);
	if (seal) {
		c->reply->arg[1] = seal->speaker;
		c->reply->arg[2] = seal->secret;
		/* who put it back would be repeating what another has said */
		if (c->req->data[AFU_DIGEST_SIZE])
			memset(seal->digest, 0, sizeof seal->digest);
	}
	return AFU_CAUSE_NONE;
}

void afu_seal_fini(struct direction *d)
{
	free(d->seals.seal);
	d->seals = (struct seals){0};
}
