/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Control data of the cases, put together and taken apart.  Compiled like a case. */
#include "ancillary.h"

#include <grp.h>

void run_on_type(int type, void (*body)(int type, int sv[2]))
{
	int sv[2];

	unix_pair(type, sv);
	body(type, sv);
	for (int i = 0; i < 2; i++)
		if (sv[i] >= 0)
			close_end(&sv[i]);
}

void control_add(struct control *c, int type, const void *data, size_t n)
{
	struct cmsghdr *cmsg = (struct cmsghdr *)(void *)(c->bytes + c->len);

	if (c->len + CMSG_SPACE(n) > sizeof c->bytes)
		conform_fail(HERE, "control data of more than %zu bytes", sizeof c->bytes);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(n);
	if (n > 0)
		memcpy(CMSG_DATA(cmsg), data, n);
	c->len += CMSG_SPACE(n);
}

void control_rights(struct control *c, const int *fds, size_t n)
{
	control_add(c, SCM_RIGHTS, fds, n * sizeof fds[0]);
}

void control_cred(struct control *c, pid_t pid, uid_t uid, gid_t gid)
{
	struct ucred cred = {pid, uid, gid};

	control_add(c, SCM_CREDENTIALS, &cred, sizeof cred);
}

ssize_t send_control(int fd, const char *text, const struct control *c, int flags)
{
	/* sendmsg() writes to neither. */
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	if (c && c->len > 0) {
		m.msg_control = (void *)(uintptr_t)c->bytes;
		m.msg_controllen = c->len;
	}
	return sendmsg(fd, &m, flags | MSG_DONTWAIT);
}

ssize_t send_rights(int fd, const char *text, const int *fds, size_t n)
{
	struct control c = {.len = 0};

	control_rights(&c, fds, n);
	return send_control(fd, text, &c, 0);
}

ssize_t send_right(int fd, const char *text, int right)
{
	return send_rights(fd, text, &right, 1);
}

static void take_item(struct received *r, const struct cmsghdr *cmsg)
{
	size_t n = cmsg->cmsg_len - CMSG_LEN(0);
	const unsigned char *data = CMSG_DATA(cmsg);

	EQ(cmsg->cmsg_level, SOL_SOCKET);
	TRUE(r->items < sizeof r->types / sizeof r->types[0]);
	r->types[r->items++] = cmsg->cmsg_type;
	switch (cmsg->cmsg_type) {
	case SCM_RIGHTS:
		EQ(r->n_fds, -1);
		EQ(n % sizeof(int), 0);
		r->n_fds = (int)(n / sizeof(int));
		memcpy(r->fds, data, n);
		break;
	case SCM_CREDENTIALS:
		r->has_cred = true;
		memcpy(&r->cred, data, n < sizeof r->cred ? n : sizeof r->cred);
		break;
	case ITEM_PIDFD:
		EQ(n, sizeof r->pidfd);
		r->has_pidfd = true;
		memcpy(&r->pidfd, data, n);
		break;
	case ITEM_INQ:
		EQ(n, sizeof r->inq);
		r->has_inq = true;
		memcpy(&r->inq, data, n);
		break;
	default:
		break;
	}
}

ssize_t receive(int fd, struct received *r, size_t n, size_t room, int flags)
{
	struct iovec iov = {r->data, n};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	memset(r, 0, sizeof *r);
	r->n_fds = r->pidfd = r->inq = -1;
	if (room > 0) {
		m.msg_control = r->control;
		m.msg_controllen = room;
	}
	ssize_t got = recvmsg(fd, &m, flags);
	if (got < 0)
		return got;
	r->flags = m.msg_flags;
	r->control_len = m.msg_controllen;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&m); cmsg; cmsg = CMSG_NXTHDR(&m, cmsg))
		take_item(r, cmsg);
	return got;
}

void drop_received(struct received *r)
{
	for (int i = 0; i < r->n_fds; i++)
		OK(close(r->fds[i]));
	r->n_fds = -1;
	if (r->has_pidfd && r->pidfd >= 0)
		OK(close(r->pidfd));
	r->has_pidfd = false;
}

static void receive_text(const char *file, int line, int fd, struct received *r, const char *text)
{
	size_t want = strlen(text);
	ssize_t n = receive(fd, r, sizeof r->data, sizeof r->control, MSG_DONTWAIT);

	if (n != (ssize_t)want)
		conform_fail(file, line, "expected \"%s\", got %zd (%s)", text, n,
			     conform_errno_name(n < 0 ? errno : 0));
	conform_bytes(file, line, text, r->data, text, want);
}

int take_right(const char *file, int line, int fd, const char *text)
{
	struct received r;

	conform_at(file, line, "TAKE_RIGHT");
	receive_text(file, line, fd, &r, text);
	if (r.n_fds != 1)
		conform_fail(file, line, "expected one descriptor with \"%s\", got %d", text, r.n_fds);
	return r.fds[0];
}

void expect_rights(const char *file, int line, int fd, const char *text, int n)
{
	struct received r;

	conform_at(file, line, "GETS_RIGHTS");
	receive_text(file, line, fd, &r, text);
	if (r.n_fds != (n ? n : -1))
		conform_fail(file, line, "expected %d descriptors with \"%s\", got %d", n, text, r.n_fds);
	if (r.flags & MSG_CTRUNC)
		conform_fail(file, line, "MSG_CTRUNC with \"%s\"", text);
	drop_received(&r);
}

void watched_pipe(int p[2])
{
	EQ(pipe2(p, O_CLOEXEC), 0);
}

bool is_same_file(int a, int b)
{
	struct stat x, y;

	return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

struct nobody {
	void (*run)(void *);
	void *arg;
};

static void become_nobody(void *arg)
{
	struct nobody *n = arg;

	EQ(setgroups(0, NULL), 0);
	EQ(setresgid(NOBODY, NOBODY, NOBODY), 0);
	EQ(setresuid(NOBODY, NOBODY, NOBODY), 0);
	n->run(n->arg);
}

void as_nobody(void (*run)(void *), void *arg)
{
	struct nobody n = {run, arg};

	if (geteuid() != 0)
		SKIP("needs root to become nobody");
	EXITS(spawn(become_nobody, &n), 0);
}
