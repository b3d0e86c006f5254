/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A socket as an inode: mode and owner, and the file that it is bound to.  Results are
 * those of the calls of the same names, errno included.
 */
#ifndef AFU_LIBRARY_INODE_H
#define AFU_LIBRARY_INODE_H

#include <sys/stat.h>
#include <sys/types.h>

int afu_inode_chmod(int fd, mode_t mode);
int afu_inode_chown(int fd, uid_t uid, gid_t gid);

/* Turns what the kernel says of the token into what it would say of a socket. */
void afu_inode_show(int fd, struct stat *st);

/* SIOCUNIXFILE: a descriptor, or the negative errno of a named cause. */
int afu_inode_file(int fd);

#endif
