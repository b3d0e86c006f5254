/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The two sums over records, against the figures that their authors give, and in pieces against the
 * whole.
 */
#include "base/digest.h"
#include "base/sip.h"
#include "tap.h"

#include <string.h>

static void digest_of(const void *bytes, size_t n, size_t first, uint8_t to[AFU_DIGEST_SIZE])
{
	struct afu_digest d;

	afu_digest_begin(&d);
	afu_digest_add(&d, bytes, first);
	afu_digest_add(&d, (const char *)bytes + first, n - first);
	afu_digest_end(&d, to);
}

/* BLAKE2b-256 of "abc", as `b2sum -l 256` prints it. */
static void digest_known(void)
{
	static const uint8_t expected[AFU_DIGEST_SIZE] = {
		0xbd, 0xdd, 0x81, 0x3c, 0x63, 0x42, 0x39, 0x72, 0x31, 0x71, 0xef,
		0x3f, 0xee, 0x98, 0x57, 0x9b, 0x94, 0x96, 0x4e, 0x3b, 0xb1, 0xcb,
		0x3e, 0x42, 0x72, 0x62, 0xc8, 0xc0, 0x68, 0xd5, 0x23, 0x19,
	};
	uint8_t got[AFU_DIGEST_SIZE];

	digest_of("abc", 3, 0, got);
	CHECK(memcmp(got, expected, sizeof got) == 0);
}

static void digest_in_pieces(void)
{
	static const size_t lengths[] = {0, 1, 127, 128, 129, 255, 256, 257, 1000};
	uint8_t bytes[1000], whole[AFU_DIGEST_SIZE], parts[AFU_DIGEST_SIZE];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)tap_random();
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		digest_of(bytes, lengths[i], 0, whole);
		for (size_t first = 1; first <= lengths[i]; first++) {
			digest_of(bytes, lengths[i], first, parts);
			CHECK(memcmp(whole, parts, sizeof whole) == 0);
		}
		if (!lengths[i])
			continue;
		bytes[lengths[i] - 1] ^= 1;
		digest_of(bytes, lengths[i], 0, parts);
		CHECK(memcmp(whole, parts, sizeof whole) != 0);
	}
}

static uint64_t sip_of(const void *bytes, size_t n, size_t first)
{
	uint64_t key[2];
	uint8_t as_bytes[sizeof key];
	struct afu_sip s;

	for (uint8_t i = 0; i < sizeof as_bytes; i++)
		as_bytes[i] = i;
	memcpy(key, as_bytes, sizeof key);
	afu_sip_begin(&s, key);
	afu_sip_add(&s, bytes, first);
	afu_sip_add(&s, (const char *)bytes + first, n - first);
	return afu_sip_end(&s);
}

/* The key 0, 1, ... 15 and the messages 0, 1, ...: the paper's, and the first of its table. */
static void sip_known(void)
{
	uint8_t bytes[64];

	for (uint8_t i = 0; i < sizeof bytes; i++)
		bytes[i] = i;
	CHECK(sip_of(bytes, 15, 0) == UINT64_C(0xa129ca6149be45e5));
	CHECK(sip_of(bytes, 0, 0) == UINT64_C(0x726fdb47dd0e0e31));
	for (size_t n = 0; n <= sizeof bytes; n++) {
		for (size_t first = 1; first <= n; first++)
			CHECK(sip_of(bytes, n, first) == sip_of(bytes, n, 0));
	}
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"a known digest", digest_known},
		{"digests in pieces", digest_in_pieces},
		{"known signatures, and in pieces", sip_known},
	};

	return tap_run(cases, sizeof cases / sizeof *cases, 20, argc > 1 ? argv[1] : NULL);
}
