/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/* Signals: EINTR and SA_RESTART of calls that sleep, signal masks of ppoll() and its like, and sockets in
 * handlers. */
#include "conform.h"

/* The calls that can sleep, each brought to sleep and later let go. */
enum sleeper { RECEIVING, SENDING, ACCEPTING, CONNECTING };

struct scene {
	enum sleeper what;
	int sv[2];
	int listener, first;
	struct name name;
	char c;
};

static void scene_begin(struct scene *s, enum sleeper what)
{
	*s = (struct scene){.what = what, .listener = -1, .first = -1};
	s->name = abstract_name("scene");
	if (what == RECEIVING || what == SENDING) {
		unix_pair(SOCK_STREAM, s->sv);
		if (what == SENDING)
			fill(s->sv[0], 4000);
		return;
	}
	s->listener = listen_at(SOCK_STREAM, &s->name, 0);
	s->sv[0] = what == ACCEPTING ? s->listener : unix_socket(SOCK_STREAM);
	s->sv[1] = -1;
	if (what == CONNECTING)
		s->first = connect_to(SOCK_STREAM, &s->name);
}

static void scene_start(struct scene *s, struct actor *t)
{
	if (s->what == RECEIVING)
		start_recv(t, s->sv[0], &s->c, 1, 0);
	if (s->what == SENDING)
		start_send(t, s->sv[0], "x", 1, 0);
	if (s->what == ACCEPTING)
		start_accept(t, s->listener);
	if (s->what == CONNECTING)
		start_connect(t, s->sv[0], &s->name);
	BLOCKED(t);
}

/* Does what the call waits for, and expects it to have waited for that. */
static void scene_satisfy(struct scene *s, struct actor *t)
{
	switch (s->what) {
	case RECEIVING:
		put(s->sv[1], "x");
		RETURNS(t, 1);
		break;
	case SENDING:
		drain(s->sv[1]);
		RETURNS(t, 1);
		break;
	case ACCEPTING:
		s->first = connect_to(SOCK_STREAM, &s->name);
		OK(close(OK((int)actor_join(t))));
		break;
	case CONNECTING:
		OK(close(OK(accept(s->listener, NULL, NULL))));
		RETURNS(t, 0);
		break;
	}
}

static void scene_end(struct scene *s)
{
	if (s->what != ACCEPTING)
		OK(close(s->sv[0]));
	if (s->sv[1] >= 0)
		OK(close(s->sv[1]));
	if (s->listener >= 0)
		OK(close(s->listener));
	if (s->first >= 0)
		OK(close(s->first));
}

static void sleep_is_interrupted(enum sleeper what)
{
	struct scene s;
	struct actor t;

	count_signal(SIGUSR1, 0);
	scene_begin(&s, what);
	scene_start(&s, &t);
	interrupt_until_done(&t, SIGUSR1);
	TRUE(atomic_load(&signals_seen) > 0);
	RETURNS_ERROR(&t, EINTR);
	/* Nothing is lost: once more, and it succeeds. */
	scene_start(&s, &t);
	scene_satisfy(&s, &t);
	scene_end(&s);
}

static void sleep_is_restarted(enum sleeper what)
{
	struct scene s;
	struct actor t;

	count_signal(SIGUSR1, SA_RESTART);
	scene_begin(&s, what);
	scene_start(&s, &t);
	for (int i = 1; i <= 5; i++) {
		EQ(pthread_kill(t.thread, SIGUSR1), 0);
		while (atomic_load(&signals_seen) < i)
			sched_yield();
		BLOCKED(&t);
	}
	scene_satisfy(&s, &t);
	EQ(atomic_load(&signals_seen), 5);
	scene_end(&s);
}

static void sleep_with_timeout_is_interrupted(enum sleeper what)
{
	struct scene s;
	struct actor t;

	count_signal(SIGUSR1, SA_RESTART);
	scene_begin(&s, what);
	set_time_option(s.sv[0], what == RECEIVING || what == ACCEPTING ? SO_RCVTIMEO : SO_SNDTIMEO, 100000);
	scene_start(&s, &t);
	interrupt_until_done(&t, SIGUSR1);
	RETURNS_ERROR(&t, EINTR);
	scene_end(&s);
}

#define INTERRUPT_CASES(name, what)                                                                          \
	CASE(name##_is_interrupted, 0)                                                                       \
	{                                                                                                    \
		sleep_is_interrupted(what);                                                                  \
	}                                                                                                    \
	CASE(name##_is_restarted, 0)                                                                         \
	{                                                                                                    \
		sleep_is_restarted(what);                                                                    \
	}                                                                                                    \
	CASE(name##_with_timeout_is_always_interrupted, 0)                                                   \
	{                                                                                                    \
		sleep_with_timeout_is_interrupted(what);                                                     \
	}

INTERRUPT_CASES(receive, RECEIVING)
INTERRUPT_CASES(send, SENDING)
INTERRUPT_CASES(accept, ACCEPTING)
INTERRUPT_CASES(connect, CONNECTING)

CASE_ON_ENDS(interrupted_with_a_part_is_a_short_count, 0)
{
	static char big[1000000];
	struct actor t;
	char buf[8];

	/* Also where the call would be restarted. */
	count_signal(SIGUSR1, SA_RESTART);
	start_recv(&t, sv[0], buf, 8, MSG_WAITALL);
	BLOCKED(&t);
	put(sv[1], "abc");
	BLOCKED(&t);
	interrupt_until_done(&t, SIGUSR1);
	RETURNS(&t, 3);
	start_send(&t, sv[0], big, sizeof big, 0);
	BLOCKED(&t);
	interrupt_until_done(&t, SIGUSR1);
	RETURNS(&t, 219264);
	EQ(drain(sv[1]), 219264);
}

CASE_ON_ENDS(ignored_signals_do_not_interrupt, 0)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct actor t;
	char c;

	OK(sigaction(SIGUSR1, &ignore, NULL));
	start_recv(&t, sv[0], &c, 1, 0);
	BLOCKED(&t);
	for (int i = 0; i < 5; i++) {
		EQ(pthread_kill(t.thread, SIGUSR1), 0);
		BLOCKED(&t);
	}
	put(sv[1], "x");
	RETURNS(&t, 1);
}

CASE_ON_ENDS(poll_is_always_interrupted, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLIN};
	struct actor t;

	/* poll() is not a call that is restarted. */
	count_signal(SIGUSR1, SA_RESTART);
	for (int timeout = -1; timeout <= 100000; timeout += 100001) {
		start_poll(&t, &p, 1, timeout);
		BLOCKED(&t);
		interrupt_until_done(&t, SIGUSR1);
		RETURNS_ERROR(&t, EINTR);
	}
	put(sv[1], "x");
	EQ(poll(&p, 1, -1), 1);
}

static long run_epoll_wait(struct actor *a)
{
	struct epoll_event ev;

	return epoll_wait(a->fd, &ev, 1, -1);
}

static long run_select_wait(struct actor *a)
{
	fd_set r;

	FD_ZERO(&r);
	FD_SET(a->fd, &r);
	return select(a->fd + 1, &r, NULL, NULL, NULL);
}

CASE_ON_ENDS(epoll_and_select_are_always_interrupted, 0)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));
	struct actor t = {.fd = ep};

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &ev));
	count_signal(SIGUSR1, SA_RESTART);
	actor_start(&t, run_epoll_wait);
	BLOCKED(&t);
	interrupt_until_done(&t, SIGUSR1);
	RETURNS_ERROR(&t, EINTR);
	t.fd = sv[0];
	actor_start(&t, run_select_wait);
	BLOCKED(&t);
	interrupt_until_done(&t, SIGUSR1);
	RETURNS_ERROR(&t, EINTR);
	OK(close(ep));
}

/* A signal that is pending before the call, let in by the call's mask alone. */
static void block_and_raise(int sig, sigset_t *inside)
{
	sigset_t set;

	count_signal(sig, 0);
	sigemptyset(&set);
	sigaddset(&set, sig);
	EQ(pthread_sigmask(SIG_BLOCK, &set, inside), 0);
	sigdelset(inside, sig);
	EQ(pthread_kill(pthread_self(), sig), 0);
	EQ(atomic_load(&signals_seen), 0);
}

static void expect_delivered_inside(int sig)
{
	sigset_t now;

	EQ(atomic_load(&signals_seen), 1);
	/* The thread's own mask is back. */
	EQ(pthread_sigmask(SIG_BLOCK, NULL, &now), 0);
	EQ(sigismember(&now, sig), 1);
}

CASE_ON_ENDS(ppoll_mask, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLIN};
	struct timespec zero = {0, 0};
	sigset_t inside;

	block_and_raise(SIGUSR1, &inside);
	EQ(ppoll(&p, 1, &zero, NULL), 0);
	EQ(atomic_load(&signals_seen), 0);
	FAILS(ppoll(&p, 1, NULL, &inside), EINTR);
	expect_delivered_inside(SIGUSR1);
	put(sv[1], "x");
	EQ(ppoll(&p, 1, NULL, &inside), 1);
	EQ(p.revents, POLLIN);
	struct timespec bad = {0, -1};
	FAILS(ppoll(&p, 1, &bad, NULL), EINVAL);
}

CASE_ON_ENDS(pselect_mask, 0)
{
	struct timespec zero = {0, 0};
	sigset_t inside;
	fd_set r;

	FD_ZERO(&r);
	FD_SET(sv[0], &r);
	block_and_raise(SIGUSR1, &inside);
	EQ(pselect(sv[0] + 1, &r, NULL, NULL, &zero, NULL), 0);
	EQ(atomic_load(&signals_seen), 0);
	FD_SET(sv[0], &r);
	FAILS(pselect(sv[0] + 1, &r, NULL, NULL, NULL, &inside), EINTR);
	expect_delivered_inside(SIGUSR1);
}

CASE_ON_ENDS(epoll_pwait_mask, 0)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int ep = OK(epoll_create1(EPOLL_CLOEXEC));
	sigset_t inside;

	OK(epoll_ctl(ep, EPOLL_CTL_ADD, sv[0], &ev));
	block_and_raise(SIGUSR1, &inside);
	EQ(epoll_pwait(ep, &ev, 1, 0, NULL), 0);
	EQ(atomic_load(&signals_seen), 0);
	FAILS(epoll_pwait(ep, &ev, 1, -1, &inside), EINTR);
	expect_delivered_inside(SIGUSR1);
	OK(close(ep));
}

CASE_ON_ENDS(ppoll_ready_leaves_a_masked_signal_alone, 0)
{
	struct pollfd p = {.fd = sv[0], .events = POLLIN};
	sigset_t all, inside;

	put(sv[1], "x");
	block_and_raise(SIGUSR1, &inside);
	sigfillset(&all);
	EQ(ppoll(&p, 1, NULL, &all), 1);
	EQ(atomic_load(&signals_seen), 0);
}

/* The self-pipe idiom: a handler writes to a socket that the interrupted loop uses itself. */
static int self_pipe[2];
static _Atomic int written_by_handler;

static void write_a_byte(int sig)
{
	int saved = errno;

	(void)sig;
	if (write(self_pipe[1], "h", 1) == 1)
		atomic_fetch_add(&written_by_handler, 1);
	errno = saved;
}

/* A signal every few microseconds, wherever the only thread happens to be. */
static void start_bombardment(void)
{
	/* Slower than the handler on any target: a handler that fills the time leaves none for the case. */
	struct itimerval often = {{0, 5000}, {0, 5000}};

	EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
}

static void stop_bombardment(void)
{
	struct itimerval never = {{0, 0}, {0, 0}};

	EQ(setitimer(ITIMER_REAL, &never, NULL), 0);
}

/* How many signals are enough; fewer do on a machine that is too busy for them. */
static bool goes_on(long signals, long start)
{
	return signals < 5000 && (signals < 10 || now_ms() - start < 2000);
}

CASE(handler_writes_into_the_socket_of_the_main_loop, 0)
{
	struct sigaction act = {.sa_handler = write_a_byte, .sa_flags = SA_RESTART};
	long from_handler = 0, own = 0, sent = 0, start = now_ms();
	char buf[7];

	unix_pair(SOCK_STREAM, self_pipe);
	OK(sigaction(SIGALRM, &act, NULL));
	start_bombardment();
	for (bool quiet = false; !quiet;) {
		struct pollfd p = {.fd = self_pipe[0], .events = POLLIN};
		if (goes_on(from_handler, start)) {
			/* The same end that the handler writes to, and may interrupt in the middle. */
			EQ(write(self_pipe[1], "m", 1), 1);
			sent++;
		} else {
			stop_bombardment();
			quiet = true;
		}
		int n = poll(&p, 1, quiet ? 0 : -1), error = errno;
		if (n < 0) {
			EQ(error, EINTR);
			quiet = false;
			continue;
		}
		/* Two lines of one stream: whatever comes is one of the two. */
		while (n > 0) {
			ssize_t got = recv(self_pipe[0], buf, sizeof buf, MSG_DONTWAIT);
			error = errno;
			if (got < 0) {
				EQ(error, EAGAIN);
				break;
			}
			for (ssize_t i = 0; i < got; i++) {
				TRUE(buf[i] == 'h' || buf[i] == 'm');
				from_handler += buf[i] == 'h';
				own += buf[i] == 'm';
			}
		}
	}
	/* Every byte once. */
	EQ(own, sent);
	EQ(from_handler, atomic_load(&written_by_handler));
	TRUE(from_handler >= 10);
	OK(close(self_pipe[0]));
	OK(close(self_pipe[1]));
}

/* The handler's byte is in the stream before the interrupted call returns. */
CASE(handler_wakes_the_poll_it_interrupted, 0)
{
	struct sigaction act = {.sa_handler = write_a_byte};
	struct pollfd p = {.events = POLLIN};
	struct actor t;

	unix_pair(SOCK_STREAM, self_pipe);
	p.fd = self_pipe[0];
	OK(sigaction(SIGUSR1, &act, NULL));
	for (int i = 0; i < 20; i++) {
		start_poll(&t, &p, 1, -1);
		BLOCKED(&t);
		EQ(pthread_kill(t.thread, SIGUSR1), 0);
		FAILS(actor_join(&t), EINTR);
		EQ(poll(&p, 1, 0), 1);
		GETS(self_pipe[0], "h");
	}
	OK(close(self_pipe[0]));
	OK(close(self_pipe[1]));
}

static int handler_fd = -1;
static _Atomic int handler_errors;

static void use_a_socket(int sig)
{
	int saved = errno;
	char c;

	(void)sig;
	if (handler_fd >= 0) {
		/* The calls that POSIX lists as safe here. */
		if (recv(handler_fd, &c, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN)
			atomic_fetch_add(&handler_errors, 1);
		if (fcntl(handler_fd, F_GETFL) < 0 ||
		    poll(&(struct pollfd){.fd = handler_fd, .events = POLLIN}, 1, 0) != 0)
			atomic_fetch_add(&handler_errors, 1);
	}
	int sv[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0 || write(sv[0], "x", 1) != 1 ||
	    read(sv[1], &c, 1) != 1 || close(sv[0]) < 0 || read(sv[1], &c, 1) != 0 || close(sv[1]) < 0)
		atomic_fetch_add(&handler_errors, 1);
	atomic_fetch_add(&signals_seen, 1);
	errno = saved;
}

CASE(handler_uses_sockets_while_the_thread_makes_them, 0)
{
	struct sigaction act = {.sa_handler = use_a_socket, .sa_flags = SA_RESTART};
	long start = now_ms();
	int quiet[2];

	unix_pair(SOCK_STREAM, quiet);
	handler_fd = quiet[0];
	OK(sigaction(SIGALRM, &act, NULL));
	start_bombardment();
	while (goes_on(atomic_load(&signals_seen), start)) {
		int sv[2];
		unix_pair(SOCK_STREAM, sv);
		put(sv[0], "main");
		GETS(sv[1], "main");
		OK(close(sv[0]));
		EQ(read(sv[1], (char[1]){0}, 1), 0);
		OK(close(sv[1]));
	}
	stop_bombardment();
	EQ(atomic_load(&handler_errors), 0);
	OK(close(quiet[0]));
	OK(close(quiet[1]));
}
