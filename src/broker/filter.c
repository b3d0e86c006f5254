/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A receiver's socket filter is run by its senders, who cannot see the page that it lies in.
 * The broker reads it to those who have a way to that receiver.
 */
#include "broker/state.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT_ONCE (sizeof((struct afu_reply *)0)->data / sizeof(uint64_t))
#define LOOKS 16

/* Its holders may be writing: some looks until it is whole.  0, or -1: there is no page. */
static int read_filter(const struct bsock *s, struct afu_endpoint_filter *to)
{
	off_t at = offsetof(struct afu_endpoint, opt.filter);
	uint32_t turn;

	if (!s || s->memory < 0)
		return -1;
	for (int i = 0; i < LOOKS; i++) {
		if (pread(s->memory, to, sizeof *to, at) != (ssize_t)sizeof *to ||
		    pread(s->memory, &turn, sizeof turn, at) != (ssize_t)sizeof turn)
			return -1;
		if (turn == atomic_load(&to->turn) && !(turn & 1))
			break;
	}
	return 0;
}

struct afu_endpoint_filter *afu_filter_copy(const struct bsock *s)
{
	struct afu_endpoint_filter *copy;

	if (!(afu_store_wants(s) & AFU_WANTS_FILTER))
		return NULL;
	copy = malloc(sizeof *copy);
	if (copy && read_filter(s, copy) < 0) {
		free(copy);
		copy = NULL;
	}
	return copy;
}

/* That of whoever receives what the caller's socket sends.  0, or -1: nobody, or nobody who has one. */
static int filter_there(const struct call *c, struct afu_endpoint_filter *to)
{
	const struct bsock *s = c->socket;
	const struct flow *f;

	if (!c->req->arg[0])
		return read_filter(s->conn->end[1 - s->side], to);
	f = afu_flow_find(s, c->req->arg[0]);
	if (f->to)
		return read_filter(f->to, to);
	if (f->last_filter)
		memcpy(to, f->last_filter, sizeof *to);
	return f->last_filter ? 0 : -1;
}

enum afu_cause afu_filter_tell(struct call *c)
{
	struct afu_endpoint_filter filter;
	uint64_t from = c->req->arg[1];
	uint32_t length;

	if (!afu_flow_direction(c, 1))
		return AFU_CAUSE_NOT_CONNECTED;
	if (filter_there(c, &filter) < 0)
		return AFU_CAUSE_NONE;
	length = atomic_load(&filter.length);
	length = length < AFU_FILTER_ROOM ? length : AFU_FILTER_ROOM;
	c->reply->arg[0] = atomic_load(&filter.turn);
	c->reply->arg[1] = length;
	if (from >= length)
		return AFU_CAUSE_NONE;
	length -= (uint32_t)from;
	length = length < AT_ONCE ? length : (uint32_t)AT_ONCE;
	c->reply->length = length * (uint32_t)sizeof(uint64_t);
	for (uint32_t i = 0; i < length; i++) {
		uint64_t word = atomic_load(&filter.code[from + i]);

		memcpy(c->reply->data + i * sizeof word, &word, sizeof word);
	}
	return AFU_CAUSE_NONE;
}
