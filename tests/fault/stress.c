/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Producers and a consumer on one channel, for some seconds each in several kinds of
 * weather: stress [SECONDS [NAME]]
 *
 * Every record names who made it, carries a number that rises by one for its maker,
 * and a content that follows from the two.  So the consumer sees what is torn, lost,
 * doubled or out of order.  Producers say how many records they have put: of one that
 * is killed exactly those arrive, or one more.
 *
 * This process starts the others, disturbs them, and plays the broker: it kicks the
 * consumer when a producer is gone.  It is the watchdog too: when nothing moves and
 * everybody sleeps, a wake-up was lost, and it prints the words.  That takes seconds
 * of silence in which every thread is seen asleep; a slow machine is no failure.
 */
#include "base/clock.h"
#include "base/lock.h"
#include "base/memory.h"
#include "channel/channel.h"
#include "channel/waiter.h"
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT 60000u /* bytes in the ring from which on a producer waits */
#define RECORD_MAX 20000u
#define MAKERS 60000
#define PROCESSES_MAX 4
#define THREADS_MAX 4
#define SILENCE_NS INT64_C(4000000000)
#define HANG_NS INT64_C(60000000000)

enum { CONSUMER = 0, PRODUCER = 1 }; /* the sides; the ring goes from 1 to 0 */

struct weather {
	const char *name;
	unsigned int processes, threads; /* that produce */
	int stops, kills, bells;
};

struct member {
	_Atomic int pid, page, bell; /* numbers of descriptors in that process */
};

/* What the processes share beside the channel. */
struct shared {
	_Alignas(64) struct afu_lock tx_lock;
	struct afu_ring_tx tx;
	_Alignas(64) struct afu_lock rx_lock;
	struct afu_ring_rx rx;
	_Alignas(64) _Atomic uint32_t stop;
	_Atomic uint32_t failed;
	_Atomic uint64_t received;
	char text[256]; /* of the consumer's first complaint */
	struct member member[MAKERS];
	_Alignas(64) _Atomic uint64_t put[MAKERS];
	uint64_t got[MAKERS];
};

struct record {
	uint32_t maker, length;
	uint64_t number;
};

static const struct weather *now;
static unsigned int seconds = 2;
static struct shared *s;
static int channel_fd;
static struct afu_channel *ch;
static struct afu_ring ring;
static __thread char buffer[RECORD_MAX + 16];

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x9e3779b97f4a7c15);
	return x ^ x >> 29;
}

static uint32_t length_of(uint32_t maker, uint64_t number)
{
	uint64_t r = mix(number * 65599 + maker);
	uint32_t limit = r % 256 == 0 ? RECORD_MAX : r % 32 == 0 ? 3000 : 200;

	return (uint32_t)(sizeof(struct record) + (r >> 16) % (limit - sizeof(struct record)));
}

static char content(uint64_t seed, uint32_t i)
{
	return (char)(seed >> (i / 8 % 8 * 8)) + (char)(i * 7);
}

static uint32_t make_record(uint32_t maker, uint64_t number)
{
	struct record head = { maker, length_of(maker, number), number };
	uint64_t seed = mix(number + ((uint64_t)maker << 40));

	memcpy(buffer, &head, sizeof head);
	for (uint32_t i = sizeof head; i < head.length; i++)
		buffer[i] = content(seed, i);
	return head.length;
}

/* Waiting by a bell: the broker's part is played by /proc. */
static int announce(uint32_t index, int bell_write)
{
	return 0;
}

static int fetch(uint64_t id, int *page, int *bell_write)
{
	const struct member *m = &s->member[(id >> 32) % MAKERS];
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/fd/%d", atomic_load(&m->pid), atomic_load(&m->page));
	*page = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof path, "/proc/%d/fd/%d", atomic_load(&m->pid), atomic_load(&m->bell));
	*bell_write = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (*page < 0 || *bell_write < 0) {
		close(*page);
		close(*bell_write);
		return -ESRCH;
	}
	return 0;
}

static const struct afu_waiter_ops ops = { announce, fetch };

static struct afu_waiter *join_bells(uint32_t process)
{
	struct member *m = &s->member[process];
	struct afu_waiter *w;
	int page;

	afu_waiter_ops = &ops;
	afu_waiters_process(process);
	if (!now->bells)
		return NULL;
	if (afu_waiters_start(&page) < 0)
		_exit(3);
	w = afu_waiter_get();
	if (!w)
		_exit(3);
	atomic_store(&m->page, page);
	atomic_store(&m->bell, w->bell_write);
	atomic_store(&m->pid, getpid());
	return w;
}

static void attach(void)
{
	afu_thread_forked();
	if (afu_channel_map(channel_fd, 0, &ch) < 0)
		_exit(3);
	ring = afu_channel_ring(ch, PRODUCER);
}

/* Sleeps until ready(), or thinks so. */
static void sleep_on(struct afu_wait *w, struct afu_waiter *bell, uint32_t watch)
{
	struct pollfd p;

	if (!bell) {
		if (afu_wait(afu_thread(), w) < 0)
			_exit(4);
		return;
	}
	p = (struct pollfd){ .fd = bell->bell_read, .events = POLLIN };
	afu_watch(w->own, bell->id, watch, 0);
	atomic_fetch_add(&bell->word->asleep, 1);
	atomic_thread_fence(memory_order_seq_cst); /* before the look that follows */
	if (!w->ready(w->arg)) {
		poll(&p, 1, -1);
		afu_waiter_drain(bell);
	}
	atomic_fetch_sub(&bell->word->asleep, 1);
}

/* Enters and takes the lock, however long its owner is stopped. */
static void lock_tx(struct afu_thread *th)
{
	int got;

	afu_thread_enter(th);
	while ((got = afu_lock_acquire(&s->tx_lock, th)) < 0) {
		afu_thread_leave(th);
		afu_thread_enter(th);
	}
	if (got > 0) {
		afu_ring_recover_tx(&ring, &s->tx);
		afu_wake(&ch->side[CONSUMER], AFU_IN);
	}
}

static void unlock_tx(struct afu_thread *th)
{
	afu_lock_release(&s->tx_lock, th);
	afu_thread_leave(th);
}

static int put(uint32_t n)
{
	struct afu_thread *th = afu_thread();
	struct iovec iov = { buffer, n };
	struct afu_iter from = { &iov, 1, 0 };
	int err = -EAGAIN;

	lock_tx(th);
	if (afu_ring_used(&ring, &s->tx) < LIMIT)
		err = afu_ring_put(&ring, &s->tx, NULL, &from, n, 0, n);
	unlock_tx(th);
	return err;
}

static int room_soon(void *arg)
{
	return 2 * afu_ring_used(&ring, &s->tx) <= LIMIT;
}

/* As the socket room: a wake-up is worth it when a quarter of the limit is left. */
static void set_wake_at(void)
{
	uint64_t released = atomic_load_explicit(&ring.head->released, memory_order_relaxed);
	uint64_t used = afu_ring_used(&ring, &s->tx), keep = LIMIT / 4;

	atomic_store_explicit(&ch->side[PRODUCER].wake_at, used > keep ? released + used - keep : released,
			      memory_order_relaxed);
}

static void produce(uint32_t maker, struct afu_waiter *bell)
{
	struct afu_wait w = { .own = &ch->side[PRODUCER], .peer = &ch->side[CONSUMER], .bit = AFU_OUT,
			      .ready = room_soon, .deadline = AFU_NEVER };

	afu_publish_cpu(w.own);
	for (uint64_t number = 0; !atomic_load_explicit(&s->stop, memory_order_relaxed); number++) {
		uint32_t n = make_record(maker, number);

		while (put(n) == -EAGAIN) {
			set_wake_at();
			sleep_on(&w, bell, AFU_WATCH_OUT);
		}
		atomic_store_explicit(&s->put[maker], number + 1, memory_order_release);
		afu_wake(&ch->side[CONSUMER], AFU_IN);
	}
}

static void *produce_thread(void *arg)
{
	produce((uint32_t)(uintptr_t)arg, NULL);
	return NULL;
}

static void be_producer(uint32_t maker)
{
	pthread_t thread[THREADS_MAX];
	struct afu_waiter *bell;

	attach();
	bell = join_bells(maker);
	for (unsigned int i = 1; i < now->threads; i++) {
		if (pthread_create(&thread[i], NULL, produce_thread, (void *)(uintptr_t)(maker + i)))
			_exit(3);
	}
	produce(maker, bell);
	for (unsigned int i = 1; i < now->threads; i++)
		pthread_join(thread[i], NULL);
	_exit(0);
}

static void complain(const char *what, const struct record *r, uint64_t n)
{
	if (!atomic_exchange(&s->failed, 1))
		snprintf(s->text, sizeof s->text, "%s: maker %u, number %llu, length %u; %llu", what, r->maker,
			 (unsigned long long)r->number, r->length, (unsigned long long)n);
}

static void check_record(uint32_t n)
{
	struct record r;
	uint64_t seed;

	memcpy(&r, buffer, sizeof r);
	if (n < sizeof r || r.maker >= MAKERS || r.length != n || n != length_of(r.maker, r.number)) {
		complain("no record of ours", &r, n);
		return;
	}
	if (r.number != s->got[r.maker])
		complain("out of order", &r, s->got[r.maker]);
	s->got[r.maker] = r.number + 1;
	seed = mix(r.number + ((uint64_t)r.maker << 40));
	for (uint32_t i = sizeof r; i < n; i++) {
		if (buffer[i] != content(seed, i)) {
			complain("torn", &r, i);
			return;
		}
	}
}

static void give_room(void)
{
	struct afu_side *side = &ch->side[PRODUCER];
	uint64_t want;

	atomic_thread_fence(memory_order_seq_cst);
	want = atomic_load_explicit(&side->want, memory_order_relaxed);
	if ((want & (AFU_OUT | AFU_WATCH_OUT)) &&
	    s->rx.released >= atomic_load_explicit(&side->wake_at, memory_order_relaxed))
		afu_wake_slow(side, want, AFU_OUT);
}

/* One record; 0 if there was none. */
static int take(void)
{
	struct afu_thread *th = afu_thread();
	struct afu_ring_record rec;
	struct iovec iov = { buffer, sizeof buffer };
	struct afu_iter to = { &iov, 1, 0 };
	int found;

	afu_thread_enter(th);
	if (afu_lock_acquire(&s->rx_lock, th) != 0)
		complain("the only consumer can't have its lock", &(struct record){ 0 }, s->rx_lock.word);
	found = afu_ring_front(&ring, &s->rx, &rec);
	if (found > 0 && rec.length <= sizeof buffer) {
		(void)afu_ring_read(&ring, &rec, 0, &to, rec.length);
		afu_ring_take(&ring, &s->rx, &rec, rec.length);
	}
	afu_lock_release(&s->rx_lock, th);
	afu_thread_leave(th);
	if (found < 0 || (found && rec.length > sizeof buffer)) {
		complain("no record at all", &(struct record){ 0 }, 0);
		return 0;
	}
	if (!found)
		return 0;
	give_room();
	check_record(rec.length);
	return 1;
}

static int data_soon(void *arg)
{
	return afu_ring_ready(&ring, &s->rx) ||
	       (atomic_load_explicit(&ch->side[CONSUMER].flags, memory_order_acquire) & AFU_SIDE_RSHUT);
}

static void be_consumer(void)
{
	struct afu_wait w = { .own = NULL, .bit = AFU_IN, .ready = data_soon, .deadline = AFU_NEVER };
	struct afu_waiter *bell;

	attach();
	bell = join_bells(MAKERS - 1);
	w.own = &ch->side[CONSUMER];
	w.peer = &ch->side[PRODUCER];
	afu_publish_cpu(w.own);
	for (;;) {
		uint32_t flags = atomic_load_explicit(&w.own->flags, memory_order_acquire);

		if (take()) {
			atomic_fetch_add_explicit(&s->received, 1, memory_order_relaxed);
			w.rounds = 0;
		} else if ((flags & AFU_SIDE_RSHUT) || atomic_load(&s->failed)) {
			_exit(0);
		} else {
			sleep_on(&w, bell, AFU_WATCH_IN);
		}
	}
}

/* Whether every thread of the process sleeps. */
static int sleeps(pid_t pid)
{
	char path[300], line[512];
	struct dirent *entry;
	int all = 1;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (all && (entry = readdir(dir)) != NULL) {
		const char *state;
		FILE *f;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "/proc/%d/task/%s/stat", (int)pid, entry->d_name);
		f = fopen(path, "re");
		state = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
		all = state && state[1] == ' ' && state[2] == 'S';
		if (f)
			fclose(f);
	}
	closedir(dir);
	return all;
}

static void print_words(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		const struct afu_side *x = &ch->side[i];

		tap_note("%s: want 0x%llx seq %u flags 0x%x wake_at %llu watcher 0x%llx",
			 i == CONSUMER ? "consumer" : "producer", (unsigned long long)x->want, x->seq, x->flags,
			 (unsigned long long)x->wake_at, (unsigned long long)x->watcher[0]);
	}
	tap_note("tx: lock 0x%x tail 0x%llx seen 0x%llx charged %llu, %llu", s->tx_lock.word,
		 (unsigned long long)s->tx.tail, (unsigned long long)s->tx.seen,
		 (unsigned long long)s->tx.charged_before, (unsigned long long)s->tx.charged_after);
	tap_note("rx: lock 0x%x head 0x%llx released %llu", s->rx_lock.word, (unsigned long long)s->rx.head,
		 (unsigned long long)s->rx.released);
	tap_note("head: position 0x%llx released %llu; used %llu; ready %d",
		 (unsigned long long)ring.head->position, (unsigned long long)ring.head->released,
		 (unsigned long long)afu_ring_used(&ring, &s->tx), afu_ring_ready(&ring, &s->rx));
}

struct crowd {
	pid_t consumer, producer[PROCESSES_MAX];
	uint32_t maker[PROCESSES_MAX], makers; /* given out so far */
	uint64_t last;                         /* received when last looked */
	int64_t since;
	unsigned int disturbed;
};

static void start_producer(struct crowd *c, unsigned int i)
{
	c->maker[i] = c->makers;
	c->makers += now->threads;
	c->producer[i] = tap_fork();
	NEED(c->producer[i] >= 0);
	if (c->producer[i] == 0)
		be_producer(c->maker[i]);
}

/* 0 as long as somebody may still move. */
static int stuck(struct crowd *c)
{
	uint64_t received = atomic_load(&s->received);
	int64_t ns = afu_clock_ns();
	int all;

	if (received != c->last || atomic_load(&s->failed)) {
		c->last = received;
		c->since = ns;
		return 0;
	}
	if (ns - c->since < SILENCE_NS)
		return 0;
	all = sleeps(c->consumer);
	for (unsigned int i = 0; i < now->processes; i++)
		all = all && (!c->producer[i] || sleeps(c->producer[i]));
	if (!all && ns - c->since < HANG_NS)
		return 0;
	tap_failed(__FILE__, __LINE__, "nothing moves: %s, after %llu records",
		   all ? "everybody sleeps: a wake-up was lost" : "somebody runs for nothing",
		   (unsigned long long)received);
	print_words();
	return 1;
}

static void stop_somebody(struct crowd *c)
{
	unsigned int i = (unsigned int)tap_below(now->processes + 1);
	pid_t pid = i == now->processes ? c->consumer : c->producer[i];

	kill(pid, SIGSTOP);
	usleep((useconds_t)tap_below(2000));
	kill(pid, SIGCONT);
}

static void kill_somebody(struct crowd *c)
{
	unsigned int i = (unsigned int)tap_below(now->processes);

	if (c->makers + now->threads >= MAKERS - 1)
		return;
	kill(c->producer[i], SIGKILL);
	tap_wait(c->producer[i]);
	afu_kick(&ch->side[CONSUMER]);
	start_producer(c, i);
}

/* Ends the producers, then the consumer, which drains first.  0 if that went well. */
static void finish(struct crowd *c)
{
	struct afu_thread *th = afu_thread();

	atomic_store(&s->stop, 1);
	for (unsigned int i = 0; i < now->processes; i++) {
		int status;

		while (c->producer[i] && waitpid(c->producer[i], &status, WNOHANG) == 0) {
			if (stuck(c)) {
				tap_kill(c->producer[i]);
				break;
			}
			usleep(1000);
		}
		c->producer[i] = 0;
	}
	lock_tx(th);
	unlock_tx(th);
	atomic_fetch_or(&ch->side[CONSUMER].flags, AFU_SIDE_RSHUT);
	afu_kick(&ch->side[CONSUMER]);
	for (int status; waitpid(c->consumer, &status, WNOHANG) == 0;) {
		if (stuck(c)) {
			tap_kill(c->consumer);
			return;
		}
		usleep(1000);
	}
}

static void check_counts(const struct crowd *c)
{
	uint64_t sum = 0;

	for (uint32_t m = 0; m < c->makers; m++) {
		uint64_t put_by = atomic_load(&s->put[m]);

		sum += s->got[m];
		if (s->got[m] != put_by && !(now->kills && s->got[m] == put_by + 1))
			tap_failed(__FILE__, __LINE__, "maker %u put %llu, and %llu arrived", m,
				   (unsigned long long)put_by, (unsigned long long)s->got[m]);
	}
	CHECK_EQ(sum, atomic_load(&s->received));
	CHECK_EQ(afu_ring_used(&ring, &s->tx), 0);
	CHECK(!afu_ring_unread(&ring));
}

static void run(const struct weather *w)
{
	struct crowd c = { 0 };
	int64_t end, ns;

	now = w;
	channel_fd = afu_memory_make("afunix:stress", AFU_CHANNEL_SIZE);
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(channel_fd >= 0 && s != MAP_FAILED);
	NEED(afu_channel_map(channel_fd, 0, &ch) == 0);
	ring = afu_channel_ring(ch, PRODUCER);
	afu_thread();
	/* this process rings too, for the broker: under a number that nobody has */
	afu_waiter_ops = &ops;
	afu_waiters_process(MAKERS);
	c.consumer = tap_fork();
	NEED(c.consumer >= 0);
	if (c.consumer == 0)
		be_consumer();
	for (unsigned int i = 0; i < now->processes; i++)
		start_producer(&c, i);
	c.since = afu_clock_ns();
	end = c.since + (int64_t)seconds * 1000000000;
	for (ns = 0; ns < end && !atomic_load(&s->failed) && !stuck(&c); ns = afu_clock_ns()) {
		usleep(1 + (useconds_t)tap_below(3000));
		if (now->stops)
			stop_somebody(&c);
		if (now->kills)
			kill_somebody(&c);
		c.disturbed++;
	}
	if (!tap_failures())
		finish(&c);
	if (atomic_load(&s->failed))
		tap_failed(__FILE__, __LINE__, "%s", s->text);
	else if (!tap_failures())
		check_counts(&c);
	tap_note("%llu records%s%s, %u times", (unsigned long long)atomic_load(&s->received),
		 now->stops ? ", stopped" : "", now->kills ? ", killed" : "",
		 now->stops || now->kills ? c.disturbed : 0);
}

#define WEATHER(id, title, ...)                                                                              \
	static void id(void)                                                                                 \
	{                                                                                                    \
		static const struct weather w = { title, __VA_ARGS__ };                                      \
		run(&w);                                                                                     \
	}
WEATHER(calm, "calm", 1, 1, 0, 0, 0)
WEATHER(threads, "threads", 1, THREADS_MAX, 0, 0, 0)
WEATHER(processes, "processes", 3, 2, 0, 0, 0)
WEATHER(stops, "stops", 2, 1, 1, 0, 0)
WEATHER(kills, "kills", 3, 1, 0, 1, 0)
WEATHER(bells, "bells", 1, 1, 0, 0, 1)
WEATHER(bells_stops, "bells, stops", 1, 1, 1, 0, 1)

static const struct tap_case cases[] = {
	{ "calm", calm },
	{ "several producing threads", threads },
	{ "several producing processes of several threads", processes },
	{ "everybody stopped and continued", stops },
	{ "producers killed and replaced", kills },
	{ "both ends wait by bells", bells },
	{ "both ends wait by bells, stopped and continued", bells_stops },
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seconds = (unsigned int)strtoul(argv[1], NULL, 10);
	return tap_run(cases, sizeof cases / sizeof *cases, seconds + 100, argc > 2 ? argv[2] : NULL);
}
