/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/sip.h"

#include <string.h>

static inline uint64_t rotate(uint64_t x, unsigned int by)
{
	return x << by | x >> (64 - by);
}

struct state {
	uint64_t a, b, c, d;
};

static inline struct state turn(struct state v)
{
	v.a += v.b;
	v.c += v.d;
	v.b = rotate(v.b, 13) ^ v.a;
	v.d = rotate(v.d, 16) ^ v.c;
	v.a = rotate(v.a, 32);
	v.c += v.b;
	v.a += v.d;
	v.b = rotate(v.b, 17) ^ v.c;
	v.d = rotate(v.d, 21) ^ v.a;
	v.c = rotate(v.c, 32);
	return v;
}

static inline struct state take(struct state v, uint64_t word)
{
	v.d ^= word;
	v = turn(turn(v));
	v.a ^= word;
	return v;
}

static inline struct state load(const struct afu_sip *s)
{
	return (struct state){s->v[0], s->v[1], s->v[2], s->v[3]};
}

static inline void store(struct afu_sip *s, struct state v)
{
	s->v[0] = v.a;
	s->v[1] = v.b;
	s->v[2] = v.c;
	s->v[3] = v.d;
}

void afu_sip_begin(struct afu_sip *s, const uint64_t key[2])
{
	s->v[0] = key[0] ^ UINT64_C(0x736f6d6570736575);
	s->v[1] = key[1] ^ UINT64_C(0x646f72616e646f6d);
	s->v[2] = key[0] ^ UINT64_C(0x6c7967656e657261);
	s->v[3] = key[1] ^ UINT64_C(0x7465646279746573);
	s->count = s->held = 0;
}

void afu_sip_add(struct afu_sip *s, const void *bytes, size_t n)
{
	struct state v = load(s);
	const uint8_t *from = bytes;

	while (n) {
		uint64_t word;

		if (s->count % 8 == 0 && n >= sizeof word) {
			memcpy(&word, from, sizeof word);
			v = take(v, word);
			s->count += sizeof word;
			from += sizeof word;
			n -= sizeof word;
			continue;
		}
		s->held |= (uint64_t)*from++ << (8 * (s->count % 8));
		n--;
		if (++s->count % 8 == 0) {
			v = take(v, s->held);
			s->held = 0;
		}
	}
	store(s, v);
}

uint64_t afu_sip_end(struct afu_sip *s)
{
	struct state v = take(load(s), s->held | s->count << 56);

	v.c ^= 0xff;
	v = turn(turn(turn(turn(v))));
	/* what the key could be found from does not stay where a forked child would look */
	memset(s, 0, sizeof *s);
	__asm__ volatile("" : : "r"(s) : "memory");
	return v.a ^ v.b ^ v.c ^ v.d;
}
