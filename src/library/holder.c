/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/holder.h"

#include "base/cause.h"
#include "base/sys.h"
#include "base/thread.h"
#include "library/domain.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

int afu_holder_name(const struct afu_name *name, int err)
{
	char *detail = afu_thread_self.refusal.detail, before[sizeof afu_thread_self.refusal.detail];
	const size_t room = sizeof afu_thread_self.refusal.detail;
	size_t n = 0, length = name->abstract ? name->length - PATH_AT : strlen(name->un.sun_path);

	memcpy(before, detail, room);
	for (size_t i = 0; i < length && n + 1 < room; i++) {
		char c = name->un.sun_path[i];

		detail[n++] = c ? c : '@';
	}
	for (const char *at = ": "; *before && *at && n + 1 < room;)
		detail[n++] = *at++;
	for (size_t i = 0; i < room && before[i] && n + 1 < room; i++)
		detail[n++] = before[i];
	detail[n] = 0;
	return err;
}

/* What is not a socket holds the name for good. */
static const char *what(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFLNK:
		return "a symbolic link";
	case S_IFREG:
		return "a file";
	default:
		return "no socket";
	}
}

int afu_holder_refuse(const struct afu_name *name)
{
	struct afu_request req = {.op = AFU_OP_HOLDER};
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS];
	unsigned int n = 0;
	struct stat st;
	int node = (int)afu_sys(SYS_openat, AT_FDCWD, name->un.sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	afu_refuse(AFU_CAUSE_NAME_IN_USE);
	if (node >= 0 && afu_sys(SYS_fstat, node, &st) == 0) {
		if (!S_ISSOCK(st.st_mode))
			afu_refuse_as(AFU_CAUSE_NAME_IN_USE, EADDRINUSE, what(st.st_mode));
		else if (afu_domain_call(&req, &node, 1, &reply, got, &n) != -EADDRINUSE)
			afu_refuse(AFU_CAUSE_NAME_IN_USE);
	}
	if (node >= 0)
		afu_sys_close(node);
	return afu_holder_name(name, -EADDRINUSE);
}
