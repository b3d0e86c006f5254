/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The afunix sockets of an epoll instance, and which of them are looked at.
 *
 * A wait looks at the hot ones.  If there are many, those that had nothing for long go
 * cold: whoever has something for a cold one calls its name by the instance's bell (channel/waiter.h), and it
 * is hot again.  So what a wait costs grows with what is going on, not with what is registered.
 *
 *   cool: the name into the tag of the socket's slots; then one more look
 *   heat: a name was heard, or everything is to be looked at; then a look, as at all hot ones
 *
 * Nothing is lost between.  Who publishes before the name stands in the slot is found by that look; who
 * publishes after it sees the name, since his fence lies between.  What was written into the bell stays there
 * until somebody hears it, and that one heats in the same critical section.  Only what is sure to come with a
 * bell goes cold: afu_sock_watchable(), one entry for a socket, with a slot at each of its ways.
 */
#ifndef AFU_LIBRARY_EPOLL_SET_H
#define AFU_LIBRARY_EPOLL_SET_H

#include "base/lock.h"
#include "channel/waiter.h"
#include "socket/sock.h"

#include <sys/epoll.h>

struct afu_epoll;

struct afu_epoll_entry {
	struct afu_epoll *ep;
	struct afu_sock *sock;
	int fd;
	uint32_t events; /* as registered */
	uint64_t data;
	struct afu_edges seen;
	struct afu_edges passed; /* what an instance around this one saw last */
	uint8_t spent;		 /* a one-shot that has reported */
	uint8_t cold;
	uint8_t stale;			     /* the last look found that its view must be renewed */
	uint8_t watched;		     /* the waiter stands in its slot, and nothing takes it away */
	uint8_t shared;			     /* the socket is, or was, registered under another number too */
	uint32_t quiet;			     /* looks in a row that found nothing */
	uint32_t name;			     /* 0: none yet */
	uint64_t cooled;		     /* how often; numbers the tags */
	struct afu_epoll_entry *prev, *next; /* ring of the hot or the cold ones */
	struct afu_epoll_entry *sock_next;   /* others of the same socket */
};

/* What follows is under the lock, but for the counts, which are read as hints without. */
struct afu_epoll_set {
	struct afu_plock lock;
	struct afu_waiter *waiter;   /* NULL until a wait needs it */
	struct afu_epoll_entry *hot; /* where the next look begins */
	struct afu_epoll_entry *cold;
	_Atomic uint32_t n_hot, n_cold;
	struct afu_epoll_entry **named; /* by name */
	uint32_t names, room, vacant;	/* ever given, room for, the first that was given back */
	_Atomic uint32_t peer_cpu;	/* to spin for */
	uint8_t exclusive;		/* some are, or were, registered so */
};

/* So many are looked at each time, however quiet: it costs less than being called. */
#define AFU_EPOLL_HOT 16

static inline uint32_t afu_epoll_set_count(const struct afu_epoll_set *set)
{
	return atomic_load_explicit(&set->n_hot, memory_order_relaxed) +
	       atomic_load_explicit(&set->n_cold, memory_order_relaxed);
	/* relaxed: a hint */
}

/* The lists that hang on sockets; before a set's own lock. */
extern struct afu_plock afu_epoll_structure;

/* Both locks held.  NULL: no memory. */
struct afu_epoll_entry *afu_epoll_set_add(struct afu_epoll *ep, struct afu_epoll_set *set, struct afu_sock *s,
					  int fd);
void afu_epoll_set_remove(struct afu_epoll_set *set, struct afu_epoll_entry *e);
/* All of them, when the instance ends. */
void afu_epoll_set_clear(struct afu_epoll_set *set);

/* It is looked at from now on.  Under the lock. */
void afu_epoll_set_heat(struct afu_epoll_set *set, struct afu_epoll_entry *e);
/* Enters a waiter at a socket as the entry wants it. */
void afu_epoll_set_watch(struct afu_epoll_entry *e, uint64_t waiter);

/* Hears the bell.  Whether there is anything that was not looked at before. */
int afu_epoll_set_hear(struct afu_thread *th, struct afu_epoll_set *set);

/* Who was waiting leaves without a look: what it was rung for, in place of others, goes to one of them. */
void afu_epoll_set_pass_on(struct afu_thread *th, struct afu_epoll_set *set);

/*
 * Goes once round the hot ones.  Up to max events are reported into out, and the next look begins behind
 * the last one; PEEK stops at the first, and POLL doesn't count who is quiet.
 */
enum { AFU_EPOLL_PEEK, AFU_EPOLL_TAKE, AFU_EPOLL_POLL };
/* When the bell is heard as well: something was found; nothing was. */
enum { AFU_EPOLL_HEAR_ALSO = 1, AFU_EPOLL_HEAR_ELSE = 2 };
int afu_epoll_set_collect(struct afu_thread *th, struct afu_epoll_set *set, struct epoll_event *out, int max,
			  int take, int listen);
/* Whether something came to one that has something to report, since this was last asked with take. */
int afu_epoll_set_edge(struct afu_thread *th, struct afu_epoll_set *set, int take);
/* Enters the waiter at the hot sockets; all: at the cold ones too. */
void afu_epoll_set_watch_all(struct afu_thread *th, struct afu_epoll_set *set, uint64_t waiter, int all);

/* In a forked child. */
void afu_epoll_set_forked(void);
void afu_epoll_set_inherited(struct afu_epoll_set *set);

#endif
