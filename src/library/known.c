/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/known.h"

#include "base/lock.h"
#include "library/domain.h"

#include <string.h>

static struct afu_plock lock;

/* 1: it is as of that version; -1: of an earlier one; 0: nothing is known. */
static int look_up(const struct afu_known *known, uint32_t version, uint8_t name[128], uint32_t *length)
{
	struct afu_thread *th = afu_thread();
	int found = 0;

	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	if (known->valid) {
		found = known->version == version ? 1 : -1;
		*length = known->length;
		memcpy(name, known->name, known->length);
	}
	afu_plock_release(&lock);
	afu_thread_leave(th);
	return found;
}

void afu_known_told(struct afu_known *known, uint32_t version, const uint8_t *name, uint32_t length)
{
	struct afu_thread *th = afu_thread();

	if (length > sizeof known->name)
		return;
	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	known->valid = 1;
	known->version = version;
	known->length = length;
	memcpy(known->name, name, length);
	afu_plock_release(&lock);
	afu_thread_leave(th);
}

int afu_known_name(struct afu_sock *s, struct afu_flow *flow, uint8_t name[128], uint32_t *length)
{
	struct afu_request req = {.op = AFU_OP_NAME,
				  .socket = s->id,
				  .arg = {flow ? AFU_NAME_SENDER : AFU_NAME_PEER, flow ? flow->id : 0}};
	struct afu_known *known = flow ? &flow->sender : &s->peer_name;
	uint32_t version = atomic_load(&s->ep->names);
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err, have = look_up(known, version, name, length);
	unsigned int n;

	if (have > 0)
		return 0;
	err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return have ? 0 : err; /* whoever is forgotten had the name that he had */
	if (reply.length > sizeof known->name)
		return -EPROTO;
	*length = reply.length;
	memcpy(name, reply.data, reply.length);
	afu_known_told(known, version, name, *length);
	return 0;
}

void afu_known_forked(void)
{
	lock = (struct afu_plock){0};
}
