/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Flows of datagrams whose other end or whose co-holder is hostile or dead: what is left behind
 * is put in order, nobody spins or sleeps for ever, and no flow harms another.
 */
#include "base/clock.h"
#include "socket/sock.h"
#include "tap.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { FLOWS = 3, QUEUE = 10 };

/* Two sockets and flows from the first to the second. */
static struct {
	struct afu_sock sender, receiver;
	struct afu_flow flow[FLOWS];
	struct afu_flow *list[FLOWS];
	struct afu_flows out, in;
	struct afu_inbox *inbox;
} w;

static void *shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	NEED(p != MAP_FAILED);
	return p;
}

static void begin_socket(struct afu_sock *s, struct afu_flows *f)
{
	memset(s, 0, sizeof *s);
	s->type = SOCK_DGRAM;
	s->ep = shared(afu_endpoint_size(SOCK_DGRAM));
	s->ep->sndbuf = 212992;
	atomic_store(&s->ep->peek_off, -1);
	s->own = shared(sizeof *s->own);
	atomic_store(&s->flows, f);
}

static void begin(void)
{
	memset(&w, 0, sizeof w);
	begin_socket(&w.sender, &w.out);
	begin_socket(&w.receiver, &w.in);
	w.inbox = shared(sizeof *w.inbox);
	w.out = (struct afu_flows){.n_out = FLOWS, .out = w.list};
	w.in = (struct afu_flows){.n_in = FLOWS, .in = w.list};
	for (unsigned int i = 0; i < FLOWS; i++) {
		struct afu_channel *ch = shared(AFU_CHANNEL_SIZE);
		struct afu_ring ring = afu_channel_ring(ch, 0);
		struct afu_flow *f = &w.flow[i];

		*f = (struct afu_flow){.id = i + 1, .ch = ch, .inbox = w.inbox, .queue_max = QUEUE};
		f->out = (struct afu_way_out){
			ring,	      (void *)((char *)w.sender.ep + AFU_ENDPOINT_TX_AT + AFU_ENDPOINT_SLOT * i),
			&ch->side[0], &ch->side[1],
			f->id,	      0,
			{0}};
		f->in = (struct afu_way_in){
			ring,	      (void *)((char *)w.receiver.ep + AFU_ENDPOINT_RX_AT + AFU_ENDPOINT_SLOT * i),
			&ch->side[1], &ch->side[0],
			f->id,	      0,
			0,	      {0}};
		w.list[i] = f;
	}
}

static struct afu_patience patience(int ms, uint32_t *rounds)
{
	return (struct afu_patience){.nonblocking = ms == 0,
				     .deadline = afu_clock_deadline((int64_t)ms * 1000000),
				     .timed = 1,
				     .rounds = rounds};
}

static ssize_t put(unsigned int i, const char *text)
{
	struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
	struct afu_iter from = {&iov, 1, 0};
	struct afu_sending m = {0};

	return afu_dgram_put(&w.sender, afu_thread(), &w.flow[i], &from, iov.iov_len, &m);
}

static ssize_t receive(char text[16], int ms)
{
	uint32_t rounds = 0;
	struct afu_patience p = patience(ms, &rounds);
	struct iovec iov = {text, 15};
	struct afu_iter to = {&iov, 1, 0};
	struct afu_receiving m = {0};
	ssize_t n;

	memset(text, 0, 16);
	do
		n = afu_dgram_recv(&w.receiver, afu_thread(), &to, 15, &m, &p);
	while (n == -ESTALE);
	return n;
}

static int64_t cpu_ms(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

#define GOT(expected)                                                                                        \
	do {                                                                                                 \
		char got_text[16];                                                                           \
		CHECK_EQ(receive(got_text, 0), (ssize_t)strlen(expected));                                   \
		CHECK(strcmp(got_text, (expected)) == 0);                                                    \
	} while (0)

/* What stands in a ring is no record: its flow is as good as empty, and others go on. */
static void spoiled(void)
{
	char text[16];
	int64_t cpu;

	begin();
	/* a header of this lap of no kind that there is, and one whose length leaves the area */
	atomic_store((_Atomic uint64_t *)(void *)w.flow[0].in.ring.area[0], UINT64_C(5) << 48 | 1);
	atomic_store((_Atomic uint64_t *)(void *)w.flow[1].in.ring.area[0], UINT64_C(1) << 48 | 0x7fffffff);
	CHECK(!afu_dgram_ready(&w.receiver));
	CHECK(!(afu_sock_events(&w.receiver) & 1 /* POLLIN */));
	cpu = cpu_ms();
	CHECK_EQ(receive(text, 300), -EAGAIN);
	CHECK(cpu_ms() - cpu < 100);
	CHECK_EQ(put(2, "good"), 4);
	CHECK(afu_dgram_ready(&w.receiver));
	GOT("good");
	CHECK_EQ(atomic_load(&w.inbox->queued), 0);
}

/* A receiver that says it gave room back and did not: its sender waits, and stops in time. */
static void liar(void)
{
	uint32_t rounds = 0;
	struct afu_patience p = patience(300, &rounds);
	int64_t cpu = cpu_ms();
	ssize_t n;
	int err = 0;

	begin();
	do {
		atomic_store(&w.inbox->queued, 0);
		n = put(0, "x");
	} while (n == 1);
	CHECK_EQ(n, -EAGAIN);
	cpu = cpu_ms();
	p = patience(300, &rounds);
	while (!err && n == -EAGAIN) {
		atomic_store(&w.inbox->queued, 0);
		err = afu_dgram_await_queue(&w.sender, afu_thread(), &w.flow[0], &p);
		n = put(0, "x");
	}
	CHECK_EQ(err, -EAGAIN);
	CHECK(cpu_ms() - cpu < 150);
}

/* A sender whose messages are all the oldest takes turns with the others. */
static void backdater(void)
{
	char text[16];
	int turns = 0, others = 0;

	begin();
	w.flow[0].queue_max = UINT32_MAX; /* no limit */
	CHECK_EQ(put(1, "first"), 5);
	GOT("first");
	for (int i = 0; i < 60; i++) {
		/* written by hand, behind the header: the time */
		uint64_t at = atomic_load(&w.flow[0].out.tx->tail);

		CHECK_EQ(put(0, "old"), 3);
		atomic_store((_Atomic uint64_t *)(void *)(w.flow[0].in.ring.area[at >> 56] +
							  (at & ((UINT64_C(1) << AFU_RING_SMALL_SHIFT) - 1)) +
							  8),
			     1);
	}
	atomic_store(&w.inbox->queued, 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(put(1, "new"), 3);
	while (others < 4 && turns++ < 64) {
		CHECK_EQ(receive(text, 0), 3);
		others += strcmp(text, "new") == 0;
	}
	CHECK(turns < 30);
}

/* The owner of the lock died in a flow that who finds him does not know. */
static void unknown_to_the_finder(void)
{
	_Atomic uint64_t *header;
	struct afu_thread *th = afu_thread();
	uint64_t at;

	begin();
	CHECK_EQ(put(1, "one"), 3);
	at = atomic_load(&w.flow[1].out.tx->tail);
	CHECK_EQ(put(1, "two"), 3);
	/* committed, and not published */
	header = (_Atomic uint64_t *)(void *)(w.flow[1].in.ring.area[0] + at);
	atomic_store(header, 0);
	atomic_store(&w.flow[1].in.ring.mark->counting, 1);
	atomic_store(&w.sender.ep->tx_lock.word, 12345u | FUTEX_OWNER_DIED);
	w.out.n_out = 1;
	CHECK_EQ(afu_sock_lock_tx(&w.sender, th), 0);
	afu_lock_release(&w.sender.ep->tx_lock, th);
	w.out.n_out = FLOWS;
	CHECK_EQ(put(1, "three"), 5);
	CHECK_EQ(atomic_load(&w.flow[1].in.ring.mark->counting), 0);
	GOT("one");
	GOT("two");
	GOT("three");
	/* the same at the other end: taken, and not given back */
	CHECK_EQ(put(2, "four"), 4);
	CHECK_EQ(put(2, "five"), 4);
	atomic_store(&w.flow[2].in.rx->head, 24);
	atomic_store(&w.receiver.ep->rx_lock.word, 12345u | FUTEX_OWNER_DIED);
	w.in.n_in = 1;
	CHECK_EQ(afu_sock_lock_rx(&w.receiver, th), 0);
	afu_lock_release(&w.receiver.ep->rx_lock, th);
	w.in.n_in = FLOWS;
	GOT("five");
	CHECK_EQ(atomic_load(&w.flow[2].in.ring.head->position), 48);
}

static void *receive_one(void *arg)
{
	return (void *)(intptr_t)receive(arg, 5000);
}

/* Senders died between counting and publishing, more often than the queue is long. */
static void counted_by_the_dead(void)
{
	uint32_t rounds = 0;
	struct afu_patience p = patience(3000, &rounds);
	char text[16];
	pthread_t thread;
	void *got;

	begin();
	atomic_store(&w.inbox->queued, 5 * QUEUE);
	CHECK_EQ(put(0, "x"), -EAGAIN);
	/* a receiver that polls */
	CHECK(!(afu_sock_events(&w.receiver) & 1 /* POLLIN */));
	CHECK_EQ(put(0, "x"), 1);
	GOT("x");
	/* one that sleeps already */
	NEED(pthread_create(&thread, NULL, receive_one, text) == 0);
	usleep(50000);
	atomic_store(&w.inbox->queued, 5 * QUEUE);
	CHECK_EQ(put(0, "y"), -EAGAIN);
	CHECK_EQ(afu_dgram_await_queue(&w.sender, afu_thread(), &w.flow[0], &p), 0);
	CHECK_EQ(put(0, "y"), 1);
	NEED(pthread_join(thread, &got) == 0);
	CHECK_EQ((intptr_t)got, 1);
}

static const struct tap_case cases[] = {
	{"a flow that is spoiled is empty, and others go on", spoiled},
	{"a sender to a receiver that lies stops in time", liar},
	{"a sender that backdates takes turns", backdater},
	{"an owner died in a flow that is not known", unknown_to_the_finder},
	{"what the dead counted is put right", counted_by_the_dead},
};

int main(int argc, char **argv)
{
	return tap_run(cases, sizeof cases / sizeof *cases, 20, argc > 1 ? argv[1] : NULL);
}
