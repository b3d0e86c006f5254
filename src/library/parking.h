/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Descriptors on their way.
 *
 * With the record that says so goes a message through a kernel socketpair of the
 * direction's, the parking; both have the same number, and come in the same order.  The
 * message carries the descriptors themselves, so that the kernel counts them, duplicates
 * them, and closes them with the last holder of the parking.  A socket of ours goes as a
 * descriptor that only names it (O_PATH, which holds nothing open); the broker keeps it meanwhile.
 */
#ifndef AFU_LIBRARY_PARKING_H
#define AFU_LIBRARY_PARKING_H

#include "broker/message.h"
#include "socket/sock.h"

/* What was fetched from a parking, or is to be parked. */
struct afu_parcel {
	uint64_t number;
	uint64_t flow;
	int n;                    /* descriptors */
	int truncated;            /* the process had no room for all of them */
	const struct ucred *claim; /* who its sender says he is; NULL */
	struct ucred from;	   /* who it came from, as the kernel knows him */
	int fd[AFU_RIGHTS_MAX];
	struct afu_parcel_note note;
};

/* Of a record whose speaker is attested: what goes with it is his, and bears that number. */
struct afu_parked_by {
	struct ucred who;
	uint64_t secret;
};

/* Parks the parcel's descriptors under its number.  0; -EAGAIN: there is no room; else a refusal. */
int afu_parking_put(struct afu_sock *s, struct afu_way_out *way, struct afu_parcel *p);
/*
 * Fetches those of that number, with the recvmsg flags MSG_PEEK and MSG_CMSG_CLOEXEC if they are
 * set; MSG_PEEK: copies.  by: it must be his; NULL: anybody's.  What was parked before it and has no record is
 * closed.  Under the lock of the way, before the record is taken.
 */
void afu_parking_fetch(struct afu_sock *s, struct afu_way_in *way, uint64_t number, const struct afu_parked_by *by,
		       int flags, struct afu_parcel *p);
/* The sockets among those that were fetched become sockets of this process. */
void afu_parking_settle(const struct afu_parcel *p);
/* Closes what was fetched, from a descriptor on; not settled yet. */
void afu_parking_refuse(struct afu_parcel *p, int from);
/* The view of the direction ends. */
void afu_parking_close(_Atomic int *parking);
void afu_parking_start(void);

#endif
