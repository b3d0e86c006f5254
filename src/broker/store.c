/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "broker/state.h"

#include "base/clock.h"
#include "base/futex.h"
#include "base/memory.h"
#include "channel/waiter.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A token that stays open this long after a close has a second description somewhere. */
#define DOUBT_NS INT64_C(2000000000)
/* How many are looked at in one go: they cost every request. */
#define DOUBT_LOOKS 16

/*
 * A forked child must attach before it can use what it inherited, so sockets do not take
 * the last descriptors.  The numbers tell: the kernel gives the lowest that is free.
 */
int afu_store_memory(const struct afu_broker *b, const char *name, size_t size)
{
	struct rlimit r = {1024, 1024};
	int fd = afu_memory_share(name, size);
	rlim_t spare;

	if (fd < 0 || !b->spare)
		return fd;
	getrlimit(RLIMIT_NOFILE, &r);
	spare = b->spare < r.rlim_cur / 8 ? b->spare : r.rlim_cur / 8;
	if ((rlim_t)fd < r.rlim_cur - spare)
		return fd;
	close(fd);
	return -ENFILE;
}

static void fd_path(char path[32], int fd)
{
	snprintf(path, 32, "/proc/self/fd/%d", fd);
}

struct bsock *afu_bsock_new(struct afu_broker *b, int type)
{
	struct bsock *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->id = b->next_id++;
	s->type = type;
	s->watch = s->memory = s->node = s->outside = s->events_memory = s->inbox_memory = -1;
	HASH_ADD(by_id, b->by_id, id, sizeof s->id, s);
	return s;
}

/* Processes that are gone hold nothing. */
static void forget_dead_holders(struct afu_broker *b, struct bsock *s)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < s->holders; i++) {
		const struct afu_client *c;

		HASH_FIND(hh, b->clients, &s->holder[i], sizeof s->holder[i], c);
		if (c)
			s->holder[kept++] = s->holder[i];
	}
	s->holders = kept;
}

void afu_bsock_hold(struct afu_broker *b, struct bsock *s, const struct afu_client *c)
{
	if (afu_bsock_held(s, c))
		return;
	if (s->holders == s->holders_room)
		forget_dead_holders(b, s);
	if (s->holders == s->holders_room) {
		unsigned int room = s->holders_room ? 2 * s->holders_room : 2;
		uint32_t *more = realloc(s->holder, room * sizeof *more);

		if (!more)
			return; /* the holder has to show the token again */
		s->holder = more;
		s->holders_room = room;
	}
	s->holder[s->holders++] = c->process;
}

int afu_bsock_held(const struct bsock *s, const struct afu_client *c)
{
	for (unsigned int i = 0; i < s->holders; i++) {
		if (s->holder[i] == c->process)
			return 1;
	}
	return 0;
}

/* SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD, SO_PASSRIGHTS: those that an accepted socket has from its listener. */
static const int inherited[] = { 16, 34, 76, 83 };
#define INHERITED (sizeof inherited / sizeof *inherited)

void afu_store_inherit(struct bsock *s, const struct bsock *listener)
{
	static_assert(INHERITED == sizeof s->inherited / sizeof *s->inherited, "a place for each");
	for (unsigned int i = 0; i < INHERITED; i++) {
		size_t at = offsetof(struct afu_endpoint, option) + (size_t)inherited[i] * sizeof(int32_t);

		if (pread(listener->memory, &s->inherited[i], sizeof(int32_t), (off_t)at) != sizeof(int32_t))
			s->inherited[i] = 0;
	}
	/* but nobody has asked for time stamps of the new one, or for a filter */
	s->wants = afu_store_wants(listener) & AFU_WANTS_INHERITED;
}

static enum afu_cause drop_memory(struct bsock *s, enum afu_cause cause)
{
	close(s->memory);
	s->memory = -1;
	return cause;
}

void afu_store_undo(struct afu_broker *b, struct bsock *s)
{
	HASH_DELETE(by_watch, b->by_watch, s);
	inotify_rm_watch(b->inotify, s->watch);
	s->watch = -1;
	drop_memory(s, AFU_CAUSE_NONE);
}

enum afu_cause afu_store_socket(struct afu_broker *b, struct bsock *s)
{
	struct afu_endpoint page;
	struct stat st;
	char path[32];

	s->memory = afu_store_memory(b, AFU_ENDPOINT_NAME, afu_endpoint_size(s->type));
	if (s->memory < 0)
		return AFU_CAUSE_DOMAIN_FULL;
	if (fstat(s->memory, &st) < 0)
		return drop_memory(s, AFU_CAUSE_DOMAIN_FULL);
	memset(&page, 0, sizeof page);
	page.magic = AFU_ENDPOINT_MAGIC;
	page.type = (uint32_t)s->type;
	page.id = s->id;
	page.inode = st.st_ino;
	page.sndbuf = b->sndbuf;
	page.option[SO_RCVBUF] = (int32_t)b->rcvbuf;
	page.opt.owner[0] = s->uid;
	page.opt.owner[1] = s->gid;
	page.rcvlowat = 1;
	page.peek_off = -1;
	page.rcvtimeo_ns = page.sndtimeo_ns = AFU_NEVER;
	for (unsigned int i = 0; i < INHERITED; i++)
		page.option[inherited[i]] = s->inherited[i];
	page.wants = s->wants;
	if (pwrite(s->memory, &page, sizeof page, 0) != (ssize_t)sizeof page)
		return drop_memory(s, AFU_CAUSE_NO_MEMORY);
	fd_path(path, s->memory);
	s->watch = inotify_add_watch(b->inotify, path, IN_CLOSE_WRITE);
	if (s->watch < 0)
		return drop_memory(s, AFU_CAUSE_DOMAIN_FULL);
	HASH_ADD(by_watch, b->by_watch, watch, sizeof s->watch, s);
	return AFU_CAUSE_NONE;
}

int afu_store_token(const struct bsock *s)
{
	char path[32];

	fd_path(path, s->memory);
	return open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

void afu_store_state(struct bsock *s)
{
	struct afu_endpoint_state now = { s->state, s->side, s->conn ? s->conn->id : 0 };

	if (s->memory < 0)
		return;
	s->version++;
	if (pwrite(s->memory, &now, sizeof now, offsetof(struct afu_endpoint, now)) != (ssize_t)sizeof now ||
	    pwrite(s->memory, &s->version, sizeof s->version, offsetof(struct afu_endpoint, version)) !=
		    (ssize_t)sizeof s->version)
		s->version--; /* the page exists, so this does not fail; holders ask when in doubt */
}

/* Writes into the page, which exists: it does not fail. */
static void store(const struct bsock *s, size_t at, const void *value, size_t size)
{
	if (s->memory >= 0 && pwrite(s->memory, value, size, (off_t)at) != (ssize_t)size)
		return; /* holders ask when in doubt */
}

void afu_store_names(struct bsock *s)
{
	s->names++;
	store(s, offsetof(struct afu_endpoint, names), &s->names, sizeof s->names);
}

void afu_store_error(struct bsock *s, uint32_t error)
{
	store(s, offsetof(struct afu_endpoint, error), &error, sizeof error);
}

int afu_store_slot(struct bsock *s, unsigned int role, unsigned int slot)
{
	static const char zero[AFU_ENDPOINT_SLOT];
	size_t at = (role ? AFU_ENDPOINT_RX_AT : AFU_ENDPOINT_TX_AT) + slot * sizeof zero;

	return pwrite(s->memory, zero, sizeof zero, (off_t)at) == (ssize_t)sizeof zero ? 0 : -1;
}

uint32_t afu_store_wants(const struct bsock *s)
{
	uint32_t wants = 0;

	if (s->memory >= 0 &&
	    pread(s->memory, &wants, sizeof wants, offsetof(struct afu_endpoint, wants)) != (ssize_t)sizeof wants)
		wants = 0;
	return wants & ~(uint32_t)AFU_WANTS_EMBRYO;
}

void afu_store_signals(const struct bsock *to, int memory)
{
	uint64_t waiter = 0;
	struct afu_channel *ch;

	if (to->memory < 0 || pread(to->memory, &waiter, sizeof waiter,
				    offsetof(struct afu_endpoint, signaller)) != (ssize_t)sizeof waiter)
		return;
	if (waiter && afu_channel_map(memory, 0, &ch) == 0) {
		afu_watch(&ch->side[1], waiter, AFU_WATCH_IN, 0);
		afu_channel_unmap(ch, 0);
	}
}

int afu_store_channel(const struct afu_broker *b, uint64_t id, int listener)
{
	struct afu_channel head;
	int fd = afu_store_memory(b, listener ? "afunix:events" : "afunix:channel", listener ? 4096 : AFU_CHANNEL_SIZE);

	if (fd < 0)
		return fd;
	memset(&head, 0, sizeof head);
	head.magic = AFU_CHANNEL_MAGIC;
	head.listener = (uint32_t)listener;
	head.id = id;
	if (pwrite(fd, &head, sizeof head, 0) == (ssize_t)sizeof head)
		return fd;
	close(fd);
	return -ENOMEM;
}

enum afu_cause afu_store_conn(struct afu_broker *b, struct conn **to, uint32_t wants_0, uint32_t wants_1)
{
	struct conn *conn = calloc(1, sizeof *conn);
	struct afu_channel *ch;

	if (!conn)
		return AFU_CAUSE_NO_MEMORY;
	conn->id = b->next_id++;
	conn->memory = afu_store_channel(b, conn->id, 0);
	if (conn->memory < 0) {
		free(conn);
		return AFU_CAUSE_DOMAIN_FULL;
	}
	if ((wants_0 || wants_1) && afu_channel_map(conn->memory, 0, &ch) == 0) {
		atomic_store(&ch->side[0].wants, wants_0);
		atomic_store(&ch->side[1].wants, wants_1);
		afu_channel_unmap(ch, 0);
	}
	conn->from[0].voices = afu_voices_new();
	conn->from[1].voices = afu_voices_new();
	*to = conn;
	return AFU_CAUSE_NONE;
}

void afu_store_conn_unref(struct afu_broker *b, struct conn *conn)
{
	if (conn->end[0] || conn->end[1])
		return;
	for (int i = 0; i < 2; i++)
		afu_rights_fini(b, &conn->from[i]);
	close(conn->memory);
	free(conn);
}

struct bsock *afu_store_shown(struct afu_broker *b, int fd)
{
	struct bsock *s;
	char path[32];
	int watch;

	/*
	 * The watch descriptor tells whether this is one of our inodes: inode numbers
	 * wrap, and contents can be forged.
	 */
	/* a memfd: a path walk into it asks no filesystem of the caller's */
	if (fcntl(fd, F_GET_SEALS) < 0)
		return NULL;
	fd_path(path, fd);
	watch = inotify_add_watch(b->inotify, path, IN_CLOSE_WRITE);
	if (watch < 0)
		return NULL;
	HASH_FIND(by_watch, b->by_watch, &watch, sizeof watch, s);
	if (!s)
		inotify_rm_watch(b->inotify, watch);
	return s;
}

/*
 * Whether a token is still open anywhere: a read lease is refused while somebody
 * has the inode open for writing.  The descriptor of memfd_create(), which the
 * mappings use, does not count.
 */
int afu_store_held(const struct bsock *s)
{
	char path[32];
	int fd, held;

	fd_path(path, s->memory);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 1;
	/* somebody who opens it meanwhile breaks the lease: the signal for that must do nothing */
	fcntl(fd, F_SETSIG, SIGURG);
	held = fcntl(fd, F_SETLEASE, F_RDLCK) < 0;
	close(fd);
	return held;
}

/* The socket is not, or no longer, among those to be looked at again. */
static void leave_closed(struct afu_broker *b, struct bsock *s);

void afu_store_forget(struct afu_broker *b, struct bsock *s)
{
	leave_closed(b, s);
	afu_store_trust(b, s);
}

void afu_store_trust(struct afu_broker *b, struct bsock *s)
{
	if (s->doubted_ns)
		DL_DELETE2(b->doubted, s, doubted_prev, doubted_next);
	s->doubted_ns = 0;
}

static void doubt(struct afu_broker *b, struct bsock *s)
{
	if (!s->doubted_ns)
		DL_APPEND2(b->doubted, s, doubted_prev, doubted_next);
	s->doubted_ns = afu_clock_ns();
}

/*
 * A token's description was closed.  The kernel tells so a moment before it stops
 * counting the description as open for writing, so a token that still seems held
 * is looked at again: at the next request, and by the clock.
 */
static void check(struct afu_broker *b, struct bsock *s)
{
	if (!afu_store_held(s)) {
		afu_rights_unheld(b, s);
		return;
	}
	doubt(b, s);
}

static void check_doubted(struct afu_broker *b)
{
	struct bsock *s = b->doubted;
	int looks = DOUBT_LOOKS;

	while (s && looks--) {
		struct bsock *next = s->doubted_next;

		if (!afu_store_held(s)) {
			afu_rights_unheld(b, s);
			/* that may have closed others that were in doubt too */
			s = b->doubted;
			continue;
		}
		if (afu_clock_ns() - s->doubted_ns > DOUBT_NS) {
			afu_store_trust(b, s);
		} else {
			/* to the end of the line: the others have their turn */
			DL_DELETE2(b->doubted, s, doubted_prev, doubted_next);
			DL_APPEND2(b->doubted, s, doubted_prev, doubted_next);
		}
		s = next;
	}
}

int afu_broker_patience(const struct afu_broker *b)
{
	return !b->doubted ? -1 : afu_clock_ns() - b->doubted->doubted_ns < 8000000 ? 1 : 20;
}

static void enter_closed(struct afu_broker *b, struct bsock *s)
{
	if (!s->closed_once)
		DL_APPEND2(b->closed_once, s, closed_prev, closed_next);
	s->closed_once = 1;
}

static void leave_closed(struct afu_broker *b, struct bsock *s)
{
	if (s->closed_once)
		DL_DELETE2(b->closed_once, s, closed_prev, closed_next);
	s->closed_once = 0;
}

static void read_events(struct afu_broker *b, const char *events, ssize_t n)
{
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const void *)(events + at);
		struct bsock *s, *next;

		at += (ssize_t)(sizeof *e + e->len);
		if (e->mask & IN_Q_OVERFLOW) {
			/* events were lost: everything is in doubt, and looked at by the clock */
			HASH_ITER(by_watch, b->by_watch, s, next)
			doubt(b, s);
			return;
		}
		if (!(e->mask & IN_CLOSE_WRITE))
			continue;
		HASH_FIND(by_watch, b->by_watch, &e->wd, sizeof e->wd, s);
		if (s)
			enter_closed(b, s);
	}
}

void afu_broker_drain(struct afu_broker *b)
{
	_Alignas(struct inotify_event) char events[4096];
	int queued = 0;
	ssize_t n;

	if (b->doubted)
		check_doubted(b);
	/* those that are there: somebody who closes without end must not keep the others waiting */
	ioctl(b->inotify, FIONREAD, &queued);
	for (; queued > 0 && (n = read(b->inotify, events, sizeof events)) > 0; queued -= (int)n)
		read_events(b, events, n);
	/* each once, however often it was closed */
	while (b->closed_once) {
		struct bsock *s = b->closed_once;

		leave_closed(b, s);
		check(b, s);
	}
	afu_rights_settle(b);
	afu_broker_ring_rest(b);
}
