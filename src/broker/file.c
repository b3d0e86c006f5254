/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The file that a socket is bound to, as SIOCUNIXFILE hands it out.  An accepted socket
 * has its listener's, also when the listener is gone.
 */
#include "broker/state.h"

#include "base/memory.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* From now on s->node belongs to the file; without memory the name is all there is. */
void afu_file_bound(struct bsock *s)
{
	s->file = calloc(1, sizeof *s->file);
	if (s->file)
		*s->file = (struct bound_file){1, s->node};
}

void afu_file_share(struct bsock *to, const struct bsock *from)
{
	to->file = from->file;
	if (to->file)
		to->file->refs++;
}

void afu_file_drop(struct bsock *s)
{
	if (s->file && --s->file->refs == 0) {
		afu_close_hidden(s->file->fd);
		free(s->file);
	}
	s->file = NULL;
}

static int same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/*
 * CAP_NET_ADMIN over what the broker calls the system.  Root as the broker sees it has
 * no user namespace of its own between; of others it must be the broker's.
 */
static int may_administer(const struct afu_caller *who)
{
	unsigned long long effective = 0;
	char path[40], line[128];
	FILE *f;

	if (who->pid == getpid())
		return 1; /* the library has asked the kernel */
	snprintf(path, sizeof path, "/proc/%d/status", (int)who->pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	}
	if (f)
		fclose(f);
	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)who->pid);
	return (effective >> CAP_NET_ADMIN & 1) && (who->uid == 0 || same_file(path, "/proc/self/ns/user"));
}

enum afu_cause afu_file_get(struct call *c)
{
	if (!may_administer(c->who))
		return AFU_CAUSE_FILE_PRIVILEGE;
	if (!c->socket->file)
		return AFU_CAUSE_FILE_NO_PATH;
	afu_call_give(c, c->socket->file->fd, 1);
	return AFU_CAUSE_NONE;
}
