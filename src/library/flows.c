/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/flows.h"

#include "base/memory.h"
#include "base/pool.h"
#include "library/domain.h"
#include "library/known.h"
#include "library/parking.h"
#include "library/view.h"

#include <string.h>
#include <sys/mman.h>

#define IDS_MAX (2 * AFU_FLOWS_MAX)
#define IDS_AT_ONCE (sizeof((struct afu_reply *)0)->data / sizeof(uint64_t))

static struct afu_pool pool = {.size = sizeof(struct afu_flow)};

/* What the broker says, under the lock of renewing. */
static struct {
	uint64_t id[IDS_MAX];
	unsigned int n;
	uint32_t removals;
	uint64_t peer;
} listed;

struct afu_flow *afu_flows_find(const struct afu_flows *f, uint64_t id)
{
	for (unsigned int i = 0; f && i < f->n_in; i++) {
		if (f->in[i]->id == id)
			return f->in[i];
	}
	for (unsigned int i = 0; f && i < f->n_out; i++) {
		if (f->out[i]->id == id)
			return f->out[i];
	}
	return NULL;
}

/* Asks for the ids above a given one. */
static int list(const struct afu_sock *s, uint64_t after)
{
	struct afu_request req = {.op = AFU_OP_FLOWS, .socket = s->id};
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	listed.n = 0;
	do {
		req.arg[0] = after;
		err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
		if (err)
			return err;
		n = reply.arg[2] < IDS_AT_ONCE ? (unsigned int)reply.arg[2] : (unsigned int)IDS_AT_ONCE;
		if (listed.n + n > IDS_MAX)
			return -ENOMEM;
		memcpy(&listed.id[listed.n], reply.data, n * sizeof(uint64_t));
		listed.n += n;
		if (n)
			after = listed.id[listed.n - 1];
		listed.removals = (uint32_t)reply.arg[0];
		listed.peer = reply.arg[1];
	} while (n == IDS_AT_ONCE);
	return 0;
}

static void place(struct afu_sock *s, struct afu_flow *f, unsigned int slot_out, unsigned int slot_in)
{
	char *page = (char *)s->ep;
	struct afu_side *side = f->ch->side;
	struct afu_ring ring = afu_channel_ring(f->ch, 0);

	slot_out %= AFU_FLOWS_MAX;
	slot_in %= AFU_FLOWS_MAX;
	f->out = (struct afu_way_out){ring, (void *)(page + AFU_ENDPOINT_TX_AT + AFU_ENDPOINT_SLOT * slot_out), &side[0],
				      &side[1], f->id, 0, { 0 }};
	f->in = (struct afu_way_in){ring, (void *)(page + AFU_ENDPOINT_RX_AT + AFU_ENDPOINT_SLOT * slot_in), &side[1],
				    &side[0], f->id, 0, 0, { 0 }};
}

/* 0, or a negative errno; -ESRCH: it is gone already. */
static int fetch(struct afu_sock *s, uint64_t id, struct afu_flow **to)
{
	struct afu_request req = {.op = AFU_OP_FLOW, .socket = s->id, .arg = {id}};
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err;
	struct afu_flow *f;
	uint32_t names = atomic_load(&s->ep->names);
	unsigned int n;
	void *inbox;

	err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return err == -EPERM ? -ESRCH : err;
	f = afu_pool_get(&pool);
	err = f ? afu_channel_map(got[0], 0, &f->ch) : -ENOMEM;
	if (!err) {
		err = afu_memory_map(got[1], sizeof(struct afu_inbox), 1, &inbox);
		if (err)
			afu_channel_unmap(f->ch, 0);
	}
	while (n)
		afu_sys_close(got[--n]);
	if (err) {
		if (f)
			afu_pool_put(&pool, f);
		return err;
	}
	f->id = id;
	f->inbox = inbox;
	f->queue_max = (uint32_t)reply.arg[1];
	f->roles = (uint32_t)(reply.arg[0] >> 32) & (AFU_FLOW_IN | AFU_FLOW_OUT);
	afu_known_told(&f->sender, names, reply.data, reply.length);
	place(s, f, (unsigned int)reply.arg[0] & 0xffff, (unsigned int)(reply.arg[0] >> 16) & 0xffff);
	if (f->roles & AFU_FLOW_IN)
		afu_sock_tell_new(s, f->in.own);
	*to = f;
	return 0;
}

static void discard(struct afu_flow *f)
{
	afu_parking_close(&f->in.parking);
	afu_parking_close(&f->out.parking);
	afu_channel_unmap(f->ch, 0);
	afu_sys_munmap(f->inbox, sizeof *f->inbox);
	afu_pool_put(&pool, f);
}

static struct afu_flows *make(unsigned int n)
{
	size_t size = (sizeof(struct afu_flows) + 2 * n * sizeof(struct afu_flow *) + 4095) & ~(size_t)4095;
	struct afu_flows *f = afu_sys_mmap(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (afu_sys_failed(f))
		return NULL;
	f->size = size;
	f->in = (struct afu_flow **)(f + 1);
	f->out = f->in + n;
	return f;
}

static void enter(struct afu_flows *f, struct afu_flow *flow)
{
	if (flow->roles & AFU_FLOW_IN)
		f->in[f->n_in++] = flow;
	if (flow->roles & AFU_FLOW_OUT)
		f->out[f->n_out++] = flow;
	if (flow->id == listed.peer)
		f->peer = flow;
	if (flow->id > f->newest)
		f->newest = flow->id;
}

/* It is not in the new set: what it had counted stays counted. */
static void retire(struct afu_flow **gone, struct afu_flows *f, struct afu_flow *flow)
{
	if (flow->roles & AFU_FLOW_IN)
		f->past_in += atomic_load_explicit(&flow->in.ring.mark->produced, memory_order_relaxed);
	if (flow->roles & AFU_FLOW_OUT)
		f->past_out += atomic_load_explicit(&flow->out.ring.head->released, memory_order_relaxed) +
			       atomic_load_explicit(&flow->out.own->rooms, memory_order_relaxed);
	flow->next = *gone;
	*gone = flow;
}

/* Those of the old set that the new one goes on with, in the order of their ids, or all if nothing was
 * removed. */
static void carry_over(struct afu_flow **gone, const struct afu_flows *old, struct afu_flows *f, int all)
{
	for (unsigned int role = 0; role < 2; role++) {
		unsigned int n = role ? old->n_out : old->n_in;

		for (unsigned int i = 0; i < n; i++) {
			struct afu_flow *flow = role ? old->out[i] : old->in[i];
			unsigned int j = 0;

			/* one of both roles came with the first */
			if (role && (flow->roles & AFU_FLOW_IN))
				continue;
			while (!all && j < listed.n && listed.id[j] != flow->id)
				j++;
			if (all || j < listed.n)
				enter(f, flow);
			else
				retire(gone, f, flow);
		}
	}
}

/* Nobody can be looking at them any more. */
static void free_retired(struct afu_sock *s, unsigned int which)
{
	while (s->old_flows[which]) {
		struct afu_flows *f = s->old_flows[which];

		s->old_flows[which] = f->next;
		afu_sys_munmap(f, f->size);
	}
	while (s->old_flow[which]) {
		struct afu_flow *flow = s->old_flow[which];

		s->old_flow[which] = flow->next;
		discard(flow);
	}
}

/* Whether anything is retired; a hint for who does not hold the lock. */
static int has_retired(const struct afu_sock *s)
{
	return s->old_flows[0] || s->old_flows[1] || s->old_flow[0] || s->old_flow[1];
}

/*
 * Goes on to the next era, if nobody is left of the one before the present: who looks at what was retired
 * in that one had his pin in it, or earlier.  Twice, if there are no pins at all.
 */
static void reclaim(struct afu_sock *s)
{
	for (int round = 0; round < 2 && has_retired(s); round++) {
		unsigned int before = (atomic_load(&s->era) + 1) & 1;

		if (atomic_load(&s->pins[before]))
			return;
		/* those who are in the middle of a call, or of taking a pin */
		if (!round) {
			afu_thread_quiesce(s);
			if (atomic_load(&s->pins[before]))
				return;
		}
		free_retired(s, before);
		atomic_fetch_add(&s->era, 1);
	}
}

/* The call never came back: only its pin is given back. */
static void drop_pin(void *pin)
{
	atomic_fetch_sub((_Atomic uint32_t *)pin, 1);
}

_Atomic uint32_t *afu_flows_pin(struct afu_thread *th, struct afu_sock *s)
{
	const void *before = atomic_load_explicit(&th->hazard, memory_order_relaxed); /* its own */
	_Atomic uint32_t *pin;

	afu_thread_enter(th);
	atomic_store_explicit(&th->hazard, s, memory_order_relaxed); /* the other half: afu_thread_quiesce() */
	atomic_signal_fence(memory_order_seq_cst);
	pin = &s->pins[atomic_load(&s->era) & 1];
	atomic_fetch_add(pin, 1);
	afu_hold(th, drop_pin, (void *)(uintptr_t)pin);
	atomic_store_explicit(&th->hazard, before, memory_order_release);
	/* release: pairs with acquire in afu_thread_quiesce() */
	afu_thread_leave(th);
	return pin;
}

void afu_flows_unpin(struct afu_thread *th, struct afu_sock *s, _Atomic uint32_t *pin)
{
	if (!afu_unhold(th, (const void *)(uintptr_t)pin))
		return;
	if (atomic_fetch_sub(pin, 1) != 1 || !has_retired(s))
		return;
	afu_thread_enter(th);
	if (afu_plock_try(&afu_view_renewing)) {
		reclaim(s);
		afu_plock_release(&afu_view_renewing);
	}
	afu_thread_leave(th);
}

/* A set that was never published: what is not the old one's goes with it. */
static void abandon(const struct afu_flows *old, struct afu_flows *f)
{
	for (unsigned int i = 0; i < f->n_out; i++) {
		if (!(f->out[i]->roles & AFU_FLOW_IN) && afu_flows_find(old, f->out[i]->id) != f->out[i])
			discard(f->out[i]);
	}
	for (unsigned int i = 0; i < f->n_in; i++) {
		if (afu_flows_find(old, f->in[i]->id) != f->in[i])
			discard(f->in[i]);
	}
	afu_sys_munmap(f, f->size);
}

/* Fetches what was listed and is not known yet.  0, or a negative errno. */
static int fetch_listed(struct afu_sock *s, struct afu_flows *f)
{
	for (unsigned int i = 0; i < listed.n; i++) {
		struct afu_flow *flow;
		int err;

		if (afu_flows_find(f, listed.id[i]))
			continue;
		err = fetch(s, listed.id[i], &flow);
		if (!err)
			enter(f, flow);
		else if (err != -ESRCH)
			return err;
	}
	return 0;
}

int afu_flows_renew(struct afu_sock *s)
{
	struct afu_flows *old = atomic_load_explicit(&s->flows, memory_order_relaxed),
			 *f; /* the lock orders it */
	struct afu_flow *gone = NULL, **last = &gone;
	int err = list(s, old ? old->newest : 0), all;
	unsigned int now;

	all = !err && old && listed.removals == old->removals;
	if (!err && old && !all)
		err = list(s, 0);
	if (err)
		return err;
	f = make(listed.n + (old ? old->n_in + old->n_out : 0));
	if (!f)
		return -ENOMEM;
	f->removals = listed.removals;
	if (old) {
		f->past_in = old->past_in;
		f->past_out = old->past_out;
		carry_over(&gone, old, f, all);
	}
	err = fetch_listed(s, f);
	if (err) {
		abandon(old, f); /* the old set goes on as it was */
		return err;
	}
	atomic_store_explicit(&s->flows, f, memory_order_release); /* pairs with afu_sock_flows() */
	now = atomic_load(&s->era) & 1;
	if (old) {
		old->next = s->old_flows[now];
		s->old_flows[now] = old;
	}
	while (*last)
		last = &(*last)->next;
	*last = s->old_flow[now];
	s->old_flow[now] = gone;
	reclaim(s);
	return 0;
}

void afu_flows_free(struct afu_sock *s)
{
	struct afu_flows *f = atomic_load(&s->flows);

	if (f) {
		for (unsigned int i = 0; i < f->n_in; i++)
			discard(f->in[i]);
		for (unsigned int i = 0; i < f->n_out; i++) {
			if (!(f->out[i]->roles & AFU_FLOW_IN))
				discard(f->out[i]);
		}
		afu_sys_munmap(f, f->size);
	}
	atomic_store(&s->flows, NULL);
	free_retired(s, 0);
	free_retired(s, 1);
}

void afu_flows_forked(void)
{
	pool.lock = (struct afu_plock){0};
}
