/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A receiver's socket filter is run by its senders, who cannot see the page that it lies in.
 * The broker reads it to those who have a way to that receiver.
 */
#include "broker/state.h"

#include <string.h>
#include <unistd.h>

#define AT_ONCE (sizeof((struct afu_reply *)0)->data / sizeof(uint64_t))
#define LOOKS 16

/* Who receives what the caller's socket sends; NULL: nobody any more. */
static const struct bsock *receiver(const struct call *c)
{
	const struct bsock *s = c->socket;

	return c->req->arg[0] ? afu_flow_find(s, c->req->arg[0])->to : s->conn->end[1 - s->side];
}

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

enum afu_cause afu_filter_tell(struct call *c)
{
	struct afu_endpoint_filter filter;
	uint64_t from = c->req->arg[1];
	uint32_t length;

	if (!afu_flow_direction(c, 1))
		return AFU_CAUSE_NOT_CONNECTED;
	if (read_filter(receiver(c), &filter) < 0)
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
