/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The way out: two connected sockets go on as a pair of the kernel's, for a program that
 * cannot know us.
 *
 * First the locks of both ends are taken for good, so nothing is sent or received any more.
 * What lies in the queues is sent into the new pair, in order.  Then both sockets say that
 * they have moved, and each holder fetches its kernel socket when it next looks; until the
 * last has, or has closed its token, the broker keeps one too.  If anything fails the
 * locks are released, and nothing has happened.
 *
 * All that is read here the clients can write.  It is copied through buffers, by functions that
 * bound what they read, and whatever comes of it both ends could have sent each other anyhow.
 */
#include "broker/state.h"

#include "base/apart.h"
#include "base/closing.h"
#include "base/futex.h"
#include "base/memory.h"
#include "base/sys.h"

#include <errno.h>
#include <linux/sockios.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* An owner that no thread ever is. */
#define SEALED ((uint32_t)FUTEX_TID_MASK)
/* Twice what anybody's buffer holds; and with that an end to what one request can ask for. */
#define BUFFER (8 << 20)
/*
 * Sockets that lie in the queues move along, and what lies in theirs; so many at most.  So many records, and
 * looks into parkings, there may be in all: who holds an end can write a ring full of empty records, or set
 * the parking's peek offset back again and again.
 */
#define MOVES_MAX 64
#define RECORDS_MAX (1u << 18)
#define LOOKS_MAX (1u << 14)
#define DEPTH_MAX 8
#define CLOSING_NS 5000000
/* So long a look into a parking may take. */
#define LOOK_NS 20000000
/* The ids of those who have none. */
#define NOBODY 65534

/* One direction of what is being moved. */
struct lane {
	struct afu_channel *ch;
	struct afu_ring ring;
	struct afu_ring_tx *tx;
	struct afu_ring_rx *rx;
	struct direction *way;
};

/* A parcel of descriptors, looked at in its parking. */
struct parked {
	int n;
	int fd[AFU_RIGHTS_MAX];
	struct afu_parcel_note note;
	struct ucred from;
	int there; /* it is the next, and not used yet */
};

/* What one request may still ask for. */
struct budget {
	unsigned int moves, records, looks;
};

struct move {
	struct afu_broker *b;
	struct bsock *end[2];
	char *page[2];		 /* their endpoint pages; NULL */
	struct lane lane[2];	 /* by the end that sends */
	struct afu_ring_rx none; /* of one that nobody has accepted yet */
	int fd[2];
	int type, depth;
	struct budget *left;
};

static int seal(struct afu_lock *lock, int *died)
{
	uint32_t w = atomic_load(&lock->word);

	*died = w != 0;
	if ((w & FUTEX_TID_MASK) && !(w & FUTEX_OWNER_DIED))
		return -EAGAIN;
	return atomic_compare_exchange_strong(&lock->word, &w, SEALED) ? 0 : -EAGAIN;
}

static void unseal(struct afu_lock *lock)
{
	atomic_store(&lock->word, 0);
	afu_futex_wake(&lock->word, INT32_MAX, 1);
}

static void unseal_end(struct move *m, unsigned int i)
{
	struct afu_endpoint *ep = (struct afu_endpoint *)(void *)m->page[i];

	unseal(&ep->tx_lock);
	unseal(&ep->rx_lock);
}

/* What the owner left who died with a lock is put in order, as its next owner would. */
static int seal_end(struct move *m, unsigned int i)
{
	struct afu_endpoint *ep = (struct afu_endpoint *)(void *)m->page[i];
	int died;

	if (seal(&ep->tx_lock, &died) < 0)
		return -EAGAIN;
	if (died && m->lane[i].tx)
		afu_ring_recover_tx(&m->lane[i].ring, m->lane[i].tx);
	if (seal(&ep->rx_lock, &died) < 0) {
		unseal(&ep->tx_lock);
		return -EAGAIN;
	}
	if (died && m->lane[1 - i].rx)
		afu_ring_recover_rx(&m->lane[1 - i].ring, m->lane[1 - i].rx);
	return 0;
}

/* Both, or none. */
static int seal_ends(struct move *m)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (!m->page[i] || seal_end(m, i) == 0)
			continue;
		if (i && m->page[0])
			unseal_end(m, 0);
		return -EAGAIN;
	}
	return 0;
}

/*
 * The pair shows as the peer of each whoever makes it: the broker, and as it may not appear as
 * somebody else it makes it in the name of those whom the two sockets show.
 */
static int make_pair(struct move *m)
{
	static const struct credentials nobody;
	const struct credentials *who = m->end[0] ? &m->end[0]->peer : &nobody,
				 *other = m->end[1] ? &m->end[1]->peer : who;
	uid_t uid = (uid_t)afu_sys(SYS_geteuid);
	gid_t gid = (gid_t)afu_sys(SYS_getegid);
	int err;

	if (!who->known)
		who = other;
	if (!other->known)
		other = who;
	if (who->uid != other->uid || who->gid != other->gid)
		return -EPERM;
	/* of this thread alone, so not by the C library */
	if (who->known && who->gid != gid && afu_sys(SYS_setresgid, -1, who->gid, -1) < 0)
		return -EPERM;
	err = who->known && who->uid != uid && afu_sys(SYS_setresuid, -1, who->uid, -1) < 0 ? -EPERM : 0;
	if (!err && socketpair(AF_UNIX, m->type | SOCK_CLOEXEC, 0, m->fd) < 0)
		err = -ENFILE;
	if (who->known && who->uid != uid)
		afu_sys(SYS_setresuid, -1, uid, -1);
	if (who->known && who->gid != gid)
		afu_sys(SYS_setresgid, -1, gid, -1);
	for (int i = 0; !err && afu_hide && i < 2; i++)
		m->fd[i] = afu_hide(m->fd[i]);
	return err;
}

/* One look into a parking. */
struct look {
	int fd;
	int offset; /* that is to be set instead; NONE */
	struct parked parcel;
	int err; /* not all of its descriptors could be had */
};
#define NONE INT32_MAX

/* The next parcel in the parking, a copy. */
static void look(void *arg)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(AFU_RIGHTS_MAX * sizeof(int))];
	} anc;
	struct look *at = arg;
	struct parked *p = &at->parcel;
	struct iovec iov = {&p->note, sizeof p->note};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = anc.bytes,
			     .msg_controllen = sizeof anc.bytes};
	size_t head = offsetof(struct afu_parcel_note, socket);
	long got;

	if (at->offset != NONE) {
		setsockopt(at->fd, SOL_SOCKET, SO_PEEK_OFF, &at->offset, sizeof at->offset);
		return;
	}
	p->from = (struct ucred){0, (uid_t)-1, (gid_t)-1};
	got = recvmsg(at->fd, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof p->from))
			memcpy(&p->from, CMSG_DATA(c), sizeof p->from);
		if (c->cmsg_type != SCM_RIGHTS)
			continue;
		p->n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(p->fd, CMSG_DATA(c), (size_t)p->n * sizeof(int));
	}
	p->there = got >= (long)head && p->note.n <= AFU_RIGHTS_MAX &&
		   (size_t)got >= head + p->note.n * sizeof p->note.socket[0];
	if (!p->there)
		p->note.number = 0;
	at->err = msg.msg_flags & MSG_CTRUNC ? -ENFILE : 0;
}

/* It came too late. */
static void look_abandoned(void *arg)
{
	struct look *at = arg;

	for (int i = 0; i < at->parcel.n; i++)
		close(at->parcel.fd[i]);
	close(at->fd);
	free(at);
}

/*
 * Looks, or sets the offset of looks.  A client who can fetch from the parking may have been stopped in the
 * middle of that, with a lock of the kernel's that this needs: then it is done apart.  0 or negative errno.
 */
static int look_at_parking(const struct lane *l, struct parked *p, int offset)
{
	struct look *at = calloc(1, sizeof *at);
	int over = 1, err;

	if (!at || l->way->stalled) {
		free(at);
		return -EOPNOTSUPP;
	}
	at->offset = offset;
	at->fd = l->way->handed ? fcntl(l->way->parking[1] - 1, F_DUPFD_CLOEXEC, 0) : l->way->parking[1] - 1;
	if (!l->way->handed)
		look(at);
	else if (at->fd >= 0)
		over = afu_apart_within(look, look_abandoned, at, LOOK_NS);
	if (!over) {
		l->way->stalled = 1; /* once is enough */
		return -EOPNOTSUPP;
	}
	err = at->fd < 0 || over < 0 ? -ENFILE : at->err;
	if (l->way->handed && at->fd >= 0)
		close(at->fd);
	if (offset == NONE)
		*p = at->parcel;
	free(at);
	return err;
}

/* They lie in the parking still, unless a holder has taken them out meanwhile: then this may last. */
static void close_parked(struct parked *p)
{
	for (int i = 0; i < p->n; i++)
		afu_close_apart(p->fd[i]);
	p->n = 0;
	p->there = 0;
}

static int move(struct afu_broker *b, struct bsock *s, int depth, struct budget *left);

/* A socket of ours that lies in the queue, as a descriptor for the kernel's: it moves too, if it can.
 * -ENOENT: it does not lie there. */
static int socket_in_flight(struct move *m, const struct lane *l, uint64_t number, uint64_t id)
{
	struct parcel *p;
	int fd;

	DL_FOREACH(l->way->parcels, p)
	{
		if (p->number == number && p->socket->id == id)
			break;
	}
	if (!p)
		return -ENOENT;
	if (m->depth < DEPTH_MAX && m->left->moves && p->socket->state == AFU_CONNECTED) {
		m->left->moves--;
		move(m->b, p->socket, m->depth + 1, m->left);
	}
	p->moved = 1;
	fd = p->socket->state == AFU_MOVED ? fcntl(p->socket->kernel - 1, F_DUPFD_CLOEXEC, 0)
					   : afu_store_token(p->socket);
	return fd < 0 ? -ENFILE : fd;
}

/* Whether the parcel is before the one that is looked for, or is not its sender's. */
static int is_passed(const struct parked *p, uint64_t number, const uint64_t *secret, const struct ucred *by)
{
	if (!p->there || p->note.number < number)
		return 1;
	return p->note.number == number && secret &&
	       (p->note.secret != *secret || p->from.pid != by->pid || p->from.uid != by->uid ||
		p->from.gid != by->gid);
}

/*
 * The descriptors that go with the record of that number; how many, or negative errno.  secret: those alone, and
 * only if they are by that one; or NULL.
 */
static int fetch_parked(struct move *m, const struct lane *l, struct parked *p, uint64_t number,
			const uint64_t *secret, const struct ucred *by)
{
	if (!l->way->parking[1])
		return 0;
	while (is_passed(p, number, secret, by)) {
		int err;

		if (!m->left->looks)
			return -E2BIG;
		m->left->looks--;
		close_parked(p);
		err = look_at_parking(l, p, NONE);
		if (err || !p->n)
			return err;
	}
	if (p->note.number != number)
		return 0;
	for (uint32_t i = 0; i < p->note.n; i++) {
		uint32_t at = p->note.socket[i].index;
		int fd = at < (uint32_t)p->n ? socket_in_flight(m, l, number, p->note.socket[i].id) : -ENOENT;

		if (fd == -ENFILE)
			return fd;
		if (fd < 0)
			continue;
		close(p->fd[at]); /* it only named the socket */
		p->fd[at] = fd;
	}
	return p->n;
}

/* Whose word the record is; if nobody's, the broker's own name and rights shall not be seen either. */
static void speaker_of(const struct lane *l, uint64_t identity, struct ucred *to)
{
	const struct voices *v = l->way->voices;

	for (unsigned int i = 0; v && i < v->n; i++) {
		const struct voice *who = v->who[i].voice;

		if (who->id != identity)
			continue;
		*to = (struct ucred){who->who.pid, who->who.uid, who->who.gid};
		return;
	}
	*to = (struct ucred){getpid(), NOBODY, NOBODY};
}

struct letter {
	struct iovec iov;
	int flags;
	int n; /* descriptors */
	const int *fd;
	struct ucred who; /* sends it */
};

/* All of it or nothing: what has not gone whole is an error. */
static int send_letter(int fd, const struct letter *t, int spoken)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(AFU_RIGHTS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	} anc;
	struct iovec iov = t->iov;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.bytes};
	struct cmsghdr *c = &anc.align;
	ssize_t sent;

	memset(&anc, 0, sizeof anc);
	if (t->n) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)t->n * sizeof(int));
		memcpy(CMSG_DATA(c), t->fd, (size_t)t->n * sizeof(int));
		msg.msg_controllen = CMSG_SPACE((size_t)t->n * sizeof(int));
		c = (struct cmsghdr *)(void *)(anc.bytes + msg.msg_controllen);
	}
	if (spoken) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_CREDENTIALS;
		c->cmsg_len = CMSG_LEN(sizeof t->who);
		memcpy(CMSG_DATA(c), &t->who, sizeof t->who);
		msg.msg_controllen += CMSG_SPACE(sizeof t->who);
	}
	sent = sendmsg(fd, &msg, t->flags | MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0)
		return -errno;
	return (size_t)sent == iov.iov_len ? 0 : -ENOBUFS;
}

/* One record into the new socket. */
static int pass(struct move *m, unsigned int from, const struct afu_ring_record *rec, struct parked *p)
{
	struct lane *l = &m->lane[from];
	uint32_t word = 0;
	uint64_t words[AFU_RING_WORDS];
	const uint64_t *secret = NULL;
	char *copy = rec->length <= BUFFER ? malloc(rec->length + 1) : NULL;
	struct letter t = {.flags = 0};
	struct iovec iov = {copy, rec->length};
	struct afu_iter to = {&iov, 1, 0};
	int err;

	if (!copy)
		return -ENOMEM;
	t.iov = (struct iovec){copy + rec->offset, rec->length - rec->offset};
	afu_ring_words(&l->ring, rec, words);
	err = afu_ring_read(&l->ring, rec, 0, &to, rec->length);
	speaker_of(l, afu_seal_proven(l->way, rec, words, copy, &secret), &t.who);
	word += (rec->flags & AFU_RECORD_TIME) != 0;
	word += (rec->flags & AFU_RECORD_IDENTITY) != 0;
	/* a stream's descriptors have come with the first byte of their record */
	if (afu_record_rights(rec->flags) && !rec->offset) {
		t.n = fetch_parked(m, l, p, words[word % AFU_RING_WORDS], secret, &t.who);
		t.fd = p->fd;
	}
	if (afu_ring_oob(&l->ring, rec) == AFU_OOB_PENDING)
		t.flags = MSG_OOB;
	if (!err && t.n < 0)
		err = t.n;
	if (!err)
		err = send_letter(m->fd[from], &t, 1);
	/* who may not speak for others sends it as himself */
	if (err == -EPERM || err == -ESRCH)
		err = send_letter(m->fd[from], &t, 0);
	if (t.n > 0)
		close_parked(p);
	free(copy);
	return err;
}

/* Of a parking in which something lies: from an offset of 0 on each look goes on to the next. */
static int set_peek_offset(const struct lane *l, int offset)
{
	int left = 0;

	if (!l->way->parking[1] || (ioctl(l->way->parking[0] - 1, SIOCOUTQ, &left) == 0 && !left))
		return 0;
	return look_at_parking(l, NULL, offset);
}

/* What one end has sent and the other not received. */
static int pass_all(struct move *m, unsigned int from)
{
	struct lane *l = &m->lane[from];
	struct parked *p = calloc(1, sizeof *p);
	struct afu_ring_record rec;
	struct parcel *parcel;
	int found, err = p ? 0 : -ENOMEM;

	DL_FOREACH(l->way->parcels, parcel)
	{
		parcel->moved = 0;
	}
	if (!err)
		err = set_peek_offset(l, 0); /* from here on each look goes on to the next */
	if (!err) {
		for (found = afu_ring_ahead(&l->ring, l->rx, &rec); found > 0 && !err;
		     found = afu_ring_next(&l->ring, &rec)) {
			/* empty ones a stream has only by a lie, and they would fill no buffer */
			if (!m->left->records || (m->type == SOCK_STREAM && !rec.length))
				err = -E2BIG;
			else if (!(rec.flags & AFU_RECORD_SHELL))
				err = pass(m, from, &rec, p);
			m->left->records -= !err;
		}
		close_parked(p);
		set_peek_offset(l, -1);
	}
	free(p);
	return err;
}

/* The options that already count for what is sent next; the rest is set by whoever fetches the socket. */
static void set_options(struct move *m, unsigned int i)
{
	const struct afu_endpoint *ep = (const struct afu_endpoint *)(void *)m->page[i];
	/* in the order of what an accepted socket has from its listener: SO_PASSCRED, SO_PASSSEC,
	 * SO_PASSPIDFD */
	static const int names[] = {16, 34, 76};
	int size = BUFFER, on = 1;

	if (setsockopt(m->fd[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
		setsockopt(m->fd[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	for (unsigned int k = 0; k < sizeof names / sizeof *names; k++) {
		if (ep ? ep->option[names[k]] : m->end[i] && m->end[i]->inherited[k])
			setsockopt(m->fd[i], SOL_SOCKET, names[k], &on, sizeof on);
	}
	if (ep && (atomic_load(&ep->status_flags) & O_NONBLOCK))
		fcntl(m->fd[i], F_SETFL, O_NONBLOCK);
}

/* What was shut, and an error that waits to be told. */
static void set_state(struct move *m, unsigned int i)
{
	const struct lane *l = &m->lane[i];
	uint32_t flags = 0;
	int size = (int)m->b->sndbuf / 2; /* the kernel doubles it */

	/* nobody will set the options of one that is accepted as it is */
	if (!m->page[i])
		setsockopt(m->fd[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (m->end[i]->type == SOCK_DGRAM)
		flags = atomic_load(&((struct afu_endpoint *)(void *)m->page[i])->shut);
	else if (m->end[1 - i])
		flags = atomic_load(&l->ch->side[m->end[i]->side].flags);
	if (flags & AFU_SIDE_WSHUT)
		shutdown(m->fd[i], SHUT_WR);
	if (flags & AFU_SIDE_RSHUT)
		shutdown(m->fd[i], SHUT_RD);
	/* whoever goes with something unread leaves an error behind */
	if (!m->end[1 - i] && m->end[i]->type != SOCK_DGRAM &&
	    atomic_load(&l->ch->side[m->end[i]->side].error))
		send(m->fd[i], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void become_moved(struct move *m, unsigned int i)
{
	struct bsock *s = m->end[i];

	s->kernel = 1 + m->fd[i];
	s->kernel_fresh = 1;
	s->state = AFU_MOVED;
	afu_store_state(s);
	/* before what is shut is looked at: whoever shuts it looks at the version afterwards */
	atomic_thread_fence(memory_order_seq_cst);
	set_state(m, i);
}

static void unmap(struct move *m)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (m->page[i])
			afu_sys_munmap(m->page[i], afu_endpoint_size(m->end[i]->type));
	}
	if (m->lane[1].ch && m->lane[1].ch != m->lane[0].ch)
		afu_channel_unmap(m->lane[1].ch, 0);
	if (m->lane[0].ch)
		afu_channel_unmap(m->lane[0].ch, 0);
}

static int map_pages(struct move *m)
{
	for (unsigned int i = 0; i < 2; i++) {
		void *p;

		if (!m->end[i] || m->end[i]->memory < 0)
			continue;
		if (afu_memory_map(m->end[i]->memory, afu_endpoint_size(m->end[i]->type), 1, &p) < 0)
			return -ENOMEM;
		m->page[i] = p;
	}
	return 0;
}

static int map_connection(struct move *m, struct conn *conn)
{
	struct afu_channel *ch;

	if (afu_channel_map(conn->memory, 0, &ch) < 0)
		return -ENOMEM;
	m->lane[0].ch = m->lane[1].ch = ch;
	if (map_pages(m) < 0)
		return -ENOMEM;
	for (unsigned int i = 0; i < 2; i++) {
		struct lane *l = &m->lane[i];
		struct afu_endpoint *sender = (struct afu_endpoint *)(void *)m->page[i],
				    *receiver = (struct afu_endpoint *)(void *)m->page[1 - i];

		l->ring = afu_channel_ring(ch, i);
		l->tx = sender ? &sender->tx : NULL;
		l->rx = receiver ? &receiver->rx : &m->none;
		l->way = &conn->from[i];
	}
	return 0;
}

/* A datagrams' direction; f may be NULL, and either end gone. */
static int map_flow(struct move *m, unsigned int from, struct flow *f)
{
	struct lane *l = &m->lane[from];

	if (!f)
		return 0;
	if (afu_channel_map(f->memory, 0, &l->ch) < 0)
		return -ENOMEM;
	l->ring = afu_channel_ring(l->ch, 0);
	if (m->page[from])
		l->tx = (struct afu_ring_tx *)(void *)(m->page[from] + AFU_ENDPOINT_TX_AT +
						       f->slot[0] * AFU_ENDPOINT_SLOT);
	if (m->page[1 - from])
		l->rx = (struct afu_ring_rx *)(void *)(m->page[1 - from] + AFU_ENDPOINT_RX_AT +
						       f->slot[1] * AFU_ENDPOINT_SLOT);
	l->way = &f->way;
	return 0;
}

static int map_flows(struct move *m)
{
	struct bsock *s = m->end[0];
	int err = map_pages(m);

	if (!err)
		err = map_flow(m, 0, s->peer_flow);
	return err ? err : map_flow(m, 1, m->end[1] ? m->end[1]->peer_flow : s->in);
}

/* Two sockets of datagrams that know only each other; or the one of them that is left, with what it has not
 * read. */
static int is_pair(const struct bsock *s)
{
	const struct bsock *other = s->peer_flow ? s->peer_flow->to : NULL;

	if (!s->peer_flow || s->name.length || s->out != s->peer_flow || s->out->out_next)
		return 0;
	if (!other)
		return !s->in || (!s->in->from && !s->in->in_next);
	return other != s && other->peer_flow && other->peer_flow->to == s && !other->name.length &&
	       other->out == other->peer_flow && !other->out->out_next && s->in == other->peer_flow &&
	       !s->in->in_next && other->in == s->peer_flow && !other->in->in_next;
}

/* Everything between taking the locks and telling.  0 or negative errno. */
static int move_queues(struct move *m)
{
	int err = make_pair(m);

	if (err)
		return err;
	for (unsigned int i = 0; i < 2; i++)
		set_options(m, i);
	for (unsigned int i = 0; !err && i < 2; i++) {
		if (m->end[1 - i] && m->lane[i].ch)
			err = pass_all(m, i);
	}
	for (unsigned int i = 0; err && i < 2; i++)
		afu_close_hidden(m->fd[i]);
	return err;
}

static int run(struct move *m)
{
	int err = seal_ends(m);

	if (err)
		return err;
	err = move_queues(m);
	for (unsigned int i = 0; i < 2; i++) {
		if (m->page[i] && err)
			unseal_end(m, i);
		else if (m->end[i] && !err)
			become_moved(m, i);
	}
	for (unsigned int i = 0; !err && i < 2; i++) {
		if (!m->end[i])
			afu_close_hidden(m->fd[i]);
	}
	return err;
}

static int map(struct move *m, struct bsock *s)
{
	if (s->type == SOCK_DGRAM) {
		m->end[0] = s;
		m->end[1] = s->peer_flow->to;
		return map_flows(m);
	}
	m->end[0] = s->conn->end[0];
	m->end[1] = s->conn->end[1];
	return map_connection(m, s->conn);
}

/* 0; -EAGAIN: somebody is in the middle of something, or has yet to accept; or another negative errno. */
static int move(struct afu_broker *b, struct bsock *s, int depth, struct budget *left)
{
	struct move m = {.b = b, .type = s->type, .depth = depth, .left = left};
	int err;

	if (s->state != AFU_CONNECTED || s->memory < 0 || (s->type == SOCK_DGRAM && !is_pair(s)))
		return -EOPNOTSUPP;
	err = map(&m, s);
	if (!err)
		err = run(&m);
	for (unsigned int i = 0; !err && i < 2; i++) {
		if (m.end[i])
			afu_connection_kick(m.end[i]);
		if (m.lane[i].way)
			afu_rights_moved(b, m.lane[i].way);
	}
	unmap(&m);
	return err;
}

enum afu_cause afu_moving_request(struct call *c)
{
	struct budget left = {MOVES_MAX, RECORDS_MAX, LOOKS_MAX};
	int err;

	if (c->socket->state == AFU_LISTENING)
		return afu_moving_listener(c);
	err = c->socket->state == AFU_MOVED ? 0 : move(c->b, c->socket, 0, &left);
	c->reply->arg[0] = !err ? AFU_MOVE_DONE : err == -EAGAIN ? AFU_MOVE_LATER : AFU_MOVE_NEVER;
	return AFU_CAUSE_NONE;
}

void afu_moving_tell(struct call *c)
{
	struct bsock *s = c->socket;

	c->reply->arg[0] = AFU_MOVED;
	c->reply->arg[1] = s->side | (s->kernel_fresh ? AFU_MOVED_FIRST : 0);
	c->reply->arg[2] = (uint64_t)s->type;
	s->kernel_fresh = 0;
	afu_call_give(c, s->kernel - 1, 1);
}

void afu_moving_close(struct bsock *s)
{
	struct pollfd p = {.fd = s->kernel - 1, .events = POLLIN};
	int fd = s->kernel - 1;

	if (!s->kernel)
		return;
	s->kernel = 0;
	if (afu_unhide)
		afu_unhide(fd);
	/* what lies in it, if nobody else has it, may take its time to close; a receive would take its error
	 * away */
	if (poll(&p, 1, 0) > 0)
		afu_close_within(fd, CLOSING_NS);
	else
		close(fd);
}
