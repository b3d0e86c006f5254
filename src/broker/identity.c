/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Who called connect, listen or socketpair, for SO_PEERCRED and its relatives, and
 * which groups a caller is in.
 *
 * Ids come with the request, attested by the kernel.  Groups are read from /proc: the
 * caller waits for its reply meanwhile, so they are those of the call.  The file stays
 * open, which costs a descriptor for each client and saves a walk for each call; it
 * goes on meaning the process that it was opened for, whatever its number.  As long as
 * the groups are the same, sockets share one record and one pidfd.
 */
#include "broker/state.h"

#include "base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GROUPS_MAX 65536 /* the kernel's NGROUPS_MAX */

struct groups {
	unsigned int n, room;
	gid_t *id;
};

static int append(struct groups *g, gid_t id)
{
	if (g->n == g->room) {
		unsigned int room = g->room ? 2 * g->room : 32;
		gid_t *more = g->n < GROUPS_MAX ? realloc(g->id, room * sizeof *more) : NULL;

		if (!more)
			return -1;
		g->id = more;
		g->room = room;
	}
	g->id[g->n++] = id;
	return 0;
}

static int hidden(int fd)
{
	return fd >= 0 && afu_hide ? afu_hide(fd) : fd;
}

static void close_status(struct afu_client *client)
{
	if (client->status >= 0)
		afu_close_hidden(client->status);
	client->status = -1;
}

static void open_status(const struct call *c)
{
	struct afu_client *client = c->client;
	char path[40];

	if (client->status >= 0 && client->status_pid == c->who->pid)
		return;
	close_status(client);
	snprintf(path, sizeof path, "/proc/%d/status", (int)c->who->pid);
	client->status = hidden(open(path, O_RDONLY | O_CLOEXEC));
	client->status_pid = c->who->pid;
}

/* Reads the numbers after "Groups:"; what is read so far is in text. */
static int parse(const char *text, struct groups *g)
{
	const char *s = strstr(text, "\nGroups:");
	char *rest;

	if (!s)
		return -1;
	for (s += strlen("\nGroups:"); *s != '\n'; s = rest) {
		gid_t id = (gid_t)strtoul(s, &rest, 10);

		if (rest == s)
			s = ++rest; /* the blank at the end of the line */
		else if (append(g, id) < 0)
			return -1;
		if (!*rest)
			return -1; /* cut off: there is more than was read */
	}
	return 0;
}

/* The caller's groups from /proc; -1: they can't be had. */
static int read_groups(const struct call *c, struct groups *g)
{
	size_t size = 4096;
	ssize_t n = -1;
	char *text = NULL;
	int err = -1;

	open_status(c);
	for (; c->client->status >= 0 && size <= 1u << 20; size *= 16) {
		char *more = realloc(text, size);

		if (!more)
			break;
		text = more;
		n = pread(c->client->status, text, size - 1, 0);
		if (n <= 0)
			break;
		text[n] = 0;
		g->n = 0;
		err = parse(text, g);
		if (err == 0 || (size_t)n < size - 1)
			break;
	}
	free(text);
	return err;
}

static int own_groups(struct groups *g)
{
	int n = getgroups(0, NULL);

	g->id = n > 0 ? malloc((size_t)n * sizeof *g->id) : NULL;
	if (n < 0 || (n && !g->id) || getgroups(n, g->id) != n)
		return -1;
	g->n = (unsigned int)n;
	return 0;
}

static void groups_of(const struct call *c, struct groups *g)
{
	int err = c->who->pid == getpid() ? own_groups(g) : read_groups(c, g);

	if (!err)
		return;
	/* those that it attached with, as far as they are kept; a child of its may have given them up */
	g->n = 0;
	if (c->who->pid != c->client->groups_of)
		return;
	for (unsigned int i = 0; i < c->client->n_groups && append(g, c->client->groups[i]) == 0; i++)
		;
}

static void unref(struct identity *i)
{
	if (!i || --i->refs)
		return;
	if (i->pidfd >= 0)
		afu_close_hidden(i->pidfd);
	free(i);
}

static struct identity *make(pid_t pid, const struct groups *g)
{
	struct identity *i = malloc(sizeof *i + g->n * sizeof g->id[0]);

	if (!i)
		return NULL;
	i->refs = 1;
	i->pid = pid;
	i->pidfd = hidden((int)syscall(SYS_pidfd_open, pid, 0));
	i->n_groups = g->n;
	if (g->n)
		memcpy(i->groups, g->id, g->n * sizeof g->id[0]);
	return i;
}

static int same(const struct identity *i, pid_t pid, const struct groups *g)
{
	return i && i->pid == pid && i->pidfd >= 0 && i->n_groups == g->n &&
	       (!g->n || memcmp(i->groups, g->id, g->n * sizeof g->id[0]) == 0);
}

void afu_identity_record(struct call *c, struct credentials *to)
{
	struct groups g = {0};

	groups_of(c, &g);
	if (!same(c->client->identity, c->who->pid, &g)) {
		unref(c->client->identity);
		c->client->identity = make(c->who->pid, &g);
	}
	free(g.id);
	afu_identity_copy(
		to, &(struct credentials){c->who->pid, c->who->uid, c->who->gid, 1, c->client->identity});
}

void afu_identity_copy(struct credentials *to, const struct credentials *from)
{
	if (from->identity)
		from->identity->refs++;
	unref(to->identity);
	*to = *from;
}

void afu_identity_drop(struct credentials *p)
{
	unref(p->identity);
	*p = (struct credentials){0};
}

void afu_identity_forget(struct afu_client *client)
{
	unref(client->identity);
	client->identity = NULL;
	close_status(client);
}

int afu_identity_in_group(const struct call *c, gid_t gid)
{
	struct groups g = {0};
	int found = 0;

	groups_of(c, &g);
	for (unsigned int i = 0; i < g.n && !found; i++)
		found = g.id[i] == gid;
	free(g.id);
	return found;
}

void afu_identity_asker(struct call *c)
{
	struct afu_asker asker = {c->who->pid, c->who->uid, c->who->gid};

	memcpy(c->reply->data, &asker, sizeof asker);
	c->reply->length = sizeof asker;
}

enum afu_cause afu_identity_groups(struct call *c)
{
	const struct credentials *p = &c->socket->peer;
	uint64_t from = c->req->arg[0];
	size_t n;

	if (!p->known)
		return AFU_CAUSE_OPTION_NO_DATA;
	if (!p->identity)
		return AFU_CAUSE_NO_MEMORY;
	c->reply->arg[0] = p->identity->n_groups;
	c->reply->arg[1] = (uint64_t)c->who->uid << 32 | c->who->gid;
	if (from >= p->identity->n_groups)
		return AFU_CAUSE_NONE;
	n = p->identity->n_groups - from;
	if (n > sizeof c->reply->data / sizeof(gid_t))
		n = sizeof c->reply->data / sizeof(gid_t);
	memcpy(c->reply->data, p->identity->groups + from, n * sizeof(gid_t));
	c->reply->length = (uint32_t)(n * sizeof(gid_t));
	return AFU_CAUSE_NONE;
}

enum afu_cause afu_identity_pidfd(struct call *c)
{
	const struct credentials *p = &c->socket->peer;

	if (!p->known)
		return AFU_CAUSE_OPTION_NO_DATA;
	if (!p->identity || p->identity->pidfd < 0)
		return AFU_CAUSE_DOMAIN_FULL;
	afu_call_give(c, p->identity->pidfd, 1);
	return AFU_CAUSE_NONE;
}
