/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * refused CALL...: makes each call in a way that succeeds, and prints for each a line
 *
 *   CALL ERRNO CAUSE SIGNALS
 *
 * the errno's name or 0, what afunix_cause() says of it or "-", and how many SIGPIPE came.
 * So whatever is printed besides 0 was injected.  What a call needs is prepared with the
 * library's own functions, which nothing is injected into.
 */
#include <afunix/afunix.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int pair[2], listener, fresh;
static struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "refused"};
static const struct sockaddr *address = (const struct sockaddr *)&name;
static char byte[1] = "x";
static struct iovec iov = {byte, 1};
static struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
static volatile sig_atomic_t pipes;

/* The function as it is without injections. */
static void (*aside(const char *call))(void)
{
	char library[32];
	void (*function)(void);
	void *symbol;

	snprintf(library, sizeof library, "afunix_%s", call);
	symbol = dlsym(RTLD_DEFAULT, library);
	if (!symbol)
		symbol = dlsym(RTLD_DEFAULT, call);
	memcpy(&function, &symbol, sizeof function);
	return function;
}

#define ASIDE(name) ((__typeof__(&(name)))aside(#name))

static void broken(int sig)
{
	(void)sig;
	pipes++;
}

static void ready_to_receive(void)
{
	if (ASIDE(write)(pair[1], byte, 1) != 1)
		abort();
}

static void ready_to_accept(void)
{
	int client = ASIDE(socket)(AF_UNIX, SOCK_STREAM, 0);

	if (ASIDE(connect)(client, address, sizeof name) < 0)
		abort();
}

#define CALLS(X)                                                                                             \
	X(socket, socket(AF_UNIX, SOCK_STREAM, 0))                                                           \
	X(socketpair, socketpair(AF_UNIX, SOCK_STREAM, 0, (int[2]){0}))                                      \
	X(bind, bind(fresh, (const struct sockaddr *)&(struct sockaddr_un){AF_UNIX, "other"}, sizeof name))  \
	X(connect, connect(fresh, address, sizeof name))                                                     \
	X(listen, listen(listener, 5))                                                                       \
	X(accept, (ready_to_accept(), accept(listener, NULL, NULL)))                                         \
	X(getsockname, getsockname(pair[0], (struct sockaddr *)&(struct sockaddr_un){0}, &(socklen_t){110})) \
	X(getpeername, getpeername(pair[0], (struct sockaddr *)&(struct sockaddr_un){0}, &(socklen_t){110})) \
	X(getsockopt, getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &(int){0}, &(socklen_t){4}))                  \
	X(setsockopt, setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &(int){0}, 4))                           \
	X(shutdown, shutdown(fresh, SHUT_RD))                                                                \
	X(sockatmark, sockatmark(pair[0]))                                                                   \
	X(read, (ready_to_receive(), read(pair[0], byte, 1)))                                                \
	X(readv, (ready_to_receive(), readv(pair[0], &iov, 1)))                                              \
	X(recv, (ready_to_receive(), recv(pair[0], byte, 1, 0)))                                             \
	X(recvmsg, (ready_to_receive(), recvmsg(pair[0], &message, 0)))                                      \
	X(write, write(pair[0], byte, 1))                                                                    \
	X(writev, writev(pair[0], &iov, 1))                                                                  \
	X(send, send(pair[0], byte, 1, 0))                                                                   \
	X(quiet, send(pair[0], byte, 1, MSG_NOSIGNAL))                                                       \
	X(sendmsg, sendmsg(pair[0], &message, 0))                                                            \
	X(ioctl, ioctl(pair[0], FIONREAD, &(int){0}))                                                        \
	X(fcntl, fcntl(pair[0], F_GETFL))                                                                    \
	X(dup, dup(pair[0]))                                                                                 \
	X(dup2, dup2(pair[0], 100))                                                                          \
	X(dup3, dup3(pair[0], 101, O_CLOEXEC))                                                               \
	X(poll, poll(&(struct pollfd){pair[0], POLLOUT, 0}, 1, 0))                                           \
	X(select, select_one())                                                                              \
	X(epoll_create, epoll_create1(0))                                                                    \
	X(epoll_ctl, epoll_ctl(ASIDE(epoll_create1)(0), EPOLL_CTL_ADD, pair[0], &(struct epoll_event){0}))   \
	X(epoll_wait, epoll_wait(watching(), &(struct epoll_event){0}, 1, 0))

static int select_one(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(pair[0], &set);
	return select(pair[0] + 1, NULL, &set, NULL, NULL);
}

static int watching(void)
{
	int fd = ASIDE(epoll_create1)(0);

	ASIDE(epoll_ctl)(fd, EPOLL_CTL_ADD, pair[0], &(struct epoll_event){.events = EPOLLOUT});
	return fd;
}

static long make(const char *call)
{
#define MAKE(name, expression)                                                                               \
	if (!strcmp(call, #name))                                                                            \
		return (long)(expression);
	CALLS(MAKE)
	fprintf(stderr, "refused: no call '%s'\n", call);
	exit(2);
}

int main(int argc, char **argv)
{
	/* exported by the preloaded library; absent without it */
	const struct afunix_cause *(*cause)(void) = (const struct afunix_cause *(*)(void))aside("cause");

	signal(SIGPIPE, broken);
	unlink(name.sun_path);
	listener = ASIDE(socket)(AF_UNIX, SOCK_STREAM, 0);
	fresh = ASIDE(socket)(AF_UNIX, SOCK_STREAM, 0);
	if (ASIDE(socketpair)(AF_UNIX, SOCK_STREAM, 0, pair) < 0 ||
	    ASIDE(bind)(listener, address, sizeof name) < 0 || ASIDE(listen)(listener, 5) < 0) {
		perror("refused");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		int error = make(argv[i]) < 0 ? errno : 0;

		printf("%s %s %s %d\n", argv[i], error ? strerrorname_np(error) : "0",
		       error && cause && cause() ? cause()->id : "-", (int)pipes);
		pipes = 0;
	}
	return 0;
}
