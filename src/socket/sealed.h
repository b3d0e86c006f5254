/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Records whose speaker matters: where the broker has to be told of them, and asked.
 * For record.c and stream.c.
 */
#ifndef AFU_SOCKET_SEALED_H
#define AFU_SOCKET_SEALED_H

#include "socket/sock.h"

/* One record as a reader who wants to know its speaker has it; zero when it is none. */
struct afu_opened {
	int known;	  /* the rest says something */
	int takes;	  /* the record will be gone after this, whatever comes of it */
	uint64_t speaker; /* 0: nobody */
	int told;	  /* he has told the broker of it, */
	uint64_t secret;  /* with what was parked */
	char *copy; /* the payload that the broker was asked about; NULL: what lies in the ring will do */
	uint64_t words[AFU_RING_WORDS]; /* likewise, if there is a copy */
	size_t size;			/* of that memory, bytes */
};

/* Looks who speaks.  Under the lock. */
void afu_opened_begin(struct afu_opened *o, struct afu_sock *s, struct afu_way_in *way,
		      const struct afu_ring_record *rec, int takes);
void afu_opened_close(struct afu_opened *o);
static inline void afu_opened_end(struct afu_opened *o)
{
	if (__builtin_expect(o->copy != NULL, 0))
		afu_opened_close(o);
}
/* The same without a question: 0 if it would need one.  To be called after the record was copied. */
uint64_t afu_opened_unasked(const struct afu_sock *s, const struct afu_way_in *way,
			    const struct afu_ring_record *rec);
/*
 * afu_ring_read() of what was looked at.  0; -EFAULT; -ESTALE, once at most: its speaker turned out to be
 * another one, and nothing was read.
 */
int afu_opened_read(struct afu_opened *o, struct afu_sock *s, struct afu_way_in *way,
		    const struct afu_ring_record *rec, uint32_t offset, struct afu_iter *to, uint32_t n);

/*
 * afu_ring_put() of a record that names its speaker: with a signature, which needs a word more, or with the
 * broker told of it before or, if the direction was sealed just then, after.
 */
int afu_sealed_put(struct afu_sock *s, struct afu_way_out *way, uint64_t words[AFU_RING_WORDS],
		   struct afu_iter *from, uint32_t n, uint32_t flags, const struct afu_sending *m,
		   uint32_t charge);

#endif
