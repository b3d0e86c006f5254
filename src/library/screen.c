/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/screen.h"

#include "base/lock.h"
#include "library/domain.h"

#include <string.h>

#define REMEMBERED 16
#define TRIES 16

static struct remembered {
	uint64_t socket; /* 0: free */
	struct afu_screen screen;
} remembered[REMEMBERED];
static unsigned int next;
static struct afu_plock lock;

static void copy(struct afu_screen *to, const struct afu_screen *from)
{
	to->flow = from->flow;
	to->version = from->version;
	to->n = from->n;
	memcpy(to->prog, from->prog, from->n * sizeof from->prog[0]);
}

/* Under the lock; NULL. */
static struct remembered *find(const struct afu_sock *s, uint64_t flow)
{
	for (unsigned int i = 0; i < REMEMBERED; i++) {
		if (remembered[i].socket == s->id && remembered[i].screen.flow == flow)
			return &remembered[i];
	}
	return NULL;
}

int afu_screen_recall(const struct afu_sock *s, uint64_t flow, uint32_t version, struct afu_screen *to)
{
	struct afu_thread *th = afu_thread();
	const struct remembered *r;
	int known;

	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	r = find(s, flow);
	known = r && r->screen.version == version;
	if (known)
		copy(to, &r->screen);
	afu_plock_release(&lock);
	afu_thread_leave(th);
	return known;
}

static void remember(const struct afu_sock *s, const struct afu_screen *screen)
{
	struct afu_thread *th = afu_thread();
	struct remembered *r;

	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	r = find(s, screen->flow);
	if (!r)
		r = &remembered[next++ % REMEMBERED];
	r->socket = s->id;
	copy(&r->screen, screen);
	afu_plock_release(&lock);
	afu_thread_leave(th);
}

/* The program, page by page.  0, -EAGAIN: it was changed meanwhile, or a refusal. */
static int read_program(struct afu_request *req, struct afu_screen *to)
{
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err;
	uint64_t turn = 0, length = 0;
	unsigned int n;

	to->n = 0;
	do {
		req->arg[1] = to->n;
		err = afu_domain_call(req, NULL, 0, &reply, got, &n);
		if (err)
			return err;
		if (to->n && (reply.arg[0] != turn || reply.arg[1] != length))
			return -EAGAIN;
		turn = reply.arg[0];
		length = reply.arg[1];
		n = reply.length / (unsigned int)sizeof to->prog[0];
		if (length > AFU_FILTER_ROOM || reply.length > sizeof reply.data || n > length - to->n ||
		    (!n && to->n < length))
			return -EAGAIN;
		memcpy(&to->prog[to->n], reply.data, n * sizeof to->prog[0]);
		to->n += n;
	} while (to->n < length);
	return 0;
}

/* A filter that lets everything pass, for one that was taken away. */
static void let_pass(struct afu_screen *to)
{
	to->n = 1;
	to->prog[0] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
}

int afu_screen_fetch(const struct afu_sock *s, uint64_t flow, uint32_t version, struct afu_screen *to)
{
	struct afu_request req = {.op = AFU_OP_FILTER, .socket = s->id, .arg = {flow}};
	int err = -EAGAIN;

	for (int i = 0; i < TRIES && err == -EAGAIN; i++)
		err = read_program(&req, to);
	/* no such way any more: what is sent there will find that out */
	if (err == -EPERM || err == -ENOTCONN || err == -EAGAIN)
		to->n = 0;
	else if (err)
		return err;
	to->flow = flow;
	to->version = version;
	if (!to->n)
		let_pass(to);
	if (!err)
		remember(s, to);
	return 0;
}

void afu_screen_forked(void)
{
	lock = (struct afu_plock){0};
	/* another thread may have been in the middle of one */
	for (unsigned int i = 0; i < REMEMBERED; i++)
		remembered[i].socket = 0;
}
