/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The sender's buffer, accounted as the kernel does: each message, or each chunk of a
 * stream, is charged with the size of the buffer that the kernel would have made for it.
 */
#include "socket/sock.h"

#define SNDBUF_MIN 4608u
/* What the ring holds for certain, by the kernel's charge. */
#define CAPACITY (8u << 20)
/* A message's linear part, and the most that it has beside it. */
#define LINEAR_MAX 16064u
#define PAGES_MAX 69632u

static uint32_t linear_charge(uint32_t n)
{
	uint32_t size = 512;

	while (size < n + 320)
		size <<= 1;
	return 256 + size;
}

static uint32_t whole_pages(uint32_t n)
{
	return (n + 4095) & ~4095u;
}

uint32_t afu_charge(int type, uint32_t n)
{
	uint32_t pages;

	if (n <= 192)
		return 768;
	if (type == SOCK_STREAM) {
		pages = n <= 3776 ? 0 : whole_pages(n - 3776);
	} else {
		pages = n <= LINEAR_MAX ? 0 : whole_pages(n - LINEAR_MAX);
		if (pages > PAGES_MAX)
			pages = PAGES_MAX;
	}
	return linear_charge(pages >= n ? 0 : n - pages) + pages;
}

uint32_t afu_sock_sndbuf(const struct afu_sock *s)
{
	uint32_t sndbuf = *(volatile uint32_t *)&s->ep->sndbuf;

	return sndbuf < SNDBUF_MIN ? SNDBUF_MIN : sndbuf;
}

uint32_t afu_sock_limit(const struct afu_sock *s)
{
	uint32_t sndbuf = afu_sock_sndbuf(s);

	return sndbuf < CAPACITY ? sndbuf : CAPACITY;
}

size_t afu_sock_unsent(const struct afu_sock *s)
{
	const struct afu_flows *f;
	size_t sum = 0;

	if (s->type != SOCK_DGRAM) {
		if (s->state != AFU_CONNECTED || (afu_side_flags(s->peer) & AFU_SIDE_CLOSED))
			return 0;
		return afu_ring_used(&s->out.ring, s->out.tx);
	}
	f = afu_sock_flows(s);
	for (unsigned int i = 0; f && i < f->n_out; i++) {
		const struct afu_way_out *way = &f->out[i]->out;

		if (!(afu_side_flags(way->peer) & AFU_SIDE_CLOSED))
			sum += afu_ring_used(&way->ring, way->tx);
	}
	return sum;
}

size_t afu_sock_unsent_most(const struct afu_sock *s)
{
	const struct afu_flows *f = afu_sock_flows(s);
	size_t sum = 0;

	for (unsigned int i = 0; f && i < f->n_out; i++)
		sum += afu_ring_used_most(f->out[i]->out.tx);
	return sum;
}

int afu_sock_roomy(const struct afu_sock *s)
{
	return 4 * (afu_sock_unsent(s) + 1) <= afu_sock_limit(s);
}

void afu_sock_set_wake_at(const struct afu_sock *s, const struct afu_way_out *way)
{
	uint64_t released = atomic_load_explicit(&way->ring.head->released, memory_order_relaxed);
	uint64_t used = afu_ring_used(&way->ring, way->tx), keep = afu_sock_limit(s) / 4;

	/* relaxed: only the sum with used counts, and that was read after; a peer that lies about it stalls
	 * itself */
	keep = keep ? keep - 1 : 0;
	/* with several flows, what one of them must give back is not known: the sender looks each time */
	if (s->type == SOCK_DGRAM)
		keep = used ? used - 1 : 0;
	atomic_store_explicit(&way->own->wake_at, used > keep ? released + used - keep : released,
			      memory_order_relaxed);
	/* relaxed: the announcement that follows orders it */
}

void afu_sock_resized(struct afu_sock *s)
{
	const struct afu_flows *f = s->type == SOCK_DGRAM ? afu_sock_flows(s) : NULL;

	if (!s->own) {
		atomic_fetch_add(&s->ep->rooms, 1);
		return;
	}
	if (s->state == AFU_LISTENING || !afu_sock_roomy(s))
		return;
	afu_relieve(s->own);
	for (unsigned int i = 0; f && i < f->n_out; i++)
		afu_relieve(f->out[i]->out.own);
}
