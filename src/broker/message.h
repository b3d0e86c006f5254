/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What a library and its broker say to each other: one request, one reply, each a
 * fixed struct in one SEQPACKET message, with descriptors beside it.  Native byte
 * order: both ends are on one machine, and AFU_PROTOCOL must be equal.
 */
#ifndef AFU_BROKER_MESSAGE_H
#define AFU_BROKER_MESSAGE_H

#include <assert.h>
#include <stdint.h>
#include <sys/un.h>

#define AFU_PROTOCOL 3u
#define AFU_MESSAGE_FDS 16

enum afu_op {
	AFU_OP_ATTACH = 1,   /* arg 0: AFU_PROTOCOL; data: secret; fd: status page.  Reply: arg 0: process id; data: two words
				to sign with; fd: book */
	AFU_OP_SOCKET,       /* arg 0: type.  Reply: socket; fds: token, endpoint; of datagrams: events */
	AFU_OP_PAIR,         /* arg 0: type.  Reply: socket, arg 0: the other; fds: token, token, endpoint, endpoint,
				channel; of datagrams: events, events */
	AFU_OP_SHOW,         /* fd: token.  Reply: socket; arg 0: state, arg 1: side, arg 2: type, or'ed with
				AFU_SHOWN_OUTSIDE; fds: endpoint [, channel, or events] [, outside] */
	AFU_OP_CHANNEL,      /* socket.  Reply: as of SHOW, without the endpoint; arg 1 may be AFU_MOVED_FIRST, with
				the kernel socket that it has become in place of a channel */
	AFU_OP_BIND_BEGIN,   /* socket */
	AFU_OP_BIND_PATH,    /* socket; data: address; fds: O_PATH of the new inode [, outside] */
	AFU_OP_BIND_ABSTRACT, /* socket; data: address; length 2: autobind; fd: [outside] */
	AFU_OP_LISTEN,       /* socket; arg 0: backlog, arg 1: AFU_SIDE_*SHUT if it was shut before.  Reply: fd: channel */
	AFU_OP_CONNECT,      /* socket; arg 0: AFU_CONNECT_*; arg 1: real uid << 32 | real gid; data: abstract address, or
				fd: O_PATH.  Reply: arg 0: state, arg 1: identity of the caller, 0; fd: channel */
	AFU_OP_CONNECT_CANCEL, /* socket; arg 0: 1 if it was let in, and nobody has accepted it yet.  Reply: arg 0: state
				it has come to */
	AFU_OP_ACCEPT,       /* socket.  Reply: socket; data: peer's address; fds: token, endpoint, channel; or
				arg 0: AFU_MOVED, fd: the kernel socket that it became */
	AFU_OP_NAME,         /* socket; arg 0: AFU_NAME_*; arg 1: flow.  Reply: data: address */
	AFU_OP_PEERCRED,     /* socket.  Reply: arg 0: pid, arg 1: uid << 32 | gid, arg 2: 1 if anybody was recorded;
				data: struct afu_asker */
	AFU_OP_SHUTDOWN,     /* socket that listens, or of datagrams; arg 0: how + 1 */
	AFU_OP_SYNC,         /* nothing: what was closed before is closed after */
	AFU_OP_WAITER,       /* arg 0: index; fd: bell */
	AFU_OP_FETCH,        /* arg 0: waiter id.  Reply: fds: status page, bell */
	AFU_OP_RING,         /* socket: ring every process that holds its peer; arg 0: 1 for its own holders */
	AFU_OP_AUTOBIND,     /* socket: binds it automatically if it has no name */
	/*
	 * Datagrams.  CONNECT's reply has in arg 1 the flow to the peer, in arg 2 whether another peer was
	 * given up; its arg 0 may hold AFU_CONNECT_UNREAD.
	 */
	AFU_OP_SENDTO,       /* socket; address as for CONNECT.  Reply: arg 0: flow */
	AFU_OP_DISCONNECT,   /* socket; arg 0: AFU_CONNECT_UNREAD, AFU_CONNECT_DEAD.  Reply: arg 0: it had a peer */
	AFU_OP_FLOWS,        /* socket; arg 0: those with a greater id.  Reply: arg 0: how many were removed ever,
				arg 1: flow to the peer, arg 2: how many follow; data: up to 16 ids */
	AFU_OP_FLOW,         /* socket; arg 0: id.  Reply: arg 0: slot of its sender | slot of its receiver << 16 |
				roles << 32, arg 1: net.unix.max_dgram_qlen; data: the sender's name;
				fds: channel, inbox */
	/*
	 * What goes with messages.  A direction is named by a socket that is one of its ends, its flow (0: the
	 * connection's) in arg 0, and whether the socket sends there.
	 */
	AFU_OP_PARKING,      /* direction, arg 1: 1 if the socket sends.  Reply: fd: that end of the parking */
	AFU_OP_ENTRUST,      /* the socket sends; arg 1: number of the parcel; fds: tokens.  Reply: data: their ids */
	AFU_OP_CLAIM,        /* the socket receives; arg 1: number of the parcel, arg 2: id of a socket in it, 0 to drop
				all, data[0]: AFU_CLAIM_*.  Reply: fd: token, unless it is dropped */
	AFU_OP_IDENTITY,     /* the socket sends, as whom the request's credentials say.  Reply: arg 0: identity */
	AFU_OP_WHO,          /* the socket receives; arg 1: identity, arg 2: 1 for a pidfd.  Reply: arg 0: pid,
				arg 1: uid << 32 | gid; data: struct afu_asker; fd: pidfd */
	AFU_OP_PEERGROUPS,   /* socket; arg 0: from which on.  Reply: arg 0: how many in all, arg 1: the caller's
				uid << 32 | gid; data: as many gid_t as fit */
	AFU_OP_PEERPIDFD,    /* socket.  Reply: fd: pidfd of who was recorded */
	AFU_OP_FILE,         /* socket.  Reply: fd: O_PATH of the file it, or its listener, is bound to */
	AFU_OP_HOLDER,       /* fd: O_PATH of a path that can't be bound.  Always refused, with who holds it */
	AFU_OP_MOVE,         /* socket: it goes on as one of the kernel's.  fd: that one, of a listener.  Reply: arg 0:
				AFU_MOVE_*; LISTENER: arg 1: backlog, data: its name, arg 2 and socket: inode and
				device of its file */
	AFU_OP_FILTER,       /* the socket sends, arg 0: flow; arg 1: from which instruction on.  Reply: arg 0: the
				program's turn, arg 1: how many in all; data: as many as fit */
	AFU_OP_TAKEN,        /* socket; the kernel socket of its name is the caller's alone from now on */
	AFU_OP_CLOSING,      /* nothing.  Reply: arg 0: how many descriptors the broker is closing just now */
	AFU_OP_EXPOSED,      /* nothing.  Reply: arg 0: bytes of the globs, each with a NUL; fd: they, if there are any */
	AFU_OP_SEAL,         /* the socket sends, as whom the request's credentials say; arg 1: place of a record, arg 2: secret
				of its parcel; data: its digest.  Reply: arg 0: 1 if the direction is sealed */
	AFU_OP_SEALED,       /* the socket receives; arg 1: place of a record, arg 2: of the first one; data: its digest.
				Reply: arg 0: as before, arg 1: identity of who has told of it, 0, arg 2: secret */
	AFU_OP_RENAMING,     /* the caller is about to change its ids */
	AFU_OPS,
};

/* A kernel socket of the same name comes last: the one that those outside the domain reach. */
#define AFU_SHOWN_OUTSIDE 0x100u
/* The most bytes of globs; an empty one stands for every path. */
#define AFU_EXPOSED_MAX 4096u

/*
 * TAKE, DROP: parcels of lower numbers are let go, nobody will claim them any more.  CANCEL: by the
 * socket that sends; the parcel did not get under way.
 */
enum { AFU_CLAIM_TAKE, AFU_CLAIM_COPY, AFU_CLAIM_DROP, AFU_CLAIM_CANCEL };

/*
 * LATER: somebody is in the middle of a call, or has yet to accept.  LISTENER: is to be asked for
 * again with a kernel socket of the same name.
 */
enum { AFU_MOVE_DONE, AFU_MOVE_LATER, AFU_MOVE_LISTENER, AFU_MOVE_NEVER };
/* In a reply's arg 1, beside the side: nobody has fetched this kernel socket before. */
#define AFU_MOVED_FIRST (UINT64_C(1) << 32)

enum {
	AFU_CONNECT_WAIT = 1, /* the caller will wait for room in the backlog */
	AFU_CONNECT_PASS = 2, /* it has SO_PASSCRED on: bind automatically */
	AFU_CONNECT_UNREAD = 4, /* something lies in its queue */
	AFU_CONNECT_DEAD = 8, /* the peer was found dead, and only then is it given up */
};

enum { AFU_NAME_OWN, AFU_NAME_PEER, AFU_NAME_SENDER };

/* The caller as the broker sees it. */
struct afu_asker {
	int32_t pid;
	uint32_t uid, gid;
};

enum { AFU_CLAIMED = 1, AFU_CLAIMED_OWN };

/* Descriptors of one message at most, as the kernel has it. */
#define AFU_RIGHTS_MAX 253

/* The message that lies in a parking with the descriptors of one record. */
struct afu_parcel_note {
	uint32_t n; /* of the descriptors, those that stand for sockets of ours */
	uint32_t pad;
	uint64_t number;
	uint64_t secret; /* at an end where somebody else may park under the same number */
	struct {
		uint32_t index;
		uint32_t pad;
		uint64_t id;
	} socket[AFU_RIGHTS_MAX];
};

struct afu_request {
	uint32_t op;
	uint32_t serial;
	uint64_t socket;
	uint64_t arg[3];
	uint32_t length; /* of data, bytes */
	uint8_t data[128];
	/*
	 * AFU_CLAIMED: the request is made in this name; the kernel refuses to carry it if the caller may not.
	 * AFU_CLAIMED_OWN: likewise, but if the name is none in its user namespace the kernel says who it is.
	 */
	uint32_t claimed;
	uint32_t claim_pid, claim_uid, claim_gid;
	/*
	 * The caller's user has too many descriptors under way: the broker fetches these itself, by
	 * their numbers, as far as the kernel lets it.
	 */
	uint32_t n_numbers;
	int32_t number[AFU_MESSAGE_FDS];
};

struct afu_reply {
	uint32_t serial;
	uint32_t cause; /* enum afu_cause; 0: done */
	uint64_t socket;
	uint64_t arg[3];
	uint32_t length;
	uint8_t data[128];
	char detail[160]; /* particulars of a refusal */
};

static_assert(sizeof(struct sockaddr_un) <= 128, "an address fits");

/* How a library reaches its broker. */
struct afu_gate {
	/*
	 * One request, one reply.  fds are not consumed; the reply's descriptors are
	 * the caller's.  0, or a negative errno when the broker cannot be reached
	 * (a refusal is in reply->cause).  Not to be called inside a critical section
	 * of a socket; signal handlers are deferred meanwhile.
	 */
	int (*call)(struct afu_gate *gate, struct afu_request *request, const int *fds, unsigned int n,
		    struct afu_reply *reply, int *got, unsigned int *n_got);
	/* Descriptor to watch for the broker's end, or -1. */
	int fd;
	/* In a forked child: forget the parent's connection. */
	void (*forked)(struct afu_gate *gate);
};

#endif
