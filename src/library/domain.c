/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/domain.h"

#include "afunix/afunix.h"
#include "base/cause.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/sys.h"
#include "channel/waiter.h"
#include "gate/domain_path.h"
#include "library/parking.h"
#include "library/process.h"
#include "library/signal.h"
#include "library/speaker.h"
#include "library/table.h"
#include "library/view.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct afu_gate *gate;
static int embedded;
static struct afu_plock starting;

static const char *cause_detail(const struct afu_reply *reply)
{
	return memchr(reply->detail, 0, sizeof reply->detail) ? reply->detail : NULL;
}

int afu_domain_call(struct afu_request *req, const int *fds, unsigned int n, struct afu_reply *reply, int *got,
		    unsigned int *n_got)
{
	int err;

	*n_got = 0;
	err = afu_domain_start();
	if (err)
		return afu_refuse_as(AFU_CAUSE_DOMAIN_GONE, ENETDOWN, NULL);
	err = gate->call(gate, req, fds, n, reply, got, n_got);
	if (err == -EMFILE)
		return afu_refuse(AFU_CAUSE_NO_DESCRIPTOR);
	if (err == -ETOOMANYREFS)
		return afu_refuse(AFU_CAUSE_RIGHTS_IN_FLIGHT);
	if (err)
		return afu_refuse(AFU_CAUSE_DOMAIN_GONE);
	if (reply->cause == AFU_CAUSE_NONE)
		return 0;
	if (reply->cause >= AFU_CAUSES)
		return afu_refuse(AFU_CAUSE_PROTOCOL_ERROR);
	return afu_refuse_as((enum afu_cause)reply->cause, afu_causes[reply->cause].error, cause_detail(reply));
}

int afu_domain_ask(struct afu_request *req, uint64_t socket, const int *fds, unsigned int n_fds, struct afu_reply *reply)
{
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	req->socket = socket;
	err = afu_domain_call(req, fds, n_fds, reply, got, &n);
	while (n)
		afu_sys_close(got[--n]);
	return err;
}

static int announce(uint32_t index, int bell)
{
	struct afu_request req = { .op = AFU_OP_WAITER, .arg = { index } };
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS];
	unsigned int n;

	return afu_domain_call(&req, &bell, 1, &reply, got, &n);
}

static int fetch(uint64_t id, int *page, int *bell)
{
	struct afu_request req = { .op = AFU_OP_FETCH, .arg = { id } };
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return err;
	if (n != 2) {
		while (n)
			afu_sys_close(got[--n]);
		return -EPROTO;
	}
	*page = got[0];
	*bell = got[1];
	return 0;
}

/* The broker rings whoever holds the socket, or the other ends. */
static void ring_holders(const struct afu_sock *s, int here)
{
	struct afu_request req = {.op = AFU_OP_RING, .socket = s->id, .arg = {here != 0}};
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS];
	unsigned int n;

	afu_domain_call(&req, NULL, 0, &reply, got, &n);
}

/*
 * More watchers than slots on a channel of ours: the broker rings whoever holds that end.  A side that is no
 * socket's own belongs to a flow of one for datagrams.
 */
static void overflow(struct afu_side *side)
{
	const struct afu_sock *s;

	if (embedded) {
		afu_waiters_ring_all();
		return;
	}
	for (unsigned int fd = 0; fd < afu_table_top(); fd++) {
		s = afu_fd_sock((int)fd);
		if (s && s->ch && (s->peer == side || s->own == side)) {
			ring_holders(s, s->own == side);
			return;
		}
	}
	s = afu_thread()->hazard; /* the one that the call is on */
	if (s && s->type == SOCK_DGRAM) {
		ring_holders(s, 0);
		ring_holders(s, 1);
	}
}

/* Only asked when the broker is gone: a walk over the table. */
static int peer_here(const struct afu_sock *s)
{
	for (unsigned int fd = 0; fd < afu_table_top(); fd++) {
		const struct afu_sock *other = afu_fd_sock((int)fd);

		if (other && other != s && other->state == AFU_CONNECTED && other->channel_id == s->channel_id)
			return 1;
	}
	return 0;
}

static int choose(const char *address)
{
	static const struct afu_waiter_ops ops = { announce, fetch };
	struct afu_address parsed;
	int err;

	if (address && afu_address_parse(address, &parsed) < 0)
		return -EINVAL;
	err = afu_table_start();
	if (err)
		return err;
	afu_signal_start();
	afu_process_start();
	afu_parking_start();
	afu_speaker_start();
	afu_waiter_ops = &ops;
	afu_watch_overflow = overflow;
	afu_sock_peer_here = peer_here;
	embedded = !address;
	if (address) {
		gate = afu_gate_control(&parsed);
		return 0;
	}
	gate = afu_gate_direct();
	return gate ? afu_gate_attach(gate, NULL, 0) : -ENOMEM;
}

static int start(const char *address)
{
	struct afu_thread *th = afu_thread();
	int err = 0;

	afu_thread_enter(th);
	afu_plock_acquire(&starting);
	if (!gate)
		err = choose(address);
	afu_plock_release(&starting);
	afu_thread_leave(th);
	return err;
}

int afu_domain_start(void)
{
	if (__builtin_expect(gate != NULL, 1))
		return 0;
	return start(getenv("AFUNIX_DOMAIN"));
}

int afu_domain_embedded(void)
{
	return embedded;
}

int afu_domain_fd(void)
{
	return gate ? gate->fd : -1;
}

void afu_domain_forked(void)
{
	if (gate)
		gate->forked(gate);
	starting = (struct afu_plock){ 0 };
}

long afu_return(long result)
{
	if (__builtin_expect(result >= 0, 1))
		return result;
	errno = (int)-result;
	return -1;
}

int afu_domain_sync(void)
{
	struct afu_request req = { .op = AFU_OP_SYNC };
	struct afu_reply reply;

	return afu_domain_ask(&req, 0, NULL, 0, &reply);
}

int afu_domain_started(void)
{
	return gate != NULL;
}

int afu_library_active(void)
{
	return gate && !embedded;
}

/* A token by its looks; the broker says whether it is what it seems. */
static int looks_like_token(int fd)
{
	char path[32], name[64];
	struct stat st;
	long n;

	if (afu_sys(SYS_fstat, fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (st.st_size != AFU_ENDPOINT_SIZE && st.st_size != AFU_ENDPOINT_DGRAM_SIZE))
		return 0;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	n = afu_sys(SYS_readlinkat, AT_FDCWD, path, name, sizeof name - 1);
	if (n <= 0)
		return 0;
	name[n] = 0;
	return strncmp(name, "/memfd:" AFU_ENDPOINT_NAME, sizeof "/memfd:" AFU_ENDPOINT_NAME - 1) == 0;
}

void afu_library_arrived(int fd)
{
	if (looks_like_token(fd))
		afu_view_recognise(fd);
}

void afu_library_message(struct msghdr *msg)
{
	if (!msg->msg_control || !msg->msg_controllen)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count = c->cmsg_len < CMSG_LEN(0) ? 0 : (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			afu_fd_forget(fd);
			if (afu_library_active())
				afu_library_arrived(fd);
		}
	}
}

/* As getdents64(2) gives it. */
struct directory_entry {
	uint64_t inode;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* Tokens that came over exec: all open descriptors are looked at. */
static void recognise_inherited(void)
{
	_Alignas(struct directory_entry) char buf[4096];
	int dir = (int)afu_sys(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	if (dir < 0)
		return;
	while ((n = afu_sys(SYS_getdents64, dir, buf, sizeof buf)) > 0) {
		for (long at = 0; at < n;) {
			const struct directory_entry *e = (const void *)(buf + at);
			int fd = 0;

			at += e->length;
			if (e->name[0] == '.')
				continue;
			for (const char *c = e->name; *c >= '0' && *c <= '9'; c++)
				fd = 10 * fd + *c - '0';
			if (fd != dir && fd < (int)afu_table_size && looks_like_token(fd))
				afu_view_recognise(fd);
		}
	}
	afu_sys_close(dir);
}

void afu_library_start(void)
{
	const char *address = getenv("AFUNIX_DOMAIN");

	if (address && *address && start(address) == 0)
		recognise_inherited();
}

int afunix_attach(const char *domain)
{
	char path[108];
	struct stat st;
	int err;

	if (gate) {
		afu_refuse(AFU_CAUSE_ATTACHED_ALREADY);
		return (int)afu_return(-EBUSY);
	}
	if (domain && domain[0] != '/' && domain[0] != '@') {
		if (afu_domain_path(domain, path, sizeof path) < 0)
			return (int)afu_return(-EINVAL);
		domain = path;
	}
	if (domain && domain[0] == '/' && afu_sys(SYS_newfstatat, AT_FDCWD, domain, &st, 0) < 0)
		return (int)afu_return(afu_refuse(AFU_CAUSE_NO_SUCH_DOMAIN));
	err = start(domain);
	if (!err && domain && afu_domain_sync() < 0)
		err = -ECONNREFUSED;
	return (int)afu_return(err);
}

const struct afunix_cause *afunix_cause(void)
{
	static __thread struct afunix_cause last;
	const struct afu_cause_state *state = &afu_thread_self.refusal;

	if (!state->cause)
		return NULL;
	last.error = state->error;
	last.id = afu_causes[state->cause].id;
	last.calls = afu_causes[state->cause].calls;
	last.text = afu_causes[state->cause].text;
	memcpy(last.detail, state->detail, sizeof state->detail);
	return &last;
}

int afunix_is_socket(int fd)
{
	return afu_fd_ours(fd);
}
