/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What the cases about ancillary data share: control buffers to send, messages
 * received and taken apart, pipes that tell whether a passed descriptor is still open.
 */
#ifndef CONFORM_ANCILLARY_H
#define CONFORM_ANCILLARY_H

#include "conform.h"

/* Newer than the C library's headers. */
enum {
	OPT_PASSSEC = 34,
	OPT_PEERGROUPS = 59,
	OPT_PASSPIDFD = 76,
	OPT_PEERPIDFD = 77,
	OPT_PASSRIGHTS = 83,
	OPT_INQ = 84,
	ITEM_PIDFD = 4,
	ITEM_INQ = 84,
};

enum { RIGHTS_MAX = 253, RIGHTS_ROOM = CMSG_SPACE(RIGHTS_MAX * sizeof(int)), NOBODY = 65534 };

/* A case on a socketpair of each type. */
#define CASE_ON_TYPES(name, case_flags)                                                                      \
	static void name##_of(int type, int sv[2]);                                                          \
	CASE(name##_stream, case_flags)                                                                      \
	{                                                                                                    \
		run_on_type(SOCK_STREAM, name##_of);                                                         \
	}                                                                                                    \
	CASE(name##_dgram, case_flags)                                                                       \
	{                                                                                                    \
		run_on_type(SOCK_DGRAM, name##_of);                                                          \
	}                                                                                                    \
	CASE(name##_seqpacket, case_flags)                                                                   \
	{                                                                                                    \
		run_on_type(SOCK_SEQPACKET, name##_of);                                                      \
	}                                                                                                    \
	static void name##_of(int type, int sv[2])

void run_on_type(int type, void (*body)(int type, int sv[2]));

/* Control data being put together; a zeroed one is empty. */
struct control {
	_Alignas(struct cmsghdr) char bytes[4096];
	size_t len;
};

void control_add(struct control *c, int type, const void *data, size_t n);
void control_rights(struct control *c, const int *fds, size_t n);
void control_cred(struct control *c, pid_t pid, uid_t uid, gid_t gid);

/* sendmsg() of the text with the control data, which may be NULL. */
ssize_t send_control(int fd, const char *text, const struct control *c, int flags);
ssize_t send_rights(int fd, const char *text, const int *fds, size_t n);
ssize_t send_right(int fd, const char *text, int right);

/* A message received and taken apart. */
struct received {
	char data[64];
	int flags;
	/* What the kernel left in msg_controllen. */
	size_t control_len;
	/* The types of the items in their order. */
	int types[8];
	size_t items;
	/* -1 without such an item. */
	int n_fds;
	int fds[RIGHTS_MAX];
	bool has_cred;
	struct ucred cred;
	bool has_pidfd;
	int pidfd;
	bool has_inq;
	int inq;
	_Alignas(struct cmsghdr) char control[RIGHTS_ROOM + 256];
};

/* recvmsg() of at most n bytes, with so much room for control data; 0 is no buffer. */
ssize_t receive(int fd, struct received *r, size_t n, size_t room, int flags);
#define RECEIVE(fd, r) receive((fd), (r), sizeof(r)->data, sizeof(r)->control, MSG_DONTWAIT)

/* Closes what came in and forgets it. */
void drop_received(struct received *r);

/* The one descriptor that came with this text; the case fails otherwise. */
int take_right(const char *file, int line, int fd, const char *text);
#define TAKE_RIGHT(fd, text) take_right(HERE, (fd), (text))

/* The text came, and so many descriptors with it, which are closed again. */
void expect_rights(const char *file, int line, int fd, const char *text, int n);
#define GETS_RIGHTS(fd, text, n) expect_rights(HERE, (fd), (text), (n))

/* A pipe on which the caller keeps the reading end, p[0]: whether any writing end is still open. */
void watched_pipe(int p[2]);
/* Somebody has it. */
#define HELD(p) EQ(poll(&(struct pollfd){.fd = (p)[0], .events = POLLIN}, 1, 0), 0)
/* Nobody has it; waits for it if it must. */
#define DROPPED(p) EQ(poll(&(struct pollfd){.fd = (p)[0], .events = POLLIN}, 1, 5000), 1)

/* Both are the same open file. */
#define SAME_FILE(a, b) TRUE(is_same_file((a), (b)))
bool is_same_file(int a, int b);

/* Runs the function as nobody, in a child process without any privilege; the case goes on after it. */
void as_nobody(void (*run)(void *), void *arg);

#endif
