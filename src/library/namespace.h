/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The broker's numbers for processes, users and groups in the eyes of this process,
 * which may live in other namespaces than the broker.
 */
#ifndef AFU_LIBRARY_NAMESPACE_H
#define AFU_LIBRARY_NAMESPACE_H

#include <stdint.h>
#include <sys/types.h>

/* Given how the broker sees this process: whether its numbers mean the same here. */
int afu_namespace_pids_agree(pid_t me);
int afu_namespace_ids_agree(uid_t uid, gid_t gid);

/* What the ids are here; 65534 if they have no name in this user namespace. */
uid_t afu_namespace_uid(uid_t id);
gid_t afu_namespace_gid(gid_t id);

/* The process's number in this pid namespace; 0: it has none, or is gone. */
pid_t afu_namespace_pid(int pidfd);

#endif
