/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * What the broker knows; for its own files only.
 *
 * A socket lives from its request until the last descriptor of its token is closed
 * (inotify on the token's inode, told apart from other closes by a lease test).
 * A connection lives until both its ends are gone.  An embryo is the accepting end
 * of a connection that nobody has accepted: a socket without token or memory.
 */
#ifndef AFU_BROKER_STATE_H
#define AFU_BROKER_STATE_H

#include "base/cause.h"
#include "broker/broker.h"
#include "channel/channel.h"
#include "channel/endpoint.h"
#include "channel/seal.h"

#include <stdint.h>
#include <uthash.h>
#include <utlist.h>

/* A process as it was at one moment; shared by the sockets that recorded it then. */
struct identity {
	unsigned int refs;
	pid_t pid;
	int pidfd; /* -1: none was to be had */
	unsigned int n_groups;
	gid_t groups[];
};

struct credentials {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	int known;
	struct identity *identity; /* a reference; NULL: no memory, or nobody */
};

/* A bound file, shared by a listener and what was accepted from it. */
struct bound_file {
	unsigned int refs;
	int fd; /* O_PATH */
};

struct name {
	uint32_t length; /* of the sockaddr_un, bytes; 0: unnamed */
	uint8_t address[sizeof(struct sockaddr_un) + 1];
};

/* Somebody who spoke, or may have: as the kernel attested him.  Never changed. */
struct voice {
	uint64_t id;
	struct voice_key {
		pid_t pid;
		uid_t uid;
		gid_t gid;
	} who;
	int pidfd;  /* -1 */
	int listed; /* whoever speaks alike shares it */
	unsigned int refs;
	UT_hash_handle hh;
};

/* Those who have proved to the broker that they may speak at one end. */
struct voices {
	unsigned int refs, n, room;
	struct spoken {
		struct voice *voice;
		uint64_t key[2]; /* of the process that proved it */
	} *who;
};

/* A socket that lies in a queue, sent and not received. */
struct parcel {
	uint64_t number; /* the sender's, for the message */
	struct bsock *socket;
	struct direction *in;
	int moved;                        /* it was sent on through a kernel socket, or is about to be */
	struct parcel *prev, *next;       /* in the direction */
	struct parcel *of_prev, *of_next; /* of the socket: a parcel never outlives it */
};

/* A record that its speaker has told of, or that lay there when nobody could lie. */
struct seal {
	uint64_t at;
	uint64_t speaker; /* id of a voice */
	uint64_t secret;  /* of what is parked with it */
	uint8_t digest[AFU_DIGEST_SIZE];
};

/* Those of a direction that may still be read, by their places. */
struct seals {
	int on;
	unsigned int first, n, room;
	struct seal *seal;
};

/* Who ever had the memory between two ends; more than that many differ no further. */
#define AFU_PARTIES 3
enum { AFU_PARTY_SENDS = 1, AFU_PARTY_RECEIVES = 2 }; /* of flows; of connections, 1 << side */
struct parties {
	unsigned int n;
	uint8_t ends; /* of all */
	struct {
		struct voice_key key;
		uint8_t ends;
	} who[AFU_PARTIES];
};

/* What goes beside the bytes of one direction. */
struct direction {
	int parking[2]; /* 1 + kernel sockets: to park descriptors of the kernel's, and to fetch them; 0 */
	int handed;     /* a client can fetch from it, and hold its lock in the middle for as long as it likes ... */
	int stalled;    /* ... and one did */
	struct parcel *parcels;
	unsigned int n_parcels;
	int ended; /* nobody receives from it any more */
	struct voices *voices;
	struct seals seals;
};

struct conn {
	uint64_t id;
	int memory;
	struct bsock *end[2];
	struct direction from[2]; /* by the side that sends */
	struct parties parties;
	struct name name[2]; /* survives the ends: getpeername() goes on answering */
};

/*
 * Datagrams from one socket to another.  It outlives its sender while something lies in
 * it, and its receiver while the sender is connected to it.
 */
struct flow {
	uint64_t id;
	int memory;
	struct bsock *from, *to; /* NULL: gone */
	unsigned int slot[2];    /* in the endpoint of the sender, of the receiver */
	struct name name[2];     /* of the two */
	struct direction way;
	struct parties parties;
	struct afu_endpoint_filter *last_filter; /* of a receiver that is gone and is still the sender's peer; NULL */
	struct flow *out_prev, *out_next; /* of from */
	struct flow *in_prev, *in_next;   /* of to */
	int ended;                        /* it is in the circle of to */
};

struct bsock {
	uint64_t id;
	int type;
	enum afu_state state;
	int embryo;
	uint32_t version, names;
	int watch;  /* inotify, -1 */
	int memory; /* endpoint page, -1 */
	struct name name;
	int node; /* O_PATH of the bound inode: pins its number; -1 */
	int outside; /* a kernel socket of the same name, for those who are not in the domain; -1 */
	struct bound_file *file; /* of its own name or its listener's; NULL */
	uid_t uid; /* who made it: what fstat() shows */
	gid_t gid;
	struct inode_key {
		uint64_t device, inode;
	} inode;
	uint8_t key[2 + sizeof(struct sockaddr_un)]; /* type and abstract name */
	uint32_t key_length;
	int64_t bind_began_ns;

	struct conn *conn;
	unsigned int side;
	struct credentials peer;

	/* listener */
	uint32_t backlog, pending;
	struct bsock *queue;   /* embryos, oldest first */
	struct bsock *line;    /* sockets that wait for room, oldest first */
	struct afu_channel *events;
	int events_memory;
	int shut_read;

	/* datagrams */
	struct flow *out, *in;
	struct flow *peer_flow;  /* one of out: it is connected */
	uint64_t peer_id;        /* the peer's, also when that is gone; 0 */
	uint32_t queue_max;
	int inbox_memory;        /* -1: nobody ever sent to it */
	uint32_t removals;
	uint64_t slots[2][AFU_FLOWS_MAX / 64]; /* taken; by role */
	unsigned int next_slot[2];             /* where the search begins */
#define AFU_FLOWS_ENDED 8
	struct flow *ended[AFU_FLOWS_ENDED];   /* the latest of which nothing is left to read, in a circle */
	unsigned int n_ended;

	struct voices *voices; /* of datagrams: at all flows */

	int kernel;       /* 1 + the kernel socket that it has become; 0 */
	int kernel_fresh; /* nobody has fetched that yet */

	unsigned int in_flight;  /* how often it lies in a queue */
	struct parcel *lies_in;  /* these */
	int unheld;              /* nobody has a descriptor of it, but it is in flight */
	int reached;             /* by the collector */
	int garbage;             /* it was not, and is about to be closed */
	struct bsock *reach_next;
	int dropped;             /* in the list of such */
	struct bsock *dropped_prev, *dropped_next;
	uint32_t wants;          /* and what they ask of senders */
	int32_t inherited[4];    /* an embryo's: the options SO_PASS* of its listener */

	struct bsock *listener;    /* an embryo's or a waiting socket's */
	struct bsock *prev, *next; /* in queue or line */

	int closed_once; /* a descriptor of a token was closed, and it is still to be looked at */
	struct bsock *closed_prev, *closed_next;

	int64_t doubted_ns;                        /* since when a close was seen but the token seems open; 0 */
	struct bsock *doubted_prev, *doubted_next; /* while doubted_ns is not 0 */

	uint32_t *holder; /* process ids that have shown the token */
	unsigned int holders, holders_room;

	UT_hash_handle by_id, by_watch, by_inode, by_name;
};

struct afu_client {
	uint32_t process;
	uint64_t key[2]; /* it signs with that */
	int attached;
	int page; /* status page */
	int *bell;
	unsigned int bells;
	uint64_t rung; /* by the request of that number */
	pid_t groups_of; /* who connected */
	gid_t groups[64];
	unsigned int n_groups;
	int status; /* /proc/PID/status of the process, kept open; -1 */
	pid_t status_pid;
	struct identity *identity; /* the latest that was recorded, or NULL */
	UT_hash_handle hh;
};

struct afu_broker {
	uint8_t secret[64];
	size_t secret_length;
	uint64_t next_id;
	uint32_t next_process;
	uint64_t rings; /* requests to ring */
	uint32_t somaxconn, sndbuf, rcvbuf, queue_max;
	unsigned int spare; /* descriptors that sockets and connections leave to processes */
	int inotify;
	dev_t pipes; /* where anonymous pipes live */
	int book;
	struct afu_book *book_page;
	struct bsock *by_id, *by_watch, *by_inode, *by_name;
	struct afu_client *clients;
	struct bsock *doubted, *closed_once;
	struct bsock *dropped;      /* in flight no more; whoever is not held either is closed */
	unsigned int unheld;        /* how many are only in flight */
	int64_t patience_ns, patient_ns; /* how long closes may be waited for, as of then */
	int collect;                /* something was let go since the collector ran */
	struct voice *voices;
	struct afu_history *history; /* history.h; NULL until a name is bound */
	int outside;                 /* an epoll instance of the kernel sockets of exposed names; -1: none are */
	int globs;                   /* those names */
	uint32_t globs_length;
};

/* One request being served. */
struct call {
	struct afu_broker *b;
	struct afu_client *client;
	const struct afu_caller *who;
	const struct afu_request *req;
	int *fds;
	unsigned int n;
	struct afu_reply *reply;
	struct afu_reply_fds *out;
	struct bsock *socket; /* the one that the request names, held by the caller; or NULL */
};

/* Rings everybody if somebody could not be reached otherwise. */
void afu_broker_ring_rest(struct afu_broker *b);
void afu_call_give(struct call *c, int fd, int ours);

/* store.c: memory, tokens, the end of a token. */
enum afu_cause afu_store_socket(struct afu_broker *b, struct bsock *s);
/* Takes back what afu_store_socket() did. */
void afu_store_undo(struct afu_broker *b, struct bsock *s);
int afu_store_token(const struct bsock *s);
void afu_store_state(struct bsock *s);
/* The names that the socket is shown have changed. */
void afu_store_names(struct bsock *s);
/* Sets the pending error of a socket of datagrams. */
void afu_store_error(struct bsock *s, uint32_t error);
/* Makes a place for the positions of a flow ready. */
int afu_store_slot(struct bsock *s, unsigned int role, unsigned int slot);
/* What its holders set with SO_PASSCRED and the like: AFU_WANTS_*. */
uint32_t afu_store_wants(const struct bsock *s);
/* Notes the options that an accepting socket has from its listener. */
void afu_store_inherit(struct bsock *s, const struct bsock *listener);
/* Enters the bell of the receiver's signals into a new flow. */
void afu_store_signals(const struct bsock *to, int memory);
/* Memory that processes share, if the descriptor can be spared; negative errno. */
int afu_store_memory(const struct afu_broker *b, const char *name, size_t size);
/* A channel's memory with its header; negative errno. */
int afu_store_channel(const struct afu_broker *b, uint64_t id, int listener);
/* wants_*: AFU_WANTS_* of the two sides. */
enum afu_cause afu_store_conn(struct afu_broker *b, struct conn **to, uint32_t wants_0, uint32_t wants_1);
void afu_store_conn_unref(struct afu_broker *b, struct conn *conn);
/* Whether a token of the socket is open anywhere. */
int afu_store_held(const struct bsock *s);
struct bsock *afu_store_shown(struct afu_broker *b, int fd);
struct bsock *afu_bsock_new(struct afu_broker *b, int type);
void afu_store_trust(struct afu_broker *b, struct bsock *s);
/* The socket is being closed. */
void afu_store_forget(struct afu_broker *b, struct bsock *s);
void afu_bsock_hold(struct afu_broker *b, struct bsock *s, const struct afu_client *c);
int afu_bsock_held(const struct bsock *s, const struct afu_client *c);

/* identity.c: who asks, as the kernel shows the process while it waits for the reply. */
void afu_identity_record(struct call *c, struct credentials *to);
void afu_identity_copy(struct credentials *to, const struct credentials *from);
void afu_identity_drop(struct credentials *p);
void afu_identity_forget(struct afu_client *client);
int afu_identity_in_group(const struct call *c, gid_t gid);
/* Tells in the reply how the caller is seen, for it to know whether numbers agree. */
void afu_identity_asker(struct call *c);
enum afu_cause afu_identity_groups(struct call *c);
enum afu_cause afu_identity_pidfd(struct call *c);

/* file.c: the file that a socket is bound to. */
void afu_file_bound(struct bsock *s);
void afu_file_share(struct bsock *to, const struct bsock *from);
void afu_file_drop(struct bsock *s);
enum afu_cause afu_file_get(struct call *c);

/* name.c */
enum afu_cause afu_name_begin(struct call *c);
enum afu_cause afu_name_bind_path(struct call *c);
enum afu_cause afu_name_bind_abstract(struct call *c);
enum afu_cause afu_name_autobind(struct afu_broker *b, struct bsock *s);
enum afu_cause afu_name_autobind_now(struct call *c);
enum afu_cause afu_name_find(struct call *c, int type, struct bsock **found);
enum afu_cause afu_name_get(struct call *c);
void afu_name_drop(struct afu_broker *b, struct bsock *s);

/* outside.c: names that are the kernel's too */
enum afu_cause afu_outside_globs(struct call *c);
/* A number of SOL_SOCKET, -1 if it has none; whether it is a kernel socket of the same type.  Whatever fd is. */
int afu_outside_option(int fd, int name);
int afu_outside_alike(const struct bsock *s, int fd);
/* Keeps the kernel socket that came as descriptor i of the request. */
enum afu_cause afu_outside_keep(struct call *c, unsigned int i);
/* The request is refused with which it came. */
void afu_outside_refused(struct call *c);
/* Gives it away with the reply. */
void afu_outside_show(struct call *c, const struct bsock *s);
void afu_outside_shutdown(struct afu_broker *b, const struct bsock *s, int how);
/* Whether one that was let go may not be gone yet. */
enum afu_cause afu_outside_closing(struct call *c);
/* A kernel socket has taken the place of ours: that one. */
enum afu_cause afu_outside_moved(struct call *c);
/* The socket is being closed. */
void afu_outside_drop(struct afu_broker *b, struct bsock *s);

/* connection.c */
enum afu_cause afu_connection_listen(struct call *c);
enum afu_cause afu_connection_connect(struct call *c);
enum afu_cause afu_connection_cancel(struct call *c);
enum afu_cause afu_connection_accept(struct call *c);
enum afu_cause afu_connection_shutdown(struct call *c);
enum afu_cause afu_connection_watch(struct afu_broker *b, struct bsock *s);
/* Wakes everybody at both ends of what the socket is connected to, or at the listener. */
void afu_connection_kick(struct bsock *s);
/* Forgets the socket without telling anybody. */
void afu_connection_abandon(struct afu_broker *b, struct bsock *s);
void afu_connection_close(struct afu_broker *b, struct bsock *s);


/* rights.c: sockets and descriptors in flight */
enum afu_cause afu_rights_parking(struct call *c);
enum afu_cause afu_rights_entrust(struct call *c);
enum afu_cause afu_rights_claim(struct call *c);
/* Nobody receives from the direction any more: what lies in it is let go. */
void afu_rights_drop(struct afu_broker *b, struct direction *d);
/* What of it goes on through a kernel socket is let go; the rest somebody is about to claim or to cancel. */
void afu_rights_moved(struct afu_broker *b, struct direction *d);
/* The direction is at its end. */
void afu_rights_fini(struct afu_broker *b, struct direction *d);
/* Nobody has a descriptor of the socket: it is closed, or lives on in flight. */
void afu_rights_unheld(struct afu_broker *b, struct bsock *s);
/* Somebody has one again. */
void afu_rights_held(struct afu_broker *b, struct bsock *s);
/* The socket is being closed. */
void afu_rights_forget(struct afu_broker *b, struct bsock *s);
/* Closes a descriptor in whose queue anything may lie: mostly it is over when this returns. */
void afu_rights_close(struct afu_broker *b, int fd);
/* Closes what was let go, and what only keeps itself alive. */
void afu_rights_settle(struct afu_broker *b);

/* moving.c: the way to sockets of the kernel's */
enum afu_cause afu_moving_request(struct call *c);
enum afu_cause afu_moving_listener(struct call *c);
/* The reply to whoever asks for a socket that has moved. */
void afu_moving_tell(struct call *c);
/* The socket is being closed. */
void afu_moving_close(struct bsock *s);

/* voice.c: who speaks at an end */
enum afu_cause afu_voice_speak(struct call *c);
enum afu_cause afu_voice_who(struct call *c);
/* The caller may speak at the end; its identity, 0 if there is no memory. */
uint64_t afu_voice_admit(struct call *c, struct voices *v);
struct voices *afu_voices_new(void);
struct voices *afu_voices_ref(struct voices *v);
void afu_voices_unref(struct afu_broker *b, struct voices *v);

/* seal.c: whose word a record is */
/* The caller is about to be given the memory, as a holder of these ends. */
void afu_seal_conn(struct call *c, struct conn *conn, unsigned int ends);
void afu_seal_flow(struct call *c, struct flow *f, unsigned int ends);
/* The caller is about to be believed as a speaker at the socket's end. */
void afu_seal_voice(struct call *c, struct bsock *s);
enum afu_cause afu_seal_renaming(struct call *c);
enum afu_cause afu_seal_note(struct call *c);
enum afu_cause afu_seal_ask(struct call *c);
/*
 * Whose word a record is, to somebody who never had its memory: the id of a voice; 0: nobody's.  payload: a copy.
 * *secret: what its parcel has, if that is known.
 */
uint64_t afu_seal_proven(const struct direction *d, const struct afu_ring_record *rec,
			 const uint64_t words[AFU_RING_WORDS], const void *payload, const uint64_t **secret);
void afu_seal_fini(struct direction *d);

/* filter.c: what a sender has to know of its receiver's socket filter */
enum afu_cause afu_filter_tell(struct call *c);
/* A copy, to be freed; NULL: it has none, or there is no memory. */
struct afu_endpoint_filter *afu_filter_copy(const struct bsock *s);

/* flow.c: datagrams */
enum afu_cause afu_flow_begin(struct afu_broker *b, struct bsock *s);
enum afu_cause afu_flow_pair(struct afu_broker *b, struct bsock *one, struct bsock *other);
enum afu_cause afu_flow_connect(struct call *c);
enum afu_cause afu_flow_sendto(struct call *c);
enum afu_cause afu_flow_disconnect(struct call *c);
enum afu_cause afu_flow_list(struct call *c);
enum afu_cause afu_flow_get(struct call *c);
enum afu_cause afu_flow_shutdown(struct call *c);
/* The direction that a request names: arg 0 the flow; outgoing: the socket sends.  NULL. */
struct direction *afu_flow_direction(struct call *c, int outgoing);
/* One of the socket's, by its id; NULL. */
struct flow *afu_flow_find(const struct bsock *s, uint64_t id);
/* The socket has a name now. */
void afu_flow_renamed(struct bsock *s);
/* Wakes everybody who waits at the socket's flows. */
void afu_flow_kick(struct bsock *s);
/* The socket is gone. */
void afu_flow_close(struct afu_broker *b, struct bsock *s);
/* The broker is about to end: forgets them, and tells nobody. */
void afu_flow_abandon(struct afu_broker *b, struct bsock *s);

#endif
