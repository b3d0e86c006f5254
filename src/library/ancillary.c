/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/ancillary.h"

#include "base/cause.h"
#include "base/clock.h"
#include "base/copy.h"
#include "library/address.h"
#include "library/domain.h"
#include "library/flows.h"
#include "library/speaker.h"
#include "library/known.h"
#include "library/outside.h"
#include "library/table.h"
#include "library/view.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>

/* What the kernel shows for ids that it does not know. */
#define OVERFLOW_ID 65534
#define SCM_PIDFD_TYPE 4
/* Less than this between two readings of the clocks is the reading itself. */
#define OFFSET_SLACK_NS 500
#define TIMESTAMP_NEW 63
#define TIMESTAMPNS_NEW 64

/* Sending. */

static int park(struct afu_sending *m, struct afu_sock *s, struct afu_way_out *way, uint64_t number)
{
	struct afu_outgoing *out = (struct afu_outgoing *)m;

	int err;

	out->rights.number = number;
	out->rights.claim = m->claim;
	err = afu_parking_put(s, way, &out->rights);
	m->secret = out->rights.note.secret;
	return err;
}

void afu_outgoing_init(struct afu_outgoing *out)
{
	memset(out, 0, offsetof(struct afu_outgoing, rights));
	out->rights.n = 0;
	out->m.park = park;
}

static int take_rights(struct afu_outgoing *out, const char *data, size_t length)
{
	size_t n = length / sizeof(int);

	if (n > (size_t)(AFU_RIGHTS_MAX - out->rights.n))
		return afu_refuse(AFU_CAUSE_RIGHTS_TOO_MANY);
	for (size_t i = 0; i < n; i++) {
		int fd;

		memcpy(&fd, data + i * sizeof fd, sizeof fd);
		if (fd < 0 || afu_fd_hidden(fd) || afu_sys(SYS_fcntl, fd, F_GETFD) < 0)
			return afu_refuse(AFU_CAUSE_RIGHTS_BAD_DESCRIPTOR);
		out->rights.fd[out->rights.n++] = fd;
	}
	out->m.rights = out->rights.n;
	return 0;
}

static int take_claim(struct afu_outgoing *out, const char *data, size_t length)
{
	int err;

	if (length != sizeof out->claim)
		return afu_refuse(AFU_CAUSE_ANCILLARY_FORM);
	memcpy(&out->claim, data, sizeof out->claim);
	err = afu_speaker_check(&out->claim);
	out->m.claim = err ? NULL : &out->claim;
	return err;
}

int afu_outgoing_parse(struct afu_outgoing *out)
{
	struct cmsghdr c;
	size_t at = 0;
	int err;

	while (out->length - at >= sizeof c) {
		size_t left = out->length - at;
		const char *data = out->control + at + sizeof c;

		memcpy(&c, out->control + at, sizeof c);
		if (c.cmsg_len < sizeof c || c.cmsg_len > left)
			return afu_refuse(AFU_CAUSE_ANCILLARY_FORM);
		if (c.cmsg_level == SOL_SOCKET) {
			if (c.cmsg_type == SCM_RIGHTS)
				err = take_rights(out, data, c.cmsg_len - sizeof c);
			else if (c.cmsg_type == SCM_CREDENTIALS)
				err = take_claim(out, data, c.cmsg_len - sizeof c);
			else
				err = afu_refuse(AFU_CAUSE_ANCILLARY_FORM);
			if (err)
				return err;
		}
		if (CMSG_ALIGN(c.cmsg_len) >= left)
			break;
		at += CMSG_ALIGN(c.cmsg_len);
	}
	return 0;
}

/* Receiving. */

static void unpark(struct afu_receiving *m, struct afu_sock *s, struct afu_way_in *way, uint64_t number,
		   const uint64_t *secret)
{
	struct afu_incoming *in = (struct afu_incoming *)m;
	struct afu_parked_by by = { .who = { 0, OVERFLOW_ID, OVERFLOW_ID } };

	/* who is not known any more is shown as nobody, and nobody parks anything */
	if (secret) {
		by.secret = *secret;
		afu_speaker_who(s, way->flow, m->identity, &by.who);
	}
	if (in->parcelled) /* a second look of the same call found the same */
		afu_parking_refuse(&in->rights, 0);
	afu_parking_fetch(s, way, number, secret ? &by : NULL, m->flags & (MSG_PEEK | MSG_CMSG_CLOEXEC), &in->rights);
	in->parcelled = 1;
}

void afu_incoming_init(struct afu_incoming *in, struct msghdr *msg)
{
	memset(in, 0, offsetof(struct afu_incoming, rights));
	in->msg = msg;
	if (msg && msg->msg_control && msg->msg_controllen > sizeof(struct cmsghdr))
		in->m.unpark = unpark;
}

static int wants(const struct afu_sock *s, int option)
{
	return s->ep->option[option] != 0;
}

void afu_incoming_begin(struct afu_incoming *in, struct afu_sock *s)
{
	afu_view_get(s);
	in->s = s;
}

/* Of whoever sent what was received; length 0: it has none, or is not known any more. */
static int sender_name(struct afu_sock *s, uint64_t id, uint8_t name[128], uint32_t *length)
{
	struct afu_thread *th = afu_thread();
	_Atomic uint32_t *pin;
	struct afu_flow *flow;
	int err;

	if (s->type != SOCK_DGRAM)
		return afu_known_name(s, NULL, name, length);
	pin = afu_flows_pin(th, s);
	flow = afu_flows_find(afu_sock_flows(s), id);
	err = flow ? afu_known_name(s, flow, name, length) : 0;
	afu_flows_unpin(th, s, pin);
	return err;
}

int afu_incoming_name(struct afu_incoming *in, struct sockaddr *addr, socklen_t *len)
{
	static const socklen_t none;
	struct afu_sock *s = in->s;
	uint8_t name[128];
	uint32_t length = 0;
	socklen_t room;

	if (in->outside.came) {
		length = in->outside.length < sizeof in->outside.name ? in->outside.length : sizeof in->outside.name;
		memcpy(name, &in->outside.name, length);
	}
	if (in->m.spoke && sender_name(s, in->m.flow, name, &length) < 0)
		length = 0;
	if (!length) {
		/* the buffer is not touched, but the length is looked at */
		if (afu_copy(&room, len, sizeof room))
			return afu_refuse(AFU_CAUSE_BAD_POINTER);
		if ((int)room < 0)
			return afu_refuse(AFU_CAUSE_ADDRESS_LENGTH);
		return afu_copy(len, &none, sizeof none) ? afu_refuse(AFU_CAUSE_BAD_POINTER) : 0;
	}
	return afu_name_write(name, length, addr, len);
}

/* The caller's control buffer, as it fills. */
struct control {
	char *at;
	size_t left;
	int flags;
};

/* One item; cut if there is no room for the whole. */
static void put_item(struct control *c, int type, const void *data, size_t size)
{
	struct cmsghdr head = { .cmsg_level = SOL_SOCKET, .cmsg_type = type };
	size_t length = CMSG_LEN(size), space = CMSG_SPACE(size);

	if (!c->at || c->left < sizeof head) {
		c->flags |= MSG_CTRUNC;
		return;
	}
	if (c->left < length) {
		c->flags |= MSG_CTRUNC;
		length = c->left;
	}
	head.cmsg_len = length;
	if (afu_copy(c->at, &head, sizeof head) || afu_copy(c->at + sizeof head, data, length - sizeof head))
		return; /* as in the kernel: the item is not there, and nobody is told */
	if (space > c->left)
		space = c->left;
	c->at += space;
	c->left -= space;
}

/*
 * What the clock of the day is ahead of the monotonic one, never too much.  The last figure
 * stays while it is near enough, so that one message shows the same time twice.
 */
static int64_t day_offset(void)
{
	static _Atomic int64_t kept;
	int64_t best = INT64_MIN, old = atomic_load(&kept);

	for (int i = 0; i < 3; i++) {
		struct timespec day;
		int64_t offset;

		clock_gettime(CLOCK_REALTIME, &day);
		offset = (int64_t)day.tv_sec * 1000000000 + day.tv_nsec - afu_clock_ns();
		if (offset > best)
			best = offset;
	}
	if (old && best - old < OFFSET_SLACK_NS && old - best < OFFSET_SLACK_NS)
		return old;
	atomic_store(&kept, best);
	return best;
}

/* When the message was sent, on the clock of the day. */
static struct timespec sent_at(const struct afu_incoming *in)
{
	int64_t sent = in->m.has & AFU_RECORD_TIME ? (int64_t)in->m.time : afu_clock_ns();

	return afu_clock_timespec(sent + day_offset());
}

static void put_time(struct afu_incoming *in, struct control *c)
{
	uint32_t stamps = atomic_load(&in->s->ep->opt.stamps);
	struct timespec t;
	struct timeval tv;

	if (in->s->type == SOCK_STREAM || !in->m.spoke || !(stamps & AFU_STAMP_ON))
		return;
	t = sent_at(in);
	if (stamps & AFU_STAMP_NS) {
		put_item(c, stamps & AFU_STAMP_NEW ? TIMESTAMPNS_NEW : SO_TIMESTAMPNS, &t, sizeof t);
	} else {
		tv = (struct timeval){ t.tv_sec, t.tv_nsec / 1000 };
		put_item(c, stamps & AFU_STAMP_NEW ? TIMESTAMP_NEW : SO_TIMESTAMP, &tv, sizeof tv);
	}
}

static uint64_t identity_of(const struct afu_incoming *in)
{
	return in->m.has & AFU_RECORD_IDENTITY ? in->m.identity : 0;
}

static void put_credentials(struct afu_incoming *in, struct control *c)
{
	struct ucred who = { 0, OVERFLOW_ID, OVERFLOW_ID };

	if (!wants(in->s, SO_PASSCRED))
		return;
	if (!in->m.spoke) {
		/* the end of a stream comes from nobody, of packets nothing comes at all */
		if (in->s->type != SOCK_STREAM)
			return;
		who = (struct ucred){ 0, 0, 0 };
	} else if (identity_of(in)) {
		afu_speaker_who(in->s, in->m.flow, identity_of(in), &who);
	}
	put_item(c, SCM_CREDENTIALS, &who, sizeof who);
}

static void put_pidfd(struct afu_incoming *in, struct control *c)
{
	int fd;

	if (!wants(in->s, AFU_SO_PASSPIDFD))
		return;
	if (c->left < CMSG_LEN(sizeof fd)) {
		c->flags |= MSG_CTRUNC;
		return;
	}
	if (!in->m.spoke || !identity_of(in))
		return;
	/* no number free: the item says so in its value */
	switch (afu_speaker_pidfd(in->s, in->m.flow, identity_of(in), &fd)) {
	case 0:
		break;
	case -EMFILE:
		fd = -EMFILE;
		break;
	default:
		return;
	}
	if (fd >= 0 && afu_table_within(fd) < 0)
		fd = -EMFILE;
	if (fd >= 0)
		afu_fd_forget(fd);
	put_item(c, SCM_PIDFD_TYPE, &fd, sizeof fd);
}

static void put_rights(struct afu_incoming *in, struct control *c)
{
	struct afu_parcel *p = &in->rights;
	int n;
	struct cmsghdr head = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	size_t room, space;

	if (!(in->m.has & AFU_RECORD_RIGHTS))
		return;
	room = c->at && c->left > sizeof head ? (c->left - sizeof head) / sizeof(int) : 0;
	n = in->parcelled ? p->n : 0;
	if (!in->parcelled || p->truncated || (size_t)n > room)
		c->flags |= MSG_CTRUNC;
	if ((size_t)n > room)
		n = (int)room;
	if (in->parcelled)
		afu_parking_refuse(p, n);
	in->parcelled = 0;
	if (!n)
		return;
	head.cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
	if (afu_copy(c->at, &head, sizeof head) || afu_copy(c->at + sizeof head, p->fd, (size_t)n * sizeof(int))) {
		afu_parking_refuse(p, 0);
		c->flags |= MSG_CTRUNC;
		return;
	}
	afu_parking_settle(p);
	space = CMSG_SPACE((size_t)n * sizeof(int));
	if (space > c->left)
		space = c->left;
	c->at += space;
	c->left -= space;
}

static void put_unread(struct afu_incoming *in, struct control *c)
{
	int left;

	if (in->s->type != SOCK_STREAM || !wants(in->s, AFU_SO_INQ))
		return;
	left = (int)afu_sock_unread(in->s, afu_thread());
	put_item(c, AFU_SO_INQ, &left, sizeof left);
}

void afu_incoming_control(struct afu_incoming *in, ssize_t got)
{
	struct msghdr *msg = in->msg;
	struct control c = { msg->msg_control, msg->msg_controllen, in->m.msg_flags };
	size_t before = c.left;

	if (in->outside.came) {
		if (msg->msg_control)
			afu_outside_received(msg);
		return;
	}
	/* nothing comes with a byte that is out of band, nor with the end of anything but a stream */
	if (!(in->m.msg_flags & MSG_OOB) && (in->m.spoke || in->s->type == SOCK_STREAM)) {
		put_time(in, &c);
		if (!msg->msg_control) {
			if (wants(in->s, SO_PASSCRED) || wants(in->s, AFU_SO_PASSPIDFD) || wants(in->s, SO_PASSSEC) ||
			    (in->m.has & AFU_RECORD_RIGHTS))
				c.flags |= MSG_CTRUNC;
		} else {
			put_credentials(in, &c);
			put_rights(in, &c);
			put_pidfd(in, &c);
		}
		put_unread(in, &c);
	}
	msg->msg_controllen = before - c.left;
	msg->msg_flags = c.flags | (in->m.flags & MSG_CMSG_CLOEXEC);
}

void afu_incoming_end(struct afu_incoming *in)
{
	if (!in->s)
		return;
	if (in->parcelled)
		afu_parking_refuse(&in->rights, 0);
	in->parcelled = 0;
	afu_view_put(in->s);
	in->s = NULL;
}
