/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Bells, between threads and between forked processes.
 *
 * The broker's part, to pass on status pages and bells, is played by a table that
 * a fork inherits.  Whoever looks a bell up gets duplicates, as from the broker.
 */
#include "base/futex.h"
#include "base/memory.h"
#include "channel/channel.h"
#include "channel/waiter.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define OWNER 7u
#define OTHER 8u
#define ROUNDS 20000

static int status_page = -1;
static int bells[AFU_WAITERS];
static unsigned int announced, fetched;
static int refuse_fetch, refuse_announce;
static volatile sig_atomic_t sigpipes;

static int announce(uint32_t index, int bell_write)
{
	if (refuse_announce)
		return -ENOSPC;
	CHECK_EQ(index, announced);
	/* a description of its own, as the broker makes it for each peer */
	bells[index] = dup(bell_write);
	announced++;
	return bells[index] < 0 ? -EMFILE : 0;
}

static int fetch(uint64_t id, int *page, int *bell_write)
{
	uint32_t index = (id >> 16) & 0xffff;

	fetched++;
	if (refuse_fetch)
		return -EMFILE;
	if (id >> 32 != OWNER || index >= announced)
		return -ESRCH;
	*page = dup(status_page);
	*bell_write = dup(bells[index]);
	return 0;
}

static const struct afu_waiter_ops ops = { announce, fetch };

static void count_sigpipe(int sig)
{
	sigpipes++;
}

static void set_up(void)
{
	afu_waiter_ops = &ops;
	NEED(afu_waiters_start(&status_page) == 0);
	afu_waiters_process(OWNER);
	signal(SIGPIPE, count_sigpipe);
}

/* A child that is another process of the domain. */
static pid_t fork_other(void)
{
	pid_t pid = tap_fork();
	int page;

	NEED(pid >= 0);
	if (pid == 0) {
		afu_waiters_forked();
		afu_thread_forked();
		NEED(afu_waiters_start(&page) == 0);
		afu_waiters_process(OTHER);
		close(page);
	}
	return pid;
}

static int rung(const struct afu_waiter *w)
{
	struct pollfd p = { .fd = w->bell_read, .events = POLLIN };

	return poll(&p, 1, 0);
}

static void *share(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	NEED(p != MAP_FAILED);
	return p;
}

static void only_the_sleeping(void)
{
	struct afu_waiter *w;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	CHECK(afu_waiter_own(w->id));
	CHECK_EQ(afu_waiter_notify(w->id, 0), 0);
	CHECK_EQ(rung(w), 0);
	atomic_store(&w->word->asleep, 1);
	CHECK_EQ(afu_waiter_notify(w->id, 0), 0);
	CHECK_EQ(rung(w), 1);
	CHECK_EQ(afu_waiter_notify(w->id, 0), 0);
	afu_waiter_drain(w);
	CHECK_EQ(rung(w), 0);
	atomic_store(&w->word->asleep, 0);
	CHECK_EQ(afu_waiter_notify(w->id, 0), 0);
	CHECK_EQ(rung(w), 0);
	CHECK_EQ(fetched, 0);
}

static void from_a_fork(void)
{
	struct afu_waiter *w;
	pid_t pid;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	pid = fork_other();
	if (pid == 0) {
		CHECK(!afu_waiter_own(w->id));
		CHECK_EQ(afu_waiter_notify(w->id, 0), 0);
		tap_leave();
	}
	CHECK_EQ(tap_wait(pid), 0);
	CHECK_EQ(rung(w), 0);
	atomic_store(&w->word->asleep, 1);
	pid = fork_other();
	if (pid == 0) {
		for (int i = 0; i < 3; i++)
			CHECK_EQ(afu_waiter_notify(w->id, 0), 0);
		CHECK_EQ(fetched, 1);
		tap_leave();
	}
	CHECK_EQ(tap_wait(pid), 0);
	CHECK_EQ(rung(w), 1);
}

/* A forked child starts with none, and what it makes is its own. */
static void forked_state(void)
{
	struct afu_waiter *w;
	uint64_t id;
	int bell;
	pid_t pid;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	id = w->id;
	bell = w->bell_read;
	pid = tap_fork();
	if (pid == 0) {
		struct afu_waiter *mine;
		int page;

		afu_waiters_forked();
		afu_thread_forked();
		CHECK(fcntl(bell, F_GETFD) < 0 && errno == EBADF);
		CHECK(!afu_waiter_own(id));
		CHECK(afu_waiter_get() == NULL);
		NEED(afu_waiters_start(&page) == 0);
		afu_waiters_process(OTHER);
		announced = 0;
		mine = afu_waiter_get();
		NEED(mine != NULL);
		CHECK(mine->id >> 32 == OTHER);
		CHECK(afu_waiter_own(mine->id));
		tap_leave();
	}
	CHECK_EQ(tap_wait(pid), 0);
	CHECK(afu_waiter_own(id));
	CHECK_EQ(rung(w), 0);
}

/* The slot is used again under another id; bells for the old one are refused. */
static void generations(void)
{
	struct afu_waiter *w, *again;
	uint64_t old;
	pid_t pid;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	old = w->id;
	afu_waiter_put(w);
	CHECK(!afu_waiter_own(old));
	CHECK_EQ(afu_waiter_notify(old, 0), -ESRCH);
	again = afu_waiter_get();
	NEED(again == w);
	CHECK(again->id != old);
	atomic_store(&again->word->asleep, 1);
	CHECK_EQ(afu_waiter_notify(old, 0), -ESRCH);
	CHECK_EQ(rung(again), 0);
	pid = fork_other();
	if (pid == 0) {
		CHECK_EQ(afu_waiter_notify(old, 0), -ESRCH);
		CHECK_EQ(afu_waiter_notify(again->id, 0), 0);
		CHECK_EQ(fetched, 1);
		tap_leave();
	}
	CHECK_EQ(tap_wait(pid), 0);
	CHECK_EQ(rung(again), 1);
	CHECK_EQ(announced, 1);
}

/* While others know the bell already. */
static void generations_meanwhile(void)
{
	_Atomic uint64_t *say = share(4096);
	struct afu_waiter *w;
	pid_t pid;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	pid = fork_other();
	if (pid == 0) {
		for (unsigned int i = 0; i < 300; i++) {
			uint64_t id;

			while ((id = atomic_exchange(&say[0], 0)) == 0)
				sched_yield();
			atomic_store(&say[1], 1 + (uint64_t)-afu_waiter_notify(id, 0));
		}
		CHECK_EQ(fetched, 1);
		tap_leave();
	}
	for (unsigned int i = 0; i < 300; i++) {
		uint64_t old = w->id, answer;

		if (i % 3 == 1) {
			afu_waiter_put(w);
			w = afu_waiter_get();
			NEED(w != NULL);
		}
		atomic_store(&w->word->asleep, 1);
		atomic_store(&say[0], i % 3 == 1 ? old : w->id);
		while ((answer = atomic_exchange(&say[1], 0)) == 0)
			sched_yield();
		CHECK_EQ(answer - 1, i % 3 == 1 ? ESRCH : 0);
		CHECK_EQ(rung(w), i % 3 != 1);
		afu_waiter_drain(w);
	}
	CHECK_EQ(tap_wait(pid), 0);
}

static int open_of(pid_t pid, int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
	return open(path, flags | O_CLOEXEC);
}

struct doomed {
	_Atomic uint64_t id;
	int page, bell;
};

static void live_until_killed(struct doomed *d)
{
	struct afu_waiter *w;

	if (afu_waiters_start(&d->page) < 0)
		_exit(1);
	afu_waiters_process(OWNER);
	w = afu_waiter_get();
	if (!w)
		_exit(1);
	atomic_store(&w->word->asleep, 1);
	d->bell = w->bell_write;
	atomic_store(&d->id, w->id);
	for (;;)
		pause();
}

/* The waiter in a child that dies; its bell is known here already, or not yet. */
static void dead_reader_once(int known)
{
	struct doomed *d = share(4096);
	pid_t pid = tap_fork();

	NEED(pid >= 0);
	if (pid == 0)
		live_until_killed(d);
	while (!atomic_load(&d->id) && kill(pid, 0) == 0)
		sched_yield();
	afu_waiter_ops = &ops;
	afu_waiters_process(OTHER);
	signal(SIGPIPE, count_sigpipe);
	status_page = open_of(pid, d->page, O_RDONLY);
	bells[0] = open_of(pid, d->bell, O_WRONLY | O_NONBLOCK);
	NEED(status_page >= 0 && bells[0] >= 0);
	announced = 1;
	fetched = 0;
	if (known)
		CHECK_EQ(afu_waiter_notify(atomic_load(&d->id), 0), 0);
	tap_kill(pid);
	CHECK_EQ(afu_waiter_notify(atomic_load(&d->id), 0), -ESRCH);
	CHECK_EQ(afu_waiter_notify(atomic_load(&d->id), 0), -ESRCH);
	CHECK_EQ(afu_bell_ring(bells[0]), -EPIPE);
	CHECK_EQ(fetched, 1);
	CHECK_EQ(sigpipes, 0);
}

static void dead_reader(void)
{
	dead_reader_once(1);
}

static void dead_before_known(void)
{
	dead_reader_once(0);
}

static void no_sigpipe(void)
{
	sigset_t pending;
	int fds[2];

	set_up();
	NEED(pipe2(fds, O_NONBLOCK) == 0);
	CHECK_EQ(afu_bell_ring(fds[1]), 0);
	close(fds[0]);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(afu_bell_ring(fds[1]), -EPIPE);
	CHECK_EQ(sigpipes, 0);
	sigpending(&pending);
	CHECK(!sigismember(&pending, SIGPIPE));
}

static void pending_sigpipe(void)
{
	sigset_t set, pending;
	int fds[2];

	set_up();
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	raise(SIGPIPE);
	NEED(pipe2(fds, O_NONBLOCK) == 0);
	close(fds[0]);
	CHECK_EQ(afu_bell_ring(fds[1]), -EPIPE);
	sigpending(&pending);
	CHECK(sigismember(&pending, SIGPIPE));
	CHECK_EQ(sigpipes, 0);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	CHECK_EQ(sigpipes, 1);
}

/* As before Linux 6.18: pwritev2() does not know the flag. */
static void on_old_kernel(void (*check)(void))
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwritev2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		tap_skip("no seccomp filters here");
	check();
}

static void no_sigpipe_old_kernel(void)
{
	on_old_kernel(no_sigpipe);
}

static void pending_old_kernel(void)
{
	on_old_kernel(pending_sigpipe);
}

/* Ringing never blocks; a full bell is a wake-up already. */
static void full_bell(void)
{
	struct afu_waiter *w;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	atomic_store(&w->word->asleep, 1);
	for (int i = 0; i < 10000; i++)
		CHECK_EQ(afu_waiter_notify(w->id, 0), 0);
	CHECK_EQ(rung(w), 1);
	afu_waiter_drain(w);
	CHECK_EQ(rung(w), 0);
}

/* No descriptor left when the bell is looked up: the waiter is not gone for that. */
static void fetch_fails_once(void)
{
	struct afu_side *side = share(4096);
	struct afu_waiter *w;
	pid_t pid;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	atomic_store(&w->word->asleep, 1);
	afu_watch(side, w->id, AFU_WATCH_IN, 0);
	pid = fork_other();
	if (pid == 0) {
		refuse_fetch = 1;
		afu_wake(side, AFU_IN);
		refuse_fetch = 0;
		afu_wake(side, AFU_IN);
		tap_leave();
	}
	CHECK_EQ(tap_wait(pid), 0);
	CHECK_EQ(rung(w), 1);
}

static void all_of_them(void)
{
	static struct afu_waiter *all[AFU_WAITERS];
	struct rlimit limit;
	unsigned int n = 0;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < 3 * AFU_WAITERS + 100)
		tap_skip("RLIMIT_NOFILE is too low");
	set_up();
	refuse_announce = 1;
	CHECK(afu_waiter_get() == NULL);
	refuse_announce = 0;
	while (n < AFU_WAITERS && (all[n] = afu_waiter_get()) != NULL)
		n++;
	if (n < AFU_WAITERS)
		tap_skip("pipes are limited here");
	CHECK(afu_waiter_get() == NULL);
	for (unsigned int i = 0; i < n; i++)
		CHECK_EQ((all[i]->id >> 16) & 0xffff, i);
	afu_waiter_put(all[17]);
	CHECK(afu_waiter_get() == all[17]);
	CHECK(afu_waiter_get() == NULL);
}

static struct afu_side *overflowed;
static unsigned int overflows;

static void note_overflow(struct afu_side *side)
{
	overflowed = side;
	overflows++;
}

static void overflow(void)
{
	struct afu_waiter *w[AFU_CHANNEL_WATCHERS + 2];
	struct afu_side *side = share(4096);

	set_up();
	afu_watch_overflow = note_overflow;
	for (unsigned int i = 0; i < AFU_CHANNEL_WATCHERS + 2; i++) {
		w[i] = afu_waiter_get();
		NEED(w[i] != NULL);
		atomic_store(&w[i]->word->asleep, 1);
		CHECK_EQ(atomic_load(&side->flags), i > AFU_CHANNEL_WATCHERS ? AFU_SIDE_OVERFLOW : 0);
		afu_watch(side, w[i]->id, AFU_WATCH_IN, 0);
		/* twice is once */
		afu_watch(side, w[i]->id, AFU_WATCH_IN, 0);
	}
	CHECK_EQ(atomic_load(&side->flags), AFU_SIDE_OVERFLOW);
	afu_wake(side, AFU_OUT);
	CHECK_EQ(overflows, 0);
	afu_wake(side, AFU_IN);
	CHECK_EQ(overflows, 1);
	CHECK(overflowed == side);
	for (unsigned int i = 0; i < AFU_CHANNEL_WATCHERS + 2; i++) {
		CHECK_EQ(rung(w[i]), i < AFU_CHANNEL_WATCHERS);
		afu_waiter_drain(w[i]);
	}
	/* a slot that its owner leaves, and one whose waiter is gone, are free again */
	afu_unwatch(side, w[0]->id);
	afu_waiter_put(w[1]);
	afu_watch(side, w[8]->id, AFU_WATCH_IN, 0);
	afu_watch(side, w[9]->id, AFU_WATCH_IN, 0);
	afu_kick(side);
	for (unsigned int i = 2; i < AFU_CHANNEL_WATCHERS + 2; i++)
		CHECK_EQ(rung(w[i]), 1);
	CHECK_EQ(rung(w[0]), 0);
}

/* A waker takes the dead out of the slots. */
static void dead_slots(void)
{
	struct afu_side *side = share(4096);
	struct afu_waiter *w;
	pid_t pid;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	atomic_store(&side->watcher[0], (uint64_t)OWNER << 32 | 500 << 16 | 1);
	atomic_store(&side->watcher[1], (uint64_t)99 << 32 | 1);
	atomic_store(&side->watcher[2], UINT64_MAX);
	atomic_store(&w->word->asleep, 1);
	afu_watch(side, w->id, AFU_WATCH_IN, 0);
	pid = fork_other();
	if (pid == 0) {
		afu_wake(side, AFU_IN);
		tap_leave();
	}
	CHECK_EQ(tap_wait(pid), 0);
	CHECK_EQ(rung(w), 1);
	for (unsigned int i = 0; i < AFU_CHANNEL_WATCHERS; i++)
		CHECK(atomic_load(&side->watcher[i]) == 0 || atomic_load(&side->watcher[i]) == w->id);
}

/*
 * One-shot.  A waker looked, rang, and is about to clear; meanwhile the watcher has
 * taken what there was and asks again.  The waker must leave that announcement.
 */
static void announced_meanwhile(void)
{
	struct afu_side *side = share(4096);
	struct afu_waiter *w;
	uint64_t want;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	afu_watch(side, w->id, AFU_WATCH_OUT, 0);
	want = atomic_load(&side->want);
	CHECK(want & AFU_WATCH_OUT);
	afu_watch(side, w->id, AFU_WATCH_OUT, 0);
	afu_wake_slow(side, want, AFU_OUT);
	CHECK(atomic_load(&side->want) & AFU_WATCH_OUT);
	/* and without a new announcement it goes away */
	afu_wake(side, AFU_OUT);
	CHECK(!(atomic_load(&side->want) & AFU_WATCH_OUT));
	afu_watch(side, w->id, AFU_WATCH_IN, 0);
	afu_wake(side, AFU_IN);
	CHECK(atomic_load(&side->want) & AFU_WATCH_IN);
}

/* What the two ends of the next case share. */
struct traffic {
	struct afu_side side;
	_Alignas(64) _Atomic uint32_t sent, taken;
};

static void send_rounds(struct traffic *t)
{
	for (uint32_t i = 0; i < ROUNDS; i++) {
		while (atomic_load(&t->taken) + 3 < i)
			sched_yield();
		atomic_store_explicit(&t->sent, i + 1, memory_order_release);
		afu_wake(&t->side, AFU_IN);
	}
}

/* A lost bell leaves this asleep, and the case's alarm ends it. */
static void receive_rounds(struct traffic *t, struct afu_waiter *w)
{
	struct pollfd p = { .fd = w->bell_read, .events = POLLIN };

	while (atomic_load(&t->taken) < ROUNDS) {
		uint32_t sent = atomic_load(&t->sent);

		if (sent != atomic_load(&t->taken)) {
			atomic_store(&t->taken, sent);
			continue;
		}
		atomic_fetch_add(&w->word->asleep, 1);
		afu_watch(&t->side, w->id, AFU_WATCH_IN, 0);
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load(&t->sent) == sent) {
			poll(&p, 1, -1);
			afu_waiter_drain(w);
		}
		atomic_fetch_sub(&w->word->asleep, 1);
	}
}

static void *send_thread(void *arg)
{
	send_rounds(arg);
	return NULL;
}

static void between_threads(void)
{
	struct traffic *t = share(4096);
	struct afu_waiter *w;
	pthread_t thread;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	NEED(pthread_create(&thread, NULL, send_thread, t) == 0);
	receive_rounds(t, w);
	pthread_join(thread, NULL);
	CHECK_EQ(atomic_load(&t->taken), ROUNDS);
}

static void between_processes(void)
{
	struct traffic *t = share(4096);
	struct afu_waiter *w;
	pid_t pid;

	set_up();
	w = afu_waiter_get();
	NEED(w != NULL);
	pid = fork_other();
	if (pid == 0) {
		send_rounds(t);
		tap_leave();
	}
	receive_rounds(t, w);
	CHECK_EQ(tap_wait(pid), 0);
	CHECK_EQ(atomic_load(&t->taken), ROUNDS);
}

static const struct tap_case cases[] = {
	{ "only the sleeping are rung", only_the_sleeping },
	{ "rung by another process", from_a_fork },
	{ "a forked child has waiters of its own", forked_state },
	{ "a slot that is used again has another id", generations },
	{ "generations change while another process rings", generations_meanwhile },
	{ "a dead reader is ESRCH", dead_reader },
	{ "a reader that was dead before it was looked up is ESRCH", dead_before_known },
	{ "no SIGPIPE", no_sigpipe },
	{ "no SIGPIPE on an old kernel", no_sigpipe_old_kernel },
	{ "a SIGPIPE that was pending stays", pending_sigpipe },
	{ "a SIGPIPE that was pending stays on an old kernel", pending_old_kernel },
	{ "a full bell does not block", full_bell },
	{ "a bell that can't be fetched now is fetched later", fetch_fails_once },
	{ "as many waiters as there are slots", all_of_them },
	{ "more watchers than slots", overflow },
	{ "dead and forged watchers leave the slots", dead_slots },
	{ "what is announced after the waker looked stays announced", announced_meanwhile },
	{ "no bell is lost between threads", between_threads },
	{ "no bell is lost between processes", between_processes },
};

int main(int argc, char **argv)
{
	return tap_run(cases, sizeof cases / sizeof *cases, 60, argc > 1 ? argv[1] : NULL);
}
