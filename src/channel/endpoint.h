/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * The endpoint page: what all holders of one socket share, by fork, dup or passing,
 * and the peer must not touch.  A sealed memfd; the application's descriptor (the
 * token) is the same inode opened write-only, so holding the token is holding the
 * socket.  The broker makes the page and writes its state words; holders write the
 * rest.  Holders need not trust one another: every value is checked before use.
 */
#ifndef AFU_CHANNEL_ENDPOINT_H
#define AFU_CHANNEL_ENDPOINT_H

#include "base/lock.h"
#include "ring/ring.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define AFU_ENDPOINT_MAGIC 0x61667565u
#define AFU_ENDPOINT_SIZE 4096u
#define AFU_ENDPOINT_NAME "afunix:socket"
#define AFU_OPTIONS 96

enum afu_state {
	AFU_UNCONNECTED,
	AFU_LISTENING,
	AFU_CONNECTED,
	AFU_CONNECTING, /* waits in a listener's line; not yet in its backlog */
	AFU_MOVED,      /* became a socket of the kernel's */
};

/* Instructions of a classic socket filter that fit; a longer one is refused. */
#define AFU_FILTER_ROOM 100

/*
 * A classic filter, (a) by any holder of the socket.  turn is odd while somebody writes;
 * a reader copies the program and looks at turn again (socket/filter.h).
 */
struct afu_endpoint_filter {
	_Atomic uint32_t turn;
	_Atomic uint32_t length;                 /* instructions; 0: none */
	_Atomic uint64_t code[AFU_FILTER_ROOM]; /* struct sock_filter */
};

/* SO_TIMESTAMP and its relatives, as the kernel keeps them: three bits. */
enum {
	AFU_STAMP_ON = 1,
	AFU_STAMP_NS = 2,  /* struct timespec, else struct timeval */
	AFU_STAMP_NEW = 4, /* the type of the option is that of the 64-bit times */
};

/* What the options need beyond one number each; each field: (a), zero when born. */
struct afu_endpoint_options {
	struct {
		int64_t seconds, microseconds;
	} timeout[2];              /* as SO_RCVTIMEO and SO_SNDTIMEO read */
	uint64_t pacing;           /* SO_MAX_PACING_RATE, complemented */
	uint32_t txtime[2];
	uint32_t timestamping[2];  /* flags, clock */
	int32_t linger;            /* l_linger as read */
	_Atomic uint32_t stamps;   /* AFU_STAMP_* */
	uint32_t filter_memory;    /* bytes that SO_MEMINFO shows for it */
	uint32_t mode;             /* permission bits as fchmod() left them, xor 0777 */
	uint32_t owner[2];         /* uid, gid; (b) at first */
	struct afu_endpoint_filter filter;
};
static_assert(sizeof(struct afu_endpoint_options) <= 1024, "the page has room for more than options");

/* Written by the broker, whole, whenever the state changes. */
struct afu_endpoint_state {
	uint32_t state; /* enum afu_state */
	uint32_t side;  /* of the channel */
	uint64_t channel;
};

struct afu_endpoint {
	uint32_t magic;                    /* (k) */
	uint32_t type;                     /* (k) SOCK_STREAM, ... */
	uint64_t id;                       /* (k) */
	uint64_t inode;                    /* (k) what fstat() shows */
	struct afu_endpoint_state now;     /* (b) */
	_Atomic uint32_t version;          /* (b) counts changes of now; written after it */
	_Atomic uint32_t status_flags;     /* (a) O_NONBLOCK, O_ASYNC, ... */
	_Atomic uint32_t shut;             /* (a) shutdown() before there was a channel: AFU_SIDE_*SHUT */
	_Atomic uint32_t error;            /* (a) pending error while there is no channel */
	uint32_t sndbuf;                   /* (a) bytes, as SO_SNDBUF reads */
	uint32_t rcvlowat;                 /* (a) bytes */
	int64_t rcvtimeo_ns, sndtimeo_ns;  /* (a) AFU_NEVER: none */
	int32_t option[AFU_OPTIONS];       /* (a) the options that are only kept, by number */
	_Alignas(64) struct afu_lock tx_lock;
	struct afu_ring_tx tx;             /* (a) under tx_lock */
	_Alignas(64) struct afu_lock rx_lock;
	struct afu_ring_rx rx;             /* (a) under rx_lock */
	_Atomic int32_t peek_off;          /* (a) SO_PEEK_OFF; negative: off */
	_Atomic uint32_t kicks;            /* (a) for edge triggers: shutdowns without a channel, and locks that were busy */
	_Atomic uint32_t rooms;            /* (a) counts settings of SO_SNDBUF while there is none, likewise */
	_Atomic uint32_t names;            /* (b) counts changes of the names that this socket is shown */
	_Atomic uint32_t wants;            /* (a) what its options ask of senders: AFU_WANTS_* */
	_Atomic uint64_t signaller[2];     /* (a) waiters whose bells are signals: O_ASYNC, SIGURG; or 0 */
	uint64_t parcels;                  /* (a) numbers what was parked, under tx_lock */
	uint64_t tx_deaths, rx_deaths;     /* (a) counts owners of the locks who died; tx: of datagrams; under each */
	struct afu_endpoint_options opt;
};
static_assert(sizeof(struct afu_endpoint) <= AFU_ENDPOINT_SIZE, "one page");

/*
 * A socket of datagrams has many directions.  Behind its page stand the positions of
 * each, by the slot that the broker gave it; under the same two locks.  Who finds an owner dead
 * need not know all the flows that this one knew: each is put in order by whoever uses it next,
 * and says up to which death that was done.
 */
#define AFU_FLOWS_MAX 4096u
struct afu_endpoint_tx {
	_Alignas(64) struct afu_ring_tx tx;
	uint64_t mended; /* as tx */
};
struct afu_endpoint_rx {
	_Alignas(64) struct afu_ring_rx rx;
	uint64_t mended; /* as rx */
};
#define AFU_ENDPOINT_SLOT 128u
static_assert(sizeof(struct afu_endpoint_tx) <= AFU_ENDPOINT_SLOT && sizeof(struct afu_endpoint_rx) <= AFU_ENDPOINT_SLOT,
	      "a slot each");
#define AFU_ENDPOINT_TX_AT AFU_ENDPOINT_SIZE
#define AFU_ENDPOINT_RX_AT (AFU_ENDPOINT_TX_AT + AFU_FLOWS_MAX * AFU_ENDPOINT_SLOT)
#define AFU_ENDPOINT_DGRAM_SIZE (AFU_ENDPOINT_RX_AT + AFU_FLOWS_MAX * AFU_ENDPOINT_SLOT)

/* Of the memory behind an endpoint of the given type, bytes. */
static inline size_t afu_endpoint_size(int type)
{
	return type == SOCK_DGRAM ? AFU_ENDPOINT_DGRAM_SIZE : AFU_ENDPOINT_SIZE;
}


#endif
