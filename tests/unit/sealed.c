/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* A reader of a sealed direction, between what lies in the ring and what the broker answers. */
#include "bed.h"
#include "tap.h"

#include "socket/sealed.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SPEAKER = 77, NUMBER = 5, FLAGS = AFU_RECORD_IDENTITY | AFU_RECORD_RIGHTS | 2 };

static unsigned int asked, answers_from;
static uint64_t number_fetched;

/* Somebody who has the memory puts another number there as soon as the reader has asked. */
static int ask(struct afu_sock *s, const struct afu_way_in *way, uint64_t at, const uint8_t *digest,
	       int takes, uint64_t *speaker, uint64_t *secret)
{
	(void)s, (void)way, (void)digest, (void)takes, (void)secret;
	*(uint64_t *)(void *)(ring.area[0] + (at & (SMALL - 1)) + 16) = NUMBER + 1;
	if (++asked >= answers_from)
		*speaker = SPEAKER;
	return 1;
}

static void fetch(struct afu_receiving *m, struct afu_sock *s, struct afu_way_in *way, uint64_t number,
		  const uint64_t *secret)
{
	(void)m, (void)s, (void)way, (void)secret;
	number_fetched = number;
}

/* One message, of which the broker knows from the so many-th question on; who spoke. */
static uint64_t receive(struct afu_way_in *way, uint32_t flags, unsigned int from)
{
	const uint64_t words[AFU_RING_WORDS] = {SPEAKER, NUMBER};
	struct afu_receiving m = {.split = 1, .unpark = fetch};
	static struct afu_endpoint ep;
	struct afu_sock s = {.type = SOCK_SEQPACKET, .ep = &ep};
	char sent[8] = "message", got[8] = "";
	struct iovec out = {sent, sizeof sent}, in = {got, sizeof got};
	struct afu_iter source_it = {&out, 1, 0}, target_it = {&in, 1, 0};
	struct afu_ring_record rec;

	asked = 0;
	answers_from = from;
	NEED(afu_ring_put(&ring, tx, words, &source_it, sizeof sent, flags, 1) == 0);
	NEED(afu_ring_front(&ring, way->rx, &rec) == 1);
	CHECK_EQ(afu_record_message(&s, way, &rec, 0, &target_it, sizeof got, &m), (ssize_t)sizeof sent);
	CHECK(memcmp(sent, got, sizeof got) == 0);
	return m.identity;
}

static struct afu_way_in sealed_way(void)
{
	afu_sealed_ask = ask;
	bed_up(0);
	return (struct afu_way_in){.ring = ring, .rx = rx, .flow = 1, .sealed = {.on = 1}};
}

static void changed_after_asking(void)
{
	struct afu_way_in way = sealed_way();

	CHECK_EQ(receive(&way, FLAGS, 1), SPEAKER);
	CHECK_EQ(number_fetched, NUMBER);
	bed_down();
}

/* It was sealed between the sender's last look and the message, so he tells late. */
static void told_late(void)
{
	struct afu_way_in way = sealed_way();

	CHECK_EQ(receive(&way, FLAGS | AFU_RECORD_SIGNED | 3, 3), SPEAKER);
	CHECK_EQ(asked, 3);
	/* who knew that it is sealed has told before */
	CHECK_EQ(receive(&way, FLAGS, 2), 0);
	CHECK_EQ(asked, 1);
	bed_down();
}

/* Who writes many that nobody tells of does not stop the reader for each. */
static void never_told(void)
{
	struct afu_way_in way = sealed_way();
	unsigned int sum = 0;

	for (unsigned int i = 0; i < 20; i++) {
		CHECK_EQ(receive(&way, FLAGS | AFU_RECORD_SIGNED | 3, 1000), 0);
		sum += asked;
	}
	CHECK_EQ(sum, 40); /* each once, and 20 more */
	bed_down();
}

/* What a thread makes of the key while it signs is nothing that a child of another thread sees. */
static void forked_while_signing(void)
{
	const struct afu_ring_record rec = {.length = 8};
	uint64_t key[2] = {123, 456};
	struct afu_sip *s, *more[64];
	unsigned int n = 0;
	pid_t pid;

	afu_seal_keyed(key);
	NEED(afu_seal_key);
	s = afu_seal_begin();
	NEED(s);
	afu_seal_sign(s, afu_seal_key, &rec, NULL, 0);
	CHECK(s->v[0] != 0);
	pid = tap_fork();
	if (!pid) {
		for (unsigned int i = 0; i < 4; i++)
			CHECK_EQ(s->v[i], 0);
		CHECK_EQ(afu_seal_key[0], 0);
		_exit(tap_failures() != 0);
	}
	CHECK_EQ(tap_wait(pid), 0);
	/* as many as there is room for, and again when they have ended */
	for (int i = 0; i < 2; i++) {
		for (n = 0; n < 64 && (more[n] = afu_seal_begin()); n++)
			CHECK(more[n] != s);
		CHECK_EQ(n, 62);
		while (n)
			afu_seal_end(more[--n]);
	}
	afu_seal_end(s);
	CHECK_EQ(s->v[0], 0);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"a message is changed when the broker was asked about it", changed_after_asking},
		{"a message that its sender tells of late", told_late},
		{"messages that nobody tells of", never_told},
		{"a child is forked while a thread signs", forked_while_signing},
	};

	return tap_run(cases, sizeof cases / sizeof *cases, 20, argc > 1 ? argv[1] : NULL);
}
