/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "enemy.h"

#include "base/sys.h"
#include "gate/gate.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define PAGE_SIZE_SENT (1 << 20)

union ancillary {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(64 * sizeof(int))];
};

void enemy_close(int fd)
{
	if (fd >= 0)
		afu_sys_close(fd);
}

void enemy_close_all(struct answer *a)
{
	while (a->n)
		enemy_close(a->fd[--a->n]);
}

static const struct afu_address *domain(void)
{
	static struct afu_address address;
	const char *text = getenv("AFUNIX_DOMAIN");

	return text && afu_address_parse(text, &address) == 0 ? &address : NULL;
}

int enemy_connect(struct enemy *e)
{
	const struct afu_address *to = domain();

	e->fd = -1;
	if (!to)
		return -1;
	e->fd = (int)afu_sys(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (afu_sys(SYS_connect, e->fd, &to->un, to->length) == 0)
		return 0;
	enemy_close(e->fd);
	e->fd = -1;
	return -1;
}

int enemy_attach(struct enemy *e)
{
	struct afu_request req = {.op = AFU_OP_ATTACH, .arg = {AFU_PROTOCOL}};
	struct answer a;
	int page, cause;

	if (enemy_connect(e) < 0)
		return -1;
	page = (int)afu_sys(SYS_memfd_create, "page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	afu_sys(SYS_ftruncate, page, PAGE_SIZE_SENT);
	afu_sys(SYS_fcntl, page, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK);
	req.length = domain()->secret_length;
	memcpy(req.data, domain()->secret, req.length);
	cause = enemy_ask(e, &req, &page, 1, &a);
	enemy_close_all(&a);
	enemy_close(page);
	return cause ? -1 : 0;
}

long enemy_send(const struct enemy *e, const void *bytes, size_t n, const int *fds, unsigned int n_fds)
{
	struct iovec iov = {(void *)(uintptr_t)bytes, n};
	union ancillary anc;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds) {
		memset(&anc, 0, sizeof anc);
		anc.align.cmsg_level = SOL_SOCKET;
		anc.align.cmsg_type = SCM_RIGHTS;
		anc.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&anc.align), fds, n_fds * sizeof(int));
		msg.msg_control = anc.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	return afu_sys(SYS_sendmsg, e->fd, &msg, MSG_NOSIGNAL);
}

int enemy_answer(struct enemy *e, struct answer *to)
{
	struct iovec iov = {&to->reply, sizeof to->reply};
	struct pollfd p = {.fd = e->fd, .events = POLLIN};
	struct timespec until = {PATIENCE_MS / 1000, 0};
	union ancillary anc;
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = anc.bytes,
			     .msg_controllen = sizeof anc.bytes};

	to->n = 0;
	if (afu_sys(SYS_ppoll, &p, 1, &until, 0, 0) <= 0)
		return -1;
	if (afu_sys(SYS_recvmsg, e->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != (long)sizeof to->reply)
		return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_type != SCM_RIGHTS)
			continue;
		to->n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(to->fd, CMSG_DATA(c), to->n * sizeof(int));
	}
	return 0;
}

int enemy_ask(struct enemy *e, const struct afu_request *req, const int *fds, unsigned int n,
	      struct answer *to)
{
	to->n = 0;
	if (e->fd < 0)
		return -1;
	if (enemy_send(e, req, sizeof *req, fds, n) < 0 || enemy_answer(e, to) < 0) {
		enemy_close(e->fd);
		e->fd = -1;
		return -1;
	}
	return (int)to->reply.cause;
}

int enemy_pair(struct enemy *e, int type, struct enemy_socket s[2], int *channel)
{
	struct afu_request req = {.op = AFU_OP_PAIR, .arg = {(uint64_t)type}};
	struct answer a;

	if (enemy_ask(e, &req, NULL, 0, &a) || a.n < 5)
		return -1;
	for (int i = 0; i < 2; i++)
		s[i] = (struct enemy_socket){i ? a.reply.arg[0] : a.reply.socket, a.fd[i], a.fd[2 + i]};
	if (channel)
		*channel = a.fd[4];
	else
		enemy_close(a.fd[4]);
	if (a.n > 5)
		enemy_close(a.fd[5]);
	return 0;
}

void enemy_drop(struct enemy_socket *s)
{
	enemy_close(s->token);
	enemy_close(s->memory);
	s->token = s->memory = -1;
}

int enemy_entrust(struct enemy *e, uint64_t by, uint64_t flow, int token)
{
	struct afu_request req = {.op = AFU_OP_ENTRUST, .socket = by, .arg = {flow, 1}};
	struct answer a;
	int cause = enemy_ask(e, &req, &token, 1, &a);

	enemy_close_all(&a);
	return cause;
}

int enemy_sync(struct enemy *e)
{
	struct afu_request req = {.op = AFU_OP_SYNC};
	struct answer a;

	return enemy_ask(e, &req, NULL, 0, &a);
}

int enemy_lingering(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct linger linger = {1, 30};
	socklen_t size = sizeof in;
	static char bytes[1 << 16];
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (l < 0 || fd < 0 || bind(l, (void *)&in, sizeof in) < 0 || listen(l, 1) < 0 ||
	    getsockname(l, (void *)&in, &size) < 0 || connect(fd, (void *)&in, sizeof in) < 0 ||
	    accept(l, NULL, NULL) < 0)
		return -1;
	/* the other end stays open in this process, and reads nothing */
	while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	close(l);
	return fd;
}

int enemy_count(int pid)
{
	char path[40];
	DIR *d;
	int n = 0;

	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}
