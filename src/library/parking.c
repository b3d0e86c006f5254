/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/parking.h"

#include "base/cause.h"
#include "base/memory.h"
#include "library/domain.h"
#include "library/table.h"
#include "library/view.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define TOKENS_AT_ONCE 15
/* More than the kernel lets lie in a parking: who passes over so many is being fed. */
#define PASSED_MAX 1024

union ancillary {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(AFU_RIGHTS_MAX * sizeof(int))];
};

/* The kernel socket, fetched from the broker at first use; negative errno. */
static int parking(struct afu_sock *s, _Atomic int *slot, uint64_t flow, int outgoing)
{
	struct afu_request req = { .op = AFU_OP_PARKING, .socket = s->id, .arg = { flow, (uint64_t)outgoing } };
	int have = atomic_load(slot), none = 0, got[AFU_MESSAGE_FDS], err;
	struct afu_reply reply;
	unsigned int n;

	if (have)
		return have - 1;
	err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return err;
	have = 1 + afu_table_hide(got[0]);
	if (atomic_compare_exchange_strong(slot, &none, have))
		return have - 1;
	afu_close_hidden(have - 1);
	return none - 1;
}

void afu_parking_close(_Atomic int *slot)
{
	int have = atomic_exchange(slot, 0);

	if (have)
		afu_close_hidden(have - 1);
}

/* The broker keeps the sockets of the parcel while it is under way. */
static int entrust(struct afu_sock *s, const struct afu_way_out *way, struct afu_parcel *p)
{
	struct afu_request req = { .op = AFU_OP_ENTRUST, .socket = s->id, .arg = { way->flow, p->number } };
	struct afu_reply reply;
	int tokens[TOKENS_AT_ONCE], got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	p->note.n = 0;
	for (int i = 0; i < p->n;) {
		uint32_t first = p->note.n;
		unsigned int count = 0;

		for (; i < p->n && count < TOKENS_AT_ONCE; i++) {
			if (!afu_fd_ours(p->fd[i]))
				continue;
			tokens[count++] = p->fd[i];
			p->note.socket[p->note.n++].index = (uint32_t)i;
		}
		if (!count)
			break;
		err = afu_domain_call(&req, tokens, count, &reply, got, &n);
		if (err)
			return err;
		for (unsigned int k = 0; k < count; k++)
			memcpy(&p->note.socket[first + k].id, reply.data + k * sizeof(uint64_t), sizeof(uint64_t));
	}
	return 0;
}

/* One request about a socket of the parcel; a token, or a negative number. */
static int claim(struct afu_sock *s, uint64_t flow, uint64_t number, uint64_t socket, uint8_t how)
{
	struct afu_request req = { .op = AFU_OP_CLAIM, .socket = s->id, .arg = { flow, number, socket }, .length = 1,
				   .data = { how } };
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS];
	unsigned int n;

	return afu_domain_call(&req, NULL, 0, &reply, got, &n) < 0 || !n ? -1 : got[0];
}

/* A descriptor that names the token and does not hold it open. */
static int name_only(int token)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/self/fd/%d", token);
	return (int)afu_sys(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC);
}

static long send_parcel(int fd, const struct afu_parcel *p, const int *fds)
{
	struct iovec iov = { (void *)(uintptr_t)&p->note,
			     offsetof(struct afu_parcel_note, socket) + p->note.n * sizeof p->note.socket[0] };
	union ancillary anc;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.bytes,
			      .msg_controllen = CMSG_SPACE((size_t)p->n * sizeof(int)) };
	struct cmsghdr *c = (struct cmsghdr *)(void *)(anc.bytes + msg.msg_controllen);

	anc.align.cmsg_level = SOL_SOCKET;
	anc.align.cmsg_type = SCM_RIGHTS;
	anc.align.cmsg_len = CMSG_LEN((size_t)p->n * sizeof(int));
	memcpy(CMSG_DATA(&anc.align), fds, (size_t)p->n * sizeof(int));
	if (p->claim) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_CREDENTIALS;
		c->cmsg_len = CMSG_LEN(sizeof *p->claim);
		memcpy(CMSG_DATA(c), p->claim, sizeof *p->claim);
		msg.msg_controllen += CMSG_SPACE(sizeof *p->claim);
	}
	return afu_sys(SYS_sendmsg, fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static int refuse_parcel(long sent)
{
	switch (sent) {
	case -ETOOMANYREFS:
		return afu_refuse(AFU_CAUSE_RIGHTS_IN_FLIGHT);
	case -EBADF:
		return afu_refuse(AFU_CAUSE_RIGHTS_BAD_DESCRIPTOR);
	case -EINVAL:
		return afu_refuse(AFU_CAUSE_ANCILLARY_FORM);
	case -EAGAIN:
		return -EAGAIN;
	default:
		return 0; /* nobody is left to receive them: the record has no reader either */
	}
}

/* Whether the kernel would let the descriptors get under way. */
static int try_parcel(const struct afu_parcel *p)
{
	int ends[2];
	long sent = afu_sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);

	if (sent < 0)
		return 0;
	sent = send_parcel(ends[0], p, p->fd);
	afu_sys_close(ends[0]);
	afu_sys_close(ends[1]);
	return refuse_parcel(sent);
}

int afu_parking_put(struct afu_sock *s, struct afu_way_out *way, struct afu_parcel *p)
{
	int fds[AFU_RIGHTS_MAX], fd, err;
	long sent;

	p->note.secret = 0;
	if (!p->number) {
		p->note.n = 0;
		return try_parcel(p);
	}
	fd = parking(s, &way->parking, way->flow, 1);
	if (fd < 0)
		return fd;
	err = entrust(s, way, p);
	if (err)
		return err;
	p->note.number = p->number;
	p->note.pad = 0;
	if (afu_seal_doubt(&way->sealed, afu_sock_key(s, way->flow)))
		afu_sys(SYS_getrandom, &p->note.secret, sizeof p->note.secret, 0);
	memcpy(fds, p->fd, (size_t)p->n * sizeof *fds);
	for (uint32_t i = 0; i < p->note.n; i++)
		fds[p->note.socket[i].index] = name_only(fds[p->note.socket[i].index]);
	sent = send_parcel(fd, p, fds);
	for (uint32_t i = 0; i < p->note.n; i++)
		afu_sys_close(fds[p->note.socket[i].index]);
	for (uint32_t i = 0; sent < 0 && i < p->note.n; i++)
		claim(s, way->flow, p->number, p->note.socket[i].id, AFU_CLAIM_CANCEL);
	return refuse_parcel(sent);
}

/* The control messages of a parcel. */
static void open_parcel(struct afu_parcel *p, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof p->from))
			memcpy(&p->from, CMSG_DATA(c), sizeof p->from);
		if (c->cmsg_type != SCM_RIGHTS)
			continue;
		p->n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(p->fd, CMSG_DATA(c), (size_t)p->n * sizeof(int));
	}
}

/* Takes the next message out; its descriptors are installed if fds is not NULL.  Bytes, or negative errno. */
static long receive_parcel(int fd, struct afu_parcel *p, int flags, int with)
{
	struct iovec iov = { &p->note, sizeof p->note };
	union ancillary anc;
	/* who it comes from is the first, and the kernel installs nothing for which there is no room */
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.bytes,
			      .msg_controllen = with ? sizeof anc.bytes : CMSG_SPACE(sizeof p->from) };
	long got;

	p->n = 0;
	p->from = (struct ucred){ 0, (uid_t)-1, (gid_t)-1 };
	got = afu_sys(SYS_recvmsg, fd, &msg, flags | MSG_DONTWAIT);
	if (got < 0)
		return got;
	open_parcel(p, &msg);
	if (!with)
		return got;
	p->truncated = (msg.msg_flags & MSG_CTRUNC) != 0;
	for (int i = 0; i < p->n; i++)
		afu_fd_forget(p->fd[i]);
	return got;
}

/* What stands in the note, bounded; the sender may have written anything. */
static int note_valid(struct afu_parcel *p, long got)
{
	size_t head = offsetof(struct afu_parcel_note, socket);

	if (got < (long)head || p->note.n > AFU_RIGHTS_MAX ||
	    (size_t)got < head + p->note.n * sizeof p->note.socket[0])
		return 0;
	for (uint32_t i = 0; i < p->note.n; i++) {
		if (p->note.socket[i].index >= AFU_RIGHTS_MAX)
			return 0;
	}
	return 1;
}

/* The wrong parcel's descriptors. */
static void discard(struct afu_parcel *p)
{
	for (int i = 0; i < p->n; i++)
		afu_sys_close(p->fd[i]);
	p->n = 0;
}

/* The broker need not keep what belongs to the record, nor to those before. */
static void drop_sockets(struct afu_sock *s, const struct afu_way_in *way, uint64_t number)
{
	claim(s, way->flow, number, 0, AFU_CLAIM_DROP);
}

/* One that is to be taken: under which number, and how. */
struct errand {
	uint64_t number;
	const struct afu_parked_by *by; /* NULL: anybody */
	int flags;		/* MSG_CMSG_CLOEXEC, MSG_PEEK */
	int with;		/* its descriptors are wanted */
	int careful; /* somebody was killed over one, so the next may be another record's: it is looked at first */
	int passed;  /* result: how many were before it */
};

/* Who only copied the number from a parcel that he took away does not pass for its sender. */
static int is_by(const struct afu_parcel *p, const struct afu_parked_by *by)
{
	return p->note.secret == by->secret && p->from.pid == by->who.pid && p->from.uid == by->who.uid &&
	       p->from.gid == by->who.gid;
}

/* Where what was received stands in the order: 0, it is the one; negative, before it; positive, there is none. */
static int place_of(struct afu_parcel *p, long got, const struct errand *e)
{
	if (got <= 0)
		return 1; /* also at the end: a sender may have shut it down */
	if (!note_valid(p, got) || p->note.number < e->number)
		return -1;
	if (p->note.number > e->number)
		return 1;
	return e->by && !is_by(p, e->by) ? -1 : 0;
}

static void set_peek_offset(int fd, int offset)
{
	afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
}

/* The parcel of that number; what is before it has no record, or one that was passed over.  0: there is none. */
static int take_parcel(int fd, struct afu_parcel *p, struct errand *e)
{
	if (e->careful)
		set_peek_offset(fd, -1);
	for (; e->passed < PASSED_MAX; e->passed++) {
		int look = e->careful || e->passed;
		/* it is the first nearly always, so that one is not looked at before */
		long got = receive_parcel(fd, p, look ? MSG_PEEK : e->flags, !look && e->with);
		int place = place_of(p, got, e);

		/* another holder who does not keep to the lock may take it away meanwhile */
		if (!place && look)
			place = place_of(p, receive_parcel(fd, p, e->flags, e->with), e) ? 1 : 0;
		if (!place)
			return 1;
		discard(p);
		if (place > 0)
			return 0; /* the sender lied; what came of a later one is lost to him */
		if (look)
			receive_parcel(fd, p, 0, 0);
		else
			set_peek_offset(fd, -1); /* whoever peeked last may have been killed */
	}
	return 0;
}

/* The same in copies; those before it stay for their records. */
static int peek_parcel(int fd, struct afu_parcel *p, const struct errand *e)
{
	int offset = 0, passed = 0, place = place_of(p, receive_parcel(fd, p, e->flags, 1), e);
	long got;

	if (!place)
		return 1;
	discard(p);
	set_peek_offset(fd, 0); /* each peek moves it on */
	do {
		got = receive_parcel(fd, p, MSG_PEEK, 0);
		place = place_of(p, got, e);
		offset += place < 0 ? (int)got : 0;
	} while (place < 0 && ++passed < PASSED_MAX);
	if (!place) {
		set_peek_offset(fd, offset);
		place = place_of(p, receive_parcel(fd, p, e->flags, 1), e);
	}
	set_peek_offset(fd, -1);
	return !place;
}

/* One socket of the parcel, under the number of the descriptor that named it; 0: it could not be had. */
static int claim_one(struct afu_sock *s, const struct afu_parcel *p, uint32_t i, int flags)
{
	int token = claim(s, p->flow, p->number, p->note.socket[i].id, flags & MSG_PEEK ? AFU_CLAIM_COPY : AFU_CLAIM_TAKE);

	if (token < 0)
		return 0;
	afu_sys(SYS_dup3, token, p->fd[p->note.socket[i].index], flags & MSG_CMSG_CLOEXEC ? O_CLOEXEC : 0);
	afu_sys_close(token);
	return 1;
}

/*
 * Those for which there was a number.  It is done before the record is taken: whoever is killed
 * over it leaves a record whose next reader finds no parcel, and says so.
 */
static void claim_sockets(struct afu_sock *s, struct afu_parcel *p, int flags)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->note.n; i++) {
		if ((int)p->note.socket[i].index < p->n && claim_one(s, p, i, flags))
			p->note.socket[n++] = p->note.socket[i];
	}
	p->note.n = n;
}

/* Whether a holder of the lock was killed since this was asked last, by this view. */
static int deaths_since(const struct afu_sock *s, struct afu_way_in *way)
{
	int since = way->deaths != s->ep->rx_deaths;

	way->deaths = s->ep->rx_deaths;
	return since;
}

void afu_parking_fetch(struct afu_sock *s, struct afu_way_in *way, uint64_t number, const struct afu_parked_by *by,
		       int flags, struct afu_parcel *p)
{
	int fd = parking(s, &way->parking, way->flow, 0), peek = flags & MSG_PEEK, found = 0;
	struct errand e = { .number = number, .by = by, .flags = flags, .with = 1 };
	uint32_t sockets = 0;

	p->n = 0;
	p->number = number;
	p->flow = way->flow;
	if (fd >= 0 && peek) {
		found = peek_parcel(fd, p, &e);
	} else if (fd >= 0) {
		e.careful = deaths_since(s, way);
		found = take_parcel(fd, p, &e);
	}
	if (found) {
		sockets = p->note.n;
		claim_sockets(s, p, flags);
	} else {
		discard(p);
		p->truncated = 1;
		p->note.n = 0;
	}
	/* those of the dead, and those for which there was no number */
	if (!peek && (!found || e.passed || p->note.n < sockets))
		drop_sockets(s, way, number);
}

static void unpark_none(struct afu_sock *s, struct afu_way_in *way, uint64_t number)
{
	int fd = parking(s, &way->parking, way->flow, 0);
	struct errand e = { .number = number, .careful = fd >= 0 && deaths_since(s, way) };
	struct afu_parcel p;

	if (fd >= 0 && (!take_parcel(fd, &p, &e) || e.passed || p.note.n))
		drop_sockets(s, way, number);
}

void afu_parking_start(void)
{
	afu_unpark_none = unpark_none;
}

void afu_parking_settle(const struct afu_parcel *p)
{
	for (uint32_t i = 0; i < p->note.n; i++)
		afu_view_recognise(p->fd[p->note.socket[i].index]);
}

void afu_parking_refuse(struct afu_parcel *p, int from)
{
	uint32_t left = 0;

	for (int i = from; i < p->n; i++)
		afu_sys_close(p->fd[i]);
	for (uint32_t i = 0; i < p->note.n; i++) {
		if ((int)p->note.socket[i].index < from)
			p->note.socket[left++] = p->note.socket[i];
	}
	/* tokens were among them */
	if (left < p->note.n)
		afu_domain_sync();
	p->note.n = left;
	if (from < p->n)
		p->n = from;
}
