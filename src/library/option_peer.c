/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Options about the peer, which the broker answers: it recorded who called connect,
 * listen or socketpair.
 */
#include "library/option.h"

#include "base/cause.h"
#include "base/copy.h"
#include "base/sys.h"
#include "library/domain.h"
#include "library/namespace.h"
#include "library/table.h"

#include <string.h>

/* One request without descriptors; *fd: one that the reply must bring, or NULL. */
static int ask(uint32_t op, uint64_t id, uint64_t arg, struct afu_reply *reply, int *fd)
{
	struct afu_request req = {.op = op, .socket = id, .arg = {arg}};
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	err = afu_domain_call(&req, NULL, 0, reply, got, &n);
	if (!err && n != (fd ? 1u : 0u))
		err = afu_refuse(AFU_CAUSE_PROTOCOL_ERROR);
	if (!err && fd)
		*fd = got[0];
	while (err && n)
		afu_sys_close(got[--n]);
	return err;
}

/* In a pid namespace of one's own: the number there. */
static pid_t pid_here(uint64_t id)
{
	struct afu_reply reply;
	pid_t pid;
	int fd;

	if (ask(AFU_OP_PEERPIDFD, id, 0, &reply, &fd) < 0)
		return 0;
	pid = afu_namespace_pid(fd);
	afu_sys_close(fd);
	return pid;
}

int afu_option_peercred(const struct afu_asked *a, uint64_t id, union afu_option_value *v)
{
	struct afu_reply reply;
	struct afu_asker me;
	int err = ask(AFU_OP_PEERCRED, id, 0, &reply, NULL);

	if (err)
		return err;
	v->cred.pid = (pid_t)reply.arg[0];
	v->cred.uid = (uid_t)(reply.arg[1] >> 32);
	v->cred.gid = (gid_t)reply.arg[1];
	if (!reply.arg[2] || reply.length != sizeof me)
		return sizeof v->cred;
	memcpy(&me, reply.data, sizeof me);
	if (!afu_namespace_pids_agree(me.pid))
		v->cred.pid = pid_here(id);
	if (!afu_namespace_ids_agree(me.uid, me.gid)) {
		v->cred.uid = afu_namespace_uid(v->cred.uid);
		v->cred.gid = afu_namespace_gid(v->cred.gid);
	}
	return sizeof v->cred;
}

/* The size, which the caller's room must not exceed. */
int afu_option_peername(const struct afu_asked *a, uint64_t id, union afu_option_value *v)
{
	struct afu_reply reply;
	int err = ask(AFU_OP_NAME, id, 1, &reply, NULL);

	if (err)
		return err;
	if (!reply.length) {
		reply.length = sizeof(sa_family_t);
		reply.data[0] = AF_UNIX;
	}
	if (a->room > reply.length || reply.length > sizeof v->address)
		return afu_refuse(AFU_CAUSE_OPTION_LENGTH);
	memcpy(v->address, reply.data, reply.length);
	return (int)reply.length;
}

static int give_length(const struct afu_asked *a, uint64_t bytes)
{
	socklen_t len = (socklen_t)bytes;

	return afu_copy(a->user_len, &len, sizeof len) ? afu_refuse(AFU_CAUSE_BAD_POINTER) : 0;
}

static void groups_here(struct afu_reply *reply, uint64_t n)
{
	gid_t id;

	if (afu_namespace_ids_agree((uid_t)(reply->arg[1] >> 32), (gid_t)reply->arg[1]))
		return;
	for (uint64_t i = 0; i < n; i++) {
		memcpy(&id, reply->data + i * sizeof id, sizeof id);
		id = afu_namespace_gid(id);
		memcpy(reply->data + i * sizeof id, &id, sizeof id);
	}
}

int afu_option_peergroups(const struct afu_asked *a, uint64_t id, union afu_option_value *v)
{
	struct afu_reply reply;
	uint64_t count, done = 0;
	int err = ask(AFU_OP_PEERGROUPS, id, 0, &reply, NULL);

	if (err)
		return err;
	count = reply.arg[0];
	if (a->room < count * sizeof(gid_t)) {
		err = give_length(a, count * sizeof(gid_t));
		return err ? err : afu_refuse(AFU_CAUSE_OPTION_ROOM);
	}
	while (done < count) {
		uint64_t n = reply.length / sizeof(gid_t);

		/* a peer of fewer groups may have come meanwhile: then what there is */
		if (n == 0 || reply.length > sizeof reply.data || n > count - done)
			break;
		groups_here(&reply, n);
		if (afu_copy((char *)a->user + done * sizeof(gid_t), reply.data, n * sizeof(gid_t)))
			return afu_refuse(AFU_CAUSE_BAD_POINTER);
		done += n;
		err = done < count ? ask(AFU_OP_PEERGROUPS, id, done, &reply, NULL) : 0;
		if (err)
			return err;
	}
	err = give_length(a, done * sizeof(gid_t));
	return err ? err : AFU_OPTION_GIVEN;
}

int afu_option_peerpidfd(const struct afu_asked *a, uint64_t id, union afu_option_value *v)
{
	socklen_t len = a->room < sizeof(int) ? a->room : sizeof(int);
	struct afu_reply reply;
	int fd, err = ask(AFU_OP_PEERPIDFD, id, 0, &reply, &fd);

	if (err)
		return err;
	if (afu_table_within(fd) < 0)
		return afu_refuse(AFU_CAUSE_NO_DESCRIPTOR);
	afu_fd_forget(fd);
	if (afu_copy(a->user, &fd, len) || afu_copy(a->user_len, &len, sizeof len)) {
		afu_sys_close(fd);
		return afu_refuse(AFU_CAUSE_BAD_POINTER);
	}
	return AFU_OPTION_GIVEN;
}

int afu_option_peersec(const struct afu_asked *a, uint64_t id, union afu_option_value *v)
{
	return afu_refuse(AFU_CAUSE_OPTION_NO_LABEL);
}
