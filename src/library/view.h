/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The life of a socket's view in this process: entering a call, renewing the
 * view, sleeping with it, and the end of its last number.
 */
#ifndef AFU_LIBRARY_VIEW_H
#define AFU_LIBRARY_VIEW_H

#include "base/hold.h"
#include "base/lock.h"
#include "library/table.h"

/*
 * Begins a call on the descriptor: a critical section with a fresh view.  NULL with *err: AFU_ELSEWHERE if
 * it is not an afunix socket, or no longer; or why the view could not be renewed.
 */
struct afu_sock *afu_view_enter(struct afu_thread *th, int fd, int *err);

/* The same for a view that the call has in use: it goes on, whatever became of the number.  0 or negative errno. */
int afu_view_reenter(struct afu_thread *th, struct afu_sock *s);

static inline void afu_view_leave(struct afu_thread *th)
{
	atomic_store_explicit(&th->hazard, NULL, memory_order_release);
	/* release: pairs with acquire in afu_thread_quiesce() */
	afu_thread_leave(th);
}

/* Inside a call: keeps the view beyond afu_view_leave(), to sleep.  Paired with afu_view_put(). */
void afu_view_release(void *s);
static inline void afu_view_get(struct afu_sock *s)
{
	atomic_fetch_add(&s->uses, 1);
	afu_hold(&afu_thread_self, afu_view_release, s);
}
void afu_view_put(struct afu_sock *s);

/* Held while a view is renewed: state, channel, flows. */
extern struct afu_plock afu_view_renewing;

/* A new view for a token of this process; the caller enters it into the table.  NULL: no memory. */
struct afu_sock *afu_view_new(uint64_t id, int type);
/* Maps what a reply brought (endpoint; channel or -1); the descriptors stay the caller's.  0 or negative errno. */
int afu_view_map(struct afu_sock *s, int endpoint, int channel, uint32_t state, uint32_t side);
/* What was mapped last is what the page's version says now, but for what is fetched at first use. */
void afu_view_settle(struct afu_sock *s);
/*
 * Fetches state and channel anew.  0; AFU_ELSEWHERE: it has become a kernel socket, and the numbers are
 * that one's; or negative errno.  The view is in use.
 */
int afu_view_renew(struct afu_sock *s);
/* The broker said that s is connected now, with this channel; side 0.  0 or negative errno. */
int afu_view_connected(struct afu_sock *s, int channel);
/* A view that never came into the table. */
void afu_view_free(struct afu_sock *s);

/* One more number for the socket. */
void afu_view_number(struct afu_sock *s, int fd);
/*
 * The same in two steps, for dup(): the number counts before it is known, so the view
 * can't end meanwhile.  NULL if fd is no afunix socket.  to < 0: there is none after all.
 */
struct afu_sock *afu_view_reserve(int fd);
void afu_view_reserved(struct afu_sock *s, int to);
/*
 * dup2() put something else under a number that was ours; spare is a duplicate of
 * what it was, and is used up.
 */
void afu_view_replaced(int fd, int spare);
/*
 * The number means something else already: the last one ends the view.  The table has no entry any more.  spare
 * is a duplicate of what it was, which goes on for as long as a call has the view in use; or -1.
 */
void afu_view_number_gone(struct afu_sock *s, int fd, int spare);
/* close(2) of a number that is ours. */
int afu_view_close(int fd);

/* Recognises a token that came from elsewhere (exec).  1 if it is one. */
int afu_view_recognise(int fd);

/* No view is being renewed meanwhile; before the table's lock. */
void afu_view_lock(void);
void afu_view_unlock(void);

void afu_view_forked(void);

#endif
