/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
#include "library/speaker.h"

#include "base/cause.h"
#include "base/lock.h"
#include "library/domain.h"
#include "library/namespace.h"
#include "library/table.h"

#include <string.h>

#define REMEMBERED 64
#define OVERFLOW_ID 65534u

/*
 * Identities are never changed, so what was told once stays true: in the numbers of this process,
 * for as long as it stays in its namespaces.
 */
struct told {
	uint64_t socket, flow, identity;
	struct ucred who; /* in this process's numbers */
};
static struct told told[REMEMBERED];
static struct afu_plock lock;

/* What needs no privilege, without asking: one's own process and one's own ids. */
static int is_own(const struct ucred *claim)
{
	uid_t uid[3];
	gid_t gid[3];

	/* the number of all who have no name in a user namespace is no name */
	if (claim->uid == OVERFLOW_ID || claim->gid == OVERFLOW_ID)
		return 0;
	if (claim->pid != (pid_t)afu_sys(SYS_getpid) || afu_sys(SYS_getresuid, &uid[0], &uid[1], &uid[2]) < 0 ||
	    afu_sys(SYS_getresgid, &gid[0], &gid[1], &gid[2]) < 0)
		return 0;
	return (claim->uid == uid[0] || claim->uid == uid[1] || claim->uid == uid[2]) &&
	       (claim->gid == gid[0] || claim->gid == gid[1] || claim->gid == gid[2]);
}

/* Sends the claim through a kernel socket that nobody reads. */
static long try_claim(const struct ucred *claim)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} anc;
	struct iovec iov = { (void *)(uintptr_t) "", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.bytes,
			      .msg_controllen = sizeof anc.bytes };
	int fds[2];
	long err = afu_sys(SYS_socketpair, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds);

	if (err < 0)
		return err;
	memset(&anc, 0, sizeof anc);
	anc.align.cmsg_level = SOL_SOCKET;
	anc.align.cmsg_type = SCM_CREDENTIALS;
	anc.align.cmsg_len = CMSG_LEN(sizeof *claim);
	memcpy(CMSG_DATA(&anc.align), claim, sizeof *claim);
	err = afu_sys(SYS_sendmsg, fds[0], &msg, MSG_DONTWAIT);
	afu_sys_close(fds[0]);
	afu_sys_close(fds[1]);
	return err < 0 ? err : 0;
}

static int refuse_claim(long err)
{
	switch (err) {
	case 0:
		return 0;
	case -EPERM:
		return afu_refuse(AFU_CAUSE_CREDENTIALS_DENIED);
	case -ESRCH:
		return afu_refuse(AFU_CAUSE_CREDENTIALS_NO_PROCESS);
	case -EINVAL:
		return afu_refuse(AFU_CAUSE_CREDENTIALS_FORM);
	default:
		return afu_refuse_as(AFU_CAUSE_NO_MEMORY, (int)-err, NULL);
	}
}

int afu_speaker_check(const struct ucred *claim)
{
	return is_own(claim) ? 0 : refuse_claim(try_claim(claim));
}

/* Counts the changes of this process's ids, from 1 on; 0: nobody tells of them. */
static _Atomic uint64_t changes;

/* As whom this thread speaks.  Each thread for itself: they may differ. */
static __thread struct {
	uint64_t changes; /* before it was looked at; 0: it was not */
	struct ucred who;
} self;

static struct ucred own_identity(void)
{
	uint64_t now = atomic_load_explicit(&changes, memory_order_acquire);

	/* acquire: pairs with the change's; the real ids: it is they that the kernel puts into a message by itself */
	if (__builtin_expect(now && self.changes == now, 1))
		return self.who;
	self.changes = 0; /* a handler in between may not take half of it */
	atomic_signal_fence(memory_order_seq_cst);
	self.who = (struct ucred){ (pid_t)afu_sys(SYS_getpid), (uid_t)afu_sys(SYS_getuid),
				   (gid_t)afu_sys(SYS_getgid) };
	atomic_signal_fence(memory_order_seq_cst);
	self.changes = now;
	return self.who;
}

void afu_speaker_watched(void)
{
	atomic_store(&changes, 1);
}

void afu_speaker_changed(void)
{
	if (atomic_load(&changes))
		atomic_fetch_add(&changes, 1);
}

/*
 * Identity and ids belong together.  Two threads may speak through one socket under two names, so
 * it takes a lock: an order among the stores would not keep two writers apart.
 */
static void keep(struct afu_sock *s, uint64_t identity, const struct ucred *who)
{
	struct afu_thread *th = afu_thread();

	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	s->speaker.pid = who->pid;
	s->speaker.uid = who->uid;
	s->speaker.gid = who->gid;
	atomic_store_explicit(&s->speaker.identity, identity, memory_order_relaxed); /* the lock orders it */
	afu_plock_release(&lock);
	afu_thread_leave(th);
}

/* The one that was had before, if the process is still the same. */
static uint64_t kept(const struct afu_sock *s, const struct ucred *who)
{
	struct afu_thread *th = afu_thread();
	uint64_t identity = 0;

	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	if (s->speaker.pid == who->pid && s->speaker.uid == who->uid && s->speaker.gid == who->gid)
		identity = atomic_load_explicit(&s->speaker.identity, memory_order_relaxed); /* as in keep() */
	afu_plock_release(&lock);
	afu_thread_leave(th);
	return identity;
}

uint64_t afu_speaker_known(const struct afu_sock *s)
{
	struct ucred who = own_identity();

	return kept(s, &who);
}

int afu_speaker_identity(struct afu_sock *s, const struct ucred *claim, uint64_t *identity)
{
	struct ucred who = claim ? *claim : own_identity();
	struct afu_request req = { .op = AFU_OP_IDENTITY, .socket = s->id, .claimed = claim ? AFU_CLAIMED : AFU_CLAIMED_OWN,
				   .claim_pid = (uint32_t)who.pid, .claim_uid = who.uid, .claim_gid = who.gid };
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	*identity = kept(s, &who);
	if (*identity)
		return 0;
	err = afu_domain_call(&req, NULL, 0, &reply, got, &n);
	if (err)
		return err;
	*identity = reply.arg[0];
	keep(s, *identity, &who);
	return 0;
}

/* What the broker answers about one record: 1, it is sealed; 0, it is not; negative errno. */
static int call_about(struct afu_request *req, const uint8_t *digest, int takes, struct afu_reply *reply)
{
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	req->length = AFU_DIGEST_SIZE + 1;
	memcpy(req->data, digest, AFU_DIGEST_SIZE);
	req->data[AFU_DIGEST_SIZE] = (uint8_t)takes;
	err = afu_domain_call(req, NULL, 0, reply, got, &n);
	return err ? err : reply->arg[0] != 0;
}

static int tell(struct afu_sock *s, const struct afu_way_out *way, uint64_t at, const uint8_t *digest,
		const struct afu_sending *m)
{
	struct ucred who = m->claim ? *m->claim : own_identity();
	struct afu_request req = { .op = AFU_OP_SEAL, .socket = s->id, .arg = { way->flow, at, m->secret },
				   .claimed = m->claim ? AFU_CLAIMED : AFU_CLAIMED_OWN,
				   .claim_pid = (uint32_t)who.pid, .claim_uid = who.uid, .claim_gid = who.gid };
	struct afu_reply reply;

	return call_about(&req, digest, 0, &reply);
}

static int ask_about(struct afu_sock *s, const struct afu_way_in *way, uint64_t at, const uint8_t *digest,
		     int takes, uint64_t *speaker, uint64_t *secret)
{
	uint64_t first = atomic_load_explicit(&way->rx->head, memory_order_relaxed); /* the lock orders it */
	struct afu_request req = { .op = AFU_OP_SEALED, .socket = s->id, .arg = { way->flow, at, first } };
	struct afu_reply reply;
	int sealed = call_about(&req, digest, takes, &reply);

	if (sealed > 0) {
		*speaker = reply.arg[1];
		*secret = reply.arg[2];
	}
	return sealed;
}

void afu_speaker_start(void)
{
	afu_sealed_tell = tell;
	afu_sealed_ask = ask_about;
}

/* Whether this process has the memory of any socket: one that was forked does not yet. */
static int has_memory(void)
{
	int found = 0;

	afu_table_lock();
	for (unsigned int fd = 0; fd < afu_table_top() && !found; fd++) {
		const struct afu_sock *s = afu_fd_sock((int)fd);

		found = s && s->ep;
	}
	afu_table_unlock();
	return found;
}

void afu_speaker_changing(void)
{
	struct afu_request req = { .op = AFU_OP_RENAMING };
	struct afu_reply reply;
	int got[AFU_MESSAGE_FDS];
	unsigned int n;

	if (has_memory())
		afu_domain_call(&req, NULL, 0, &reply, got, &n);
}

void afu_speaker_told(struct afu_sock *s, uint64_t identity)
{
	struct ucred who = own_identity();

	if (identity)
		keep(s, identity, &who);
}

static int recall(const struct afu_sock *s, uint64_t flow, uint64_t identity, struct ucred *who)
{
	struct afu_thread *th = afu_thread();
	const struct told *t = &told[(identity ^ flow) % REMEMBERED];
	int found;

	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	found = t->identity == identity && t->socket == s->id && t->flow == flow;
	if (found)
		*who = t->who;
	afu_plock_release(&lock);
	afu_thread_leave(th);
	return found;
}

static void remember(const struct afu_sock *s, uint64_t flow, uint64_t identity, const struct ucred *who)
{
	struct afu_thread *th = afu_thread();

	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	told[(identity ^ flow) % REMEMBERED] = (struct told){ s->id, flow, identity, *who };
	afu_plock_release(&lock);
	afu_thread_leave(th);
}

static int ask(const struct afu_sock *s, uint64_t flow, uint64_t identity, struct afu_reply *reply, int *pidfd)
{
	struct afu_request req = {
		.op = AFU_OP_WHO, .socket = s->id, .arg = {flow, identity, pidfd != NULL}};
	int got[AFU_MESSAGE_FDS], err;
	unsigned int n;

	err = afu_domain_call(&req, NULL, 0, reply, got, &n);
	if (!err && pidfd)
		*pidfd = n ? got[0] : -1;
	return err;
}

/* In a pid namespace of one's own: the number there. */
static pid_t pid_here(const struct afu_sock *s, uint64_t flow, uint64_t identity)
{
	struct afu_reply reply;
	int fd = -1;
	pid_t pid;

	if (ask(s, flow, identity, &reply, &fd) < 0 || fd < 0)
		return 0;
	pid = afu_namespace_pid(fd);
	afu_sys_close(fd);
	return pid;
}

/* The broker's answer in this process's numbers: looked at when it is asked, so once for each speaker. */
static struct ucred seen_from_here(const struct afu_sock *s, uint64_t flow, uint64_t identity,
				   const struct afu_reply *reply)
{
	struct ucred who = {(pid_t)reply->arg[0], (uid_t)(reply->arg[1] >> 32), (gid_t)reply->arg[1]};
	struct afu_asker me;

	if (reply->length != sizeof me)
		return who;
	memcpy(&me, reply->data, sizeof me);
	if (!afu_namespace_pids_agree(me.pid))
		who.pid = pid_here(s, flow, identity);
	if (!afu_namespace_ids_agree(me.uid, me.gid)) {
		who.uid = afu_namespace_uid(who.uid);
		who.gid = afu_namespace_gid(who.gid);
	}
	return who;
}

int afu_speaker_who(struct afu_sock *s, uint64_t flow, uint64_t identity, struct ucred *who)
{
	struct afu_reply reply;
	int err;

	if (recall(s, flow, identity, who))
		return 0;
	err = ask(s, flow, identity, &reply, NULL);
	if (err)
		return err;
	*who = seen_from_here(s, flow, identity, &reply);
	remember(s, flow, identity, who);
	return 0;
}

int afu_speaker_pidfd(struct afu_sock *s, uint64_t flow, uint64_t identity, int *pidfd)
{
	struct afu_reply reply;

	return ask(s, flow, identity, &reply, pidfd);
}

void afu_speaker_renumbered(void)
{
	struct afu_thread *th = afu_thread();

	afu_speaker_changed();
	afu_thread_enter(th);
	afu_plock_acquire(&lock);
	memset(told, 0, sizeof told);
	afu_plock_release(&lock);
	afu_thread_leave(th);
}

void afu_speaker_forked(void)
{
	lock = (struct afu_plock){ 0 };
	afu_speaker_changed();
	/* the child may have been born into another namespace */
	memset(told, 0, sizeof told);
}
