/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A call first tries inside a critical section, without waiting; that is the whole
 * of it between busy peers.  If it has to wait, it takes the view into use and
 * goes on outside.
 */
#include "library/transfer.h"

#include "base/cause.h"
#include "base/clock.h"
#include "library/domain.h"
#include "library/flows.h"
#include "library/outside.h"
#include "library/screen.h"
#include "library/speaker.h"
#include "library/view.h"

#include <fcntl.h>

#define ERESTARTSYS 512

struct afu_iter afu_transfer_at(const struct afu_transfer *t, size_t done)
{
	struct afu_iter it = {t->iov, t->n, 0};

	while (it.n && done >= it.iov->iov_len) {
		done -= it.iov->iov_len;
		it.iov++;
		it.n--;
	}
	it.off = it.n ? done : 0;
	return it;
}

int afu_transfer_autobind(struct afu_sock *s)
{
	struct afu_request req = {.op = AFU_OP_AUTOBIND};
	struct afu_reply reply;
	int err;

	if ((!s->ep->option[SO_PASSCRED] && !s->ep->option[AFU_SO_PASSPIDFD]) || s->autobound)
		return 0;
	err = afu_domain_ask(&req, s->id, NULL, 0, &reply);
	if (!err)
		s->autobound = 1; /* it has a name now, this one or another */
	return err;
}

static void raise_sigpipe(const struct afu_transfer *t)
{
	if (!(t->flags & MSG_NOSIGNAL))
		afu_sys(SYS_tgkill, afu_sys(SYS_getpid), afu_sys(SYS_gettid), SIGPIPE);
}

static int stream_state(const struct afu_sock *s, const struct afu_transfer *t, int addressed)
{
	if ((t->flags & MSG_OOB) && !t->length)
		return afu_refuse(AFU_CAUSE_OOB_LENGTH);
	if (addressed)
		return afu_refuse(s->state == AFU_CONNECTED ? AFU_CAUSE_SEND_ADDRESS_CONNECTED
							    : AFU_CAUSE_SEND_ADDRESS);
	return s->state == AFU_CONNECTED ? 0 : afu_refuse(AFU_CAUSE_NOT_CONNECTED);
}

/*
 * Whether the message has to say who sends it, and does not yet: the sender or the receiver has
 * asked for that, or nobody has accepted the connection.
 */
static int unidentified(const struct afu_sock *s, uint32_t wants, const struct afu_sending *m)
{
	return (wants & (AFU_WANTS_IDENTITY | AFU_WANTS_EMBRYO) || m->claim || s->ep->option[SO_PASSCRED] ||
		s->ep->option[AFU_SO_PASSPIDFD]) &&
	       !m->identity;
}

static uint32_t peer_wants(const struct afu_sock *s)
{
	/* relaxed: a message that crosses a change of the option may go either way */
	return atomic_load_explicit(&s->peer->wants, memory_order_relaxed);
}

/* The view is entered; is again on return 0.  Else it was left. */
static int identify(struct afu_sock *s, struct afu_thread *th, struct afu_sending *m)
{
	int err;

	if (!m->claim)
		m->identity = afu_speaker_known(s);
	if (__builtin_expect(m->identity != 0, 1))
		return 0;
	afu_view_get(s);
	afu_view_leave(th);
	err = afu_speaker_identity(s, m->claim, &m->identity);
	if (!err)
		err = afu_view_reenter(th, s);
	afu_view_put(s);
	return err;
}

/*
 * The socket has become one of the kernel's in the middle of a call that does not return for that: it goes on
 * there, from what was done.  All that it has done.
 */
static size_t go_on(int fd, const struct afu_transfer *t, size_t done, int receive)
{
	while (done < t->length) {
		struct afu_iter it = afu_transfer_at(t, done);
		char *at = (char *)it.iov->iov_base + it.off;
		size_t n = it.iov->iov_len - it.off;
		int last = done + n == t->length;
		ssize_t got;

		if (receive)
			got = afu_sys(SYS_recvfrom, fd, at, n, t->flags, NULL, NULL);
		else
			got = afu_sys(SYS_sendto, fd, at, n,
				      (t->flags & (last ? ~0 : ~MSG_OOB)) | MSG_NOSIGNAL, NULL, 0);
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

/* Whether what a call in its middle has to do is left to the kernel.  The view is in use. */
static int has_moved(struct afu_sock *s)
{
	return afu_sock_stale(s) && afu_view_renew(s) == AFU_ELSEWHERE;
}

static ssize_t send_stream(int fd, struct afu_sock *s, struct afu_thread *th, const struct afu_transfer *t,
			   int addressed, struct afu_sending *m)
{
	struct afu_patience p;
	struct afu_iter it = {t->iov, t->n, 0};
	ssize_t n, more;
	int nonblocking, err = stream_state(s, t, addressed);

	if (__builtin_expect(err, 0)) {
		afu_view_leave(th);
		return err;
	}
	if (__builtin_expect(unidentified(s, peer_wants(s), m), 0)) {
		err = identify(s, th, m);
		if (err)
			return err;
	}
	nonblocking = afu_transfer_patience(&p, s, th, t->flags, s->ep->sndtimeo_ns);
	n = afu_stream_send(s, th, &it, t->length, m, &p);
	p.nonblocking = nonblocking;
	if (__builtin_expect(n == (ssize_t)t->length || nonblocking || (n < 0 && n != -EAGAIN), 1)) {
		afu_view_leave(th);
		if (m->sigpipe)
			raise_sigpipe(t);
		return n;
	}
	afu_view_get(s);
	afu_view_leave(th);
	n = n < 0 ? 0 : n;
	p.timed |= n > 0;
	it = afu_transfer_at(t, (size_t)n);
	more = afu_stream_send(s, th, &it, t->length - (size_t)n, m, &p);
	if (n + more < (ssize_t)t->length && (n > 0 || more > 0) && has_moved(s)) {
		n = (ssize_t)go_on(fd, t, (size_t)(more > 0 ? n + more : n), 0);
		more = 0;
	}
	afu_view_put(s);
	/* shut while it was under way: an error without the signal */
	if (more < 0)
		return n ? n : more;
	return n + more;
}

/* Gets the receiver's filter ready.  The view is entered; is again on return 0.  Else it was left. */
static int screen(struct afu_sock *s, struct afu_thread *th, uint32_t wants, struct afu_screen *to)
{
	uint32_t version = afu_screen_wanted(wants);
	int err;

	if (afu_screen_recall(s, 0, version, to))
		return 0;
	afu_view_get(s);
	afu_view_leave(th);
	err = afu_screen_fetch(s, 0, version, to);
	if (!err)
		err = afu_view_reenter(th, s);
	afu_view_put(s);
	return err;
}

/* Who speaks and who listens: what is to be known before a packet is sent.  As screen(). */
static int introduce(struct afu_sock *s, struct afu_thread *th, struct afu_sending *m,
		     struct afu_screen *room)
{
	uint32_t wants = peer_wants(s);
	int err = 0;

	if (__builtin_expect(unidentified(s, wants, m), 0))
		err = identify(s, th, m);
	m->screen = NULL;
	if (__builtin_expect(wants & AFU_WANTS_FILTER, 0)) {
		m->screen = room;
		err = err ? err : screen(s, th, wants, room);
	}
	return err;
}

static ssize_t send_packet(struct afu_sock *s, struct afu_thread *th, const struct afu_transfer *t,
			   struct afu_sending *m)
{
	struct afu_patience p;
	int nonblocking = afu_transfer_patience(&p, s, th, t->flags, s->ep->sndtimeo_ns);
	struct afu_iter it = {t->iov, t->n, 0};
	struct afu_screen room;
	ssize_t n;
	int err;

	err = introduce(s, th, m, &room);
	while (!err) {
		n = afu_packet_send(s, th, &it, t->length, m, &p);
		if (__builtin_expect(n != -EAGAIN || nonblocking, 1)) {
			afu_view_leave(th);
			return n;
		}
		afu_view_get(s);
		afu_view_leave(th);
		p.nonblocking = 0;
		n = afu_packet_send(s, th, &it, t->length, m, &p);
		p.nonblocking = 1;
		err = n == -ESTALE ? afu_view_reenter(th, s) : 0;
		afu_view_put(s);
		if (n != -ESTALE)
			return n;
		if (!err)
			err = introduce(s, th, m, &room);
	}
	return err;
}

/* What SOCK_SEQPACKET looks at before anything else. */
static int packet_state(struct afu_sock *s)
{
	int err;

	if (s->type != SOCK_SEQPACKET)
		return 0;
	err = afu_sock_error(s) ? afu_sock_take_error(s) : 0;
	if (err)
		return afu_refuse_as(AFU_CAUSE_PEER_RESET, err, NULL);
	return s->state == AFU_CONNECTED ? 0 : afu_refuse(AFU_CAUSE_NOT_CONNECTED);
}

/* What goes before the data: state, control messages, names that come by themselves.  The view is entered. */
static int prepare(struct afu_sock *s, struct afu_outgoing *out)
{
	int err = packet_state(s);

	if (!err && out)
		err = afu_outgoing_parse(out);
	return err;
}

ssize_t afu_transfer_send(int fd, const struct afu_transfer *t, const struct afu_destination *to,
			  struct afu_outgoing *out)
{
	struct afu_thread *th = afu_thread();
	struct afu_sending plain = {.flags = t->flags}, *m = out ? &out->m : &plain;
	struct afu_destination checked;
	struct afu_sock *s;
	int err;

	afu_call_begin(th);
	s = afu_view_enter(th, fd, &err);
	if (__builtin_expect(!s, 0))
		return err;
	th->sig_norestart = 0;
	m->flags = t->flags;
	if (__builtin_expect(out || s->type == SOCK_SEQPACKET, 0)) {
		err = prepare(s, out);
		if (err) {
			afu_view_leave(th);
			return err;
		}
	}
	if (__builtin_expect(s->type == SOCK_STREAM, 1))
		return send_stream(fd, s, th, t, to != NULL, m);
	err = t->flags & MSG_OOB ? afu_refuse(AFU_CAUSE_MESSAGE_OOB) : 0;
	if (!err && to && s->type == SOCK_DGRAM) {
		checked = *to;
		to = &checked;
		err = afu_name_check(&checked.name, checked.length);
	}
	if (err) {
		afu_view_leave(th);
		return err;
	}
	if (s->ep->option[SO_PASSCRED] || s->ep->option[AFU_SO_PASSPIDFD]) {
		afu_view_get(s);
		afu_view_leave(th);
		err = afu_transfer_autobind(s);
		afu_view_put(s);
		s = err ? NULL : afu_view_enter(th, fd, &err);
		if (!s)
			return err;
	}
	if (s->type == SOCK_SEQPACKET)
		return send_packet(s, th, t, m);
	return afu_transfer_datagram(s, th, t, to, m);
}

/* How much a stream's read waits for. */
static size_t target_of(const struct afu_sock *s, const struct afu_transfer *t)
{
	if (t->flags & MSG_WAITALL)
		return t->length;
	return s->ep->rcvlowat < t->length ? s->ep->rcvlowat : t->length;
}

/* The view is entered; on return it is in use.  plain: nothing but bytes is asked for. */
static ssize_t receive_stream(int fd, int plain, struct afu_sock *s, struct afu_thread *th,
			      const struct afu_transfer *t, struct afu_receiving *m)
{
	struct afu_patience p;
	int nonblocking = afu_transfer_patience(&p, s, th, t->flags, s->ep->rcvtimeo_ns);
	struct afu_iter it = {t->iov, t->n, 0};
	ssize_t n = 0, more;

	if (nonblocking || (t->flags & MSG_OOB) || afu_ring_ready(&s->in.ring, s->in.rx)) {
		n = afu_stream_recv(s, th, &it, t->length, 0, m, &p);
		if (__builtin_expect(n >= (ssize_t)target_of(s, t) || nonblocking || m->barrier ||
					     (n >= 0 && (t->flags & (MSG_PEEK | MSG_OOB))) ||
					     (n < 0 && n != -EAGAIN),
				     1)) {
			afu_view_leave(th);
			return n;
		}
	}
	afu_view_get(s);
	afu_view_leave(th);
	n = n < 0 ? 0 : n;
	p.nonblocking = 0;
	p.timed |= n > 0;
	it = afu_transfer_at(t, (size_t)n);
	more = afu_stream_recv(s, th, &it, t->length - (size_t)n, (size_t)n, m, &p);
	if (plain && (t->flags & MSG_WAITALL) && !(t->flags & MSG_PEEK) && !m->barrier &&
	    n + more < (ssize_t)t->length && (n > 0 || more > 0) && has_moved(s)) {
		n = (ssize_t)go_on(fd, t, (size_t)(more > 0 ? n + more : n), 1);
		more = 0;
	}
	afu_view_put(s);
	if (more < 0)
		return n ? n : more;
	return n + more;
}

/* What came from inside, and what came from outside, in turns; waits for either. */
static ssize_t receive_datagram(struct afu_sock *s, struct afu_thread *th, const struct afu_transfer *t,
				struct afu_receiving *m, struct afu_incoming *in, const struct afu_patience *p)
{
	struct afu_iter it = {t->iov, t->n, 0};
	int outside = !(t->flags & MSG_OOB) && afu_sock_outside(s);
	ssize_t n = -EAGAIN;

	/* what is there already must not be slept over */
	if (__builtin_expect(outside, 0) && (!p->nonblocking || afu_outside_first(s))) {
		n = afu_outside_receive(s, t, in);
		outside = 0;
	}
	if (n == -EAGAIN)
		n = afu_dgram_recv(s, th, &it, t->length, m, p);
	if (__builtin_expect(outside, 0) && n == -EAGAIN)
		n = afu_outside_receive(s, t, in);
	return n;
}

static ssize_t receive_one(struct afu_sock *s, struct afu_thread *th, const struct afu_transfer *t,
			   struct afu_receiving *m, struct afu_incoming *in, const struct afu_patience *p)
{
	struct afu_iter it = {t->iov, t->n, 0};

	return s->type == SOCK_DGRAM ? receive_datagram(s, th, t, m, in, p)
				     : afu_packet_recv(s, th, &it, t->length, m, p);
}

static ssize_t receive_message(struct afu_sock *s, struct afu_thread *th, const struct afu_transfer *t,
			       struct afu_receiving *m, struct afu_incoming *in)
{
	struct afu_patience p;
	int nonblocking = afu_transfer_patience(&p, s, th, t->flags, s->ep->rcvtimeo_ns);
	uint32_t rounds = 0;
	ssize_t n;
	int err;

	p.rounds = &rounds;
	n = receive_one(s, th, t, m, in, &p);
	if (__builtin_expect(n != -EAGAIN || nonblocking, 1)) {
		afu_view_leave(th);
		return n;
	}
	afu_view_get(s);
	p.nonblocking = 0;
	do {
		_Atomic uint32_t *pin = s->type == SOCK_DGRAM ? afu_flows_pin(th, s) : NULL;

		afu_view_leave(th);
		n = receive_one(s, th, t, m, in, &p);
		if (pin)
			afu_flows_unpin(th, s, pin);
		/* somebody new sends: the socket is looked at afresh */
		err = n == -ESTALE ? afu_view_reenter(th, s) : 0;
	} while (n == -ESTALE && !err);
	afu_view_put(s);
	return err ? err : n;
}

static int receive_state(const struct afu_sock *s)
{
	if (s->type == SOCK_DGRAM || s->state == AFU_CONNECTED)
		return 0;
	return afu_refuse(s->type == SOCK_STREAM ? AFU_CAUSE_NOT_CONNECTED_RECV
						 : AFU_CAUSE_NOT_CONNECTED_PACKET);
}

ssize_t afu_transfer_receive(int fd, const struct afu_transfer *t, struct afu_incoming *in)
{
	struct afu_thread *th = afu_thread();
	struct afu_receiving plain = {.flags = t->flags}, *m = in ? &in->m : &plain;
	struct afu_sock *s;
	ssize_t n;
	int err;

	afu_call_begin(th);
	s = afu_view_enter(th, fd, &err);
	if (__builtin_expect(!s, 0))
		return err;
	th->sig_norestart = 0;
	m->flags = t->flags;
	err = receive_state(s);
	if (__builtin_expect(err, 0)) {
		afu_view_leave(th);
		return err;
	}
	if (in) {
		/* beyond the call: for the sender's name, and who he is */
		afu_incoming_begin(in, s);
	}
	if (__builtin_expect(s->ep->option[SO_PASSCRED] || s->ep->option[AFU_SO_PASSPIDFD], 0))
		m->split = 1;
	if (__builtin_expect(s->type == SOCK_STREAM, 1))
		n = receive_stream(fd, !in, s, th, t, m);
	else
		n = receive_message(s, th, t, m, in);
	if (in && n < 0)
		afu_incoming_end(in);
	return n;
}

int afu_transfer_error(int fd)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;
	int err, type;

	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	type = s->type;
	err = afu_sock_error(s) ? afu_sock_take_error(s) : 0;
	afu_view_leave(th);
	if (!err)
		return 0;
	return afu_refuse_as(type == SOCK_DGRAM ? AFU_CAUSE_DGRAM_PEER_LEFT : AFU_CAUSE_PEER_RESET, err,
			     NULL);
}

void afu_transfer_keep_error(int fd, int error)
{
	struct afu_thread *th = afu_thread();
	struct afu_sock *s;
	int err;

	s = afu_view_enter(th, fd, &err);
	if (!s)
		return;
	/* a wait without a timeout is interrupted by an error of the kernel's own, which shows here */
	if (error == EINTR && s->ep->rcvtimeo_ns == AFU_NEVER)
		error = ERESTARTSYS;
	atomic_store(s->state == AFU_CONNECTED && s->type != SOCK_DGRAM ? &s->own->error : &s->ep->error,
		     (uint32_t)error);
	afu_view_leave(th);
}
