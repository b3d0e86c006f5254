/* SPDX-License-Identifier: MIT */
/* SPDX-FileCopyrightText: The afunix authors */
/*
 * A program that is linked statically, and so can't be preloaded.  Given the number of a
 * socket that it has inherited it does to it whatever programs do to sockets, and prints
 * each call with what came of it; with another word behind it serves at that socket; with a path, it
 * connects there with a socket of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static void say(const char *call, long result)
{
	printf("%s %s\n", call, result >= 0 ? "done" : strerrorname_np(errno));
}

static void to_data(int fd)
{
	char byte = 'x';
	struct iovec io = {&byte, 1};
	struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
	int file = open("file", O_RDONLY | O_CLOEXEC);

	say("read", read(fd, &byte, 1));
	say("readv", readv(fd, &io, 1));
	say("write", write(fd, &byte, 1));
	say("writev", writev(fd, &io, 1));
	say("pwrite", pwrite(fd, &byte, 1, 0));
	say("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
	say("send", send(fd, &byte, 1, MSG_NOSIGNAL));
	say("sendmsg", sendmsg(fd, &message, MSG_NOSIGNAL));
	say("recvmsg", recvmsg(fd, &message, MSG_DONTWAIT));
	say("sendfile", sendfile(fd, file, NULL, 1));
	close(file);
}

static void to_state(int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct sockaddr_un name;
	socklen_t length = sizeof(name), size = sizeof(int);
	int type, epoll = epoll_create1(EPOLL_CLOEXEC);

	say("getsockopt", getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size));
	say("getsockname", getsockname(fd, (struct sockaddr *)&name, &length));
	say("getpeername", getpeername(fd, (struct sockaddr *)&name, &length));
	say("shutdown", shutdown(fd, SHUT_RDWR));
	say("listen", listen(fd, 1));
	say("accept", accept(fd, NULL, NULL));
	say("epoll_ctl", epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	say("ftruncate", ftruncate(fd, 0));
	say("ftruncate more", ftruncate(fd, 1 << 20));
	say("fallocate", fallocate(fd, 0, 1 << 30, 4096));
	say("mmap", (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	close(epoll);
}

static void to_path(const char *path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2];

	snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
	say("connect", connect(fd, (struct sockaddr *)&name, sizeof(name)));
	say("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	say("send", send(pair[0], "x", 1, 0));
}

/* Says that it is there, waits for a byte, and serves three clients. */
static int serve(int listener)
{
	char text[16];

	puts("there");
	fflush(stdout);
	if (read(0, text, 1) != 1)
		return 1;
	for (int i = 0; i < 3; i++) {
		int fd = accept(listener, NULL, NULL);
		ssize_t n = read(fd, text, sizeof(text));

		if (n != 4 || write(fd, "pong", 4) != 4)
			return 1;
		close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3)
		return serve(atoi(argv[1]));
	if (argc != 2)
		return 2;
	if (strspn(argv[1], "0123456789") == strlen(argv[1])) {
		to_data(atoi(argv[1]));
		to_state(atoi(argv[1]));
	} else {
		to_path(argv[1]);
	}
	return 0;
}
