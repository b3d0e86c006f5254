/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "channel/waiter.h"

#include "base/lock.h"
#include "base/memory.h"
#include "base/pool.h"
#include "base/sys.h"
#include "base/thread.h"
#include "channel/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define BELL_BYTES 4096 /* what a bell holds */
#define PAGE_BYTES (AFU_WAITERS * sizeof(struct afu_waiter_word))
#define DIRECTORY 256
/* So many bells are known before it is asked which are still read; in a program that closes no socket. */
#define SWEEP_MIN 8
/* So many are asked about for each socket that is closed: more than one, or they would not get fewer. */
#define TIDY 2
#define TRIES 4
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100
#endif

/* Somebody's bell as we know it: one for each waiter slot, whatever its generation. */
struct bell {
	_Atomic uint64_t id;
	const struct afu_waiter_word *word;
	int fd;
	struct bell *next;
};

struct page {
	uint32_t process;
	const struct afu_waiter_word *words;
	struct page *next;
};

const struct afu_waiter_ops *afu_waiter_ops;
const _Atomic uint32_t *afu_unheard;
void (*afu_watch_overflow)(struct afu_side *side);

static struct {
	struct afu_plock lock;
	uint32_t process;
	struct afu_waiter_word *words;
	struct afu_waiter waiters[AFU_WAITERS];
	uint32_t used; /* slots of waiters that were ever made */
	struct afu_waiter *free;
} own;

static struct {
	struct afu_plock lock;
	struct bell *bells, **end;
	struct page *pages;
	struct bell *_Atomic recent[DIRECTORY];
	_Atomic unsigned int count;
	unsigned int sweep_at;
} others = { .end = &others.bells };

static struct afu_pool bell_pool = {.size = sizeof(struct bell)};
static struct afu_pool page_pool = {.size = sizeof(struct page)};

int afu_waiters_start(int *page)
{
	int fd = afu_memory_make("afunix:status", PAGE_BYTES), err;
	void *p;

	if (fd < 0)
		return fd;
	err = afu_memory_map(fd, PAGE_BYTES, 1, &p);
	if (!err)
		err = afu_memory_seal_writes(fd);
	if (err) {
		afu_close_hidden(fd);
		return err;
	}
	own.words = p;
	*page = fd;
	return 0;
}

void afu_waiters_process(uint32_t process)
{
	own.process = process;
}

void afu_waiters_forked(void)
{
	for (uint32_t i = 0; i < own.used; i++) {
		afu_sys_close(own.waiters[i].bell_read);
		afu_sys_close(own.waiters[i].bell_write);
	}
	for (struct bell *b = others.bells; b; b = b->next)
		afu_sys_close(b->fd);
	own.lock = others.lock = (struct afu_plock){0};
	own.words = NULL;
	own.used = 0;
	own.free = NULL;
	others.bells = NULL;
	others.end = &others.bells;
	others.pages = NULL;
	others.count = 0;
	for (unsigned int i = 0; i < DIRECTORY; i++)
		atomic_store_explicit(&others.recent[i], NULL, memory_order_relaxed);
	bell_pool.lock = page_pool.lock = (struct afu_plock){0};
}

static int hide(int fd)
{
	return afu_hide ? afu_hide(fd) : fd;
}

static struct afu_waiter *make(void)
{
	struct afu_waiter *w;
	int fds[2], err;

	if (own.used == AFU_WAITERS || !own.words)
		return NULL;
	if (afu_sys(SYS_pipe2, fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return NULL;
	/* one page: a user's pipes are counted, and a bell never needs more */
	afu_sys(SYS_fcntl, fds[1], F_SETPIPE_SZ, BELL_BYTES);
	w = &own.waiters[own.used];
	w->bell_read = hide(fds[0]);
	w->bell_write = hide(fds[1]);
	w->word = &own.words[own.used];
	err = afu_waiter_ops ? afu_waiter_ops->announce(own.used, w->bell_write) : 0;
	if (err < 0) {
		afu_close_hidden(w->bell_read);
		afu_close_hidden(w->bell_write);
		return NULL;
	}
	own.used++;
	return w;
}

static uint32_t unheard(void)
{
	return afu_unheard ? atomic_load(afu_unheard) : 0;
}

struct afu_waiter *afu_waiter_get(void)
{
	struct afu_thread *th = afu_thread();
	struct afu_waiter *w;

	afu_thread_enter(th);
	afu_plock_acquire(&own.lock);
	w = own.free;
	if (w)
		own.free = w->next_free;
	else
		w = make();
	if (w) {
		uint32_t gen = (atomic_load(&w->word->generation) + 1) & 0xffff;

		w->id = (uint64_t)own.process << 32 | (uint64_t)(w - own.waiters) << 16 | gen;
		atomic_store(&w->word->asleep, 0);
		atomic_store(&w->word->signals, 0);
		atomic_store(&w->word->generation, gen);
		afu_waiter_drain(w);
		w->unheard = unheard(); /* nobody has been given a name yet */
	}
	afu_plock_release(&own.lock);
	afu_thread_leave(th);
	return w;
}

void afu_waiter_put(struct afu_waiter *w)
{
	struct afu_thread *th = afu_thread();

	afu_thread_enter(th);
	afu_plock_acquire(&own.lock);
	atomic_store(&w->word->generation, (atomic_load(&w->word->generation) + 1) & 0xffff);
	if (atomic_load(&w->word->signals)) {
		atomic_store(&w->word->signals, 0);
		afu_sys(SYS_fcntl, w->bell_read, F_SETFL, O_NONBLOCK);
	}
	w->next_free = own.free;
	own.free = w;
	afu_plock_release(&own.lock);
	afu_thread_leave(th);
}

void afu_waiter_drain(const struct afu_waiter *w)
{
	char bytes[BELL_BYTES];

	afu_sys(SYS_read, w->bell_read, bytes, sizeof bytes);
}

#define NAME_BYTES 4

uint32_t afu_waiter_hear(struct afu_waiter *w, void (*name)(void *arg, uint32_t name), void *arg)
{
	unsigned char bytes[BELL_BYTES];
	long n = afu_sys(SYS_read, w->bell_read, bytes, sizeof bytes);
	uint32_t heard = 0, value = 0, missed = unheard(); /* after the read */
	int rest = 0, all = missed != w->unheard;	   /* rest: bytes that the name lacks */

	w->unheard = missed;
	/* a name that came when there was no room for it is among all others; peers may have made the pipe
	 * larger */
	if (n > BELL_BYTES - NAME_BYTES)
		return AFU_BELL_ALL;
	for (long i = 0; i < n; i++) {
		heard |= bytes[i] != AFU_BELL_HANDLER;
		if (bytes[i] & 0x80) {
			value = bytes[i] & 0x7f;
			rest = NAME_BYTES - 1;
		} else if (rest && (bytes[i] & 0x40)) {
			value = value << 6 | (bytes[i] & 0x3f);
			if (--rest == 0)
				name(arg, value);
		} else {
			rest = 0;
			all |= bytes[i] == AFU_BELL_ALL;
		}
	}
	return all ? AFU_BELL_ALL : heard;
}

/* Before RWF_NOSIGNAL (Linux 6.18): SIGPIPE is blocked meanwhile and taken away. */
static int ring_masked(int fd, const void *bytes, size_t n)
{
	uint64_t sigpipe = UINT64_C(1) << (SIGPIPE - 1), old, pending = 0;
	struct timespec none = {0, 0};
	long err;

	afu_sys(SYS_rt_sigpending, &pending, sizeof pending);
	afu_sys(SYS_rt_sigprocmask, SIG_BLOCK, &sigpipe, &old, sizeof old);
	err = afu_sys(SYS_write, fd, bytes, n);
	if (err == -EPIPE && !(pending & sigpipe))
		afu_sys(SYS_rt_sigtimedwait, &sigpipe, 0, &none, sizeof sigpipe);
	afu_sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, sizeof old);
	return (int)err;
}

int afu_waiter_signal(struct afu_waiter *w, const struct f_owner_ex *owner, int signal, uint32_t events)
{
	long err = afu_sys(SYS_fcntl, w->bell_read, F_SETOWN_EX, owner);

	if (!err)
		err = afu_sys(SYS_fcntl, w->bell_read, F_SETSIG, signal);
	if (!err)
		err = afu_sys(SYS_fcntl, w->bell_read, F_SETFL, O_NONBLOCK | O_ASYNC);
	if (!err)
		atomic_store(&w->word->signals, events);
	return (int)err;
}

uint32_t afu_bell_take(int bell_read)
{
	unsigned char event = 0;

	afu_sys(SYS_read, bell_read, &event, 1);
	return event;
}

/* At once or not at all: n is far below what a pipe takes in one piece. */
static int ring_with(int fd, const void *bytes, size_t n)
{
	static _Atomic int old_kernel;
	struct iovec iov = {(void *)(uintptr_t)bytes, n};
	long err;

	if (!atomic_load_explicit(&old_kernel, memory_order_relaxed)) {
		/* the descriptor itself is non-blocking; RWF_NOWAIT is not for a pipe that was opened by path
		 */
		err = afu_sys(SYS_pwritev2, fd, &iov, 1, -1, -1, RWF_NOSIGNAL);
		if (err != -EOPNOTSUPP && err != -EINVAL)
			return err < 0 ? (int)err : 0;
		atomic_store_explicit(&old_kernel, 1, memory_order_relaxed);
	}
	err = ring_masked(fd, bytes, n);
	return err < 0 ? (int)err : 0;
}

static int ring_as(int fd, uint32_t event)
{
	char byte = (char)event;

	return ring_with(fd, &byte, 1);
}

/* Whether its owner sees that it was full, when he reads it. */
static int is_full(int fd)
{
	int unread = 0;

	return afu_sys(SYS_ioctl, fd, FIONREAD, &unread) == 0 && unread > BELL_BYTES - NAME_BYTES;
}

/* What its owner must not miss.  -EAGAIN: there is no room, and he would not see that. */
static int ring_surely(int fd, const void *bytes, size_t n)
{
	int err = -EAGAIN;

	/* it may have been emptied between the two */
	for (int i = 0; i < TRIES && err == -EAGAIN; i++) {
		err = ring_with(fd, bytes, n);
		if (err == -EAGAIN && is_full(fd))
			err = 0;
	}
	return err;
}

int afu_bell_ring_all(int fd)
{
	char byte = AFU_BELL_ALL;

	return ring_surely(fd, &byte, 1);
}

int afu_bell_ring_handler(int fd)
{
	return ring_as(fd, AFU_BELL_HANDLER);
}

static int ring_name(int fd, uint32_t name)
{
	unsigned char bytes[NAME_BYTES] = {
		(unsigned char)(0x80 | (name >> 18 & 0x7f)), (unsigned char)(0x40 | (name >> 12 & 0x3f)),
		(unsigned char)(0x40 | (name >> 6 & 0x3f)), (unsigned char)(0x40 | (name & 0x3f))};

	return ring_surely(fd, bytes, sizeof bytes);
}

int afu_bell_ring(int fd)
{
	return ring_as(fd, 0);
}

/* The status page of a process, mapped once. */
static const struct afu_waiter_word *page_of_locked(uint32_t process, int fd)
{
	struct page *p;
	void *words;

	for (p = others.pages; p; p = p->next) {
		if (p->process == process)
			return p->words;
	}
	if (fd < 0 || afu_memory_map(fd, PAGE_BYTES, 0, &words) < 0)
		return NULL;
	p = afu_pool_get(&page_pool);
	if (!p) {
		afu_sys_munmap(words, PAGE_BYTES);
		return NULL;
	}
	p->process = process;
	p->words = words;
	p->next = others.pages;
	others.pages = p;
	return words;
}

/* What was taken out of the directory and waits to be given back. */
struct waste {
	struct bell *bells;
	struct page *pages;
};

static void append_locked(struct bell *b)
{
	b->next = NULL;
	*others.end = b;
	others.end = &b->next;
}

static void discard_locked(struct bell **at, struct waste *waste)
{
	struct bell *b = *at;

	*at = b->next;
	if (!*at)
		others.end = at;
	others.count--;
	for (unsigned int i = 0; i < DIRECTORY; i++) {
		if (atomic_load(&others.recent[i]) == b)
			atomic_store(&others.recent[i], NULL);
	}
	b->next = waste->bells;
	waste->bells = b;
}

static int nobody_reads(int fd)
{
	struct pollfd p = {.fd = fd};
	struct timespec none = {0, 0};

	return afu_sys(SYS_ppoll, &p, 1, &none, 0, 0) > 0 && (p.revents & (POLLERR | POLLNVAL));
}

/* Pages of which no bell is left. */
static void discard_pages_locked(struct waste *waste)
{
	for (struct page **at = &others.pages; *at;) {
		struct page *p = *at;
		const struct bell *b = others.bells;

		while (b && (uint32_t)(atomic_load(&b->id) >> 32) != p->process)
			b = b->next;
		if (b) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		p->next = waste->pages;
		waste->pages = p;
	}
}

/* Bells of processes that are gone. */
static void sweep_locked(struct waste *waste)
{
	for (struct bell **at = &others.bells; *at;) {
		if (nobody_reads((*at)->fd))
			discard_locked(at, waste);
		else
			at = &(*at)->next;
	}
	discard_pages_locked(waste);
	others.sweep_at = 2 * others.count + SWEEP_MIN;
}

/* The first bells of the directory become its last, but for those that nobody reads any more. */
static void tidy_locked(struct waste *waste)
{
	struct pollfd p[TIDY];
	struct timespec none = { 0, 0 };
	unsigned int n = 0, gone = 0;

	for (const struct bell *b = others.bells; b && n < TIDY; b = b->next)
		p[n++] = (struct pollfd){ .fd = b->fd };
	afu_sys(SYS_ppoll, p, n, &none, 0, 0);
	for (unsigned int i = 0; i < n; i++) {
		struct bell *b = others.bells;

		if (p[i].revents & (POLLERR | POLLNVAL)) {
			discard_locked(&others.bells, waste);
			gone++;
		} else if (b->next) {
			others.bells = b->next;
			append_locked(b);
		}
	}
	if (gone)
		discard_pages_locked(waste);
}

/* After the lock: nobody may look at a page any more when it goes. */
static void give_back(struct waste *waste)
{
	if (!waste->bells && !waste->pages)
		return;
	afu_thread_quiesce(&others);
	while (waste->bells) {
		struct bell *b = waste->bells;

		waste->bells = b->next;
		afu_close_hidden(b->fd);
		afu_pool_put(&bell_pool, b);
	}
	while (waste->pages) {
		struct page *p = waste->pages;

		waste->pages = p->next;
		afu_sys_munmap((void *)(uintptr_t)p->words, PAGE_BYTES);
		afu_pool_put(&page_pool, p);
	}
}

void afu_waiters_forget(uint32_t process)
{
	struct waste waste = {NULL, NULL};

	afu_plock_acquire(&others.lock);
	for (struct bell **at = &others.bells; *at;) {
		if ((uint32_t)(atomic_load(&(*at)->id) >> 32) == process)
			discard_locked(at, &waste);
		else
			at = &(*at)->next;
	}
	discard_pages_locked(&waste);
	afu_plock_release(&others.lock);
	give_back(&waste);
}

void afu_waiters_tidy(void)
{
	struct waste waste = { NULL, NULL };
	struct afu_thread *th;

	/* relaxed: a bell that comes just now is asked about at the next close */
	if (!atomic_load_explicit(&others.count, memory_order_relaxed))
		return;
	th = afu_thread();
	afu_thread_enter(th);
	afu_plock_acquire(&others.lock);
	tidy_locked(&waste);
	afu_plock_release(&others.lock);
	give_back(&waste);
	afu_thread_leave(th);
}

/* -ESRCH: there is no such waiter; -EAGAIN: its bell can't be had now. */
static int fetch_locked(uint64_t id, struct bell **to, struct waste *waste)
{
	struct bell *b;
	int page = -1, fd = -1, err;

	for (b = others.bells; b; b = b->next) {
		if ((atomic_load(&b->id) | 0xffff) == (id | 0xffff)) {
			atomic_store(&b->id, id);
			*to = b;
			return 0;
		}
	}
	if (others.count >= others.sweep_at)
		sweep_locked(waste);
	err = afu_waiter_ops ? afu_waiter_ops->fetch(id, &page, &fd) : -ESRCH;
	if (err)
		return err == -EPERM || err == -ESRCH ? -ESRCH : -EAGAIN;
	fd = hide(fd);
	b = afu_pool_get(&bell_pool);
	if (b) {
		const struct afu_waiter_word *words = page_of_locked((uint32_t)(id >> 32), page);

		atomic_store(&b->id, id);
		b->word = words ? words + ((id >> 16) & (AFU_WAITERS - 1)) : NULL;
		b->fd = fd;
	}
	afu_sys_close(page);
	if (!b || !b->word) {
		afu_close_hidden(fd);
		if (b)
			afu_pool_put(&bell_pool, b);
		return -EAGAIN;
	}
	append_locked(b);
	others.count++;
	*to = b;
	return 0;
}

int afu_waiter_own(uint64_t id)
{
	uint32_t index = (id >> 16) & (AFU_WAITERS - 1);

	return (id >> 32) == own.process && own.words && index < own.used && own.waiters[index].id == id &&
	       atomic_load(&own.words[index].generation) == (id & 0xffff);
}

void afu_waiters_ring_all(void)
{
	/* also those awake: they may be watching what they don't look at */
	for (uint32_t i = 0; i < own.used; i++)
		afu_bell_ring_all(own.waiters[i].bell_write);
}

/* What to do with a bell. */
struct stroke {
	enum { NOTIFY, CALL, ASK } kind;
	uint32_t value; /* events, or a name */
};

/* A sleeper wakes of whatever is in the bell. */
static int rung(int err)
{
	return err == -EAGAIN ? 0 : err;
}

/* As far as its word asks for it.  1: somebody sleeps, if that was the question; 0; what the pipe says. */
static int strike(const struct afu_waiter_word *word, int fd, struct stroke stroke)
{
	uint32_t events = stroke.value;

	if (stroke.kind == CALL)
		return ring_name(fd, stroke.value);
	if (stroke.kind == ASK)
		return atomic_load(&word->asleep) != 0;
	if (atomic_load(&word->asleep))
		return rung(afu_bell_ring(fd));
	events &= atomic_load(&word->signals);
	return __builtin_expect(events != 0, 0) ? rung(ring_as(fd, events)) : 0;
}

/* The same if it is still the waiter that is meant. */
static int strike_known(const struct bell *b, uint64_t id, struct stroke stroke)
{
	int err;

	if (atomic_load(&b->word->generation) != (id & 0xffff))
		return -ESRCH;
	err = strike(b->word, b->fd, stroke);
	return err == -EPIPE ? -ESRCH : err < 0 && err != -EAGAIN ? 0 : err;
}

static int strike_other(struct afu_thread *th, uint64_t id, struct stroke stroke)
{
	struct bell *_Atomic *slot = &others.recent[(id ^ id >> 16 ^ id >> 32) & (DIRECTORY - 1)];
	struct waste waste = {NULL, NULL};
	struct bell *b;
	int err;

	/* without a lock: who discards a bell or a page waits until nobody is here */
	atomic_store_explicit(&th->bell_hazard, &others,
			      memory_order_relaxed); /* the discarder's membarrier */
	atomic_signal_fence(memory_order_seq_cst);
	b = atomic_load_explicit(slot, memory_order_acquire); /* pairs with the release below */
	if (__builtin_expect(b && atomic_load_explicit(&b->id, memory_order_relaxed) == id, 1)) {
		err = strike_known(b, id, stroke);
		atomic_store_explicit(&th->bell_hazard, NULL, memory_order_release);
		return err;
	}
	atomic_store_explicit(&th->bell_hazard, NULL, memory_order_release);
	afu_plock_acquire(&others.lock);
	err = fetch_locked(id, &b, &waste);
	if (!err) {
		err = strike_known(b, id, stroke);
		atomic_store_explicit(slot, b, memory_order_release);
	}
	afu_plock_release(&others.lock);
	give_back(&waste);
	return err;
}

static int strike_at(uint64_t id, struct stroke stroke)
{
	struct afu_thread *th;
	int err;

	if ((id >> 32) == own.process && own.words) {
		uint32_t index = (id >> 16) & (AFU_WAITERS - 1);

		if (!afu_waiter_own(id))
			return -ESRCH;
		err = strike(&own.words[index], own.waiters[index].bell_write, stroke);
		return err < 0 && err != -EAGAIN ? 0 : err;
	}
	th = afu_thread();
	afu_thread_enter(th);
	err = strike_other(th, id, stroke);
	afu_thread_leave(th);
	return err;
}

int afu_waiter_notify(uint64_t id, uint32_t events)
{
	return strike_at(id, (struct stroke){NOTIFY, events});
}

int afu_waiter_call(uint64_t id, uint32_t name)
{
	return strike_at(id, (struct stroke){CALL, name});
}

int afu_waiter_sleeps(uint64_t id)
{
	return strike_at(id, (struct stroke){ASK, 0});
}

/* A name is to be seen by whoever publishes after the look that follows. */
static void set_tag(struct afu_side *side, unsigned int i, uint64_t tag, int fresh)
{
	uint64_t before = atomic_load_explicit(&side->tag[i], memory_order_relaxed);

	/* relaxed: names are only ever given by this waiter's owner.  Called by name he is rung too */
	if (tag == AFU_TAG_PLAIN && !fresh)
		tag = before & ~AFU_TAG_EXCLUSIVE;
	if (before != tag)
		atomic_store(&side->tag[i], tag);
}

int afu_watch(struct afu_side *side, uint64_t id, uint32_t wanted, uint64_t tag)
{
	unsigned int i, vacant = AFU_CHANNEL_WATCHERS;

	for (;;) {
		for (i = 0; i < AFU_CHANNEL_WATCHERS; i++) {
			uint64_t there = atomic_load_explicit(&side->watcher[i], memory_order_relaxed);

			/* relaxed: only this side enters, and who loses the race tries again */
			if (there == id)
				break;
			if (there && (there >> 32) == own.process && !afu_waiter_own(there)) {
				atomic_compare_exchange_strong(&side->watcher[i], &there, 0);
				there = atomic_load(&side->watcher[i]);
			}
			if (!there && vacant == AFU_CHANNEL_WATCHERS)
				vacant = i;
		}
		if (i < AFU_CHANNEL_WATCHERS)
			break;
		if (vacant == AFU_CHANNEL_WATCHERS) {
			atomic_fetch_or(&side->flags,
					tag & AFU_TAG_EXCLUSIVE ? AFU_SIDE_CROWDED : AFU_SIDE_OVERFLOW);
			break;
		}
		uint64_t none = 0;

		if (atomic_compare_exchange_strong(&side->watcher[vacant], &none, id)) {
			i = vacant;
			break;
		}
		vacant = AFU_CHANNEL_WATCHERS;
	}
	if (i < AFU_CHANNEL_WATCHERS)
		set_tag(side, i, tag, vacant == i);
	/*
	 * WATCH_IN stays; WATCH_OUT is taken away by the waker that rang for it, maybe only now: the
	 * version must move for each announcement, or that waker would take away this one too.
	 */
	if ((wanted & AFU_WATCH_OUT) || (atomic_load(&side->want) & wanted) != wanted) {
		atomic_fetch_add(&side->want, 16);
		atomic_fetch_or(&side->want, wanted);
	}
	return i < AFU_CHANNEL_WATCHERS ? 0 : -ENOSPC;
}

void afu_unwatch(struct afu_side *side, uint64_t id)
{
	for (unsigned int i = 0; i < AFU_CHANNEL_WATCHERS; i++) {
		uint64_t there = id;

		atomic_compare_exchange_strong(&side->watcher[i], &there, 0);
	}
}
