/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/inode.h"

#include "base/cause.h"
#include "base/sys.h"
#include "library/domain.h"
#include "library/option.h"
#include "library/table.h"
#include "library/view.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif

#define MODE_BORN 0777u
#define KEEP_ID ((uint32_t)-1)

/* Mode and owner, as they are kept in the page. */
struct attributes {
	uint32_t mode, uid, gid;
};

static struct attributes attributes_of(const struct afu_endpoint_options *o)
{
	return (struct attributes){o->mode ^ MODE_BORN, o->owner[0], o->owner[1]};
}

void afu_inode_show(int fd, struct stat *st)
{
	struct afu_thread *th = afu_thread();
	struct attributes a = {MODE_BORN, st->st_uid, st->st_gid};
	int err;
	const struct afu_sock *s = afu_view_enter(th, fd, &err);

	if (err == AFU_ELSEWHERE) {
		afu_sys(SYS_fstat, fd, st);
		return;
	}
	/* a view that can't be had, in a process cut off from its broker: the rest is true all the same */
	if (s) {
		a = attributes_of(&s->ep->opt);
		afu_view_leave(th);
	}
	st->st_mode = S_IFSOCK | (a.mode & 07777);
	st->st_uid = a.uid;
	st->st_gid = a.gid;
	st->st_size = 0;
	st->st_blocks = 0;
	st->st_nlink = 1;
	st->st_blksize = 4096;
}

/*
 * A socket of the kernel's with these attributes, on which it shall judge what the
 * caller may do.  Who may not give one away owns none that is somebody else's.
 */
static long stand_in(const struct attributes *a)
{
	long fd = afu_sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err = 0;
	struct stat st;

	if (fd < 0)
		return fd;
	afu_sys(SYS_fstat, fd, &st);
	if (st.st_uid != a->uid || st.st_gid != a->gid) {
		/* a group that an owner is not in stays, whatever else is changed */
		afu_sys(SYS_fchown, fd, KEEP_ID, a->gid);
		afu_sys(SYS_fchmod, fd, a->mode);
		err = st.st_uid != a->uid ? afu_sys(SYS_fchown, fd, a->uid, KEEP_ID) : 0;
	}
	if (!err)
		afu_sys(SYS_fchmod, fd, a->mode); /* a change of owner may take bits away */
	if (err)
		afu_sys_close((int)fd);
	return err ? err : fd;
}

static int refusal(long err)
{
	if (err == -EPERM)
		return afu_refuse(AFU_CAUSE_INODE_OWNER);
	return afu_option_refusal(err);
}

static int change(int fd, const uint32_t *mode, uint32_t uid, uint32_t gid)
{
	struct afu_thread *th = afu_thread();
	struct afu_endpoint_options *o;
	struct attributes now;
	struct afu_sock *s;
	struct stat st;
	long judge, err;
	int failed;

	s = afu_view_enter(th, fd, &failed);
	if (!s)
		return failed;
	o = &s->ep->opt;
	now = attributes_of(o);
	judge = err = stand_in(&now);
	if (judge >= 0) {
		err = mode ? afu_sys(SYS_fchmod, judge, *mode) : afu_sys(SYS_fchown, judge, uid, gid);
		if (!err)
			err = afu_sys(SYS_fstat, judge, &st);
		afu_sys_close((int)judge);
	}
	if (!err) {
		o->mode = (st.st_mode & 07777) ^ MODE_BORN;
		if (!mode && uid != KEEP_ID)
			o->owner[0] = st.st_uid;
		if (!mode && gid != KEEP_ID)
			o->owner[1] = st.st_gid;
	}
	afu_view_leave(th);
	return refusal(err);
}

int afu_inode_chmod(int fd, mode_t mode)
{
	return (int)AFU_EITHER(fd, change(fd, &mode, KEEP_ID, KEEP_ID), afu_sys(SYS_fchmod, fd, mode));
}

int afu_inode_chown(int fd, uid_t uid, gid_t gid)
{
	return (int)AFU_EITHER(fd, change(fd, NULL, uid, gid), afu_sys(SYS_fchown, fd, uid, gid));
}

/* Whether the caller may is the kernel's to say: of a socket without a name it says ENOENT to who may. */
static int may_have_file(void)
{
	long fd = afu_sys(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return afu_option_refusal(fd);
	err = afu_sys(SYS_ioctl, fd, SIOCUNIXFILE, 0);
	afu_sys_close((int)fd);
	return err == -EPERM ? afu_refuse(AFU_CAUSE_FILE_PRIVILEGE) : 0;
}

int afu_inode_file(int fd)
{
	struct afu_request req = {.op = AFU_OP_FILE};
	struct afu_thread *th = afu_thread();
	struct afu_reply reply;
	const struct afu_sock *s;
	int got[AFU_MESSAGE_FDS], err = may_have_file();
	unsigned int n;

	if (err)
		return err;
	s = afu_view_enter(th, fd, &err);
	if (!s)
		return err;
	req.socket = s->id;
	afu_view_leave(th);
	err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return err;
	if (n != 1) {
		while (n)
			afu_sys_close(got[--n]);
		return afu_refuse(AFU_CAUSE_PROTOCOL_ERROR);
	}
	if (afu_table_within(got[0]) < 0)
		return afu_refuse(AFU_CAUSE_NO_DESCRIPTOR);
	afu_fd_forget(got[0]);
	return got[0];
}
