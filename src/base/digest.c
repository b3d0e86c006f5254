/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "base/digest.h"

#include <string.h>

#define ROUNDS 12

static const uint64_t initial[8] = {
	UINT64_C(0x6a09e667f3bcc908), UINT64_C(0xbb67ae8584caa73b), UINT64_C(0x3c6ef372fe94f82b),
	UINT64_C(0xa54ff53a5f1d36f1), UINT64_C(0x510e527fade682d1), UINT64_C(0x9b05688c2b3e6c1f),
	UINT64_C(0x1f83d9abfb41bd6b), UINT64_C(0x5be0cd19137e2179),
};

/* Which words of the block a round takes, in order; the last two rounds begin again. */
static const uint8_t order[10][16] = {
	{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	{14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
	{11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
	{7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
	{9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
	{2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
	{12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
	{13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
	{6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
	{10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static inline uint64_t rotate(uint64_t x, unsigned int by)
{
	return x >> by | x << (64 - by);
}

/* The bytes of a number, least significant first, whatever the machine's order is. */
static uint64_t little(const uint8_t *from)
{
	uint64_t x = 0;

	for (unsigned int i = 0; i < 8; i++)
		x |= (uint64_t)from[i] << (8 * i);
	return x;
}

static inline void mix(uint64_t *a, uint64_t *b, uint64_t *c, uint64_t *d, uint64_t x, uint64_t y)
{
	*a += *b + x;
	*d = rotate(*d ^ *a, 32);
	*c += *d;
	*b = rotate(*b ^ *c, 24);
	*a += *b + y;
	*d = rotate(*d ^ *a, 16);
	*c += *d;
	*b = rotate(*b ^ *c, 63);
}

static void compress(struct afu_digest *d, const uint8_t *block, int last)
{
	uint64_t v[16], m[16];

	for (unsigned int i = 0; i < 16; i++)
		m[i] = little(block + 8 * i);
	memcpy(v, d->state, sizeof d->state);
	memcpy(v + 8, initial, sizeof initial);
	v[12] ^= d->count;
	if (last)
		v[14] = ~v[14];
	for (unsigned int round = 0; round < ROUNDS; round++) {
		const uint8_t *o = order[round % 10];

		mix(&v[0], &v[4], &v[8], &v[12], m[o[0]], m[o[1]]);
		mix(&v[1], &v[5], &v[9], &v[13], m[o[2]], m[o[3]]);
		mix(&v[2], &v[6], &v[10], &v[14], m[o[4]], m[o[5]]);
		mix(&v[3], &v[7], &v[11], &v[15], m[o[6]], m[o[7]]);
		mix(&v[0], &v[5], &v[10], &v[15], m[o[8]], m[o[9]]);
		mix(&v[1], &v[6], &v[11], &v[12], m[o[10]], m[o[11]]);
		mix(&v[2], &v[7], &v[8], &v[13], m[o[12]], m[o[13]]);
		mix(&v[3], &v[4], &v[9], &v[14], m[o[14]], m[o[15]]);
	}
	for (unsigned int i = 0; i < 8; i++)
		d->state[i] ^= v[i] ^ v[i + 8];
}

void afu_digest_begin(struct afu_digest *d)
{
	memcpy(d->state, initial, sizeof d->state);
	/* the parameters: this length of the result, no key, nothing but a sequence of blocks */
	d->state[0] ^= 0x01010000 ^ AFU_DIGEST_SIZE;
	d->count = 0;
	d->held = 0;
}

void afu_digest_add(struct afu_digest *d, const void *bytes, size_t n)
{
	const uint8_t *from = bytes;

	while (n) {
		size_t part = sizeof d->block - d->held;

		/* the last block is marked as such, so a full one waits for more */
		if (!part) {
			d->count += sizeof d->block;
			compress(d, d->block, 0);
			d->held = 0;
			continue;
		}
		if (part > n)
			part = n;
		memcpy(d->block + d->held, from, part);
		d->held += part;
		from += part;
		n -= part;
	}
}

void afu_digest_end(struct afu_digest *d, uint8_t to[AFU_DIGEST_SIZE])
{
	memset(d->block + d->held, 0, sizeof d->block - d->held);
	d->count += d->held;
	compress(d, d->block, 1);
	for (unsigned int i = 0; i < AFU_DIGEST_SIZE; i++)
		to[i] = (uint8_t)(d->state[i / 8] >> (8 * (i % 8)));
}
