/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "daemon/server.h"

#include "base/closing.h"
#include "base/sys.h"
#include "broker/broker.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define BACKLOG 4096
#define EVENTS 64
/* Of a client that is gone, at a time. */
#define LAST_REQUESTS 16
/* Links that may be open without having shown the domain's secret: the oldest goes first. */
#define STRANGERS_MAX 256
/* The most descriptors that the kernel lets one message carry. */
#define SENT_MAX 253
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

struct link {
	int fd;
	struct afu_client *client;
	int stranger;
	struct link *prev, *next;
};

struct afu_server {
	struct afu_broker *broker;
	struct afu_address address;
	int listener, epoll;
	int reserve; /* a descriptor to give up when there is no other */
	struct epoll_event events[EVENTS];
	int n_events; /* of them may still be looked at */
	unsigned int strangers; /* links that have not attached */
	struct link links; /* head of the ring */
};

union ancillary {
	struct cmsghdr align;
	/* whatever did not fit would be closed by the kernel while we wait */
	char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(SENT_MAX * sizeof(int))];
};

static int watch(struct afu_server *s, int fd, void *data)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = data };

	return (int)afu_sys(SYS_epoll_ctl, s->epoll, EPOLL_CTL_ADD, fd, &e);
}

static int listen_on(const struct afu_address *address)
{
	int fd = (int)afu_sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, err;

	if (fd < 0)
		return fd;
	/* on the listener, so that no message can come before it is on */
	afu_sys(SYS_setsockopt, fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	err = (int)afu_sys(SYS_bind, fd, &address->un, address->length);
	if (err == -EADDRINUSE && address->un.sun_path[0]) {
		/* a dead daemon's file may go; a living one's answers */
		long probe = afu_sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		struct stat st;

		if (afu_sys(SYS_connect, probe, &address->un, address->length) == -ECONNREFUSED &&
		    afu_sys(SYS_newfstatat, -100, address->un.sun_path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISSOCK(st.st_mode) && afu_sys(SYS_unlinkat, -100, address->un.sun_path, 0) == 0)
			err = (int)afu_sys(SYS_bind, fd, &address->un, address->length);
		afu_sys_close((int)probe);
	}
	if (!err)
		err = (int)afu_sys(SYS_listen, fd, BACKLOG);
	if (err) {
		afu_sys_close(fd);
		return err;
	}
	return fd;
}

int afu_server_new(const struct afu_address *address, struct afu_server **to)
{
	struct afu_server *s = calloc(1, sizeof *s);
	int err = -ENOMEM;

	if (!s)
		return -ENOMEM;
	s->address = *address;
	s->links.next = s->links.prev = &s->links;
	s->epoll = (int)afu_sys(SYS_epoll_create1, EPOLL_CLOEXEC);
	s->reserve = (int)afu_sys(SYS_epoll_create1, EPOLL_CLOEXEC);
	s->listener = listen_on(address);
	if (s->listener < 0) {
		err = s->listener;
	} else {
		s->broker = afu_broker_new(address->secret, address->secret_length);
		if (s->broker && s->epoll >= 0 && watch(s, s->listener, s) == 0 &&
		    watch(s, afu_broker_events(s->broker), s->broker) == 0) {
			afu_broker_rings(s->broker);
			*to = s;
			return 0;
		}
	}
	afu_server_free(s);
	return err;
}

int afu_server_expose(struct afu_server *s, const char *globs, size_t length)
{
	int err = afu_broker_expose(s->broker, globs, length);

	return err ? err : watch(s, afu_broker_outside(s->broker), &s->epoll);
}

/* Requests that were not read may hold anything. */
static void close_link(int fd)
{
	if (afu_close_queued(fd))
		afu_close_apart(fd);
	else
		afu_sys_close(fd);
}

static void hang_up(struct afu_server *s, struct link *l)
{
	/* its close may be long in coming */
	afu_sys(SYS_epoll_ctl, s->epoll, EPOLL_CTL_DEL, l->fd, 0);
	close_link(l->fd);
	for (int i = 0; i < s->n_events; i++) {
		if (s->events[i].data.ptr == l)
			s->events[i].data.ptr = NULL;
	}
	l->prev->next = l->next;
	l->next->prev = l->prev;
	s->strangers -= (unsigned int)l->stranger;
	afu_broker_client_gone(s->broker, l->client);
	free(l);
}

static void hang_up_oldest_stranger(struct afu_server *s)
{
	struct link *l = s->links.next;

	while (l != &s->links && !l->stranger)
		l = l->next;
	if (l != &s->links)
		hang_up(s, l);
}

static void accept_one(struct afu_server *s)
{
	int fd = (int)afu_sys(SYS_accept4, s->listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
	gid_t groups[64];
	struct ucred peer;
	socklen_t size = sizeof groups, peer_size = sizeof peer;
	struct link *l;

	if (fd == -EMFILE || fd == -ENFILE) {
		/* the newcomer is turned away, or the loop would turn for ever */
		afu_sys_close(s->reserve);
		fd = (int)afu_sys(SYS_accept4, s->listener, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			close_link(fd);
		s->reserve = (int)afu_sys(SYS_epoll_create1, EPOLL_CLOEXEC);
		return;
	}
	if (fd < 0)
		return;
	if (s->strangers >= STRANGERS_MAX)
		hang_up_oldest_stranger(s);
	l = calloc(1, sizeof *l);
	if (l)
		l->client = afu_broker_client_new(s->broker);
	if (!l || !l->client || watch(s, fd, l) < 0) {
		if (l && l->client)
			afu_broker_client_gone(s->broker, l->client);
		free(l);
		close_link(fd);
		return;
	}
	if (afu_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0 &&
	    afu_sys(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0)
		afu_broker_client_groups(l->client, peer.pid, groups, (unsigned int)(size / sizeof *groups));
	l->fd = fd;
	l->stranger = 1;
	s->strangers++;
	l->next = &s->links;
	l->prev = s->links.prev;
	l->prev->next = l;
	s->links.prev = l;
}

static int send_reply(const struct link *l, const struct afu_reply *reply, struct afu_reply_fds *out)
{
	struct iovec iov = { (void *)(uintptr_t)reply, sizeof *reply };
	union ancillary anc;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	long ret;

	if (out->n) {
		memset(&anc, 0, sizeof anc);
		anc.align.cmsg_level = SOL_SOCKET;
		anc.align.cmsg_type = SCM_RIGHTS;
		anc.align.cmsg_len = CMSG_LEN(out->n * sizeof(int));
		memcpy(CMSG_DATA(&anc.align), out->fd, out->n * sizeof(int));
		msg.msg_control = anc.bytes;
		msg.msg_controllen = CMSG_SPACE(out->n * sizeof(int));
	}
	ret = afu_sys(SYS_sendmsg, l->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	for (unsigned int i = 0; i < out->n; i++) {
		if (!out->ours[i])
			afu_sys_close(out->fd[i]);
	}
	/* one reply is under way at a time: a channel that is full belongs to somebody who misbehaves */
	return ret == (long)sizeof *reply ? 0 : -1;
}

/*
 * Closes what a client sent.  Closing a lingering TCP socket or a file of a hostile
 * filesystem can take as long as its owner likes; only what is known not to wait is
 * closed here, the rest in a thread that may.
 */
static void close_foreign(int fd)
{
	long flags = afu_sys(SYS_fcntl, fd, F_GETFL);
	struct statx st;

	if ((flags >= 0 && (flags & O_PATH)) ||
	    (afu_sys(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 &&
	     (S_ISFIFO(st.stx_mode) || (S_ISREG(st.stx_mode) && afu_sys(SYS_fcntl, fd, F_GET_SEALS) >= 0)))) {
		afu_sys_close(fd);
		return;
	}
	afu_close_apart(fd);
}

/*
 * The process that connected, if the request is its own: as the kernel keeps it, since the number
 * of one that ended meanwhile may be somebody's whose table is none of the caller's.
 */
static int open_peer(const struct link *l, pid_t pid)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	int pidfd = -1;

	if (afu_sys(SYS_getsockopt, l->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid != pid)
		return -1;
	size = sizeof pidfd;
	return afu_sys(SYS_getsockopt, l->fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0 ? -1 : pidfd;
}

/* Descriptors that could not be sent, from the caller's table. */
static unsigned int fetch_numbers(const struct link *l, const struct afu_request *req, pid_t pid, int *fds)
{
	unsigned int n = req->n_numbers < AFU_MESSAGE_FDS ? req->n_numbers : AFU_MESSAGE_FDS, got = 0;
	int pidfd = open_peer(l, pid);

	for (unsigned int i = 0; pidfd >= 0 && i < n; i++) {
		int fd = (int)afu_sys(SYS_pidfd_getfd, pidfd, req->number[i], 0);

		if (fd < 0)
			break;
		fds[got++] = fd;
	}
	if (pidfd >= 0)
		afu_sys_close(pidfd);
	return got;
}

/* One request.  -1: the link is at its end. */
static int serve(struct afu_server *s, struct link *l)
{
	struct afu_request req;
	struct afu_reply reply;
	struct afu_reply_fds out;
	struct afu_caller who = { 0 };
	struct iovec iov = { &req, sizeof req };
	union ancillary anc;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.bytes,
			      .msg_controllen = sizeof anc.bytes };
	int fds[SENT_MAX], known = 0, err;
	unsigned int n = 0;
	long ret = afu_sys(SYS_recvmsg, l->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (ret == -EAGAIN || ret == -EINTR)
		return 0;
	if (ret < 0)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred cred;

			memcpy(&cred, CMSG_DATA(c), sizeof cred);
			who = (struct afu_caller){ cred.pid, cred.uid, cred.gid };
			known = 1;
		}
	}
	if (ret != (long)sizeof req || !known || n > AFU_MESSAGE_FDS || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		err = -1;
	} else {
		if (!n && req.n_numbers)
			n = fetch_numbers(l, &req, who.pid, fds);
		afu_broker_handle(s->broker, l->client, &who, &req, fds, n, &reply, &out);
		if (l->stranger && !reply.cause) {
			l->stranger = 0;
			s->strangers--;
		}
		err = send_reply(l, &reply, &out);
	}
	for (unsigned int i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close_foreign(fds[i]);
	}
	return err;
}

static int is_link(const struct afu_server *s, const void *what, const int *until)
{
	return what && what != until && what != s && what != s->broker && what != &s->epoll;
}

/*
 * Clients that are gone come first: what they had asked for before, a name with a kernel socket for one, is
 * done and undone before anybody is told who has that name.
 */
static void bury(struct afu_server *s, const int *until)
{
	for (int i = 0; i < s->n_events; i++) {
		void *what = s->events[i].data.ptr;
		int err = 0;

		if (!(s->events[i].events & EPOLLHUP) || !is_link(s, what, until))
			continue;
		for (int requests = 0; !err && requests < LAST_REQUESTS; requests++)
			err = serve(s, what);
		if (err < 0)
			hang_up(s, what);
	}
}

int afu_server_run(struct afu_server *s, int until)
{
	int err = watch(s, until, &until), stop = 0;

	while (!err && !stop) {
		int n = (int)afu_sys(SYS_epoll_pwait, s->epoll, s->events, EVENTS,
				     afu_broker_patience(s->broker), 0, 0);

		if (n < 0 && n != -EINTR)
			err = n;
		if (n == 0)
			afu_broker_drain(s->broker);
		s->n_events = n > 0 ? n : 0;
		bury(s, &until);
		for (int i = 0; i < n; i++) {
			void *what = s->events[i].data.ptr;

			if (!what)
				continue; /* hung up on by another's doing */
			if (what == &until)
				stop = 1;
			else if (what == s)
				accept_one(s);
			else if (what == s->broker)
				afu_broker_drain(s->broker);
			else if (what == &s->epoll)
				afu_broker_arrived(s->broker);
			else if (serve(s, what) < 0)
				hang_up(s, what);
		}
		s->n_events = 0;
	}
	afu_sys(SYS_epoll_ctl, s->epoll, EPOLL_CTL_DEL, until, 0);
	return err;
}

void afu_server_free(struct afu_server *s)
{
	while (s->links.next != &s->links)
		hang_up(s, s->links.next);
	if (s->listener >= 0) {
		afu_sys_close(s->listener);
		if (s->address.un.sun_path[0])
			afu_sys(SYS_unlinkat, -100, s->address.un.sun_path, 0);
	}
	if (s->epoll >= 0)
		afu_sys_close(s->epoll);
	if (s->reserve >= 0)
		afu_sys_close(s->reserve);
	if (s->broker)
		afu_broker_free(s->broker);
	free(s);
}
