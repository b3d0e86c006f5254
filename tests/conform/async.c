/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Signals for readiness: O_ASYNC, FIOASYNC, owners and signals of one's choice. */
#include "conform.h"

#define EVENTS_MAX 64

static struct {
	int sig, fd, code;
	long band;
} events[EVENTS_MAX];
static _Atomic int n_events, n_taken;

static void note(int sig, siginfo_t *info, void *context)
{
	int i = atomic_load(&n_events);

	(void)context;
	if (i < EVENTS_MAX) {
		events[i].sig = sig;
		events[i].fd = info->si_fd;
		events[i].code = info->si_code;
		events[i].band = info->si_band;
	}
	atomic_store(&n_events, i + 1);
}

static int queued(void)
{
	return SIGRTMIN + 3;
}

static void listen_to(int sig)
{
	struct sigaction act = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};

	sigemptyset(&act.sa_mask);
	OK(sigaction(sig, &act, NULL));
	atomic_store(&n_events, 0);
	atomic_store(&n_taken, 0);
}

static void make_async(int fd, bool on)
{
	int flags = OK(fcntl(fd, F_GETFL));

	OK(fcntl(fd, F_SETFL, on ? flags | O_ASYNC : flags & ~O_ASYNC));
}

/* The usual way: signals that are queued and tell what they are about. */
static void signal_me(int fd)
{
	OK(fcntl(fd, F_SETOWN, getpid()));
	OK(fcntl(fd, F_SETSIG, queued()));
	make_async(fd, true);
}

static void next_event(const char *file, int line, int fd, int code, long band)
{
	int i = atomic_load(&n_taken);

	for (int ms = 0; atomic_load(&n_events) <= i && ms < 1000; ms++)
		poll(NULL, 0, 1);
	if (atomic_load(&n_events) <= i)
		conform_fail(file, line, "no signal");
	conform_eq(file, line, "si_code", events[i].code, 0, "the code", code);
	conform_eq(file, line, "si_fd", events[i].fd, 0, "the descriptor", fd);
	conform_eq(file, line, "si_band", events[i].band, 0, "the band", band);
	atomic_store(&n_taken, i + 1);
}
#define EVENT_IN(fd) next_event(HERE, fd, POLL_IN, POLLIN | POLLRDNORM)
#define EVENT_OUT(fd) next_event(HERE, fd, POLL_OUT, POLLOUT | POLLWRNORM | POLLWRBAND)
#define EVENT_HUP(fd) next_event(HERE, fd, POLL_HUP, POLLHUP | POLLERR)
#define EVENT_ERR(fd) next_event(HERE, fd, POLL_ERR, POLLERR)
/* Whoever causes a signal has sent it when its call returns. */
#define NO_EVENT() EQ(atomic_load(&n_events), atomic_load(&n_taken))

static void on_type(int type, void (*body)(int sv[2]))
{
	listen_to(queued());
	if (type == SOCK_DGRAM)
		run_on_named(type, body);
	else
		run_on_connection(type, body);
}

#define CASE_ASYNC(name, case_flags)                                                                         \
	static void name##_on(int sv[2]);                                                                    \
	CASE(name##_stream, case_flags)                                                                      \
	{                                                                                                    \
		on_type(SOCK_STREAM, name##_on);                                                             \
	}                                                                                                    \
	CASE(name##_dgram, case_flags)                                                                       \
	{                                                                                                    \
		on_type(SOCK_DGRAM, name##_on);                                                              \
	}                                                                                                    \
	CASE(name##_seqpacket, case_flags)                                                                   \
	{                                                                                                    \
		on_type(SOCK_SEQPACKET, name##_on);                                                          \
	}                                                                                                    \
	static void name##_on(int sv[2])

static bool is_dgram(int fd)
{
	return get_int_option(fd, SO_TYPE) == SOCK_DGRAM;
}

CASE_ASYNC(async_tells_of_each_message, 0)
{
	signal_me(sv[1]);
	NO_EVENT();
	for (int i = 0; i < 3; i++) {
		put(sv[0], "x");
		EVENT_IN(sv[1]);
	}
	EQ(read_one(sv[1]), 1);
	put(sv[0], "x");
	EVENT_IN(sv[1]);
	/* What one does oneself is no event. */
	put(sv[1], "y");
	EQ(read_one(sv[0]), 1);
	NO_EVENT();
}

CASE_ASYNC(async_says_nothing_of_what_was_there_before, 0)
{
	put(sv[0], "x");
	signal_me(sv[1]);
	NO_EVENT();
	put(sv[0], "x");
	EVENT_IN(sv[1]);
}

CASE_ASYNC(async_needs_flag_and_owner, 0)
{
	OK(fcntl(sv[1], F_SETSIG, queued()));
	make_async(sv[1], true);
	put(sv[0], "x");
	NO_EVENT();
	OK(fcntl(sv[1], F_SETOWN, getpid()));
	put(sv[0], "x");
	EVENT_IN(sv[1]);
	make_async(sv[1], false);
	put(sv[0], "x");
	NO_EVENT();
	make_async(sv[1], true);
	put(sv[0], "x");
	EVENT_IN(sv[1]);
	OK(fcntl(sv[1], F_SETOWN, 0));
	put(sv[0], "x");
	NO_EVENT();
}

CASE_ASYNC(async_by_ioctl, 0)
{
	int on = 1, me = getpid();

	OK(fcntl(sv[1], F_SETSIG, queued()));
	OK(ioctl(sv[1], FIOSETOWN, &me));
	OK(ioctl(sv[1], FIOASYNC, &on));
	TRUE(fcntl(sv[1], F_GETFL) & O_ASYNC);
	put(sv[0], "x");
	EVENT_IN(sv[1]);
	on = 0;
	OK(ioctl(sv[1], FIOASYNC, &on));
	put(sv[0], "x");
	NO_EVENT();
}

CASE_ASYNC(async_without_a_signal_of_ones_own, 0)
{
	listen_to(SIGIO);
	OK(fcntl(sv[1], F_SETOWN, getpid()));
	make_async(sv[1], true);
	put(sv[0], "x");
	EQ(atomic_load(&n_events), 1);
	EQ(events[0].sig, SIGIO);
	EQ(events[0].code, SI_KERNEL);
	EQ(events[0].fd, 0);
	put(sv[0], "x");
	EQ(atomic_load(&n_events), 2);
}

CASE_ASYNC(async_for_ever, 0)
{
	/* More than any pipe that stands behind it could take. */
	listen_to(SIGIO);
	OK(fcntl(sv[1], F_SETOWN, getpid()));
	make_async(sv[1], true);
	for (int i = 0; i < 10000; i++) {
		put(sv[0], "x");
		EQ(read_one(sv[1]), 1);
	}
	EQ(atomic_load(&n_events), 10000);
}

CASE_ASYNC(async_of_room, 0)
{
	int n;

	if (is_dgram(sv[0])) {
		int size = 4608;

		OK(setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
	}
	signal_me(sv[0]);
	set_nonblocking(sv[0], true);
	/* Room that nobody asked for is no event. */
	put(sv[0], "x");
	EQ(read_one(sv[1]), 1);
	NO_EVENT();
	n = fill_messages(sv[0], NULL, 1000);
	NO_EVENT();
	for (int i = 0; i < n; i++)
		EQ(recv(sv[1], (char[1000]){0}, 1000, 0), 1000);
	EVENT_OUT(sv[0]);
	NO_EVENT();
	/* And not again. */
	put(sv[0], "x");
	EQ(read_one(sv[1]), 1);
	NO_EVENT();
}

CASE(async_of_a_full_queue_dgram, 0)
{
	struct name name = abstract_name("full");
	int to, from, n;

	need_default_queue();
	listen_to(queued());
	to = bound_to(SOCK_DGRAM, &name);
	from = connect_to(SOCK_DGRAM, &name);
	signal_me(from);
	n = fill_messages(from, NULL, 1);
	TRUE(n > 0);
	EQ(take_messages(to), n);
	/* Only the sender's own buffer counts. */
	NO_EVENT();
	OK(close(to));
	OK(close(from));
}

CASE_ASYNC(async_of_a_peer_that_shuts_writing, 0)
{
	bool dgram = is_dgram(sv[0]);

	signal_me(sv[1]);
	OK(shutdown(sv[0], SHUT_RD));
	NO_EVENT();
	OK(shutdown(sv[0], SHUT_WR));
	if (!dgram)
		EVENT_IN(sv[1]);
	NO_EVENT();
	close_end(&sv[0]);
	if (!dgram)
		EVENT_HUP(sv[1]);
	NO_EVENT();
}

CASE_ASYNC(async_of_a_peer_that_shuts_both, 0)
{
	bool dgram = is_dgram(sv[0]);

	signal_me(sv[1]);
	OK(shutdown(sv[0], SHUT_RDWR));
	if (!dgram)
		EVENT_HUP(sv[1]);
	NO_EVENT();
}

CASE_ASYNC(async_of_ones_own_shutdown, 0)
{
	signal_me(sv[1]);
	OK(shutdown(sv[1], SHUT_RDWR));
	NO_EVENT();
}

CASE_ASYNC(async_of_a_peer_that_closes, 0)
{
	bool dgram = is_dgram(sv[0]);

	signal_me(sv[1]);
	close_end(&sv[0]);
	if (!dgram)
		EVENT_HUP(sv[1]);
	NO_EVENT();
}

CASE_ASYNC(async_of_a_reset, 0)
{
	bool dgram = is_dgram(sv[0]);

	signal_me(sv[1]);
	put(sv[1], "unread");
	close_end(&sv[0]);
	if (!dgram)
		EVENT_HUP(sv[1]);
	NO_EVENT();
}

CASE_ASYNC(async_names_the_number_that_was_used, 0)
{
	int copy = OK(dup(sv[1]));

	signal_me(copy);
	put(sv[0], "x");
	EVENT_IN(copy);
	/* One description, one flag. */
	TRUE(fcntl(sv[1], F_GETFL) & O_ASYNC);
	OK(close(copy));
	put(sv[0], "x");
	EVENT_IN(copy);
}

CASE_ASYNC(async_to_a_group, 0)
{
	OK(fcntl(sv[1], F_SETOWN, -getpgrp()));
	OK(fcntl(sv[1], F_SETSIG, queued()));
	make_async(sv[1], true);
	put(sv[0], "x");
	EVENT_IN(sv[1]);
}

CASE_ASYNC(async_to_a_thread, 0)
{
	struct f_owner_ex owner = {F_OWNER_TID, gettid()};

	OK(fcntl(sv[1], F_SETOWN_EX, &owner));
	OK(fcntl(sv[1], F_SETSIG, queued()));
	make_async(sv[1], true);
	put(sv[0], "x");
	EVENT_IN(sv[1]);
}

CASE_ASYNC(async_changes_its_signal, 0)
{
	int other = queued() + 1;

	signal_me(sv[1]);
	put(sv[0], "x");
	EVENT_IN(sv[1]);
	listen_to(other);
	OK(fcntl(sv[1], F_SETSIG, other));
	put(sv[0], "x");
	EVENT_IN(sv[1]);
	EQ(events[0].sig, other);
}

CASE_ASYNC(async_while_poll_waits, 0)
{
	struct pollfd p = {.fd = sv[1], .events = POLLIN};
	struct actor t;

	signal_me(sv[1]);
	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	put(sv[0], "x");
	actor_join(&t);
	EVENT_IN(sv[1]);
	NO_EVENT();
}

/* With a connection. */
static void async_of_a_listener(int type)
{
	struct name name = abstract_name("async");
	int l, c, a;

	listen_to(queued());
	l = listen_at(type, &name, 5);
	signal_me(l);
	c = connect_to(type, &name);
	EVENT_IN(l);
	a = OK(accept(l, NULL, NULL));
	NO_EVENT();
	/* Neither flag nor owner are inherited. */
	EQ(fcntl(a, F_GETFL) & O_ASYNC, 0);
	EQ(fcntl(a, F_GETOWN), 0);
	put(c, "x");
	NO_EVENT();
	OK(close(a));
	OK(close(c));
	OK(shutdown(l, SHUT_RDWR));
	NO_EVENT();
	OK(close(l));
}

CASE(async_of_a_listener_stream, 0)
{
	async_of_a_listener(SOCK_STREAM);
}

CASE(async_of_a_listener_seqpacket, 0)
{
	async_of_a_listener(SOCK_SEQPACKET);
}

/* Set before there is anything to tell of. */
static void async_from_the_start(int type)
{
	struct name name = abstract_name("async");
	int l = unix_socket(type), c = unix_socket(type), a;

	listen_to(queued());
	signal_me(l);
	signal_me(c);
	OK(bind(l, NAME(&name)));
	OK(listen(l, 5));
	NO_EVENT();
	OK(connect(c, NAME(&name)));
	EVENT_IN(l);
	NO_EVENT();
	a = OK(accept(l, NULL, NULL));
	NO_EVENT();
	put(a, "x");
	EVENT_IN(c);
	OK(close(a));
	EVENT_HUP(c);
	NO_EVENT();
	OK(close(l));
	OK(close(c));
}

CASE(async_from_the_start_stream, 0)
{
	async_from_the_start(SOCK_STREAM);
}

CASE(async_from_the_start_seqpacket, 0)
{
	async_from_the_start(SOCK_SEQPACKET);
}

CASE(async_from_everybody_dgram, 0)
{
	struct name name = abstract_name("everybody");
	int to = unix_socket(SOCK_DGRAM), from[3];

	listen_to(queued());
	signal_me(to);
	OK(bind(to, NAME(&name)));
	/* Senders that were never heard of; the receiver makes no call meanwhile. */
	for (int i = 0; i < 3; i++) {
		from[i] = unix_socket(SOCK_DGRAM);
		EQ(send_to(from[i], &name, "x"), 1);
		EVENT_IN(to);
		EQ(send_to(from[i], &name, "x"), 1);
		EVENT_IN(to);
		NO_EVENT();
	}
	EQ(take_messages(to), 6);
	for (int i = 0; i < 3; i++)
		OK(close(from[i]));
	NO_EVENT();
	OK(close(to));
}

CASE(async_of_a_peer_that_turns_away_dgram, 0)
{
	struct name a = abstract_name("a"), b = abstract_name("b");
	int one, other;

	listen_to(queued());
	one = bound_to(SOCK_DGRAM, &a);
	other = bound_to(SOCK_DGRAM, &b);
	OK(connect(one, NAME(&b)));
	OK(connect(other, NAME(&a)));
	signal_me(one);
	put(one, "unread");
	put(other, "unread");
	EVENT_IN(one);
	dissolve(other);
	EVENT_ERR(one);
	NO_EVENT();
	OK(close(one));
	OK(close(other));
}

static void send_one(void *arg)
{
	put(*(int *)arg, "x");
}

CASE_ASYNC(async_from_another_process, NEEDS_PROCESSES)
{
	signal_me(sv[1]);
	EXITS(spawn(send_one, &sv[0]), 0);
	EVENT_IN(sv[1]);
	NO_EVENT();
}

struct shared {
	int *sv;
	struct latch ready, go;
};

static void become_owner(void *arg)
{
	struct shared *s = arg;

	signal_me(s->sv[1]);
	latch_open(&s->ready);
	latch_pass(&s->go);
	EVENT_IN(s->sv[1]);
	NO_EVENT();
}

CASE_ASYNC(async_of_a_child, NEEDS_PROCESSES)
{
	struct shared s = {.sv = sv};
	pid_t pid;

	/* One description, one owner: the child takes over. */
	signal_me(sv[1]);
	latch_init(&s.ready);
	latch_init(&s.go);
	pid = spawn(become_owner, &s);
	latch_pass(&s.ready);
	EQ(fcntl(sv[1], F_GETOWN), pid);
	put(sv[0], "x");
	latch_open(&s.go);
	EXITS(pid, 0);
	NO_EVENT();
	latch_fini(&s.ready);
	latch_fini(&s.go);
}

static void die(void *arg)
{
	(void)arg;
	raise(SIGKILL);
}

static void die_with(void *arg)
{
	struct shared *s = arg;

	OK(close(s->sv[1]));
	latch_open(&s->ready);
	latch_pass(&s->go);
	die(NULL);
}

CASE_ASYNC(async_of_a_peer_that_dies, NEEDS_PROCESSES)
{
	struct shared s = {.sv = sv};
	bool dgram = is_dgram(sv[0]);
	pid_t pid;

	latch_init(&s.ready);
	latch_init(&s.go);
	pid = spawn(die_with, &s);
	latch_pass(&s.ready);
	close_end(&sv[0]);
	signal_me(sv[1]);
	latch_open(&s.go);
	KILLED(pid, SIGKILL);
	if (!dgram)
		EVENT_HUP(sv[1]);
	NO_EVENT();
	latch_fini(&s.ready);
	latch_fini(&s.go);
}

#ifndef CONFORM_LIBRARY
/* The signal stays blocked and is asked for. */
CASE_ASYNC(async_by_sigwaitinfo, 0)
{
	struct timespec second = {1, 0}, none = {0, 0};
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, queued());
	OK(sigprocmask(SIG_BLOCK, &set, NULL));
	signal_me(sv[1]);
	put(sv[0], "x");
	EQ(sigwaitinfo(&set, &info), queued());
	EQ(info.si_fd, sv[1]);
	EQ(info.si_code, POLL_IN);
	EQ(info.si_band, POLLIN | POLLRDNORM);
	FAILS(sigtimedwait(&set, &info, &none), EAGAIN);
	if (!is_dgram(sv[0])) {
		OK(shutdown(sv[0], SHUT_RDWR));
		EQ(sigtimedwait(&set, &info, &second), queued());
		EQ(info.si_fd, sv[1]);
		EQ(info.si_code, POLL_HUP);
	}
	EQ(atomic_load(&n_events), 0);
}
#endif
