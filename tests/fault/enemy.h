/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A client that speaks the control protocol by itself: whatever it likes, in any order.
 * The calls go past the preload, so that nothing of the library is between.
 */
#ifndef ENEMY_H
#define ENEMY_H

#include "broker/message.h"

struct enemy {
	int fd; /* -1: the broker hung up */
};

struct answer {
	struct afu_reply reply;
	int fd[AFU_MESSAGE_FDS];
	unsigned int n;
};

/* Connects and attaches.  0, or -1. */
int enemy_attach(struct enemy *e);
/* Connects only. */
int enemy_connect(struct enemy *e);
/* Sends anything at all.  Bytes, or a negative errno. */
long enemy_send(const struct enemy *e, const void *bytes, size_t n, const int *fds, unsigned int n_fds);
/* The cause in the reply; -1: the broker hung up, or did not answer within five seconds. */
int enemy_ask(struct enemy *e, const struct afu_request *req, const int *fds, unsigned int n, struct answer *to);
/* Reads the reply to what was sent.  0, or -1. */
int enemy_answer(struct enemy *e, struct answer *to);
void enemy_close(int fd);
void enemy_close_all(struct answer *a);

/* A socket of the enemy's: its id and what came with it. */
struct enemy_socket {
	uint64_t id;
	int token, memory;
};
/* Two that are connected; their channel, or -1.  0, or -1. */
int enemy_pair(struct enemy *e, int type, struct enemy_socket s[2], int *channel);
void enemy_drop(struct enemy_socket *s);
/* Puts a socket into the queue of another's peer, without a record. */
int enemy_entrust(struct enemy *e, uint64_t by, uint64_t flow, int token);
/* What was closed before is closed after. */
int enemy_sync(struct enemy *e);

/* A connected TCP socket whose last close takes as long as half a minute; -1: there is none to be had. */
int enemy_lingering(void);

/* How many descriptors a process has. */
int enemy_count(int pid);

#endif
