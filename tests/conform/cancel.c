/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * Threads that are cancelled in a call, and handlers that leave one with siglongjmp():
 * the call has no effect, and what it held is let go.
 */
#include "conform.h"

#include <setjmp.h>

/* The thread was blocked, and ends at once. */
#define CANCELLED(a)                                                                                         \
	do {                                                                                                 \
		void *cancelled_result;                                                                      \
		conform_at(HERE, "pthread_join");                                                            \
		EQ(pthread_cancel((a)->thread), 0);                                                          \
		EQ(pthread_join((a)->thread, &cancelled_result), 0);                                         \
		TRUE(cancelled_result == PTHREAD_CANCELED);                                                  \
		EQ(atomic_load(&(a)->done), 0);                                                              \
	} while (0)

static void on_all(void (*body)(int sv[2]))
{
	run_on_pair(SOCK_STREAM, body);
	run_on_pair(SOCK_DGRAM, body);
	run_on_pair(SOCK_SEQPACKET, body);
}

static void in_recv(int sv[2])
{
	struct actor t;
	char byte;

	start_recv(&t, sv[1], &byte, 1, 0);
	BLOCKED(&t);
	CANCELLED(&t);
	/* Nobody takes what comes now. */
	put(sv[0], "x");
	GETS(sv[1], "x");
	/* And nobody keeps the socket. */
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL),
	      get_int_option(sv[0], SO_TYPE) == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
}

CASE(cancel_in_recv, 0)
{
	on_all(in_recv);
}

static void in_send(int sv[2])
{
	struct actor t;

	fill(sv[0], 1000);
	start_send(&t, sv[0], "y", 1, 0);
	BLOCKED(&t);
	CANCELLED(&t);
	/* Not a byte of it arrives. */
	while (drain(sv[1]) > 0)
		;
	put(sv[0], "x");
	GETS(sv[1], "x");
	close_end(&sv[0]);
	if (get_int_option(sv[1], SO_TYPE) != SOCK_DGRAM)
		AT_EOF(sv[1]);
}

CASE(cancel_in_send, 0)
{
	on_all(in_send);
}

static long call_recvmsg(struct actor *a)
{
	char byte, control[CMSG_SPACE(64)];
	struct iovec iov = {&byte, 1};
	struct sockaddr_un un;
	struct msghdr msg = {.msg_name = &un,
			     .msg_namelen = sizeof un,
			     .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof control};

	return recvmsg(a->fd, &msg, 0);
}

static void in_recvmsg(int sv[2])
{
	struct actor t = {.fd = sv[1]};

	actor_start(&t, call_recvmsg);
	BLOCKED(&t);
	CANCELLED(&t);
	put(sv[0], "x");
	GETS(sv[1], "x");
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL),
	      get_int_option(sv[0], SO_TYPE) == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
}

CASE(cancel_in_recvmsg, 0)
{
	on_all(in_recvmsg);
}

CASE(cancel_in_accept, 0)
{
	struct name name = abstract_name("cancel");
	int l = listen_at(SOCK_STREAM, &name, 1), c, a;
	struct actor t;

	start_accept(&t, l);
	BLOCKED(&t);
	CANCELLED(&t);
	c = connect_to(SOCK_STREAM, &name);
	a = OK(accept(l, NULL, NULL));
	OK(close(l));
	/* The name is free, so the listener is gone. */
	l = listen_at(SOCK_STREAM, &name, 1);
	OK(close(l));
	OK(close(a));
	OK(close(c));
}

CASE(cancel_in_connect, 0)
{
	struct name name = abstract_name("cancel");
	int l = listen_at(SOCK_STREAM, &name, 0), first = connect_to(SOCK_STREAM, &name);
	int late = unix_socket(SOCK_STREAM), a;
	struct actor t;

	start_connect(&t, late, &name);
	BLOCKED(&t);
	CANCELLED(&t);
	a = OK(accept(l, NULL, NULL));
	set_nonblocking(l, true);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	FAILS(getpeername(late, ANY(&(struct sockaddr_un){0}), &(socklen_t){sizeof(struct sockaddr_un)}),
	      ENOTCONN);
	OK(close(late));
	FAILS(accept(l, NULL, NULL), EAGAIN);
	OK(close(a));
	OK(close(first));
	OK(close(l));
}

static void in_poll(int sv[2])
{
	struct pollfd p = {.fd = sv[1], .events = POLLIN};
	struct actor t;

	start_poll(&t, &p, 1, -1);
	BLOCKED(&t);
	CANCELLED(&t);
	put(sv[0], "x");
	GETS(sv[1], "x");
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL),
	      get_int_option(sv[0], SO_TYPE) == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
}

CASE(cancel_in_poll, 0)
{
	on_all(in_poll);
}

static long call_select(struct actor *a)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(a->fd, &set);
	return select(a->fd + 1, &set, NULL, NULL, NULL);
}

static long call_epoll_wait(struct actor *a)
{
	struct epoll_event ev;

	return epoll_wait(a->flags, &ev, 1, -1);
}

CASE(cancel_in_select, 0)
{
	struct actor t = {0};
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	t.fd = sv[1];
	actor_start(&t, call_select);
	BLOCKED(&t);
	CANCELLED(&t);
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	close_end(&sv[0]);
}

CASE(cancel_in_epoll_wait, 0)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int sv[2], ep = OK(epoll_create1(0));
	struct actor t = {.flags = ep};

	unix_pair(SOCK_STREAM, sv);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, sv[1], &ev));
	actor_start(&t, call_epoll_wait);
	BLOCKED(&t);
	CANCELLED(&t);
	put(sv[0], "x");
	EQ(epoll_wait(ep, &ev, 1, 1000), 1);
	GETS(sv[1], "x");
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	OK(close(ep));
	close_end(&sv[0]);
}

/* A call that would not block acts on what was asked before. */

struct late {
	struct latch ready, go;
	int fd;
	int (*call)(int fd);
	_Atomic int passed;
};

static void *call_late(void *arg)
{
	struct late *l = arg;
	int before;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	latch_open(&l->ready);
	latch_pass(&l->go);
	pthread_setcancelstate(before, NULL);
	l->call(l->fd);
	atomic_store(&l->passed, 1);
	return NULL;
}

static int late_recv(int fd)
{
	char byte;

	return (int)recv(fd, &byte, 1, MSG_DONTWAIT);
}

static int late_read(int fd)
{
	return read_one(fd);
}

static int late_send(int fd)
{
	return (int)send(fd, "y", 1, MSG_DONTWAIT);
}

static int late_poll(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0);
}

static void cancelled_before(int fd, int (*call)(int fd), bool honoured)
{
	struct late l = {.fd = fd, .call = call};
	pthread_t thread;
	void *result;

	latch_init(&l.ready);
	latch_init(&l.go);
	EQ(pthread_create(&thread, NULL, call_late, &l), 0);
	latch_pass(&l.ready);
	EQ(pthread_cancel(thread), 0);
	latch_open(&l.go);
	EQ(pthread_join(thread, &result), 0);
	EQ(atomic_load(&l.passed), !honoured);
	latch_fini(&l.ready);
	latch_fini(&l.go);
}

CASE(cancel_that_is_pending, 0)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	put(sv[0], "ab");
	cancelled_before(sv[1], late_recv, true);
	cancelled_before(sv[1], late_read, true);
	cancelled_before(sv[1], late_poll, true);
	cancelled_before(sv[0], late_send, true);
	GETS(sv[1], "ab");
	EMPTY(sv[1]);
	close_end(&sv[0]);
	close_end(&sv[1]);
}

static int late_name(int fd)
{
	struct sockaddr_un un;
	socklen_t len = sizeof un;

	return getsockname(fd, ANY(&un), &len);
}

static int late_option(int fd)
{
	int value;
	socklen_t len = sizeof value;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len);
}

CASE(cancel_is_no_concern_of_other_calls, 0)
{
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	cancelled_before(sv[0], late_name, false);
	cancelled_before(sv[0], late_option, false);
	close_end(&sv[0]);
	close_end(&sv[1]);
}

/* A thread that is not to be cancelled. */
static long recv_regardless(struct actor *a)
{
	char byte;
	long got;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	got = recv(a->fd, &byte, 1, 0);
	return got;
}

CASE(cancel_that_is_disabled, 0)
{
	struct actor t = {0};
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	t.fd = sv[1];
	actor_start(&t, recv_regardless);
	BLOCKED(&t);
	EQ(pthread_cancel(t.thread), 0);
	BLOCKED(&t);
	put(sv[0], "x");
	RETURNS(&t, 1);
	close_end(&sv[0]);
	close_end(&sv[1]);
}

static long recv_at_any_time(struct actor *a)
{
	char byte;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	return recv(a->fd, &byte, 1, 0);
}

CASE(cancel_at_any_time, 0)
{
	struct actor t = {0};
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	t.fd = sv[1];
	actor_start(&t, recv_at_any_time);
	BLOCKED(&t);
	CANCELLED(&t);
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	close_end(&sv[0]);
}

/* The type that the thread chose stays what it was. */
static long type_after(struct actor *a)
{
	char byte;
	int type;

	if (recv(a->fd, &byte, 1, 0) != 1)
		return -1;
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	return type;
}

CASE(cancel_type_is_kept, 0)
{
	struct actor t = {0};
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	t.fd = sv[1];
	actor_start(&t, type_after);
	BLOCKED(&t);
	put(sv[0], "x");
	RETURNS(&t, PTHREAD_CANCEL_DEFERRED);
	close_end(&sv[0]);
	close_end(&sv[1]);
}

struct cleaning {
	int fd;
	_Atomic int cleaned;
};

static void clean(void *arg)
{
	struct cleaning *c = arg;

	/* The peer is to see it at once, from within the handler. */
	close(c->fd);
	atomic_store(&c->cleaned, 1);
}

static long recv_and_clean(struct actor *a)
{
	struct cleaning *c = a->arg;
	char byte;
	long got;

	pthread_cleanup_push(clean, c);
	got = recv(c->fd, &byte, 1, 0);
	pthread_cleanup_pop(0);
	return got;
}

CASE(cancel_runs_the_handlers, 0)
{
	struct cleaning c = {.fd = -1};
	struct actor t = {.arg = &c};
	int sv[2];

	unix_pair(SOCK_STREAM, sv);
	c.fd = sv[1];
	actor_start(&t, recv_and_clean);
	BLOCKED(&t);
	CANCELLED(&t);
	EQ(atomic_load(&c.cleaned), 1);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	close_end(&sv[0]);
}

CASE(cancel_many_times, 0)
{
	int sv[2];

	unix_pair(SOCK_SEQPACKET, sv);
	for (int i = 0; i < 100; i++) {
		struct actor t;
		char byte;

		start_recv(&t, sv[1], &byte, 1, 0);
		if (i % 2)
			BLOCKED(&t);
		EQ(pthread_cancel(t.thread), 0);
		EQ(pthread_join(t.thread, NULL), 0);
	}
	put(sv[0], "x");
	GETS(sv[1], "x");
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	close_end(&sv[0]);
}

/* Handlers that jump. */

static sigjmp_buf back;

static void jump(int sig)
{
	siglongjmp(back, sig);
}

static void jump_on(int sig, int flags)
{
	struct sigaction act = {.sa_handler = jump, .sa_flags = flags};

	sigemptyset(&act.sa_mask);
	OK(sigaction(sig, &act, NULL));
}

static void in_ms(long ms)
{
	struct itimerval t = {.it_value = {ms / 1000, ms % 1000 * 1000}};

	OK(setitimer(ITIMER_REAL, &t, NULL));
}

static void out_of_recv(int sv[2])
{
	jump_on(SIGALRM, 0);
	for (volatile int i = 0; i < 3; i++) {
		if (sigsetjmp(back, 1) == 0) {
			in_ms(20);
			read_one(sv[1]);
			conform_fail(HERE, "the call returned");
		}
	}
	put(sv[0], "x");
	GETS(sv[1], "x");
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL),
	      get_int_option(sv[0], SO_TYPE) == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
}

CASE(jump_out_of_recv, 0)
{
	on_all(out_of_recv);
}

static void out_of_send(int sv[2])
{
	jump_on(SIGALRM, 0);
	fill(sv[0], 1000);
	if (sigsetjmp(back, 1) == 0) {
		in_ms(20);
		EQ(send(sv[0], "y", 1, 0), 1);
		conform_fail(HERE, "the call returned");
	}
	while (drain(sv[1]) > 0)
		;
	put(sv[0], "x");
	GETS(sv[1], "x");
	close_end(&sv[0]);
	if (get_int_option(sv[1], SO_TYPE) != SOCK_DGRAM)
		AT_EOF(sv[1]);
}

CASE(jump_out_of_send, 0)
{
	on_all(out_of_send);
}

static void out_of_poll(int sv[2])
{
	struct pollfd p = {.fd = sv[1], .events = POLLIN};

	jump_on(SIGALRM, 0);
	if (sigsetjmp(back, 1) == 0) {
		in_ms(20);
		poll(&p, 1, -1);
		conform_fail(HERE, "the call returned");
	}
	put(sv[0], "x");
	EQ(poll(&p, 1, 1000), 1);
	GETS(sv[1], "x");
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL),
	      get_int_option(sv[0], SO_TYPE) == SOCK_DGRAM ? ECONNREFUSED : EPIPE);
}

CASE(jump_out_of_poll, 0)
{
	on_all(out_of_poll);
}

CASE(jump_out_of_epoll_wait, 0)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int sv[2], ep = OK(epoll_create1(0));

	unix_pair(SOCK_STREAM, sv);
	OK(epoll_ctl(ep, EPOLL_CTL_ADD, sv[1], &ev));
	jump_on(SIGALRM, 0);
	if (sigsetjmp(back, 1) == 0) {
		in_ms(20);
		epoll_wait(ep, &ev, 1, -1);
		conform_fail(HERE, "the call returned");
	}
	put(sv[0], "x");
	EQ(epoll_wait(ep, &ev, 1, 1000), 1);
	GETS(sv[1], "x");
	close_end(&sv[1]);
	FAILS(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	OK(close(ep));
	close_end(&sv[0]);
}

CASE(jump_out_of_accept, 0)
{
	struct name name = abstract_name("jump");
	int l = listen_at(SOCK_STREAM, &name, 1);

	jump_on(SIGALRM, 0);
	if (sigsetjmp(back, 1) == 0) {
		in_ms(20);
		accept(l, NULL, NULL);
		conform_fail(HERE, "the call returned");
	}
	OK(close(l));
	l = listen_at(SOCK_STREAM, &name, 1);
	OK(close(l));
}

CASE(jump_out_of_connect, 0)
{
	struct name name = abstract_name("jump");
	int l = listen_at(SOCK_STREAM, &name, 0), first = connect_to(SOCK_STREAM, &name);
	int late = unix_socket(SOCK_STREAM), a;

	jump_on(SIGALRM, 0);
	if (sigsetjmp(back, 1) == 0) {
		in_ms(20);
		connect(late, NAME(&name));
		conform_fail(HERE, "the call returned");
	}
	OK(close(late));
	a = OK(accept(l, NULL, NULL));
	set_nonblocking(l, true);
	FAILS(accept(l, NULL, NULL), EAGAIN);
	OK(close(a));
	OK(close(first));
	OK(close(l));
}

static int nested[2];

static void use_while_blocked(int sig)
{
	(void)sig;
	/* The outer call is not over: whatever happens here, it goes on. */
	put(nested[0], "n");
	GETS(nested[1], "n");
	close_end(&nested[0]);
	AT_EOF(nested[1]);
	close_end(&nested[1]);
}

/* The main thread sleeps on its own socket, which a handler wakes after closing others. */
static int outer[2];

static void wake_outer(int sig)
{
	use_while_blocked(sig);
	put(outer[0], "x");
}

static void handler_uses_others(int flags)
{
	struct sigaction act = {.sa_handler = wake_outer, .sa_flags = flags | SA_RESTART};
	static char stack[65536];

	unix_pair(SOCK_STREAM, outer);
	unix_pair(SOCK_STREAM, nested);
	sigemptyset(&act.sa_mask);
	OK(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL));
	OK(sigaction(SIGALRM, &act, NULL));
	in_ms(20);
	GETS(outer[1], "x");
	close_end(&outer[1]);
	FAILS(send(outer[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	close_end(&outer[0]);
}

CASE(handler_closes_others_meanwhile, 0)
{
	handler_uses_others(0);
}

CASE(handler_closes_others_on_its_own_stack, 0)
{
	handler_uses_others(SA_ONSTACK);
}
