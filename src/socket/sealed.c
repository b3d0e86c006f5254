/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Whoever shares the memory may change a record between any two looks at it.  So the sender
 * tells of a copy and sends that copy, and the reader asks about one and delivers from it.
 */
#include "socket/sealed.h"

#include "base/cause.h"

#include <sys/mman.h>
#include <time.h>

int (*afu_sealed_tell)(struct afu_sock *s, const struct afu_way_out *way, uint64_t at, const uint8_t *digest,
		       const struct afu_sending *m);
int (*afu_sealed_ask)(struct afu_sock *s, const struct afu_way_in *way, uint64_t at, const uint8_t *digest,
		      int takes, uint64_t *speaker, uint64_t *secret);

/* Memory of this process alone; NULL. */
static char *take_memory(size_t n)
{
	void *p = afu_sys_mmap(n + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	return afu_sys_failed(p) ? NULL : p;
}

/* The speaker that the record in the ring names. */
static uint64_t named(const struct afu_way_in *way, const struct afu_ring_record *rec)
{
	uint64_t words[AFU_RING_WORDS];

	afu_ring_words(&way->ring, rec, words);
	return afu_seal_speaker(rec->flags, words);
}

uint64_t afu_opened_unasked(const struct afu_sock *s, const struct afu_way_in *way,
			    const struct afu_ring_record *rec)
{
	uint64_t speaker = named(way, rec);

	return speaker && afu_seal_doubt(&way->sealed, afu_sock_key(s, way->flow)) ? 0 : speaker;
}

/* One that finds a message without a word about it waits for so long, and all together no longer, ms. */
#define NAPS_MAX 20

/* What was signed was sent before its sender knew that the direction is sealed: he may be about to tell. */
static int nap(struct afu_way_in *way, const struct afu_ring_record *rec)
{
	const struct timespec tick = {0, 1000000};

	if (!(rec->flags & AFU_RECORD_SIGNED) || way->sealed.naps == NAPS_MAX)
		return 0;
	way->sealed.naps++;
	afu_sys(SYS_nanosleep, &tick, NULL);
	return 1;
}

static void ask(struct afu_opened *o, struct afu_sock *s, struct afu_way_in *way,
		const struct afu_ring_record *rec)
{
	uint32_t turn = afu_seal_turn(afu_sock_key(s, way->flow));
	uint8_t digest[AFU_DIGEST_SIZE];
	uint64_t speaker = 0, secret = 0;
	struct iovec to;
	struct afu_iter it = {&to, 1, 0};
	int sealed;

	o->speaker = 0;
	o->size = rec->length + 1;
	o->copy = take_memory(rec->length);
	if (!o->copy)
		return; /* nobody's, then */
	to = (struct iovec){o->copy, rec->length};
	afu_ring_read(&way->ring, rec, 0, &it, rec->length);
	afu_ring_words(&way->ring, rec, o->words);
	afu_seal_digest(rec, o->words, o->copy, digest);
	do
		sealed = afu_sealed_ask ? afu_sealed_ask(s, way, rec->at, digest, o->takes, &speaker, &secret) :
					  -ENOSYS;
	while (sealed > 0 && !speaker && nap(way, rec));
	if (sealed == 0) {
		way->sealed.turn = turn;
		o->speaker = afu_seal_speaker(rec->flags, o->words);
	} else if (sealed > 0) {
		way->sealed.on = 1;
		o->speaker = speaker;
		o->told = speaker != 0;
		o->secret = secret;
	}
}

void afu_opened_begin(struct afu_opened *o, struct afu_sock *s, struct afu_way_in *way,
		      const struct afu_ring_record *rec, int takes)
{
	*o = (struct afu_opened){.known = 1, .takes = takes, .speaker = named(way, rec)};
	if (__builtin_expect(o->speaker && afu_seal_doubt(&way->sealed, afu_sock_key(s, way->flow)), 0))
		ask(o, s, way, rec);
}

void afu_opened_close(struct afu_opened *o)
{
	afu_sys_munmap(o->copy, o->size);
	*o = (struct afu_opened){0};
}

int afu_opened_read(struct afu_opened *o, struct afu_sock *s, struct afu_way_in *way,
		    const struct afu_ring_record *rec, uint32_t offset, struct afu_iter *to, uint32_t n)
{
	struct afu_iter it = *to;
	uint64_t speaker = o->speaker;
	int err;

	if (!o->copy) {
		err = afu_ring_read(&way->ring, rec, offset, &it, n);
		if (__builtin_expect(err || !o->speaker ||
					     !afu_seal_doubt(&way->sealed, afu_sock_key(s, way->flow)),
				     1)) {
			*to = it;
			return err;
		}
		/* just now somebody else got the memory: what was copied may be his */
		ask(o, s, way, rec);
		it = *to;
	}
	if (o->speaker != speaker)
		return -ESTALE;
	err = afu_iter_scatter(&it, o->copy + offset, n);
	*to = it;
	return err;
}

/* 0; or negative: nobody could be told, and the record will be nobody's. */
static int tell(struct afu_sock *s, struct afu_way_out *way, const struct afu_ring_record *rec,
		const uint64_t *words, const void *payload, const struct afu_sending *m)
{
	uint32_t turn = afu_seal_turn(afu_sock_key(s, way->flow));
	uint8_t digest[AFU_DIGEST_SIZE];
	int sealed;

	afu_seal_digest(rec, words, payload, digest);
	sealed = afu_sealed_tell ? afu_sealed_tell(s, way, rec->at, digest, m) : -ENOSYS;
	if (sealed == 0)
		way->sealed.turn = turn;
	else if (sealed > 0)
		way->sealed.on = 1;
	return sealed < 0 ? sealed : 0;
}

/* Reads the message into memory of its own.  0, -EFAULT, or a refusal. */
static int copy_message(struct iovec *to, struct afu_iter *from, uint32_t n)
{
	int err;

	*to = (struct iovec){take_memory(n), n};
	if (!to->iov_base)
		return afu_refuse(AFU_CAUSE_NO_MEMORY);
	err = afu_iter_gather(from, to->iov_base, n);
	if (err)
		afu_sys_munmap(to->iov_base, n + 1);
	return err;
}

static int put_told(struct afu_sock *s, struct afu_way_out *way, const uint64_t *words, struct afu_iter *from,
		    uint32_t n, uint32_t flags, const struct afu_sending *m, uint32_t charge)
{
	struct afu_ring_record rec = {.length = n, .flags = flags};
	struct iovec copy;
	struct afu_iter it = {&copy, 1, 0}, behind = *from;
	int err = copy_message(&copy, &behind, n);

	if (err)
		return err;
	err = afu_ring_reserve(&way->ring, way->tx, n, flags, &rec.at);
	if (!err) {
		tell(s, way, &rec, words, copy.iov_base, m);
		err = afu_ring_put(&way->ring, way->tx, words, &it, n, flags, charge);
	}
	if (!err)
		*from = behind;
	afu_sys_munmap(copy.iov_base, n + 1);
	return err;
}

/* Adds the signature as one more word.  0 or -EFAULT. */
static int sign(const struct afu_ring_record *rec, uint64_t words[AFU_RING_WORDS],
		const struct afu_iter *from)
{
	uint32_t signs = (rec->flags & AFU_RECORD_WORDS) - 1;
	struct afu_iter it = *from;
	struct afu_sip *place = afu_seal_begin(), own, *s = place ? place : &own;
	char scratch[256];
	int err = 0;

	afu_seal_sign(s, afu_seal_key, rec, words, signs);
	for (uint32_t left = rec->length; left && !err;) {
		uint32_t part = left < sizeof scratch ? left : (uint32_t)sizeof scratch;

		err = afu_iter_gather(&it, scratch, part);
		if (!err)
			afu_sip_add(s, scratch, part);
		left -= part;
	}
	words[signs] = place ? afu_seal_end(place) : afu_sip_end(&own);
	return err;
}

int afu_sealed_put(struct afu_sock *s, struct afu_way_out *way, uint64_t words[AFU_RING_WORDS],
		   struct afu_iter *from, uint32_t n, uint32_t flags, const struct afu_sending *m,
		   uint32_t charge)
{
	struct afu_ring_record rec = {.length = n, .flags = flags};
	struct afu_iter before = *from;
	struct iovec copy;
	int err;

	if (__builtin_expect(afu_seal_doubt(&way->sealed, afu_sock_key(s, way->flow)), 0) ||
	    (afu_seal_key && (flags & AFU_RECORD_WORDS) == AFU_RING_WORDS))
		return put_told(s, way, words, from, n, flags, m, charge);
	if (__builtin_expect(afu_seal_key != NULL, 1))
		rec.flags = (flags + 1) | AFU_RECORD_SIGNED;
	err = afu_ring_reserve(&way->ring, way->tx, n, rec.flags, &rec.at);
	if (!err && afu_seal_key)
		err = sign(&rec, words, from);
	if (!err)
		err = afu_ring_put(&way->ring, way->tx, words, from, n, rec.flags, charge);
	if (__builtin_expect(err || !afu_seal_doubt(&way->sealed, afu_sock_key(s, way->flow)), 1))
		return err;
	/* it was sealed just now, and the broker may have come by before the record was there */
	if (copy_message(&copy, &before, n) == 0) {
		tell(s, way, &rec, words, copy.iov_base, m);
		afu_sys_munmap(copy.iov_base, n + 1);
	}
	return 0;
}
